"""Turn the Cityscapes downloads into trainA/trainB and testA/testB, as CycleGAN and CUT use them.

A holds photographs, B their label maps in colour (train with --direction BtoA for labels to photographs);
`val` becomes `test`, since Cityscapes' own test labels are blank. The official script leaves the filter to
Pillow's default, which was NEAREST up to 6.2 and is BICUBIC since 7.0; here both are named. Files keep their
Cityscapes names, so that evaluate_cityscapes.py finds their labels.

python scripts/data/prepare_cityscapes.py --gtFine_dir gtFine --leftImg8bit_dir leftImg8bit --output_dir
datasets/cityscapes
"""

import os
from pathlib import Path

import numpy as np
import repository  # noqa: F401
from PIL import Image
from tqdm.auto import tqdm

from util.errors import UserError, run
from util.files import replacing, writing_to
from util.flag_types import ScriptParser, positive_int
from util.metrics.images import FILTERS, read_image, resize_image

SPLITS = {"train": "train", "val": "test"}


def main(argv: list[str] | None = None) -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("--gtFine_dir", type=Path, required=True, help="unpacked gtFine_trainvaltest: holds train/CITY/*_color.png")
    add("--leftImg8bit_dir", type=Path, required=True, help="unpacked leftImg8bit_trainvaltest: train/CITY/*.png")
    add("--output_dir", type=Path, default=Path("datasets/cityscapes"), help="where trainA, trainB, testA, testB go")
    add("--size", type=positive_int, default=256, metavar="PIXELS", help="width and height of the images")
    add("--photo_filter", default="bicubic", choices=FILTERS, help="resampling of photographs")
    add("--label_filter", default="nearest", choices=FILTERS, help="of label maps; nearest: no colours in between")
    add("--format", default="jpg", choices=("jpg", "png"), help="jpg: quality 100, colours not subsampled")
    add("--aligned", action="store_true", help="also photo and label map side by side in train/ and test/, for pix2pix")
    opt = parser.parse_args(argv)
    pairs = {split: find_pairs(opt.gtFine_dir, opt.leftImg8bit_dir, split) for split in SPLITS}
    with writing_to("--output_dir", opt.output_dir):
        for split, phase in SPLITS.items():
            folders = [opt.output_dir / f"{phase}{side}" for side in "AB"] + [opt.output_dir / phase] * opt.aligned
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            bar = tqdm(pairs[split], desc=f"{split} -> {phase}", unit=" images", disable=None)
            for name, photo_path, label_path in bar:
                photo = resize_image(read_image(photo_path), (opt.size, opt.size), opt.photo_filter)
                label = resize_image(read_image(label_path), (opt.size, opt.size), opt.label_filter)
                images = [photo, label, *([np.hstack((photo, label))] if opt.aligned else [])]
                for folder, image in zip(folders, images, strict=True):
                    with replacing(folder / f"{name}.{opt.format}") as path:
                        Image.fromarray(image).save(path, quality=100, subsampling=0)
            print(f"{len(pairs[split])} pairs of {split} in {', '.join(map(str, folders))}")
    print(f"{opt.size} x {opt.size}, photographs {opt.photo_filter}, label maps {opt.label_filter}")


def find_pairs(labels: Path, photos: Path, split: str) -> list[tuple[str, Path, Path]]:
    """(name, photograph, coloured label map) in the order of their names; each must have its other half."""
    by_name = [
        {path.name.removesuffix(ending): path for path in sorted((folder / split).glob(f"*/*{ending}"))}
        for folder, ending in ((photos, "_leftImg8bit.png"), (labels, "_gtFine_color.png"))
    ]
    for flag, folder, found in (("--leftImg8bit_dir", photos, by_name[0]), ("--gtFine_dir", labels, by_name[1])):
        if not found:
            raise UserError(f"{flag} {folder} holds no image in {split}{os.sep}CITY; name the unpacked folder itself")
    single = sorted(by_name[0].keys() ^ by_name[1].keys())
    if single:
        raise UserError(
            f"{split}: {single[0]} has no photograph or no label map ({len(single)} such); unpack both again"
        )
    return [(name, by_name[0][name], by_name[1][name]) for name in sorted(by_name[0])]


if __name__ == "__main__":
    run(main)
