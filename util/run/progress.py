"""Where a training stands: what a checkpoint keeps of it (``Position``), and what loggers receive (``Progress``)."""

import time
from dataclasses import dataclass, field, replace

from util.devices import memory_gb


@dataclass(frozen=True)
class Position:
    """What a checkpoint keeps of the training's progress."""

    epoch: int  # under way or next, counted from 1
    epoch_images: int = 0  # of it that are done
    total_images: int = 0  # since the start of training, earlier runs of a resumed one included


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
