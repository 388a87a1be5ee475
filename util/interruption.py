"""Signals and a time budget end training at the next step's end, with everything saved."""

import signal
import time

EXIT_CODE = 75  # "try again": the run was interrupted, is saved and goes on with --continue_train
BEGUN = time.monotonic()  # the program's start: checking a large folder or compiling counts as well
SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")


class Interruption:
    """``reason`` is None until Ctrl-C, SIGTERM, SIGUSR1 or the end of ``budget`` seconds since the start.

    A second Ctrl-C ends at once.
    """

    def __init__(self, budget: float | None = None):
        self.deadline = BEGUN + budget if budget else float("inf")
        self.signal_name: str | None = None
        self.before: dict = {}

    @property
    def reason(self) -> str | None:
        if self.signal_name is None and time.monotonic() >= self.deadline:
            return "--time_budget is used up"
        return self.signal_name

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
        if number == signal.SIGINT and self.signal_name:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
