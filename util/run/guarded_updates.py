"""Optimizer steps that leave NaN and Inf out. Whether one was left out is known on the device at once, and read by the
host only when somebody asks, so that no step waits for it."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from util import distributed
from util.devices import kind_of
from util.run import votes


class Update(NamedTuple):
    """One step of a phase's optimizers; the flags are 1.0 or 0.0, on the device."""

    phase: str
    image_paths: list[str]
    left_out: Tensor  # for the gradients of any rank
    bad_here: Tensor  # for those of this rank


class GuardedUpdates:
    def __init__(self):
        self.pending: list[Update] = []  # not read yet

    def apply(self, phase: str, image_paths: list[str], optimizers: tuple[Optimizer, ...]) -> None:
        """One step of each optimizer with the gradients' mean over all ranks, left out where one is not finite."""
        grads = [p.grad for o in optimizers for group in o.param_groups for p in group["params"] if p.grad is not None]
        if not grads:
            return
        bad_here = bad = not_finite(grads)
        if distributed.is_distributed():
            votes.came_back(distributed.average_gradients(grads, votes.of_this_rank()))
            bad = not_finite(grads)
        self.pending.append(Update(phase, image_paths, bad, bad_here))
        skips = kind_of(bad.device).skips
        for optimizer in optimizers:
            if getattr(optimizer, "_step_supports_amp_scaling", False) and skips:  # fused ones read it on the device
                optimizer.found_inf = bad
                optimizer.step()
            elif not bad:
                optimizer.step()

    def read(self) -> list[tuple[str, list[str], bool]]:
        """(phase, image paths, whether it was left out) of each update since the last call. No paths where it was left
        out for the sake of another rank's images."""
        updates, self.pending = self.pending, []
        flags = torch.stack([torch.stack((u.left_out, u.bad_here)) for u in updates]).tolist() if updates else []
        return [
            (update.phase, update.image_paths if bad_here or not left_out else [], bool(left_out))
            for update, (left_out, bad_here) in zip(updates, flags, strict=True)
        ]


def not_finite(tensors: list[Tensor]) -> Tensor:
    """1.0 where any number is NaN or Inf, else 0.0, on the device."""
    return torch.stack(torch._foreach_norm(tensors)).isfinite().logical_not().any().float()
