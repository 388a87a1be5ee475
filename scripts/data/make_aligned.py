"""Combine pairs of pictures into files that hold A on the left and B on the right (--dataset_mode aligned).

    python scripts/data/make_aligned.py --fold_A datasets/edges --fold_B datasets/photos --fold_AB datasets/edges2photos

Pairs are files of one name, whatever their ending, in the folders themselves or in equal subfolders (train, val, test).
With ``--use_AB`` names end in _A and _B. Sizes of a pair must be equal, or ``--size`` scales both.
"""

from itertools import chain
from pathlib import Path

import numpy as np
import repository  # noqa: F401
from PIL import Image
from tqdm.auto import tqdm

from util import pictures
from util.errors import UserError, run
from util.files import keep_inputs, replacing, writing_to
from util.flag_types import ScriptParser, positive_int
from util.pictures import list_folder, reader_for


def main(argv: list[str] | None = None) -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("--fold_A", type=Path, required=True, help="folder of A")
    add("--fold_B", type=Path, required=True, help="folder of B")
    add("--fold_AB", type=Path, required=True, help="folder of the pairs to write")
    add("--num_imgs", type=positive_int, help="pairs of each subfolder at most")
    add("--use_AB", action="store_true", help="x_A.png belongs to x_B.png")
    add("--size", type=positive_int, help="pixels: scale each picture to this width and height (bicubic)")
    add("--format", choices=["png", "jpg"], default="png", help="file format; jpg with quality 95")
    pictures.add_flags(add)
    args = parser.parse_args(argv)
    pairs = find_pairs(args.fold_A, args.fold_B, args.use_AB)
    if args.num_imgs:
        pairs = first_of_each_folder(pairs, args.num_imgs)
    readers, sizes_of_sides = [reader_for(args, side) for side in "AB"], []
    for side, (folder, reader) in enumerate(zip((args.fold_A, args.fold_B), readers, strict=True)):
        paths = [pair[side] for pair in pairs.values()]
        facts = reader.check(paths)
        reader.tell(dict(zip(paths, facts, strict=True)), str(folder))
        sizes_of_sides.append([fact.size for fact in facts])
    for (a, b), *sizes in zip(pairs.values(), *sizes_of_sides, strict=True):
        if sizes[0] != sizes[1] and not args.size:
            raise UserError(f"{a} has {sizes[0]} pixels and {b} {sizes[1]}; give --size to scale both")
    targets = {(args.fold_AB / name).with_name(f"{name.name}.{args.format}"): pair for name, pair in pairs.items()}
    keep_inputs(f"--fold_AB {args.fold_AB}", chain.from_iterable(pairs.values()), targets)
    with writing_to("--fold_AB", args.fold_AB):
        for path, (a, b) in tqdm(targets.items(), unit=" pairs", disable=None):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as beside:
                side_by_side(readers[0].open(a), readers[1].open(b), args.size).save(beside, quality=95)
    print(f"{len(pairs)} pairs in {args.fold_AB}")


def find_pairs(fold_A: Path, fold_B: Path, use_AB: bool) -> dict[Path, tuple[Path, Path]]:
    """Name without ending, relative to the folders -> (A, B). Files without a partner are an error."""
    sides = []
    for side, folder in (("A", fold_A), ("B", fold_B)):
        found: dict[Path, Path] = {}
        for path in list_folder(folder, f"--fold_{side}").paths:
            name = path.relative_to(folder).with_suffix("")
            if use_AB:
                if not name.name.endswith(f"_{side}"):
                    raise UserError(f"--use_AB: {path} does not end in _{side}")
                name = name.with_name(name.name[:-2])
            if name in found:
                raise UserError(f"{found[name]} and {path} have one name; keep one of them")
            found[name] = path
        sides.append(found)
    A, B = sides
    alone = sorted(A.keys() ^ B.keys())
    if alone:
        where = fold_B if alone[0] in A else fold_A
        raise UserError(f"{len(alone)} pictures have no partner: {where} has no {alone[0]}; remove them or add theirs")
    if not A:
        raise UserError(f"--fold_A {fold_A} holds no images")
    return {name: (A[name], B[name]) for name in sorted(A)}


def first_of_each_folder(pairs: dict, count: int) -> dict:
    kept: dict[Path, int] = {}
    chosen = {}
    for name, pair in pairs.items():
        kept[name.parent] = kept.get(name.parent, 0) + 1
        if kept[name.parent] <= count:
            chosen[name] = pair
    return chosen


def side_by_side(a: Image.Image, b: Image.Image, size: int | None) -> Image.Image:
    if size:
        a, b = (image.resize((size, size), Image.BICUBIC) for image in (a, b))
    return Image.fromarray(np.hstack((a, b)))


if __name__ == "__main__":
    run(main)
