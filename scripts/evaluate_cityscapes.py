"""Segment generated Cityscapes photographs and compare with the labels that they were made from.

Mean IoU (the papers' "mAP"), pixel and class accuracy of one confusion matrix over all images. The papers
use DRN-D-22 trained at 128 x 256: photographs are brought to that size (Pillow bilinear), labels too
(nearest pixel).

python scripts/evaluate_cityscapes.py results/NAME/test_latest/images/fake_B --labels gtFine/val --weights
drn_d_22.pth
"""

import re
from pathlib import Path

import numpy as np
import repository  # noqa: F401
from tqdm.auto import tqdm

from util.device_kinds import add_flags
from util.devices import choose_device
from util.errors import UserError, run
from util.flag_types import ScriptParser
from util.metrics import cityscapes
from util.metrics.cityscapes import CLASSES, LABEL_ENDINGS, read_label
from util.metrics.images import FILTERS, read_image
from util.metrics.records import append_scores
from util.pictures import find_images


def main(argv: list[str] | None = None) -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("generated", type=Path, help="folder of photographs: generated ones, or real ones for the upper bound")
    add("--labels", type=Path, required=True, help="folder of label maps, searched below: gtFine/val")
    add("--weights", type=Path, required=True, help="weights of the segmentation network with the 19 classes")
    add("--segmentation_model", default="drn_d_22", choices=cityscapes.MODELS, help="drn_d_22 or one of torchvision's")
    add("--label_kind", default="ids", choices=LABEL_ENDINGS, help="ids: *_labelIds.png; color also for JPEG")
    add(
        "--numbered", type=int, metavar="FIRST", help="names are positions in the sorted label maps, counted from FIRST"
    )
    add("--size", type=int, nargs=2, default=(128, 256), metavar=("HEIGHT", "WIDTH"), help="default: 128 256")
    add("--filter", default="bilinear", choices=FILTERS, help="resampling of the photographs")
    add_flags(add)
    add("--out", type=Path, metavar="FILE", help="append the scores to this .jsonl file; a run's is metrics.jsonl")
    add("--epoch", type=int, default=0, help="epoch of the weights, for --out")
    opt = parser.parse_args(argv)
    if min(opt.size) < 8 or opt.size[0] % 8 or opt.size[1] % 8:
        raise UserError(f"--size {opt.size[0]} {opt.size[1]}: height and width must be multiples of 8")

    pairs = pair_with_labels(find_images(opt.generated), find_labels(opt.labels, opt.label_kind), opt.numbered)
    device = choose_device(opt.gpu_ids, opt.device)
    segment = cityscapes.Segmenter(opt.segmentation_model, opt.weights, tuple(opt.size), opt.filter, device)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    for photo, label in tqdm(pairs, unit=" images", disable=None):
        truth = read_label(label, opt.label_kind, tuple(opt.size))
        confusion += cityscapes.confusion_matrix(truth, segment(read_image(photo)))
    scores = cityscapes.segmentation_scores(confusion)

    print(f"{opt.generated} ({len(pairs)}) by {opt.segmentation_model} at {opt.size[0]} x {opt.size[1]}, {opt.filter}")
    for name, iou in zip(CLASSES, cityscapes.class_ious(confusion), strict=True):
        print(f"  {'IoU ' + name:<20} {100 * iou:6.2f}")
    for name, value in scores.items():
        print(f"  {name:<20} {100 * value:6.2f}")
    if opt.out:
        notes = {"images": len(pairs), "segmentation_model": opt.segmentation_model, "resize": opt.filter}
        append_scores(opt.out, scores | notes, opt.epoch)


def find_labels(folder: Path, kind: str) -> dict[str, Path]:
    """Label maps by Cityscapes name (CITY_000000_000294), or by the file's own name where none is of that
    form."""
    paths = find_images(folder)
    official = [path for path in paths if path.stem.endswith(LABEL_ENDINGS[kind])]
    return {path.stem.removesuffix(LABEL_ENDINGS[kind]): path for path in official or paths}


def pair_with_labels(photos: list[Path], labels: dict[str, Path], first: int | None) -> list[tuple[Path, Path]]:
    """Each photograph with its label map; endings like _leftImg8bit and CycleGAN's _A don't matter."""
    in_order = [labels[name] for name in sorted(labels)]
    pairs = []
    for photo in photos:
        if first is None:
            official = re.match(r"[a-z-]+_\d{6}_\d{6}", photo.stem)
            found = labels.get(photo.stem) or (labels.get(official[0]) if official else None)
        else:
            number = re.match(r"\d+", photo.stem)
            place = int(number[0]) - first if number else -1
            found = in_order[place] if 0 <= place < len(in_order) else None
        if found is None:
            hint = "" if first is not None else "; for numbered names give --numbered 0 or 1"
            raise UserError(f"--labels hold no label map for {photo.name}{hint}")
        pairs.append((photo, found))
    return pairs


if __name__ == "__main__":
    run(main)
