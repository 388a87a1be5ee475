"""Reading, pairing and resizing the images that are scored. Every resize names its filter: scores depend on it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from util.errors import UserError
from util.images import result_name
from util.pictures import Reader, find_images

FILTERS = {kind.name.lower(): kind for kind in Image.Resampling}
# How an image is brought to the size that a feature network takes.
RESIZES = {
    "pillow": "Pillow bicubic on 8 bits, antialiased",
    "clean": "Pillow bicubic on 32-bit floats, antialiased: clean-fid's `clean`",
    "legacy": "torch bilinear, not antialiased: pytorch-fid's and clean-fid's `legacy_pytorch`",
    "fidelity": "torch-fidelity's own inside its extractor, bilinear as in TensorFlow 1, not antialiased",
}


def read_image(image: str | Path | np.ndarray, reader: Reader | None = None) -> np.ndarray:
    """A file or a uint8 array (H, W), (H, W, 1) or (H, W, 3) -> (H, W, 3) uint8."""
    if not isinstance(image, np.ndarray):
        return (reader or Reader()).array(image)
    if image.dtype != np.uint8:
        raise TypeError(f"images are scored as uint8 in 0..255, not {image.dtype}")
    image = image[:, :, None] if image.ndim == 2 else image
    return image.repeat(3, axis=2) if image.shape[2] == 1 else image


def resize_image(image: np.ndarray, size: tuple[int, int], filter: str = "bicubic") -> np.ndarray:
    """(H, W, 3) or (H, W) uint8 -> the same at ``size`` (height, width), by Pillow's filter of that name."""
    if image.shape[:2] == tuple(size):
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], FILTERS[filter]))


def to_network_size(image: np.ndarray, size: int, resize: str) -> torch.Tensor:
    """(H, W, 3) uint8 -> (3, size, size) in 0..255 by a way of ``RESIZES``: uint8 for ``pillow``, float32
    for others.

    ``fidelity`` leaves the image as it is, for the extractor to resize.
    """
    if resize == "fidelity":
        return _channels_first(image)
    if resize == "pillow":
        return _channels_first(resize_image(image, (size, size)))
    if resize == "legacy":
        floats = _channels_first(image).float()[None]
        return F.interpolate(floats, (size, size), mode="bilinear", align_corners=False)[0].clamp(0, 255)
    planes = [Image.fromarray(plane) for plane in image.astype(np.float32).transpose(2, 0, 1)]
    resized = np.stack([np.asarray(plane.resize((size, size), FILTERS["bicubic"])) for plane in planes])
    return torch.from_numpy(resized).clamp(0, 255)


def _channels_first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def content_key(images: Iterable[str | Path | np.ndarray]) -> str:
    """A hash of the files' or arrays' contents, whatever their names, folder and order."""
    each = sorted(_hash(image) for image in images)
    return hashlib.sha256("".join(each).encode()).hexdigest()


def _hash(image: str | Path | np.ndarray) -> str:
    if isinstance(image, np.ndarray):
        return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()
    with open(image, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pair_by_name(folder: str | Path, others: str | Path, flag: str) -> list[tuple[Path, Path]]:
    """Each image of ``folder`` with the one of ``others`` that has its name, endings aside, or that test.py made it of
    (its results of ``x/1.jpg`` and ``y/1.jpg`` lie in one folder); ``flag`` names ``others``."""
    made, found = find_images(folder), find_images(others)
    names: set[str] = set()
    by_name = {Path(result_name(str(path), names)): path for path in found}
    if not by_name.keys() >= {_name_in(folder, path) for path in made}:
        by_name = {_name_in(others, path): path for path in found}
    pairs = []
    for path in made:
        name = _name_in(folder, path)
        if name not in by_name:
            raise UserError(
                f"{flag} {others} holds no image named {name} for {path}; names must be equal, endings aside"
            )
        pairs.append((path, by_name[name]))
    return pairs


def _name_in(folder: str | Path, path: Path) -> Path:
    return path.relative_to(folder).with_suffix("")
