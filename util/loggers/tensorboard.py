"""TensorBoard files in ``checkpoints/NAME/tensorboard``, for those who live there."""

from pathlib import Path

from util.errors import UserError
from util.loggers.base import Images, Logger, loss_group
from util.metrics.names import plotted_scores
from util.run.progress import Position, Progress

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise UserError(f"--tensorboard needs a package ({error}): pip install tensorboard") from error


class TensorboardLogger(Logger):
    """Steps are images seen. On resume TensorBoard drops what lies beyond the resumed step."""

    def __init__(self, opt, resume: Position | None = None):
        self.opt = opt
        folder = Path(opt.checkpoints_dir) / opt.name / "tensorboard"
        self.watch = f"tensorboard --logdir {folder}"
        self.writer = SummaryWriter(str(folder), purge_step=0 if resume is None else resume.total_images + 1)

    def log_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        values = {f"{loss_group(name)}/{name}": value for name, value in losses.items()}
        values |= {f"learning_rate/{name}": rate for name, rate in progress.learning_rates.items()}
        values["speed/images_per_second"] = progress.images_per_second
        self._add_scalars(progress, values)

    def log_scores(self, progress: Progress, scores: dict) -> None:
        self._add_scalars(progress, {f"scores/{name}": x for name, x in plotted_scores(scores).items()})
        self.writer.flush()

    def log_images(self, progress: Progress, images: Images) -> None:
        if progress.due(self.opt.display_freq):
            self._add_images(progress, "images", images)

    def log_samples(self, progress: Progress, samples: dict[str, Images]) -> None:
        for name, images in samples.items():
            self._add_images(progress, f"samples {name}", images)

    def close(self) -> None:
        self.writer.close()

    def _add_scalars(self, progress: Progress, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, progress.total_images, walltime=progress.time)

    def _add_images(self, progress: Progress, group: str, images: Images) -> None:
        for label, image in images.items():
            self.writer.add_image(f"{group}/{label}", image, progress.total_images, dataformats="HWC")
