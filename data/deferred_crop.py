"""Crop, mirror and normalize where the model runs: the loader hands over bytes, a quarter of what floats take.

Random numbers are drawn where the image is read, in the order of ``get_transform``, so that an image comes out
bit-equal whether it took this way or that one.
"""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.base_dataset import draw_corner, draw_flip
from util.devices import to_device
from util.images import normalize


class Uncropped(NamedTuple):
    """Scaled images, uint8 (B, H, W, C), and for each x, y, side and whether it is mirrored, int64 (B, 4); without B
    before they are collated. Side 0: the whole image."""

    pixels: Tensor
    windows: Tensor


def can_wait(opt) -> bool:
    """Whether nothing but cropping and mirroring is left to do after ``resize``."""
    rest = opt.preprocess.replace("resize", "", 1)
    sides = (opt.crop_size,) if "crop" in rest else (opt.load_size, opt.crop_size)  # the jitter stops at crop_size
    return rest in ("", "_and_crop", "_crop") and all(side % 4 == 0 for side in sides)


def draw_window(image: Image.Image, opt) -> Uncropped:
    """``image`` after its scaling, with the crop and the mirroring that ``get_transform`` would have drawn."""
    side = opt.crop_size if "crop" in opt.preprocess else 0
    x, y = draw_corner(image.width - side, image.height - side) if side else (0, 0)
    flip = opt.isTrain and not opt.no_flip and draw_flip()
    pixels = np.array(image).reshape(image.height, image.width, -1)
    return Uncropped(torch.from_numpy(pixels), torch.tensor([x, y, side, flip]))


def crop(images: Uncropped, device: torch.device) -> Tensor:
    """float32 (B, C, h, w) in [-1, 1] on ``device``."""
    pixels = to_device(images.pixels, device)
    crops = []
    for image, (x, y, side, flip) in zip(pixels, images.windows.tolist(), strict=True):
        part = image[y : y + side, x : x + side] if side else image
        part = part.permute(2, 0, 1)
        crops.append(part.flip(2) if flip else part)
    return normalize(torch.stack(crops).contiguous())
