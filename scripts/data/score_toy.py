"""Score translations of the drawn dataset, where the right answer is known.

    python scripts/data/score_toy.py datasets/toy --name toy_negcut
    python scripts/data/score_toy.py datasets/toy results/toy_negcut/test_latest/images/fake_B --json scores.json

Printed for every image of testA, and as means beside two baselines: the input copied, an untrained network.
With image y, source x, truth t, mask M (the shapes), all values 0 to 255:

    stripes     2 sum_M (h_y h_t) / (sum_M h_y^2 + sum_M h_t^2), not below 0, where h is the grey value minus
                its mean over the part of M in a square one stripe period wide. 1: the truth's stripes, equal in
                place and contrast; 0: none, or unrelated to the truth's. Higher is better.
    background  mean |y - x| outside M. 0: untouched. Lower is better.
    error       mean |y - t| over the whole image. 0: the truth. Lower is better.
"""

import json
import os
from pathlib import Path

import numpy as np
import repository  # noqa: F401
import torch

from models.networks import define_G
from scripts.data.make_toy_dataset import PERIOD
from util.errors import UserError, run
from util.files import write_atomic
from util.flag_types import ScriptParser, file_to_write
from util.images import tensor2im
from util.metrics.images import pair_by_name, read_image
from util.pages.result_page import add_scores
from util.words import aligned

SCORES = ("stripes", "background", "error")
CANDIDATES = ("translated", "input copied", "untrained network")


def score(image: np.ndarray, source: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Three (H, W, 3) uint8 images and an (H, W) mask, nonzero on the shapes -> the scores defined above."""
    image, source, truth = (np.asarray(a, np.float64) for a in (image, source, truth))
    shape = np.asarray(mask) > 0
    width = max(3, round(len(shape) * PERIOD) | 1)
    ours, wanted = (band(a.mean(-1), shape, width) for a in (image, truth))
    energy = (ours**2).sum() + (wanted**2).sum()
    return {
        "stripes": float(max(0.0, 2 * (ours * wanted).sum() / energy)) if energy else 0.0,
        "background": float(np.abs(image - source)[~shape].mean()) if not shape.all() else 0.0,
        "error": float(np.abs(image - truth).mean()),
    }


def band(grey: np.ndarray, shape: np.ndarray, width: int) -> np.ndarray:
    """(H, W) grey value minus its mean over the shape's part of a width x width square; 0 elsewhere."""
    return np.where(shape, grey - box_sum(grey * shape, width) / np.maximum(box_sum(shape, width), 1), 0)


def box_sum(values: np.ndarray, width: int) -> np.ndarray:
    """Sum over the odd width x width square around each pixel, zeros beyond the border."""
    total = np.pad(values.astype(np.float64), (width // 2 + 1, width // 2)).cumsum(0).cumsum(1)
    return total[width:, width:] - total[:-width, width:] - total[width:, :-width] + total[:-width, :-width]


def untrained(sources: list[np.ndarray], seed: int = 0) -> list[np.ndarray]:
    """What a generator that has learned nothing makes of the images (H, W, 3) uint8."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(seed)
        generator = define_G(3, 3, 16, "resnet_4blocks", "instance", init_type="xavier").eval()
        batches = (torch.tensor(s).permute(2, 0, 1)[None].float() / 127.5 - 1 for s in sources)
        return [tensor2im(generator(batch)) for batch in batches]


def score_folder(dataroot: Path, results: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Image name -> candidate -> score name -> value, for every image of ``dataroot``/testA."""
    if not (dataroot / "testA_truth").is_dir():
        raise UserError(f"{dataroot} has no testA_truth; draw it with scripts/data/make_toy_dataset.py")
    if not results.is_dir():
        raise UserError(f"{results} is no folder; run test.py first, or name the folder of its fake_B images")
    testA = dataroot / "testA"
    paths = [
        (source, translated, dataroot / "testA_truth" / source.name, dataroot / "testA_mask" / source.name)
        for source, translated in pair_by_name(testA, results, "the folder of translations")
    ]
    blanks = untrained([read_image(source) for source, *_ in paths])
    scores = {}
    for (path, *others), blank in zip(paths, blanks, strict=True):
        source, image, truth, mask = map(read_image, (path, *others))
        for other, pixels in zip(others, (image, truth, mask), strict=True):
            if pixels.shape != source.shape:
                height, width = source.shape[:2]
                raise UserError(
                    f"{other} is {pixels.shape[1]} x {pixels.shape[0]} where {path} is {width} x {height}; "
                    f"run test.py with --load_size {width} --crop_size {width}"
                )
        candidates = zip(CANDIDATES, (image, source, blank), strict=True)
        scores[path.stem] = {name: score(a, source, truth, mask[..., 0]) for name, a in candidates}
    return scores


def means(scores: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Candidate -> score name -> mean over the images."""
    return {
        candidate: {key: float(np.mean([s[candidate][key] for s in scores.values()])) for key in SCORES}
        for candidate in CANDIDATES
    }


def main(arguments: list[str] | None = None) -> None:
    parser = ScriptParser(__doc__, allow_abbrev=False)
    parser.add_argument("dataroot", type=Path, help="a folder that scripts/data/make_toy_dataset.py drew")
    parser.add_argument("images", type=Path, nargs="?", help="the folder of translated images (fake_B)")
    parser.add_argument("--name", help="instead of the folder: the experiment that test.py ran")
    parser.add_argument("--results_dir", type=Path, default=Path("results"), help="of --name")
    parser.add_argument("--epoch", default="latest", help="of --name")
    parser.add_argument("--summary", action="store_true", help="print the means alone")
    parser.add_argument("--json", type=file_to_write, metavar="FILE", help="write all scores here too")
    options = parser.parse_args(arguments)
    if (options.images is None) == (options.name is None):
        raise UserError("give either the folder of translated images or --name")
    images = options.images
    if images is None:
        images = options.results_dir / options.name / f"test_{options.epoch}" / "images" / "fake_B"
    scores = score_folder(options.dataroot, images)
    mean = means(scores)
    page = add_scores(images, {key: {name: row["translated"][key] for name, row in scores.items()} for key in SCORES})
    rows = [] if options.summary else [{"image": name} | row["translated"] for name, row in scores.items()]
    print(aligned([*rows, *({"image": f"mean, {candidate}"} | row for candidate, row in mean.items())]))
    if page:
        print(f"of each image: {os.path.relpath(page)}")
    if options.json:
        write_atomic(options.json, json.dumps({"mean": mean, "images": scores}, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
