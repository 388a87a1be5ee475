"""Trainings of seconds: drawn images, tiny networks, train.py's own main, and where to interrupt it."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import train
from util.loggers import Loggers

FLAGS = (
    "--gpu_ids -1 --netG resnet_4blocks --ngf 2 --netD n_layers --n_layers_D 1 --ndf 2 --load_size 20 --crop_size 16 "
    "--num_threads 0 --print_freq 1 --display_id 0 --no_html --quiet --n_epochs 2 --n_epochs_decay 1"
).split()
CONTRASTIVE = "--netF_nc 4 --num_patches 4 --nce_layers 0,4,8".split()


def draw_images(root: Path, a: int = 3, b: int = 4, phase: str = "train") -> Path:
    """``root`` with noise in trainA and trainB, or those of another phase."""
    rng = np.random.default_rng(0)
    for side, count in (("A", a), ("B", b)):
        folder = root / f"{phase}{side}"
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (24, 22, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return root


class Killed(BaseException):
    """Stands for what ends a process without asking."""


class Run:
    """``run("--lr", "1e-3", after={4: "SIGTERM"})`` trains in this process and returns the exit status."""

    def __init__(self, folder: Path, monkeypatch, *flags: str):
        self.folder, self.monkeypatch = folder, monkeypatch
        self.start = [f"--checkpoints_dir={folder.parent}", f"--name={folder.name}"]
        self.flags = [*FLAGS, *flags]

    def __call__(self, *flags: str, after: dict | None = None) -> int:
        """``after``: what happens after which of this call's steps: a signal's name, or a function."""
        steps, step = iter(range(1, 10**6)), Loggers.step

        def and_then(loggers, progress):
            step(loggers, progress)
            event = (after or {}).get(next(steps))
            if callable(event):
                event()
            elif event:
                os.kill(os.getpid(), getattr(signal, event))

        flags = [*self.start, *([] if "--continue_train" in flags else self.flags), *flags]
        with self.monkeypatch.context() as patch:
            patch.setattr(Loggers, "step", and_then)
            patch.setattr(sys, "argv", ["train.py", *flags])
            try:
                train.main()
            except SystemExit as end:  # kept no longer than this: loader processes end with the last reference
                return end.code

    def resume(self, *flags: str, after: dict | None = None) -> int:
        return self("--continue_train", "--gpu_ids=-1", "--quiet", *flags, after=after)

    @property
    def state(self) -> dict:
        return torch.load(self.folder / "latest_state.pt", weights_only=True)

    @property
    def record(self) -> list[dict]:
        """losses.jsonl without what the clock decides."""
        rows = map(json.loads, (self.folder / "losses.jsonl").read_text().splitlines())
        clock = ("time", "images_per_second", "data_share", "memory_gb")
        return [{k: v for k, v in row.items() if k not in clock} for row in rows]


def kill():
    raise Killed


def first_difference(a, b, where: str = "") -> str | None:
    """Where two nested states differ in a bit; None where they don't."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.dtype == b.dtype and torch.equal(a, b)
    elif isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return f"{where}: {a.keys() ^ b.keys()}"
        return next((d for key in a if (d := first_difference(a[key], b[key], f"{where}/{key}"))), None)
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return next((d for i in range(len(a)) if (d := first_difference(a[i], b[i], f"{where}/{i}"))), None)
    else:
        same = a == b
    return None if same else where


def weights(folder: Path, epoch: str = "latest") -> dict:
    return {path.name: torch.load(path, weights_only=True) for path in sorted(folder.glob(f"{epoch}_net_*.pth"))}
