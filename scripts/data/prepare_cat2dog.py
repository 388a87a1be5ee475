"""Arrange AFHQ (train/cat, train/dog, val/cat...) as datasets/cat2dog with trainA, trainB, testA, testB.

    python scripts/data/download_dataset.py afhq
    python scripts/data/prepare_cat2dog.py --afhq datasets/afhq

Files are hard links to AFHQ's where the disk allows it, else copies. ``--A wild --B dog`` makes another pair.
"""

import os
import shutil
from pathlib import Path

import repository  # noqa: F401
from tqdm.auto import tqdm

from util.errors import UserError, run
from util.files import new_folder
from util.flag_types import ScriptParser
from util.pictures import list_images
from util.words import plural


def main(argv: list[str] | None = None) -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("--afhq", type=Path, required=True, help="the unpacked folder, which holds train and val (or test)")
    add("--out", type=Path, help="the new folder (default: datasets/A2B)")
    add("--A", default="cat", help="AFHQ's class for side A")
    add("--B", default="dog", help="AFHQ's class for side B")
    add("--copy", action="store_true", help="copies, no links")
    args = parser.parse_args(argv)
    out = args.out or Path("datasets") / f"{args.A}2{args.B}"
    if out.exists():
        raise UserError(f"--out {out} exists already; remove it or choose another folder")
    sources = find_sources(args.afhq, {"A": args.A, "B": args.B})
    with new_folder("--out", out) as new:
        for name, files in sources.items():
            (new / name).mkdir(parents=True)
            for file in tqdm(files, desc=name, unit=" images", disable=None):
                link_or_copy(file, new / name / file.name, args.copy)
    for name, files in sources.items():
        print(f"{out / name}: {plural(len(files), 'image')}")


def find_sources(afhq: Path, classes: dict[str, str]) -> dict[str, list[Path]]:
    """The files of trainA, trainB, testA, testB."""
    if not (afhq / "train").is_dir() and (afhq / "afhq").is_dir():
        afhq = afhq / "afhq"
    held_out = next((name for name in ("val", "test") if (afhq / name).is_dir()), None)
    if held_out is None or not (afhq / "train").is_dir():
        raise UserError(f"--afhq {afhq} must hold the folders train and val (or test)")
    sources = {}
    for phase, folder in (("train", "train"), ("test", held_out)):
        for side, kind in classes.items():
            files = list_images(afhq / folder / kind) if (afhq / folder / kind).is_dir() else []
            if not files:
                raise UserError(f"--{side} {kind}: {afhq / folder / kind} holds no images")
            sources[phase + side] = files
    return sources


def link_or_copy(source: Path, target: Path, copy: bool) -> None:
    if not copy:
        try:
            return os.link(source.resolve(), target)
        except OSError:  # another disk, or one without hard links
            pass
    shutil.copyfile(source, target)


if __name__ == "__main__":
    run(main)
