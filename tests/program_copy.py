"""A copy of the program, into which files of others are put, and drawn images for it."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from drawn_family import draw_pair
from PIL import Image

ROOT = Path(__file__).parents[1]


def copy_program(folder: Path) -> Path:
    for name in ("train.py", "test.py"):
        shutil.copy(ROOT / name, folder)
    for name in ("options", "data", "models", "util"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def draw_images(folder: Path, train: int = 4, test: int = 2, side: int = 40) -> None:
    """trainA, trainB, testA, testB, and the same as pairs side by side in train and test."""
    for phase, count in (("train", train), ("test", test)):
        for name in ("A", "B", ""):
            (folder / f"{phase}{name}").mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pair = draw_pair(i, side)
            for name, image in zip("AB", pair, strict=True):
                Image.fromarray(image).save(folder / f"{phase}{name}" / f"{i}.png")
            Image.fromarray(np.concatenate(pair, axis=1)).save(folder / phase / f"{i}.png")


def run_in(folder: Path, code: str) -> str:
    """Run Python ``code`` there; what it printed."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
