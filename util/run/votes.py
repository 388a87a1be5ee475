"""What any rank may want after a step, to stop or to save: the ranks' votes travel with the gradients, so that no step
joins a collective for them alone, and count one step later, on all ranks alike."""

from collections.abc import Callable
from functools import cache

from torch import Tensor

from util import distributed
from util.devices import to_host_later

travelling: list["Vote"] = []  # in the same order on every rank


class Vote:
    """``wants``: whether this rank does at the moment."""

    def __init__(self, wants: Callable[[], bool]):
        self.wants = wants
        self.number = len(travelling)
        self.came: Callable | None = None  # sends to the host what came with this step's newest gradients
        self.coming: Callable[[], Tensor] | None = None  # what came a step ago, on its way there
        if distributed.is_distributed():
            travelling.append(self)

    def passed(self) -> bool:
        """Whether any rank wants it; every rank has to ask, after every step."""
        if not distributed.is_distributed():
            return self.wants()
        came, coming = self.came, self.coming
        self.came = self.coming = None
        if came is None:  # no gradients since the last question
            return distributed.any_rank(self.wants())
        if coming and coming()[self.number]:
            return True
        self.coming = came()
        return False


def of_this_rank() -> list[float]:
    return [float(vote.wants()) for vote in travelling]


def came_back(means: Tensor) -> None:
    """The share of ranks that want it, of each vote; the first that asks sends them to the host for all."""
    send = cache(lambda: to_host_later(means))
    for vote in travelling:
        vote.came = send
