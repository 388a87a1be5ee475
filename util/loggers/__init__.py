"""Everything a run shows and records: ``create_loggers(opt)`` gives one object that tells them all."""

import errno
import time

import torch
from PIL import Image

from util.errors import warn
from util.images import tensor2im
from util.loggers.base import Images, Logger, loss_group
from util.run.progress import Position, Progress

__all__ = ["Logger", "Loggers", "create_loggers", "loss_group"]


SHOW_SECONDS = 30  # between two looks at the losses
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Loggers(Logger):
    """Passes each event to all loggers. One that fails is dropped with one warning, unless the disk is full; the run
    goes on.

    ``Loggers([])`` is silent: for the ranks that don't log.
    """

    def __init__(self, loggers: list[Logger]):
        self.loggers = list(loggers)
        self.unshowable: set[str] = set()  # labels that were warned about
        self.shown = time.monotonic()  # when losses were last looked at

    def where_to_watch(self) -> list[str]:
        """Addresses and files, a line each."""
        return [logger.watch for logger in self.loggers if logger.watch]

    def log_start(self, start: dict) -> None:
        self._tell("log_start", start)

    def step(self, progress: Progress) -> None:
        self._tell("step", progress)

    def log_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        self.shown = time.monotonic()
        self._tell("log_losses", progress, {name: float(value) for name, value in losses.items()})

    def wants_losses(self) -> bool:
        """Whether the last ones are half a minute old. To look at losses is to wait for the device."""
        return bool(self.loggers) and time.monotonic() >= self.shown + SHOW_SECONDS

    def show_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        self.shown = time.monotonic()
        self._tell("show_losses", progress, {name: float(value) for name, value in losses.items()})

    def log_images(self, progress: Progress, images: dict) -> None:
        """``images``: label -> (H, W, 3) uint8 array, or tensor (C, H, W) / (B, C, H, W) in [-1, 1]."""
        if self.loggers:
            self._tell("log_images", progress, self._arrays(images))

    def log_samples(self, progress: Progress, samples: dict[str, dict]) -> None:
        if self.loggers:
            self._tell("log_samples", progress, {name: self._arrays(images) for name, images in samples.items()})

    def log_scores(self, progress: Progress, scores: dict) -> None:
        self._tell("log_scores", progress, scores)

    def close(self) -> None:
        self._tell("close")
        self.loggers.clear()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _arrays(self, images: dict) -> Images:
        arrays = {}
        for label, image in images.items():
            try:
                array = tensor2im(image) if isinstance(image, torch.Tensor) else image
                Image.fromarray(array)  # fails where it is no picture, as of five channels
                arrays[label] = array
            except Exception as error:
                if label not in self.unshowable:
                    warn(f"the picture {label} can't be shown: {error!r}")
                self.unshowable.add(label)
        return arrays

    def _tell(self, event: str, *what) -> None:
        for logger in list(self.loggers):
            try:
                getattr(logger, event)(*what)
            except Exception as error:
                if isinstance(error, OSError) and error.errno in FULL:  # what is kept in its buffers follows later
                    warn(f"{type(logger).__name__} cannot write: {error}")
                    continue
                self.loggers.remove(logger)
                warn(f"{type(logger).__name__} stopped and is left out from here on: {error!r}")


def create_loggers(opt, resume: Position | None = None) -> Loggers:
    """The loggers that the options ask for, writing under ``checkpoints_dir/name``.

    ``resume``: where training continues from; what the record holds beyond it will be made again and is cut off.
    None: a new run. Rank 0 alone logs.
    """
    if opt.rank:
        return Loggers([])
    from util.loggers.console import ConsoleLogger
    from util.loggers.jsonl import JsonlLogger

    kinds: list[type] = [JsonlLogger, ConsoleLogger]  # the record first: the pages begin with it
    if opt.display_id is None or opt.display_id > 0:
        try:
            from util.loggers.visdom_logger import VisdomLogger

            kinds.append(VisdomLogger)
        except ImportError as error:
            warn(f"Visdom isn't installed ({error}); --display_id 0 goes without")
    if not opt.no_html:
        from util.loggers.training_page import TrainingPage

        kinds.append(TrainingPage)
    if opt.tensorboard:
        from util.loggers.tensorboard import TensorboardLogger

        kinds.append(TensorboardLogger)
    if opt.use_wandb:
        from util.loggers.weights_and_biases import WandbLogger

        kinds.append(WandbLogger)
    return Loggers([kind(opt, resume) for kind in kinds])
