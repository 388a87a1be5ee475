"""Tiny images and the options to load them with."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

DEFAULTS = {
    "dataset_mode": "unaligned",
    "phase": "train",
    "isTrain": True,
    "direction": "AtoB",
    "input_nc": 3,
    "output_nc": 3,
    "preprocess": "resize_and_crop",
    "load_size": 20,
    "crop_size": 16,
    "no_flip": False,
    "serial_batches": False,
    "max_dataset_size": math.inf,
    "batch_size": 1,
    "num_threads": 0,
    "n_epochs": 200,
    "random_scale_max": 3.0,
    "seed": 7,
    "rank": 0,
    "world_size": 1,
    "cache": "none",
    "gpu_ids": [],
    "value_range": None,
    "max_pixels": 1e9,
    "device": torch.device("cpu"),
}
FOR_TESTING = {"isTrain": False, "phase": "test", "load_size": 16}


def make_opt(dataroot, **changes) -> SimpleNamespace:
    return SimpleNamespace(**{**DEFAULTS, "dataroot": str(dataroot), **changes})


def draw(width: int = 24, height: int = 18, seed: int = 0) -> Image.Image:
    """A colour gradient with noise: no two places and no two seeds look alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    gradient = np.stack([x * 255 / width, y * 255 / height, np.full(x.shape, 20 * seed % 256)], axis=-1)
    return Image.fromarray((gradient * 0.7 + rng.integers(0, 70, gradient.shape)).astype(np.uint8))


def draw_folder(folder: Path, count: int, width: int = 24, height: int = 18, first_seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        draw(width, height, first_seed + i).save(folder / f"{i:03}.png")
    return folder


def draw_unpaired(root: Path, a: int = 5, b: int = 3, phase: str = "train", **size) -> Path:
    draw_folder(root / f"{phase}A", a, **size)
    draw_folder(root / f"{phase}B", b, first_seed=100, **size)
    return root
