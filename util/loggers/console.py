"""The classic console line, ``loss_log.txt``, and a live line with a bar."""

import math
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

from tqdm import auto, tqdm

from util.loggers.base import Logger
from util.run.progress import Position, Progress

RED, DIM, PLAIN = "\033[31m", "\033[2m", "\033[0m"
NOT_ON_CONSOLE = ("similarity", "diversity")  # for the plots: numbers of each layer, and a part of the loss N
BAR = "{desc} {percentage:3.0f}%|{bar:12}| {n_fmt}/{total_fmt}{postfix}"
UNSIZED_BAR = "{desc}, {n_fmt} images{postfix}"
ESTIMATE_SECONDS = 30  # until a pipe is told how long it will take


class ConsoleLogger(Logger):
    """Prints ``(epoch: 1, iters: 100, time: 0.123, data: 0.001) G_GAN: 0.321 ...``, in ``loss_log.txt`` too.

    The live line (epoch, images, time left of the whole training, images/s, losses) is drawn on terminals and in
    notebooks only; into a pipe or a file go the lines alone, how long it will take after half a minute, and a line at
    the end of each epoch. ``--quiet``: nothing but ``loss_log.txt``.
    """

    def __init__(self, opt, resume: Position | None = None):
        folder = Path(opt.checkpoints_dir) / opt.name
        folder.mkdir(parents=True, exist_ok=True)
        self.log = open(folder / "loss_log.txt", "a", encoding="utf-8", buffering=1)
        again = "" if resume is None else f", continued after image {resume.total_images}"
        print(f"================ Training Loss ({time.strftime('%c')}{again}) ================", file=self.log)
        self.quiet = opt.quiet
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.show_bar = not self.quiet and (sys.stderr.isatty() or _in_notebook())
        self.bar: auto.tqdm | None = None
        self.losses = ""  # as they stand in the live line
        self.begun, self.estimated = time.time(), False
        self.start: Progress | None = None  # first step of the epoch under way
        self.last: Progress | None = None

    def step(self, progress: Progress) -> None:
        if self.last is None or progress.epoch != self.last.epoch:
            self._end_epoch()
            self._start_epoch(progress)
        self.last = progress
        if self.bar is not None:
            self._show_status(progress)
            self.bar.update(progress.epoch_images - self.bar.n)
        elif not self.estimated and progress.seconds_left and progress.time >= self.begun + ESTIMATE_SECONDS:
            self.estimated = True
            if not self.quiet:
                self._print(f"{_speed(progress)}: {_clock(progress.seconds_left)} left")

    def _start_epoch(self, progress: Progress) -> None:
        self.start = progress
        if self.show_bar:
            self.bar = auto.tqdm(
                total=progress.epoch_size or None,
                initial=progress.epoch_images - progress.step_images,  # not 0 after a resume inside an epoch
                desc=f"epoch {progress.epoch}" + (f"/{progress.last_epoch}" if progress.last_epoch else ""),
                bar_format=BAR if progress.epoch_size else UNSIZED_BAR,
                dynamic_ncols=True,
                leave=False,
            )

    def _end_epoch(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        last = self.last
        if last is None or self.quiet or last.epoch_images < last.epoch_size:
            return
        of = f" / {last.last_epoch}" if last.last_epoch else ""
        seconds = last.time - self.start.time + self.start.seconds_per_image * self.start.step_images
        left = f", {_clock(last.seconds_left)} left" if last.seconds_left else ""
        speed = f" \t {_speed(last)}{left}" if last.seconds_per_image else ""
        self._print(f"End of epoch {last.epoch}{of} \t Time Taken: {seconds:.0f} sec{speed}")

    def log_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        head, losses = classic_head(progress), _on_console(losses)
        words = {name: f"{name}: {value:.3f}" for name, value in losses.items()}
        print(head + " ".join(words.values()), file=self.log)
        self.show_losses(progress, losses)
        if self.colour:
            head = f"{DIM}{head}{PLAIN}"
            words |= {name: f"{RED}{words[name]}{PLAIN}" for name, value in losses.items() if not math.isfinite(value)}
        if not self.quiet:
            self._print(head + " ".join(words.values()))

    def show_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        if self.bar is not None:
            self.losses = " ".join(f"{name} {value:.3f}" for name, value in _on_console(losses).items())
            self._show_status(progress)
            self.bar.refresh()

    def _show_status(self, progress: Progress) -> None:
        left = f"{_clock(progress.seconds_left)} left" if progress.seconds_left else ""
        speed = _speed(progress) if progress.seconds_per_image else ""
        self.bar.set_postfix_str(", ".join(filter(None, (left, speed, self.losses))), refresh=False)

    def close(self) -> None:
        self._end_epoch()
        self.log.close()

    def _print(self, line: str) -> None:
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()


def classic_head(progress: Progress) -> str:
    """CycleGAN's prefix: iters are images of the epoch, times are seconds per image."""
    spent = progress.seconds_per_image
    return (
        f"(epoch: {progress.epoch}, iters: {progress.epoch_images}, "
        f"time: {spent:.3f}, data: {spent * progress.data_share:.3f}) "
    )


def _on_console(losses: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in losses.items() if not name.startswith(NOT_ON_CONSOLE)}


def _speed(progress: Progress) -> str:
    return f"{progress.images_per_second:.3g} images/s"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return "IPKernelApp" in getattr(shell, "config", {})
