"""Signals and a time budget end training at the next step's end, with everything saved."""

import signal
import time

from util.run.votes import Vote

EXIT_CODE = 75  # "try again": the run was interrupted, is saved and goes on with --continue_train
BEGUN = time.monotonic()  # the program's start: checking a large folder or compiling counts as well
SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")


class Interruption:
    """``reason`` is None until Ctrl-C, SIGTERM, SIGUSR1 or the end of ``budget`` seconds since the start.

    A second Ctrl-C ends at once.
    """

    def __init__(self, budget: float | None = None):
        self.deadline = BEGUN + budget if budget else float("inf")
        self.reason: str | None = None
        self.before: dict = {}
        self.stop = Vote(self._told)

    def requested(self) -> bool:
        """Whether to stop after this step; every rank has to ask, and all get the same answer."""
        stop = self.stop.passed()
        if stop:
            self.reason = self.reason or "another rank was told to stop"
        return stop  # not what is known by now: a signal may have come to this rank while they agreed

    def _told(self) -> bool:
        if self.reason is None and time.monotonic() >= self.deadline:
            self.reason = "--time_budget is used up"
        return self.reason is not None

    def __enter__(self):
        for name in SIGNALS:
            if hasattr(signal, name):  # Windows has no SIGUSR1
                number = getattr(signal, name)
                self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number, frame) -> None:
        if number == signal.SIGINT and self.reason:
            raise KeyboardInterrupt
        self.reason = signal.Signals(number).name
