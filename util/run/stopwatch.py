"""How long an image takes, and how much of that is waiting for data."""

import time
from collections.abc import Iterable, Iterator


class Stopwatch:
    """Smoothed over about the last 20 steps; the first step, which warms up, does not count."""

    def __init__(self, smoothing: float = 0.95):
        self.smoothing = smoothing
        self.weight = self.step = self.wait = 0.0
        self.steps = 0

    def watch(self, batches: Iterable[dict], count) -> Iterator[dict]:
        """Yield the batches; ``count(batch)`` is the number of images in one."""
        batches, done = iter(batches), time.perf_counter()
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            ready = time.perf_counter()
            yield batch
            before, done = done, time.perf_counter()
            self.steps += 1
            if self.steps > 1:
                self._add((done - before) / count(batch), (ready - before) / count(batch))

    def _add(self, step: float, wait: float) -> None:
        keep = self.smoothing
        self.weight = keep * self.weight + 1 - keep
        self.step = keep * self.step + (1 - keep) * step
        self.wait = keep * self.wait + (1 - keep) * wait

    @property
    def seconds_per_image(self) -> float:
        return self.step / self.weight if self.weight else 0.0

    @property
    def data_share(self) -> float:
        return self.wait / self.step if self.step else 0.0
