"""Pictures that are copies of each other, also scaled or compressed anew.

Small pictures of all are compared first; those that look alike are confirmed at the size that both have. Differences
are measured by the pictures' own contrast: in a dark or a flat picture a few levels are the whole content.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from tqdm.auto import tqdm

THUMBNAIL = 16  # pixels a side
ALIKE = 0.15  # of the contrast: root mean square difference of thumbnails that are looked at again
NEAREST = 10  # that are looked at again for each picture
LONGEST = 512  # pixels a side at most where copies are confirmed
SAME = 0.25  # of the contrast: root mean square difference of copies; JPEG's losses at quality 60 are about 0.1
SAME_BLOCK = 0.2  # the same of the mean grey of any 8 x 8 pixels: noise is averaged out, a small object is not

Open = Callable[[int], Image.Image]  # number of a picture -> the picture, "RGB"


def find_copies(thumbnails: np.ndarray, open_picture: Open) -> list[list[int]]:
    """Numbers of equal pictures, in their order; ``thumbnails`` as ``thumbnail`` gives them, (n, 768)."""
    look = lru_cache(maxsize=64)(open_picture)
    groups: dict[int, list[int]] = {}
    copies: set[int] = set()
    for number, others in enumerate(_alike(thumbnails)):
        first = next((i for i in others if i not in copies and is_copy(look(i), look(number))), None)
        if first is not None:
            copies.add(number)
            groups.setdefault(first, [first]).append(number)
    return [groups[first] for first in sorted(groups)]


def thumbnails_of(count: int, open_picture: Open) -> np.ndarray:
    """(count, 768)"""
    with ThreadPoolExecutor(4) as pool:
        read = pool.map(lambda number: thumbnail(open_picture(number)), range(count))
        return np.stack(list(tqdm(read, total=count, desc="reading", unit=" images", disable=None)))


def thumbnail(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.BOX), dtype=np.float32).ravel()


def is_copy(a: Image.Image, b: Image.Image) -> bool:
    """Whether two "RGB" pictures are one, at the smaller one's size."""
    size = [min(sides) for sides in zip(a.size, b.size, strict=True)]
    size = [max(1, round(side * min(1, LONGEST / max(size)))) for side in size]
    x, y = (np.asarray(image.resize(size, Image.LANCZOS), dtype=np.float32) for image in (a, b))
    contrast = _contrast(x, y)
    if _rms(x - y) > SAME * contrast or _largest_block((x - y).mean(axis=2)) > SAME_BLOCK * contrast:
        return False
    return _rms(x - y) <= _least_shifted(x, y)  # otherwise the camera or the object has moved


def _alike(thumbnails: np.ndarray) -> list[Sequence[int]]:
    """For each the numbers before it that look alike, the most alike ones first."""
    pixels = thumbnails - thumbnails.mean(axis=1, keepdims=True)
    norms, brightness = np.square(pixels).sum(axis=1), thumbnails.mean(axis=1)
    size, found = thumbnails.shape[1], []
    for start in range(0, len(thumbnails), 1024):
        rows = slice(start, start + 1024)
        squares = norms[rows, None] + norms[None] - 2 * pixels[rows] @ pixels.T
        squares += size * np.square(brightness[rows, None] - brightness[None])
        contrast = np.maximum(np.minimum(norms[rows, None], norms[None]), size)  # one level at least
        for i, row in enumerate(squares / contrast):
            before = np.flatnonzero(row[: start + i] < ALIKE**2)
            found.append(before[np.argsort(row[before], kind="stable")][:NEAREST].tolist())
    return found


def _contrast(x: np.ndarray, y: np.ndarray) -> float:
    """Standard deviation of the flatter one, one level at least."""
    return max(1.0, min(float(np.sqrt(np.square(z - z.mean(axis=(0, 1))).mean())) for z in (x, y)))


def _rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.square(difference).mean()))


def _largest_block(difference: np.ndarray) -> float:
    """Largest mean of 8 x 8 pixels, at distances of 4, of (H, W)."""
    sides = [min(8, side) for side in difference.shape]
    return float(np.abs(sliding_window_view(difference, sides)[::4, ::4].mean(axis=(2, 3))).max())


def _least_shifted(x: np.ndarray, y: np.ndarray) -> float:
    """Root mean square difference where one is moved by a pixel, to the side that fits best."""
    if min(x.shape[:2]) < 4:
        return float("inf")
    pairs = [(x[1:], y[:-1]), (x[:-1], y[1:]), (x[:, 1:], y[:, :-1]), (x[:, :-1], y[:, 1:])]
    return min(_rms(a - b) for a, b in pairs)
