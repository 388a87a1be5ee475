"""Weights & Biases, for those who live there. Offline too: ``WANDB_MODE=offline``."""

import secrets
from pathlib import Path

from util.errors import UserError, warn
from util.files import write_atomic
from util.loggers.base import Images, Logger, loss_group
from util.metrics.names import higher_is_better, plotted_scores
from util.run.progress import Position, Progress

try:
    import wandb
except ImportError as error:
    raise UserError(f"--use_wandb needs a package ({error}): pip install wandb") from error

OFFLINE = ("offline", "dryrun", "disabled")


class WandbLogger(Logger):
    """Steps are images seen. Its files lie in ``checkpoints/NAME/wandb``, with the id of the run there, by which a
    resumed training goes on with the same one. Nothing is ever asked at the terminal: without a key one warning, and
    nothing is logged."""

    def __init__(self, opt, resume: Position | None = None):
        self.opt, self.run = opt, None
        settings = wandb.setup().settings
        if settings.mode not in OFFLINE and not wandb.login(prompt=False, verify=False):
            warn("--use_wandb: there is no key, so nothing goes there; `wandb login` stores one, or WANDB_MODE=offline")
            return
        folder = Path(opt.checkpoints_dir) / opt.name
        self.run = wandb.init(
            project=opt.wandb_project_name,
            name=opt.name,
            id=run_id(folder / "wandb" / "run_id.txt"),
            resume=None if settings.mode in OFFLINE else "allow",
            dir=str(folder),
            config={key: value for key, value in vars(opt).items() if isinstance(value, int | float | str)},
            settings=wandb.Settings(console="off", silent=True),  # the console is ours
        )
        self.watch = f"wandb sync {folder}/wandb/offline-run-*" if self.run.offline else self.run.url or ""

    def log_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        values = {f"{loss_group(name)}/{name}": value for name, value in losses.items()}
        values |= {f"learning_rate/{name}": rate for name, rate in progress.learning_rates.items()}
        self._log(progress, values | {"speed/images_per_second": progress.images_per_second, "epoch": progress.epoch})

    def log_images(self, progress: Progress, images: Images) -> None:
        if progress.due(self.opt.display_freq):
            self._log(progress, {f"images/{label}": wandb.Image(image) for label, image in images.items()})

    def log_samples(self, progress: Progress, samples: dict[str, Images]) -> None:
        for name, images in samples.items():
            self._log(progress, {f"samples {name}/{label}": wandb.Image(image) for label, image in images.items()})

    def log_scores(self, progress: Progress, scores: dict) -> None:
        """The run's summary shows the best of each."""
        scores = plotted_scores(scores)
        for name in scores if self.run else ():
            self.run.define_metric(f"scores/{name}", summary="max" if higher_is_better(name) else "min")
        self._log(progress, {f"scores/{name}": value for name, value in scores.items()})

    def close(self) -> None:
        if self.run:
            self.run.finish()

    def _log(self, progress: Progress, values: dict) -> None:
        if self.run and progress.total_images >= self.run.starting_step:  # a resumed run repeats its last images
            self.run.log(values, step=progress.total_images)


def run_id(path: Path) -> str:
    """The one in the file, or a new one, which is put there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, secrets.token_hex(4))
    return path.read_text().strip()
