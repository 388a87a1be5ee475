"""The one lister of folders of pictures, and the one reader of picture files: training, scores and scripts see the same
pixels."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from util import pixels
from util.errors import UserError, warn
from util.flag_types import ValueRange, positive
from util.unreadable import why_unreadable

ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp")
MAX_PIXELS = 10**9
LARGE = 2**25  # pixels from which pictures are decoded one at a time to check them
MODES = {1: "L", 3: "RGB"}


def add_flags(add: Callable) -> None:
    """``--value_range`` and ``--max_pixels``, for ``reader_for``; ``add`` is a parser's ``add_argument``."""
    add(
        "--value_range",
        type=float,
        nargs="+",
        action=ValueRange,
        metavar="LOW HIGH",
        help="values that are black and white in pictures of 16 bits, signed or float ones; four numbers: of A, then B",
    )
    add("--max_pixels", type=positive, default=MAX_PIXELS, help="pictures of more pixels are refused")


def is_image_file(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


class Listing(NamedTuple):
    paths: list[Path]  # of the pictures
    left_out: Counter  # other files by their ending, hidden ones aside


def ending_of(path: str | Path) -> str:
    return os.path.splitext(path)[1].lower() or "without ending"


def counted(endings: Counter) -> str:
    """``2 .gif, 1 .txt``"""
    return ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))


def natural(path: str | Path) -> tuple:
    """Sorts 1, 2, 10; equal numbers by their spelling."""
    parts = [re.split(r"(\d+)", part) for part in Path(path).parts]
    return [[int(text) if i % 2 else text for i, text in enumerate(part)] for part in parts], str(path)


def list_folder(folder: str | Path, flag: str = "", order: Callable = natural) -> Listing:
    """What is in ``folder`` and those below it, sorted by ``order``; ``flag`` names the folder in errors.

    Links to folders are followed, each folder is read once (a loop of links ends). Names that start with a dot are
    left out: ``.ipynb_checkpoints`` holds copies, ``._x.jpg`` of macOS archives is no image.
    """
    if not os.path.isdir(folder):
        raise UserError(f"{flag or 'the folder'} {str(folder)!r} is not there or no folder; name one that holds images")

    def refuse(error: OSError):
        raise UserError(f"the folder {error.filename!r} cannot be read: {error.strerror}") from error

    paths, left_out, seen = [], Counter(), set()
    for root, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.startswith("."):
                continue
            if is_image_file(name):
                paths.append(Path(root, name))
            else:
                left_out[ending_of(name)] += 1
    return Listing(sorted(paths, key=order), left_out)


def list_images(folder: str | Path) -> list[Path]:
    """The pictures in ``folder`` and those below it, in natural order."""
    return list_folder(folder).paths


def find_images(folder: str | Path, flag: str = "") -> list[Path]:
    """``list_images`` of a folder that has to have some."""
    found = list_folder(folder, flag)
    if not found.paths:
        others = f", only {counted(found.left_out)}" if found.left_out else ""
        raise UserError(f"{flag or 'the folder'} {str(folder)!r} holds no images ({' '.join(ENDINGS)}){others}")
    return found.paths


class Facts(NamedTuple):
    """What checking a file has shown."""

    size: tuple[int, int]  # width, height, upright
    notes: tuple[str, ...] = ()  # what is not used of it
    deep: tuple[str, float, float] | None = None  # kind and span of values of more than 8 bits


@dataclass(frozen=True)
class Reader:
    """How picture files become 8-bit pixels, everywhere the same.

    Turned as their EXIF orientation says; colours taken from their ICC profile to sRGB; transparent parts laid on white
    (the colour stored under full transparency is arbitrary); of pages and animations the first. ``value_range``: what
    becomes 0 and 255 in pictures of more than 8 bits, linearly and the same for all; None: 0 and 65535 for unsigned 16
    bits, others are refused. Pictures of more than ``max_pixels`` are refused before they are decompressed.
    ``UserError`` with the path for anything that cannot be read.
    """

    value_range: tuple[float, float] | None = None
    max_pixels: float = MAX_PIXELS

    def find(self, folder: str | Path, flag: str = "") -> list[Path]:
        """``find_images``, checked, with one line for each thing that is used in part."""
        paths = find_images(folder, flag)
        self.tell(dict(zip(paths, self.check(paths), strict=True)), str(folder))
        return paths

    def open(self, path: str | Path, channels: int = 3) -> Image.Image:
        """Mode "RGB" for 3 channels, "L" for 1."""
        return self.open_with_transparency(path, channels)[0]

    def open_with_transparency(self, path: str | Path, channels: int = 3) -> tuple[Image.Image, Image.Image | None]:
        """The same, and how opaque each pixel is (mode "L"), or None."""
        with self._opened(path) as picture:
            for part in filter(None, picture):
                ImageOps.exif_transpose(part, in_place=True)
            return picture.to_8_bit(MODES[channels], self.value_range), pixels.transparency(picture.image)

    def array(self, path: str | Path) -> np.ndarray:
        """(H, W, 3) uint8."""
        return np.asarray(self.open(path))

    def convert(self, image: Image.Image, channels: int = 3) -> Image.Image:
        """``open`` of a picture in memory; ``NotTaken`` where its values' range is not known."""
        with _no_other_limit():
            return pixels.Picture(image).to_8_bit(MODES[channels], self.value_range)

    def check(self, paths: Sequence[str | Path], of: int | None = None) -> list[Facts]:
        """Facts of every picture; raises one ``UserError`` that names the first unreadable ones. of: how many there are
        in all, where these are the new ones.

        Cost: a JPEG that ends as it should is opened only (about 0.2 ms), an 8-bit PNG is read and its checksums
        compared, without decompression; everything else is decoded. Damage in the middle of a JPEG shows as wrong
        pixels, not as an error.
        """
        good, bad = self.check_each(paths)
        if bad:
            first = "; ".join(map(str, list(bad.values())[:3]))
            more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
            raise UserError(f"mend or remove {len(bad)} of {of or len(paths)} images: {first}{more}")
        return [good[path] for path in paths]

    def check_each(self, paths: Collection[str | Path]) -> tuple[dict, dict]:
        """path -> ``Facts`` of the pictures that can be read, path -> ``UserError`` of the others."""
        with ThreadPoolExecutor(4) as pool:  # most of the time goes into waiting for the disk
            found = dict(zip(paths, pool.map(self._check, paths), strict=True))
        bad = {path: error for path, error in found.items() if isinstance(error, UserError)}
        return {path: facts for path, facts in found.items() if path not in bad}, bad

    def _check(self, path: str | Path) -> Facts | UserError:
        try:
            with self._opened(path) as picture:
                image = picture.image
                one_at_a_time = _large if image.width * image.height >= LARGE else nullcontext()
                on_its_side = "exif" in image.info and image.getexif().get(0x0112, 1) >= 5
                size = image.size[::-1] if on_its_side else image.size
                notes = tuple(what_is_left_out(image))
                with one_at_a_time:
                    if picture.is_deep:
                        picture.to_8_bit("RGB", self.value_range)
                        return Facts(size, notes, (picture.kind, *picture.span()))
                    if image.format == "PNG":
                        image.verify()
                    elif image.format not in ("JPEG", "MPO") or not _ends_as_jpeg(path):
                        size = picture.to_8_bit("RGB", self.value_range).size
                return Facts(size, notes)
        except UserError as error:
            return error

    def tell(self, facts: Mapping[str, Facts] | Mapping[Path, Facts], where: str) -> None:
        """One line for each of the ``remarks``."""
        for remark in self.remarks(facts, where):
            warn(remark)

    def remarks(self, facts: Mapping[str, Facts] | Mapping[Path, Facts], where: str) -> Iterator[str]:
        """A sentence for each thing that is used in part or guessed in the pictures of ``where``."""
        by_note: dict[str, list] = {}
        for path, fact in facts.items():
            for note in fact.notes:
                by_note.setdefault(note, []).append(path)
        for note, those in by_note.items():
            yield f"{where}: {len(those)} of {len(facts)} images have {note} (first {str(those[0])!r})"
        deep = [fact.deep for fact in facts.values() if fact.deep]
        if not deep:
            return
        smallest, largest = min(low for _, low, _ in deep), max(high for *_, high in deep)
        seen = f"{where}: {len(deep)} of {len(facts)} images have {deep[0][0]} values, {smallest:g} to {largest:g} seen"
        if self.value_range:
            black, white = self.value_range
            yield f"{seen}; {black:g} becomes black and {white:g} white (--value_range), in 8 bits"
        elif largest - smallest < 65535 / 4:
            levels = round(largest / 257) - round(smallest / 257) + 1
            yield (
                f"{seen}: less than a quarter of their range, {levels} of 256 levels of grey; "
                f"--value_range {smallest:g} {largest:g}, or what these values can be, uses all"
            )

    @contextmanager
    def _opened(self, path: str | Path):
        """The file's ``Picture``, not yet decoded."""
        try:
            with _no_other_limit(), Image.open(path) as image:
                if image.width * image.height > self.max_pixels:
                    raise pixels.NotTaken(
                        f"has {image.width} x {image.height} pixels, more than --max_pixels {self.max_pixels:g}"
                    )
                yield pixels.Picture(image, _low_bytes(path, image))
        except UserError:
            raise
        except Exception as error:  # Pillow's decoders raise nearly everything when a file is damaged
            raise UserError(f"{str(path)!r} {why_unreadable(path, error)}") from error


def what_is_left_out(image: Image.Image) -> list[str]:
    notes = []
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # a camera's preview beside its picture
    if frames > 1:
        notes.append(f"{frames} pages or frames, of which the first is used")
    bands = pixels.tiff_bands(image)
    if bands and bands[0] > bands[1] + bands[2]:
        used = bands[1] + bands[2]
        notes.append(f"{bands[0]} bands, of which {used} {'is' if used == 1 else 'are'} used")
    return notes


def source_side(opt) -> str:
    """The side that is translated: A of AtoB."""
    return opt.direction[0]


def target_side(opt) -> str:
    """The side whose look translations take: B of AtoB."""
    return opt.direction[-1]


def phase_folder(opt, side: str = "") -> str:
    """``dataroot/PHASE + side``; where there is no test folder but one named val, that one."""
    folder = os.path.join(opt.dataroot, opt.phase + side)
    validation = os.path.join(opt.dataroot, "val" + side)
    if opt.phase == "test" and not os.path.isdir(folder) and os.path.isdir(validation):
        return validation
    return folder


def reader_for(opt, side: str = "A") -> Reader:
    """As ``--value_range`` and ``--max_pixels`` say for the pictures of side "A" or "B"."""
    numbers = opt.value_range
    if numbers:
        numbers = tuple(numbers[-2:] if side == "B" else numbers[:2])
    return Reader(numbers or None, opt.max_pixels)


def _low_bytes(path: str | Path, image: Image.Image) -> Image.Image | None:
    """Of a picture with 16 bits a colour Pillow keeps the high bytes. Read with the other byte order, the low ones."""
    orders = [_raw_mode(tile).partition(";")[2] for tile in image.tile]
    if not orders or set(orders) - {"16B", "16L", "16N"} or image.mode not in ("RGB", "RGBA"):
        return None
    if any(_raw_mode(tile).startswith(("LA", "RGBa")) for tile in image.tile):
        return None
    low = Image.open(path)
    low.tile = [_with_other_order(tile) for tile in low.tile]
    return low


def _raw_mode(tile) -> str:
    args = tile[3]
    return args if isinstance(args, str) else args[0] if args and isinstance(args[0], str) else ""


def _with_other_order(tile):
    name = _raw_mode(tile)
    native = "L" if np.little_endian else "B"
    other = name[:-1] + {"L": "B", "B": "L"}[name[-1].replace("N", native)]
    args = other if isinstance(tile[3], str) else (other, *tile[3][1:])
    return getattr(tile, "_make", tuple)((*tile[:3], args))


def _ends_as_jpeg(path: str | Path) -> bool:
    """The end-of-image marker stands in the last bytes (a few may follow it)."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 64))
        return b"\xff\xd9" in file.read()


_large, _lock, _lifted = Lock(), Lock(), []


@contextmanager
def _no_other_limit():
    """Pillow's own limit on pixels, which is for all of a process, is off while this reader works."""
    with _lock:
        if not _lifted:
            _lifted.append(Image.MAX_IMAGE_PIXELS)
            Image.MAX_IMAGE_PIXELS = None
        _lifted.append(None)
    try:
        yield
    finally:
        with _lock:
            _lifted.pop()
            if len(_lifted) == 1:
                Image.MAX_IMAGE_PIXELS = _lifted.pop()
