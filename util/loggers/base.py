"""What every logger receives (``Progress``) and does (``Logger``)."""

import sys
import time
from dataclasses import dataclass, field, replace

import numpy as np

from util.devices import peak_memory
from util.run.checkpoints import Position

Images = dict[str, np.ndarray]  # label -> (H, W, 3) uint8


@dataclass(frozen=True)
class Progress(Position):
    """The state of a training: where it stands after a step of ``step_images`` images, and how fast it goes. Images are
    counted over all ranks."""

    step_images: int = 1
    epoch_size: int = 0  # images of a whole epoch; 0: unknown
    last_epoch: int = 0  # the epoch at which training ends; 0: unknown
    seconds_per_image: float = 0.0
    data_share: float = 0.0  # part of that time spent waiting for data, in [0, 1]
    learning_rates: dict[str, float] = field(default_factory=dict)  # optimizer's name -> rate
    time: float = field(default_factory=time.time)  # seconds since 1970

    def after(self, images: int, **speed) -> "Progress":
        """One step of ``images`` later."""
        speed |= dict(epoch_images=self.epoch_images + images, total_images=self.total_images + images)
        return replace(self, step_images=images, time=time.time(), **speed)

    def next_epoch(self) -> "Progress":
        return replace(self, epoch=self.epoch + 1, epoch_images=0)

    @property
    def is_finished(self) -> bool:
        """Whether no epoch is left."""
        return self.epoch > self.last_epoch

    @property
    def images_per_second(self) -> float:
        return 1 / self.seconds_per_image if self.seconds_per_image > 0 else 0.0

    @property
    def share(self) -> float | None:
        """Of the whole training that is done, in [0, 1]; None while the sizes are unknown."""
        if not (self.epoch_size and self.last_epoch):
            return None
        return min(1.0, (self.epoch - 1 + self.epoch_images / self.epoch_size) / self.last_epoch)

    @property
    def seconds_left(self) -> float | None:
        """Until the end of training; None while the sizes or the speed are unknown."""
        if not (self.epoch_size and self.last_epoch and self.seconds_per_image):
            return None
        images = (self.last_epoch - self.epoch + 1) * self.epoch_size - self.epoch_images
        return max(images, 0) * self.seconds_per_image

    def passed(self, every: int) -> bool:
        """Whether this step reached or jumped over a multiple of ``every`` images, for any batch size."""
        if every <= 0:
            return False
        return self.total_images // every > (self.total_images - self.step_images) // every

    @property
    def is_first(self) -> bool:
        """Of the whole training, earlier runs of a resumed one included."""
        return self.total_images == self.step_images

    @property
    def is_last(self) -> bool:
        return self.epoch == self.last_epoch and self.epoch_images >= self.epoch_size > 0

    def due(self, every: int) -> bool:
        """Whether this step is shown and recorded: the first, the last, and one for each ``every`` images. The clock
        has no say in it, so that a run with interruptions records the same steps as one without."""
        return self.is_first or self.is_last or self.passed(every)

    def as_dict(self) -> dict:
        """The fields that ``losses.jsonl`` keeps."""
        return {
            "epoch": self.epoch,
            "epoch_images": self.epoch_images,
            "total_images": self.total_images,
            "time": round(self.time, 3),
            "images_per_second": round(self.images_per_second, 3),
            "data_share": round(self.data_share, 4),
            "memory_gb": round(memory_gb(), 3),
            "learning_rates": self.learning_rates,
        }


class Logger:
    """Base of all loggers: each overrides what it shows. An error in one never stops a run."""

    watch = ""  # where people look at it: an address or a file

    def __init__(self, opt=None, resume: Position | None = None):
        """``resume``: where a resumed training goes on; None in a new one."""
        self.opt = opt

    def log_start(self, start: dict) -> None:
        """What a start of the run is told apart by, once it has trained a step: see ``util/run/starts.py``."""

    def step(self, progress: Progress) -> None:
        """After every step: must cost next to nothing."""

    def log_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        """The first step, every ``--print_freq`` images, and the last step: what is recorded."""

    def show_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        """The newest losses in between, every half minute at most: shown, never recorded."""

    def log_images(self, progress: Progress, images: Images) -> None:
        """The pictures of the first step, of the last, and in between every ``--display_freq`` or
        ``--update_html_freq`` images."""

    def log_samples(self, progress: Progress, samples: dict[str, Images]) -> None:
        """The same test images at each call: name -> pictures by label (input, output, ...)."""

    def log_scores(self, progress: Progress, scores: dict[str, float | int | str]) -> None:
        """An evaluation: floats are scores; integers (counts), strings and NAME_se are notes to them."""

    def close(self) -> None:
        """Training ended, in whatever way."""


GROUPS = {  # of losses, with the titles of their plots
    "adversarial": "adversarial losses",
    "contrastive": "contrastive losses",
    "negatives": "negatives",
    "similarity": "similarity to the query",
    "other": "other losses",
}

HINTS = {
    "similarity": "Mean cosine of queries with their positives (dashed) and with their negatives (solid), a colour a "
    "layer of --nce_layers. Negatives near 1 are hard; far below their positives they teach nothing.",
    "contrastive": "How well a patch of the translation is told from the negatives: zero means that nothing ties "
    "translations to their sources.",
    "adversarial": "G_GAN: how far D is from calling translations real; D_real, D_fake: how far D is from being right.",
}
FEW = 30  # points: up to here each has a marker, since one point alone draws no line


def loss_group(name: str) -> str:
    """Which plot a loss belongs to: one of ``GROUPS``."""
    low = name.lower()
    if low.startswith("similarity"):
        return "similarity"
    if low == "n" or low.startswith(("n_", "diversity", "negative")):
        return "negatives"
    if "nce" in low:
        return "contrastive"
    if low.startswith(("g_gan", "d_", "r1", "gan")) or low == "d":
        return "adversarial"
    return "other"


def memory_gb() -> float:
    """Peak memory in GB (1e9 bytes): the GPU's where one is used, else this process's; 0 if unknown."""
    if (used := peak_memory()) is not None:
        return used / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
