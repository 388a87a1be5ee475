"""The class that every dataset extends, and the transforms: a PIL image to a (C, H, W) float in [-1, 1].

``--preprocess`` is read by substrings, as in the official code. Their order: fixsize, resize | scale_width |
scale_shortside, zoom, crop, patch, trim; then sides to multiples of 4, flip. All randomness comes from
``random``, which the loader seeds for each item.
"""

import copy
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image

from util.errors import UserError
from util.images import normalize


class BaseDataset(torch.utils.data.Dataset, ABC):
    """``__getitem__(index)`` returns a dict of tensors (C, H, W) in [-1, 1] and paths.

    ``current_epoch`` is set before every item, in worker processes too. ``shuffle = False`` is for items that
    are random in themselves: they are then taken in the order 0, 1, 2...
    """

    shuffle = True

    def __init__(self, opt):
        self.opt = opt
        self.root = opt.dataroot
        self.current_epoch = 0

    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        """Add flags of this dataset or change defaults; return the parser."""
        return parser

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def __getitem__(self, index: int) -> dict:
        """One item."""


class Compose:
    """Calls ``transforms`` one after the other."""

    def __init__(self, transforms: list[Callable]):
        self.transforms = transforms

    def __call__(self, image):
        for transform in self.transforms:
            image = transform(image)
        return image


def get_params(opt, size: tuple[int, int]) -> dict:
    """A crop position and a flip for an image of ``size`` (width, height), to be shared by several images."""
    width, height = scaled_size(opt.preprocess, opt.load_size, opt.crop_size, size)
    crop_pos = draw_corner(width - opt.crop_size, height - opt.crop_size)
    return {"crop_pos": crop_pos, "flip": draw_flip()}


def get_transform(
    opt, params: dict | None = None, grayscale: bool = False, method=Image.BICUBIC, convert: bool = True
) -> Compose:
    """The transform of ``opt.preprocess``; ``params`` fixes what is otherwise drawn anew for every image.

    Its keys: crop_pos (x, y), flip, scale_factor (x, y) of zoom, patch_index of patch, size of fixsize (one
    number: the shorter side, load_size if left out; or height, width). ``convert=False`` stops at the PIL
    image.
    """
    params = params or {}
    steps = [_grayscale] if grayscale else []
    if "fixsize" in opt.preprocess:
        steps.append(partial(_fix_size, size=params.get("size", opt.load_size), method=method))
    if has_scaling(opt.preprocess):
        steps.append(partial(scale, opt=opt, method=method))
    if "zoom" in opt.preprocess:
        steps.append(partial(_zoom, size=opt.crop_size, method=method, factor=params.get("scale_factor")))
    if "crop" in opt.preprocess:
        steps.append(partial(_crop, size=opt.crop_size, corner=params.get("crop_pos")))
    if "patch" in opt.preprocess:
        steps.append(partial(_patch, size=opt.crop_size, index=params.get("patch_index")))
    if "trim" in opt.preprocess:
        steps.append(partial(_trim, size=opt.crop_size))
    steps.append(partial(_to_multiple, base=4, method=method))
    if opt.isTrain and not opt.no_flip:  # test images are never mirrored
        steps.append(partial(_flip, flip=params.get("flip")))
    if convert:
        steps.append(to_tensor)
    return Compose(steps)


def to_tensor(image: Image.Image) -> torch.Tensor:
    """8-bit image -> (C, H, W) float32 in [-1, 1]."""
    pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    return normalize(torch.from_numpy(np.array(pixels, order="C")))  # three times faster than torch's permuted copy


def has_scaling(preprocess: str) -> bool:
    return "resize" in preprocess or "scale_width" in preprocess or "scale_shortside" in preprocess


def without_scaling(opt):
    """A copy of ``opt`` with what follows the scaling: resize_and_crop leaves crop."""
    rest = copy.copy(opt)
    rest.preprocess = re.sub("resize|scale_width|scale_shortside", "", opt.preprocess)
    return rest


def scaled_size(preprocess: str, load_size: int, crop_size: int, size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) after resize, scale_width or scale_shortside."""
    width, height = size
    if "resize" in preprocess:
        return load_size, load_size
    if "scale_width" in preprocess and not (width == load_size and height >= crop_size):
        return load_size, int(max(load_size * height / width, crop_size))
    if "scale_shortside" in preprocess and min(size) < load_size:
        factor = load_size / min(size)
        return round(width * factor), round(height * factor)
    return size


def scale(image: Image.Image, opt, method=Image.BICUBIC) -> Image.Image:
    return _resize(image, scaled_size(opt.preprocess, opt.load_size, opt.crop_size, image.size), method)


def _resize(image: Image.Image, size: tuple[int, int], method) -> Image.Image:
    return image if image.size == size else image.resize(size, method)


def _grayscale(image: Image.Image) -> Image.Image:
    return image if image.mode == "L" else image.convert("L")


def _fix_size(image: Image.Image, size, method) -> Image.Image:
    if not isinstance(size, int):
        return _resize(image, tuple(size)[::-1], method)
    width, height = image.size
    short = min(image.size)
    return _resize(image, (int(size * width / short), int(size * height / short)), method)


def _zoom(image: Image.Image, size: int, method, factor=None) -> Image.Image:
    x, y = factor if factor is not None else (random.uniform(0.8, 1), random.uniform(0.8, 1))
    width, height = image.size
    return _resize(image, (round(max(size, width * x)), round(max(size, height * y))), method)


def draw_corner(room_x: int, room_y: int) -> tuple[int, int]:
    return random.randint(0, max(0, room_x)), random.randint(0, max(0, room_y))


def draw_flip() -> bool:
    return random.random() > 0.5


def _crop(image: Image.Image, size: int, corner: tuple[int, int] | None) -> Image.Image:
    width, height = image.size
    if min(image.size) < size:
        raise UserError(
            f"an image of {width}x{height} pixels is smaller than --crop_size {size}; "
            "use a smaller one, or --preprocess resize_and_crop"
        )
    x, y = corner if corner is not None else draw_corner(width - size, height - size)
    return image.crop((x, y, x + size, y + size))


def _patch(image: Image.Image, size: int, index: int | None) -> Image.Image:
    """Tile ``index`` of a grid of tiles, the grid placed at random."""
    width, height = image.size
    columns, rows = width // size, height // size
    if not (columns and rows):
        raise UserError(f"an image of {width}x{height} pixels has no patch of --crop_size {size}, use less")
    x, y = draw_corner(width - columns * size, height - rows * size)
    index = random.randrange(columns * rows) if index is None else index % (columns * rows)
    x, y = x + index // rows * size, y + index % rows * size
    return image.crop((x, y, x + size, y + size))


def _trim(image: Image.Image, size: int) -> Image.Image:
    """Cut at random to at most ``size`` in each direction."""
    width, height = image.size
    x, y = draw_corner(width - size, height - size)
    return image.crop((x, y, x + min(width, size), y + min(height, size)))


def to_multiple(size: tuple[int, int], base: int) -> tuple[int, int]:
    """The nearest (width, height) that two halvings divide evenly."""
    width, height = (max(base, round(side / base) * base) for side in size)
    return width, height


def _to_multiple(image: Image.Image, base: int, method) -> Image.Image:
    return _resize(image, to_multiple(image.size, base), method)


def _flip(image: Image.Image, flip: bool | None) -> Image.Image:
    flip = draw_flip() if flip is None else flip
    return image.transpose(Image.FLIP_LEFT_RIGHT) if flip else image
