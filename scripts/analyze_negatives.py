"""Look at the negatives of a trained CUT or NEGCUT: how hard they are, and what in the images they resemble.

    python scripts/analyze_negatives.py --name horse2zebra
    python scripts/analyze_negatives.py --name horse2zebra --epochs 5 50 latest --queries 0.5,0.5 0.2,0.7
    python scripts/analyze_negatives.py --name official --dataroot datasets/horse2zebra --netF_nc 256

Reads EPOCH_net_G.pth, _F.pth and, of NEGCUT, _N.pth and _F_.pth; further flags are those of train.py, needed where the
run has no train_opt.json. Writes one page, checkpoints_dir/NAME/negatives.html:

- the distribution of the cosine between queries and their positives, and queries and negatives, for each layer: of
  NEGCUT the generated negatives, and for comparison the other patches of the image, which are CUT's negatives
- the share of hard negatives of each checkpoint, and the mean cosines that training recorded in losses.jsonl
- for chosen queries, the hardest negatives and the image regions whose keys lie nearest to them

A negative n_j of a query q with positive k is called hard if it weighs at least 1% of the positive in the loss:
exp(q.n_j / T) >= 0.01 exp(q.k / T), T = --nce_T. At T = 0.07: if its cosine is less than 0.32 below the positive's.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import repository  # noqa: F401
import torch

import options
from data import create_dataset
from models import create_model
from models import negative_analysis as analysis
from models.cut_model import CUTModel
from util.errors import UserError, run
from util.flag_types import ScriptParser, file_to_write, positive_int
from util.images import tensor2im
from util.pages import negatives_page
from util.pages.negatives_page import SHOWN_NEGATIVES, ChosenQuery
from util.pictures import phase_folder, source_side
from util.run.checkpoints import numbered_epochs


def parse(argv: list[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    parser = ScriptParser(__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--name", required=True, help="the experiment")
    add("--checkpoints_dir", default="./checkpoints", help="folder of all experiments")
    add("--epochs", "--epoch", nargs="+",  # test.py's name too, which would else be taken for train.py's
        help="checkpoints: latest, best, numbers (default: up to 8 numbered ones, and latest)")  # fmt: skip
    add("--num_images", type=positive_int, default=16, help="images of the split test, else val, else train")
    add("--queries", nargs="+", type=point, default=[(0.5, 0.5), (0.25, 0.25), (0.7, 0.6)], metavar="X,Y",
        help="places of the queries, in parts of width and height (default: 0.5,0.5 0.25,0.25 0.7,0.6)")  # fmt: skip
    add("--num_shown", type=positive_int, default=2, help="images whose queries are shown")
    add("--out", type=file_to_write, metavar="FILE", help="the page (default: checkpoints_dir/NAME/negatives.html)")
    return parser.parse_known_args(argv)


def point(text: str) -> tuple[float, float]:
    x, y = map(float, text.split(","))
    if not (0 <= x < 1 and 0 <= y < 1):
        raise argparse.ArgumentTypeError(f"{text}: two fractions in [0, 1), such as 0.5,0.25")
    return x, y


def main(argv: list[str] | None = None) -> None:
    args, rest = parse(argv)
    folder = Path(args.checkpoints_dir, args.name)
    where = [f"--name={args.name}", f"--checkpoints_dir={args.checkpoints_dir}"]
    opt = options.parse([*where, "--continue_train", *rest])
    epochs = args.epochs or saved_epochs(folder)
    model = create_model(opt)
    if not isinstance(model, CUTModel):
        raise UserError(f"--name {args.name}: --model {opt.model} has no contrastive term; name a run of CUT or NEGCUT")
    if opt.lambda_NCE == 0:
        raise UserError(f"--name {args.name} was trained with --lambda_NCE 0: it has no contrastive term")
    images = test_images(opt, args.num_images)
    measured = {}
    for epoch in epochs:
        analysis.load_contrastive(model, folder, epoch)
        measured[epoch] = layers = dict(zip(model.nce_layers, analysis.measure(model, images), strict=True))
        shares = (f"{layer.hard_share(opt.nce_T):.1%} (layer {name})" for name, layer in layers.items())
        print(f"epoch {epoch}: hard negatives {', '.join(shares)}")
    out = args.out or folder / "negatives.html"
    chosen = list(queries(model, images, args.num_shown, args.queries))
    negatives_page.write(out, folder, opt, [tensor2im(image) for image in images], measured, chosen)
    print(f"open {out}")


def saved_epochs(folder: Path) -> list[str]:
    """Up to 8 numbered checkpoints, evenly over training, and the latest."""
    found = numbered_epochs(folder, "F")
    chosen = [found[i] for i in np.linspace(0, len(found) - 1, min(8, len(found))).round().astype(int)]
    latest = ["latest"] if (folder / "latest_net_F.pth").exists() else []
    if not chosen and not latest:
        raise UserError(f"{folder} has no checkpoint EPOCH_net_F.pth; --name must be a run of CUT or NEGCUT")
    return [*map(str, chosen), *latest]


def test_images(opt: argparse.Namespace, count: int) -> list[torch.Tensor]:
    """The first source images (1, C, H, W) of the test split, or of the training split where there is none."""
    opt, side = options.for_testing(opt), source_side(opt)
    if not Path(phase_folder(opt, "" if opt.dataset_mode == "aligned" else side)).is_dir():
        opt.phase = "train"
    return [batch[side] for batch in islice(create_dataset(opt), count)]


def queries(
    model: CUTModel, images: list[torch.Tensor], shown: int, points: list[tuple[float, float]]
) -> Iterator[ChosenQuery]:
    """At each point of the first ``shown`` images."""
    candidates = analysis.candidate_keys(model, images)
    for index, image in enumerate(images[:shown]):
        translated = analysis.translate(model, image)
        output = tensor2im(translated.output)
        for at in points:
            found = analysis.nearest_regions(model, translated, index, at, candidates, SHOWN_NEGATIVES)
            yield ChosenQuery(index, at, output, dict(zip(model.nce_layers, found, strict=True)))


if __name__ == "__main__":
    run(main)
