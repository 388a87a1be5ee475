"""Tensors in [-1, 1] to 8-bit pictures, and to disk."""

import itertools
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from util.files import replacing


def normalize(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 of any shape -> float32, 0 to -1 and 255 to 1."""
    return pixels.float().div_(255).sub_(0.5).div_(0.5)


def to_bytes(images: torch.Tensor) -> torch.Tensor:
    """In [-1, 1], any shape -> uint8, rounded; what lies outside is cut off."""
    return images.detach().float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


def tensor2im(image: torch.Tensor) -> np.ndarray:
    """(C, H, W), or the first of (B, C, H, W), in [-1, 1] -> (H, W, 3) uint8; one channel is repeated."""
    if image.dim() == 4:
        image = image[0]
    image = to_bytes(image).cpu()
    if image.shape[0] == 1:
        image = image.expand(3, -1, -1)
    return image.permute(1, 2, 0).contiguous().numpy()


def im2tensor(array: np.ndarray) -> torch.Tensor:
    """(H, W, 3) in [0, 255] -> (1, 3, H, W) in [-1, 1]; what lies outside is cut off."""
    return normalize(torch.from_numpy(array.clip(0, 255).astype(np.uint8))).permute(2, 0, 1)[None]


def save_image(array: np.ndarray, path: str | Path, aspect_ratio: float = 1.0) -> None:
    """Write an (H, W, 3) or (H, W) uint8 array to ``path``, in the format its ending names, ``aspect_ratio`` wider."""
    image = Image.fromarray(array)
    if aspect_ratio != 1:
        image = image.resize((max(1, round(image.width * aspect_ratio)), image.height), Image.BICUBIC)
    with replacing(path) as beside:
        image.save(beside)


def result_name(path: str, used: set[str]) -> str:
    """The file's base name; where another image has it already, the folder's name in front, then a number."""
    path = Path(path)
    longer = f"{path.parent.name}_{path.stem}"
    names = itertools.chain([path.stem, longer], (f"{longer}_{i}" for i in itertools.count(2)))
    name = next(name for name in names if name not in used)
    used.add(name)
    return name
