"""Checks between flags: what cannot work is refused before anything is written."""

import argparse
import os
import re
from pathlib import Path

from util.errors import UserError
from util.flag_types import sizes_repeat
from util.sides import side_multiple, smallest_side

PREPROCESS = r"(resize|scale_width|scale_shortside|crop|fixsize|zoom|patch|trim|none)(_and_|_|$)"


def check(opt: argparse.Namespace) -> None:
    """Raise ``UserError`` for the first combination of flags that cannot work."""
    parts = Path(opt.name).parts
    if not parts or Path(opt.name).is_absolute() or ".." in parts or "\0" in opt.name:
        raise UserError(f"--name must be a folder's name below --checkpoints_dir, not {opt.name!r}")
    for flag in ("name", "dataroot", "checkpoints_dir"):  # which are written into the run's files
        if re.search("[\ud800-\udfff]", str(getattr(opt, flag))):
            raise UserError(f"--{flag} {getattr(opt, flag)!r} is not UTF-8: rename the folder")
    if len(os.fsencode(max(parts, key=len))) > 200:
        raise UserError(f"--name is {len(opt.name)} characters long; file systems take about 200")
    if set(opt.epoch) & set("/\\\0"):
        raise UserError(f"--epoch must be latest, best or an epoch's number, not {opt.epoch!r}")
    if re.sub(PREPROCESS, "", opt.preprocess).strip("_") or not opt.preprocess:
        raise UserError(
            f"--preprocess {opt.preprocess}: choose from resize, scale_width, scale_shortside, crop, fixsize, zoom, "
            "patch, trim and none, joined by _and_"
        )
    if "resize" in opt.preprocess and "crop" in opt.preprocess and opt.crop_size > opt.load_size:
        raise UserError(
            f"--crop_size {opt.crop_size} is larger than --load_size {opt.load_size}; "
            "images are scaled to load_size first, so it must be at least crop_size"
        )
    if opt.isTrain and opt.n_epochs + opt.n_epochs_decay < (1 if opt.continue_train else opt.epoch_count):
        raise UserError(
            f"--n_epochs {opt.n_epochs} and --n_epochs_decay {opt.n_epochs_decay} end before epoch "
            f"{opt.epoch_count} (--epoch_count): there is nothing to train"
        )
    if opt.isTrain and not (opt.beta1 < 1 and opt.beta2 < 1):
        raise UserError("--beta1 and --beta2 must be below 1")
    if opt.isTrain and ("crop" in opt.preprocess or "patch" in opt.preprocess):
        _check_size(opt)
    if opt.dataroot == "placeholder":
        raise UserError("--dataroot must name the folder that holds the images (trainA, trainB, ...)")
    if opt.isTrain and opt.world_size > 1 and "syncbatch" in (opt.normG, opt.normD):
        _check_sync(opt)
    if not opt.isTrain and opt.world_size > 1:
        raise UserError("torchrun is for train.py; start test.py with python, it runs in one process")
    flag = "checkpoints_dir" if opt.isTrain else "results_dir"
    _check_writable(Path(getattr(opt, flag)), opt.name, f"--{flag}")


def _check_sync(opt: argparse.Namespace) -> None:
    """Whether all processes send equally many batches through a network: they wait for each other in its norms."""
    if getattr(opt, "flip_equivariance", False):  # a flag of CUT and its relatives
        raise UserError(
            "--flip_equivariance (and the Fast presets) with syncbatch in several processes: each mirrors in steps of "
            "its own, which take more passes; use --flip_equivariance false, or instance or batch norm"
        )
    if not sizes_repeat(opt.preprocess):
        raise UserError(
            f"--preprocess {opt.preprocess} with syncbatch in several processes: images of different sizes take "
            "different numbers of passes; use a --preprocess with crop, or instance or batch norm"
        )


def _check_size(opt: argparse.Namespace) -> None:
    """Whether the networks take squares of ``crop_size``, which is rounded to a multiple of 4."""
    size = 4 * round(opt.crop_size / 4)
    smallest, multiple = smallest_side(opt), side_multiple(opt)
    if size < smallest:
        raise UserError(f"--crop_size {opt.crop_size} is too small for --netD {opt.netD}: at least {smallest}")
    if size % multiple:
        raise UserError(f"--crop_size {opt.crop_size} must be a multiple of {multiple} for --netG {opt.netG}")


def _check_writable(folder: Path, name: str, flag: str) -> None:
    """``folder / name`` may be missing; its nearest existing parent must then be a folder that can be written to."""
    wanted = (folder / name).absolute()
    existing = next(p for p in [wanted, *wanted.parents] if p.exists() or p.is_symlink())  # to what is gone
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{flag} {folder} cannot be written to at {existing}; name a folder that can")
