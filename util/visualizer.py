"""The official ``Visualizer`` and ``save_images``, for training and testing scripts of others; behind them are the
loggers of train.py."""

import atexit
from dataclasses import dataclass
from pathlib import Path

from util.html import HTML
from util.images import result_name, save_image, tensor2im
from util.json_lines import read
from util.loggers import create_loggers
from util.run.progress import Position, Progress


@dataclass(frozen=True)
class LoopProgress(Progress):
    """Progress as a loop of others tells it: which pictures are due was decided there."""

    pictures: tuple[int, ...] = ()  # frequencies

    def due(self, every: int) -> bool:
        return every in self.pictures


class Visualizer:
    """Its methods take CUT's arguments and those of CycleGAN's code of 2025.

    Images seen in all are counted by an epoch's size, which is the largest count that was told of one unless
    ``set_dataset_size`` said it, or by the count that the 2025 loop gives.
    """

    def __init__(self, opt):
        self.opt, self.name = opt, opt.name
        record = read(Path(opt.checkpoints_dir) / opt.name / "losses.jsonl") if opt.continue_train else []
        self.loggers = create_loggers(opt, _after(record))
        for place in self.loggers.where_to_watch():
            print(f"watch {place}")
        self.dataset_size = max((row["epoch_images"] for row in record), default=0)
        self.saved_in = self.total_images = self.epoch_images = 0
        atexit.register(self.loggers.close)

    def reset(self) -> None:
        """A new epoch: its first pictures go to the page."""
        self.saved_in = 0

    def set_dataset_size(self, dataset_size: int) -> None:
        self.dataset_size = dataset_size

    def display_current_results(
        self, visuals: dict, epoch: int, total_iters: int | bool | None = None, save_result: bool | None = None
    ) -> None:
        """``(visuals, epoch, save_result)``, or of 2025 ``(visuals, epoch, total_iters, save_result)``."""
        if isinstance(total_iters, bool):
            total_iters, save_result = None, total_iters
        due = [self.opt.display_freq]
        if save_result or self.saved_in != epoch:
            due.append(self.opt.update_html_freq)
            self.saved_in = epoch
        self.total_images = total_iters or self.total_images
        self.loggers.log_images(self._progress(epoch, pictures=tuple(due)), visuals)

    def print_current_losses(self, epoch: int, iters: int, losses: dict, t_comp: float, t_data: float) -> None:
        """The console's line and every record and plot; ``iters``: images of this epoch, times in seconds an image."""
        self.dataset_size = max(self.dataset_size, iters)
        self.epoch_images, self.total_images = iters, (epoch - 1) * self.dataset_size + iters
        spent = t_comp + t_data
        speed = dict(seconds_per_image=spent, data_share=t_data / spent if spent else 0.0)
        self.loggers.log_losses(self._progress(epoch, **speed), losses)

    def plot_current_losses(self, *args) -> None:
        """``print_current_losses`` has plotted them."""

    def _progress(self, epoch: int, **more) -> LoopProgress:
        opt = self.opt
        sizes = dict(step_images=opt.batch_size, epoch_size=self.dataset_size)
        sizes["last_epoch"] = opt.n_epochs + opt.n_epochs_decay
        return LoopProgress(epoch, self.epoch_images, self.total_images, **sizes, **more)


def _after(record: list[dict]) -> Position | None:
    """Behind all of it: a loop of others may start at any epoch, so nothing is cut off."""
    last = max(record, key=lambda row: row["total_images"], default=None)
    return Position(last["epoch"] + 1, 0, last["total_images"]) if last else None


def save_images(
    webpage: HTML,
    visuals: dict,
    image_path: list[str],
    aspect_ratio: float = 1.0,
    width: int = 256,
    use_wandb: bool = False,
) -> None:
    """The pictures of one image to ``images/LABEL/NAME.png`` beside the page, and a row of them on it. ``use_wandb`` is
    there for CycleGAN's test.py of 2023; pictures of a test stay on its page."""
    name = result_name(image_path[0], webpage.names)
    webpage.add_header(name)
    files = []
    for label, pictures in visuals.items():
        files.append(f"{label}/{name}.png")
        path = Path(webpage.get_image_dir()) / files[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(tensor2im(pictures), path, aspect_ratio)
    webpage.add_images(files, list(visuals), files, width)
