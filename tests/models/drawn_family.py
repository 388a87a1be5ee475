"""Options and drawn images for the tests of the model family."""

from pathlib import Path

import numpy as np
import torch

import options


def options_of(folder: Path, *argv: str, is_train: bool = True):
    """Resolved options with checkpoints in ``folder``."""
    where = ["--dataroot", "none", "--checkpoints_dir", str(folder), "--gpu_ids", "-1"]
    if not is_train:
        where += ["--name", "run"] if "--name" not in argv else []
        (folder / "run").mkdir(parents=True, exist_ok=True)
    return options.parse([*where, *argv], is_train=is_train)


def draw_pair(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A: gray rectangles on black. B: the same in colours that follow from the gray, on a vertical gradient; uint8."""
    rng = np.random.default_rng(seed)
    gray = np.zeros((size, size), dtype=np.float64)
    for _ in range(4):
        x, y = rng.integers(0, size * 3 // 4, 2)
        width, height = rng.integers(size // 8, size // 3, 2)
        gray[y : y + height, x : x + width] = rng.choice([100, 170, 250])
    gradient = np.linspace(60, 200, size)[:, None].repeat(size, axis=1)
    color = np.stack([np.where(gray, 250 - gray, gradient), np.where(gray, gray * 0.7, 90), gradient * 0.5], axis=-1)
    return np.stack([gray] * 3, axis=-1).astype(np.uint8), color.astype(np.uint8)


def pair_batch(seeds, size: int) -> dict:
    """``draw_pair`` of each seed as a batch of the loader."""
    pairs = [draw_pair(seed, size) for seed in seeds]
    sides = [np.stack(side).transpose(0, 3, 1, 2) for side in zip(*pairs, strict=True)]
    A, B = (torch.from_numpy(side).float() / 127.5 - 1 for side in sides)
    paths = [f"{seed}.png" for seed in seeds]
    return {"A": A, "B": B, "A_paths": paths, "B_paths": paths}
