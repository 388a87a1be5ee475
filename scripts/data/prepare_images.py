"""Make a data set (trainA, trainB, testA, testB) of any two folders of pictures.

    python scripts/data/prepare_images.py horses/ zebras/ --out datasets/mine --size 286

Pictures are turned upright, taken to sRGB and scaled so that their shorter side has ``--size`` pixels (Lanczos; smaller
ones stay as they are). Copies of one picture, also scaled or compressed anew, are found and left out: a copy in both
training and test would spoil the scores. The split follows from ``--seed`` alone.
"""

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import repository  # noqa: F401
from PIL import Image
from tqdm.auto import tqdm

from util.errors import UserError, run
from util.flag_types import fraction, non_negative_int, positive_int
from util.pictures import Reader, find_images

SAME = 4.0  # root mean square difference of two thumbnails, in 8-bit levels, below which pictures count as copies
THUMBNAIL = 16


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("A", type=Path, help="folder of the pictures to translate")
    add("B", type=Path, help="folder of the pictures that they shall look like")
    add("--out", type=Path, required=True, help="the new data set's folder")
    add("--size", type=positive_int, default=286, help="pixels of the shorter side")
    add("--square", action="store_true", help="also cut the middle square")
    add("--test_share", type=fraction, default=0.1, help="share of the pictures that goes to the test")
    add("--seed", type=non_negative_int, default=0, help="of the split")
    add("--duplicates", choices=["drop", "keep"], default="drop", help="what happens with copies")
    add("--format", choices=["jpg", "png"], default="jpg", help="file format; jpg with quality 95")
    args = parser.parse_args(argv)
    if args.out.exists():
        raise UserError(f"--out {args.out} exists already; remove it or choose another folder")
    pictures: dict[str, list[Path]] = {}
    for side, folder in (("A", args.A), ("B", args.B)):
        pictures[side] = find_images(folder)
    everything = [path for paths in pictures.values() for path in paths]
    groups = find_copies(everything, read_thumbnails(everything))
    report_copies(groups, args.duplicates)
    if args.duplicates == "drop":
        left_out = {path for group in groups for path in group[1:]}
        pictures = {side: [path for path in paths if path not in left_out] for side, paths in pictures.items()}
    jobs = split(pictures, args.test_share, args.seed)
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=args.out.parent) as beside:
            for name, paths in jobs.items():
                write_folder(paths, Path(beside) / args.out.name / name, args)
            (Path(beside) / args.out.name).rename(args.out)
    except OSError as error:
        raise UserError(f"--out {args.out} cannot be written to ({error})") from error
    for name, paths in jobs.items():
        print(f"{args.out / name}: {len(paths)} images")


def read_thumbnails(paths: list[Path]) -> np.ndarray:
    """(n, 16 x 16) gray values; one ``UserError`` that names the unreadable pictures."""

    def read(path: Path) -> np.ndarray | UserError:
        try:
            image = Reader().open(path, channels=1)
        except UserError as error:
            return error
        return np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.BOX), dtype=np.float32).ravel()

    with ThreadPoolExecutor(4) as pool:
        read_ones = list(tqdm(pool.map(read, paths), total=len(paths), desc="reading", unit=" images", disable=None))
    bad = [str(result) for result in read_ones if isinstance(result, UserError)]
    if bad:
        raise UserError(f"mend or remove {len(bad)} of {len(paths)} images: {'; '.join(bad[:3])}")
    return np.stack(read_ones)


def find_copies(paths: list[Path], thumbnails: np.ndarray) -> list[list[Path]]:
    """Groups of pictures that look the same, in the order of ``paths``."""
    norms = np.square(thumbnails).sum(axis=1)
    group_of = list(range(len(paths)))  # the first picture that looks the same
    for start in range(0, len(paths), 1024):
        rows = slice(start, start + 1024)
        squares = norms[rows, None] + norms[None] - 2 * thumbnails[rows] @ thumbnails.T
        for i, j in zip(*np.nonzero(squares < SAME**2 * thumbnails.shape[1]), strict=True):
            if j < start + i:
                group_of[start + i] = min(group_of[start + i], group_of[j])
    groups: dict[int, list[Path]] = {}
    for index, first in enumerate(group_of):
        groups.setdefault(first, []).append(paths[index])
    return [group for group in groups.values() if len(group) > 1]


def report_copies(groups: list[list[Path]], duplicates: str) -> None:
    if not groups:
        return
    done = "left out" if duplicates == "drop" else "kept"
    print(f"{sum(len(group) - 1 for group in groups)} copies of other pictures, {done}:")
    for group in groups[:20]:
        print(f"  {group[0]} = {', '.join(map(str, group[1:]))}")
    if len(groups) > 20:
        print(f"  and {len(groups) - 20} more")


def split(pictures: dict[str, list[Path]], test_share: float, seed: int) -> dict[str, list[Path]]:
    """trainA, trainB, testA, testB; at least one picture for each where there are two."""
    jobs: dict[str, list[Path]] = {}
    for number, (side, paths) in enumerate(pictures.items()):
        count = round(len(paths) * test_share)
        if 0 < test_share < 1 and len(paths) > 1:
            count = min(max(count, 1), len(paths) - 1)
        chosen = set(np.random.default_rng((seed, number)).permutation(len(paths))[:count].tolist())
        jobs[f"train{side}"] = [path for i, path in enumerate(paths) if i not in chosen]
        jobs[f"test{side}"] = [path for i, path in enumerate(paths) if i in chosen]
    return {name: jobs[name] for name in ("trainA", "trainB", "testA", "testB") if jobs[name]}


def write_folder(paths: list[Path], folder: Path, args: argparse.Namespace) -> None:
    folder.mkdir(parents=True)
    used: set[str] = set()
    for path in tqdm(paths, desc=folder.name, unit=" images", disable=None):
        name, number = path.stem, 1
        while name in used:
            number += 1
            name = f"{path.stem}_{number}"
        used.add(name)
        scaled(Reader().open(path), args.size, args.square).save(folder / f"{name}.{args.format}", quality=95)


def scaled(image: Image.Image, size: int, square: bool) -> Image.Image:
    factor = size / min(image.size)
    if factor < 1:
        image = image.resize([max(size, round(side * factor)) for side in image.size], Image.LANCZOS)
    if square:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return image


if __name__ == "__main__":
    run(main)
