"""One domain's images: which folder, which files, read and scaled, or taken from the cache."""

import os
from functools import partial

import torch
from PIL import Image

from data.base_dataset import get_transform, scale, without_scaling
from data.cache import create_cache
from data.checked_images import checked_images
from data.deferred_crop import Uncropped, can_wait, draw_window
from data.sizes import check_sizes
from util import pictures
from util.errors import UserError
from util.pictures import Reader, is_image_file, source_side

PREPARE = "python scripts/data/prepare_images.py A B --out FOLDER makes a data set of two folders of images"


class Domain:
    """Images of one domain. ``part=(i, n)``: the i-th of n equal columns of each file."""

    def __init__(self, opt, paths: list[str], channels: int, reader: Reader, part: tuple[int, int] = (0, 1)):
        if channels not in (1, 3):
            raise UserError(
                f"--dataset_mode {opt.dataset_mode} loads 1 or 3 channels, not {channels}: mend "
                "--input_nc and --output_nc, or write a dataset file (see data/template_dataset.py)"
            )
        self.paths = paths
        self.channels = channels
        self.part = part
        self.reader = reader
        self.cache = create_cache(opt, len(paths), channels)

    def __len__(self) -> int:
        return len(self.paths)

    def scaled(self, index: int, opt, read=None) -> Image.Image:
        """Image ``index`` after the scaling of ``opt.preprocess``: ``without_scaling(opt)`` is left to do."""
        make = partial(self._read_and_scale, index, opt, read or self.reader.open)
        return make() if self.cache is None else self.cache.get(index, opt.load_size, make)

    def tensor(self, index: int, opt) -> torch.Tensor | Uncropped:
        """Image ``index``, transformed with draws of its own: (channels, H, W) in [-1, 1]. From the cache it comes with
        its draws alone where the loader can do the rest on the device."""
        if self.cache is not None and can_wait(opt):
            return draw_window(self.scaled(index, opt), opt)
        return get_transform(without_scaling(opt))(self.scaled(index, opt))

    def _read_and_scale(self, index: int, opt, read) -> Image.Image:
        column, columns = self.part
        if columns == 1:
            return scale(read(self.paths[index], self.channels), opt)
        image = read(self.paths[index], 3)
        width = image.width // columns
        image = image.crop((column * width, 0, (column + 1) * width, image.height))
        return scale(image.convert("L") if self.channels == 1 else image, opt)


def channels_of(opt) -> dict[str, int]:
    """Channels of each side: ``input_nc`` are those of the source."""
    if source_side(opt) == "A":
        return {"A": opt.input_nc, "B": opt.output_nc}
    return {"A": opt.output_nc, "B": opt.input_nc}


def _no_folder(opt, name: str) -> str:
    entries = list(os.scandir(opt.dataroot))
    there = sorted(entry.name for entry in entries if entry.is_dir())
    missing = f"--dataroot {opt.dataroot!r} has no folder {name!r}, which --dataset_mode {opt.dataset_mode} needs"
    if os.path.basename(os.path.abspath(opt.dataroot)) == name:
        return f"{missing}; it is that folder itself: name the one above it"
    if opt.phase not in ("train", "test", "val"):
        missing += f" with --phase {opt.phase}"
    folders = f"its folders are: {', '.join(map(repr, there[:10])) or 'none'}"
    if not any(is_image_file(entry.name) for entry in entries):
        folders += "" if any(name.startswith(opt.phase) for name in there) else f"; {PREPARE}"
        return f"{missing}; {folders}"
    if opt.isTrain:
        return f"{missing}; it holds images itself: {PREPARE}"
    return f"{missing}; it holds images itself: --model test --dataroot {opt.dataroot} translates them, or translate.py"


def find_images(opt, folder: str, reader: Reader, columns: int = 1) -> list[str]:
    """The images of a folder that has to have some, all checked; ``columns`` stand side by side in a file. For training
    sorted by code point, so that every version shuffles alike; for tests in natural order: 1, 2, 10."""
    if not os.path.isdir(opt.dataroot):
        raise UserError(
            f"--dataroot: the folder {opt.dataroot!r} does not exist; name one of your own, or fetch one by "
            "python scripts/data/download_dataset.py horse2zebra"
        )
    if not os.path.isdir(folder):
        raise UserError(_no_folder(opt, os.path.basename(folder)))
    paths = list(map(str, pictures.find_images(folder)))
    if opt.isTrain:
        paths.sort()
    paths = paths[: int(min(opt.max_dataset_size, len(paths)))]
    # Of a folder that is the data set itself (testB, whose images are compared with) names begin with its own.
    root = opt.dataroot if folder != opt.dataroot else os.path.dirname(os.path.normpath(folder)) or "."
    facts = checked_images(opt).check(root, paths, reader)
    if opt.rank == 0:
        reader.tell(dict(zip(paths, facts, strict=True)), folder)
    check_sizes(opt, paths, [(fact.size[0] // columns, fact.size[1]) for fact in facts])
    return paths
