"""Scaled images kept in memory (``--cache``), once for all loader processes: each file is decoded once.

What is kept is the 8-bit image right after ``resize``; crop, flip and normalization work on it exactly as
they do on the image that comes from the file, wherever they run.
"""

import functools
import os
import shutil
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from util.errors import UserError

AUTO_LIMIT = 2 * 2**30  # bytes that --cache auto takes at most for one domain


class ImageCache:
    """Square images of up to ``side`` pixels, filled as they are asked for.

    A slot remembers the side of the image it holds, so that the same memory serves both sizes of a run
    (``load_size``, then ``crop_size`` when the jitter stops). Processes that fill one slot at the same time
    write the same bytes.
    """

    def __init__(self, images: int, side: int, channels: int, shared: bool):
        self.channels = channels
        self.pixels = torch.empty(images, side * side * channels, dtype=torch.uint8)
        self.held = torch.zeros(images, dtype=torch.int32)
        if shared:
            self.pixels.share_memory_()
            self.held.share_memory_()

    def get(self, index: int, side: int, make: Callable[[], Image.Image]) -> Image.Image:
        """Image ``index`` at ``side`` x ``side``; ``make`` is called when it isn't held."""
        slot = self.pixels[index, : side * side * self.channels].numpy()
        if self.held[index] == side:
            shape = (side, side) if self.channels == 1 else (side, side, self.channels)
            return Image.fromarray(slot.reshape(shape))
        image = make()
        self.held[index] = 0
        slot[:] = np.asarray(image).reshape(-1)
        self.held[index] = side
        return image


def create_cache(opt, images: int, channels: int) -> ImageCache | None:
    """The cache that ``--cache`` asks for, or None; says once why there is none."""
    if not opt.isTrain or opt.cache == "none":
        return None
    if "resize" not in opt.preprocess or "fixsize" in opt.preprocess:
        _say(opt, f"no image cache: --preprocess {opt.preprocess} scales each image to a size of its own")
        return None
    shared = opt.num_threads > 0
    side = max(opt.load_size, opt.crop_size)
    needed = images * side * side * channels * opt.world_size
    free = _free_bytes(shared)
    if opt.cache == "auto" and needed > min(AUTO_LIMIT, free // 2):
        _say(opt, f"no image cache: {images} images need {_gb(needed)} ({_gb(free)} free), see --cache")
        return None
    if needed > free:
        where = "shared memory (/dev/shm; docker run --shm-size)" if shared else "memory"
        raise UserError(f"--cache ram needs {_gb(needed)} of {where}, {_gb(free)} are free; use --cache none")
    return ImageCache(images, side, channels, shared)


def _free_bytes(shared: bool) -> int:
    free = 2**63
    if os.path.exists("/proc/meminfo"):
        with open("/proc/meminfo") as file:
            free = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    if shared and os.path.isdir("/dev/shm"):
        free = min(free, shutil.disk_usage("/dev/shm").free)
    return free


def _gb(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _say(opt, message: str) -> None:
    if opt.rank == 0:
        _say_once(message)


@functools.cache
def _say_once(message: str) -> None:
    print(message)
