"""What a start of a run is told apart by, so that a picture can be traced to its code and data: ``starts.jsonl``."""

import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from time import strftime

import torch

from util.run.run_summary import device

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "torchvision", "numpy", "Pillow")


def describe(opt, model, data: dict, total_images: int) -> dict:
    """A row of ``starts.jsonl``. data: split -> images and fingerprint; total_images: seen by earlier starts."""
    return {
        "time": strftime("%Y-%m-%d %H:%M:%S%z"),
        "total_images": total_images,
        "command": shlex.join(["python", *sys.argv]),
        "versions": versions(),
        **checkout(ROOT),
        "device": device(opt, model),
        "dataroot": opt.dataroot,
        "data": data,
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found | ({"CUDA": torch.version.cuda} if torch.version.cuda else {})


def checkout(folder: Path) -> dict:
    """``commit``, and whether the code there is ``changed`` from it: other files of Git's, or new ones in Python. Both
    None where there is no Git or no checkout."""

    def git(*command: str) -> str:
        command = ("git", "-C", str(folder), *command)
        return subprocess.check_output(command, text=True, timeout=20, stderr=subprocess.DEVNULL)

    try:
        commit = git("rev-parse", "HEAD").strip()
        status = git("status", "--porcelain", "--untracked-files=all", "--", ".").splitlines()
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "changed": None}
    return {"commit": commit, "changed": any(not line.startswith("??") or line.endswith(".py") for line in status)}
