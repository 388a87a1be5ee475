"""Make a data set (trainA, trainB, testA, testB) of any two folders of pictures.

    python scripts/data/prepare_images.py horses/ zebras/ --out datasets/mine --size 286

Pictures are turned upright, taken to sRGB and scaled so that their shorter side has ``--size`` pixels (Lanczos; smaller
ones stay as they are). Copies of one picture, also scaled or compressed anew, are found and left out: a copy in both
training and test would spoil the scores. Where many pictures seem to be copies, ``--duplicates`` has to say what shall
happen. The split follows from ``--seed`` alone.
"""

import argparse
from pathlib import Path

import numpy as np
import repository  # noqa: F401
from PIL import Image
from tqdm.auto import tqdm

from util.copies import find_copies, thumbnails_of
from util.errors import UserError, run
from util.files import free_name, new_folder
from util.flag_types import ScriptParser, fraction, non_negative_int, positive_int
from util.pictures import Reader, counted, find_images, list_folder, reader_for
from util.pictures import add_flags as flags_of_reading
from util.words import plural

MOST_COPIES = 0.2  # of a side's pictures that are left out without a question


def main(argv: list[str] | None = None) -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("A", type=Path, help="folder of the pictures to translate")
    add("B", type=Path, help="folder of the pictures that they shall look like")
    add("--out", type=Path, required=True, help="the new data set's folder")
    add("--size", type=positive_int, default=286, help="pixels of the shorter side")
    add("--square", action="store_true", help="also cut the middle square")
    add("--test_share", type=fraction, default=0.1, help="share of the pictures that goes to the test")
    add("--seed", type=non_negative_int, default=0, help="of the split")
    add("--duplicates", choices=["drop", "keep"], help="what happens with copies; without it a few are dropped")
    add("--skip_broken", action="store_true", help="leave out pictures that cannot be read")
    add("--format", choices=["jpg", "png"], default="jpg", help="file format; jpg with quality 95")
    flags_of_reading(add)
    args = parser.parse_args(argv)
    if args.out.exists():
        raise UserError(f"--out {args.out} exists already; remove it or choose another folder")
    if args.A.resolve() == args.B.resolve():
        raise UserError(f"A {args.A} and B {args.B} are the same folder; B must hold the pictures to look like")
    readers = {side: reader_for(args, side) for side in "AB"}
    pictures = {side: find(folder, readers[side], args) for side, folder in (("A", args.A), ("B", args.B))}
    everything = [(side, path) for side, paths in pictures.items() for path in paths]

    def open_picture(number: int) -> Image.Image:
        side, path = everything[number]
        return readers[side].open(path)

    groups = find_copies(thumbnails_of(len(everything), open_picture), open_picture)
    report_copies([[everything[i][1] for i in group] for group in groups], args.duplicates)
    if args.duplicates != "keep":
        copies = {everything[i] for group in groups for i in group[1:]}
        kept = {side: [path for path in paths if (side, path) not in copies] for side, paths in pictures.items()}
        if args.duplicates is None:
            ask(pictures, kept, args.test_share)
        pictures = kept
    jobs = split(pictures, args.test_share, args.seed)
    with new_folder("--out", args.out) as new:
        for name, paths in jobs.items():
            write_folder(paths, new / name, readers[name[-1]], args)
    for name, paths in jobs.items():
        print(f"{args.out / name}: {plural(len(paths), 'image')}")


def find(folder: Path, reader: Reader, args: argparse.Namespace) -> list[Path]:
    """The pictures of a folder, all checked; what is left out or used in part is said."""
    left_out = list_folder(folder).left_out
    paths = find_images(folder)
    if left_out:
        print(f"{folder}: left out: {counted(left_out)}")
    good, broken = reader.check_each(paths)
    if broken and not args.skip_broken:
        raise UserError(
            f"mend or remove {len(broken)} of {len(paths)} images, or leave them out by --skip_broken: "
            f"{'; '.join(map(str, list(broken.values())[:3]))}"
        )
    for error in broken.values():
        print(f"left out: {error}")
    if not good:
        raise UserError(f"the folder {str(folder)!r} holds no images that can be read")
    reader.tell(good, str(folder))
    return list(good)


def ask(pictures: dict[str, list[Path]], kept: dict[str, list[Path]], test_share: float) -> None:
    """Stop where leaving out copies changes more than a little."""
    for side, paths in pictures.items():
        gone, left = len(paths) - len(kept[side]), len(kept[side])
        no_test = 0 < test_share < 1 and len(paths) > 1 and left < 2
        if gone > len(paths) * MOST_COPIES or no_test:
            why = f", which leaves {left} and none to test with" if no_test else ""
            raise UserError(
                f"{gone} of {len(paths)} pictures of {side} seem to be copies of others{why}: is that so? Look at the "
                "list above, then say --duplicates drop or --duplicates keep"
            )


def report_copies(groups: list[list[Path]], duplicates: str | None) -> None:
    if not groups:
        return
    done = "kept" if duplicates == "keep" else "left out"
    print(f"{plural(sum(len(group) - 1 for group in groups), 'duplicate')} of other pictures, {done}:")
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


def write_folder(paths: list[Path], folder: Path, reader: Reader, args: argparse.Namespace) -> None:
    folder.mkdir(parents=True)
    used: set[Path] = set()
    for path in tqdm(paths, desc=folder.name, unit=" images", disable=None):
        target = free_name(folder / f"{path.stem}.{args.format}", used.__contains__)
        used.add(target)
        scaled(reader.open(path), args.size, args.square).save(target, quality=95)


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
