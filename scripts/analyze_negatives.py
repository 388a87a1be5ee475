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
import copy
import math
from itertools import islice
from pathlib import Path

import numpy as np
import repository  # noqa: F401
import torch
from dominate import tags
from PIL import Image, ImageDraw

import options
from data import create_dataset
from models import create_model
from models import negative_analysis as analysis
from models.cut_model import CUTModel
from models.negative_analysis import HARD, Layer
from util import html
from util.errors import UserError, run
from util.files import write_atomic
from util.flag_types import ScriptParser, file_to_write, positive_int
from util.images import tensor2im
from util.loggers.base import FEW
from util.pages import other_pages
from util.pages.comparison import loss_curve, read_run
from util.pages.plots import Curve, picture, plot, plots, table
from util.run.checkpoints import numbered_epochs

EDGES = np.linspace(-1, 1, 101)  # of the histograms
SHOWN_NEGATIVES = 6  # a query
COLORS = {"positive": "#3fa65a", "negative": "#f0883e", "other": "#999999"}  # by the field of a Layer


def parse(argv: list[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    parser = ScriptParser(__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--name", required=True, help="the experiment")
    add("--checkpoints_dir", default="./checkpoints", help="folder of all experiments")
    add("--epochs", nargs="+", help="checkpoints: latest, best, numbers (default: up to 8 numbered ones, and latest)")
    add("--num_images", type=positive_int, default=16, help="images of the test split, or of train")
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
        measured[epoch] = analysis.measure(model, images)
        named = zip(model.nce_layers, measured[epoch], strict=True)
        shares = ", ".join(f"{share_of(model, layer):.1%} (layer {name})" for name, layer in named)
        print(f"epoch {epoch}: hard negatives {shares}")
    page = write_page(args, folder, model, images, measured)
    print(f"open {page}")


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
    opt, side = copy.copy(options.for_testing(opt)), opt.direction[0]
    if not Path(opt.dataroot, f"test{side}").is_dir():
        opt.phase = "train"
    return [batch[side] for batch in islice(create_dataset(opt), count)]


def share_of(model: CUTModel, layer: Layer, kind: str = "negative") -> float:
    return analysis.hard_share(layer.positive, getattr(layer, kind), model.opt.nce_T)


def kinds(model: CUTModel) -> dict[str, str]:
    """Field of a Layer -> the negatives that it holds; CUT's are one kind."""
    if hasattr(model, "netN"):
        return {"negative": "generated negatives", "other": "other patches of the image"}
    return {"negative": "negatives"}


def distributions(model: CUTModel, layers: list[Layer]) -> tags.div:
    """The paper's Fig. 1, one plot a layer."""
    figures = []
    for name, layer in zip(model.nce_layers, layers, strict=True):
        shown = {kind: getattr(layer, kind) for kind in ("positive", *kinds(model))}
        low = max(-1, math.floor(min(np.quantile(values, 0.001) for values in shown.values()) * 5) / 5)
        curves = [histogram(kinds(model).get(kind, kind), kind, values, low) for kind, values in shown.items()]
        axes = "cosine with the query", "share (highest = 1)"
        figures.append(plot(f"layer {name}", curves, *axes, (low, 1), (0, 1.05)))
    return plots(*figures)


def histogram(name: str, kind: str, values: np.ndarray, low: float) -> Curve:
    """Above ``low``."""
    counts, middles = np.histogram(values, EDGES)[0], (EDGES[1:] + EDGES[:-1]) / 2
    shown, heights, dashed = middles > low, counts / max(1, counts.max()), kind == "other"
    return Curve(name, middles[shown], heights[shown], color=COLORS[kind], filled=not dashed, dashed=dashed)


def over_training(folder: Path, model: CUTModel, measured: dict[str, list[Layer]]) -> tags.div:
    """Hard negatives of each checkpoint; mean cosines as training recorded them."""
    numbered = {int(epoch): layers for epoch, layers in measured.items() if epoch.isdigit()}
    figures = []
    for kind, title in kinds(model).items() if len(numbered) > 1 else ():
        curves = []
        for i, name in enumerate(model.nce_layers):
            shares = [100 * share_of(model, layers[i], kind) for layers in numbered.values()]
            curves.append(Curve(f"layer {name}", list(numbered), shares, dots=True))
        figures.append(plot(f"hard {title}", curves, "epoch", "%", y_range=(0, 102)))
    record = read_run(folder)
    for kind in ("negative", "positive"):
        tracks = {name: loss_curve([record], f"similarity_{kind}_{name}") for name in model.nce_layers}
        curves = [Curve(f"layer {name}", x, mean, dots=len(x) <= FEW) for name, (x, mean, _) in tracks.items()]
        figures.append(plot(f"recorded in training: query and {kind}", curves, "images", "mean cosine"))
    return plots(*figures)


def checkpoint_table(model: CUTModel, measured: dict[str, list[Layer]]) -> tags.div:
    rows = []
    for epoch, layers in measured.items():
        for name, layer in zip(model.nce_layers, layers, strict=True):
            rows.append([epoch, str(name), f"{layer.loss:.3f}", mean_and_spread(layer.positive)])
            for kind in kinds(model):
                rows[-1] += [mean_and_spread(getattr(layer, kind)), f"{share_of(model, layer, kind):.1%}"]
    head = ["epoch", "layer", "loss", "positive"]
    return table(head + [word for title in kinds(model).values() for word in (title, "hard")], rows)


def mean_and_spread(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ± {values.std():.3f}"


def regions(model: CUTModel, images: list[torch.Tensor], shown: int, points: list[tuple[float, float]]) -> list:
    """The paper's Fig. 5: for each query a table with a row a layer."""
    sources, candidates = [tensor2im(image) for image in images], analysis.candidate_keys(model, images)
    head = ["layer", "query", "positive", *["nearest region"] * SHOWN_NEGATIVES]
    sections = []
    for index, image in enumerate(images[:shown]):
        translated = analysis.translate(model, image)
        output = tensor2im(translated.output)
        for x, y in points:
            queries = analysis.nearest_regions(model, translated, index, (x, y), candidates, SHOWN_NEGATIVES)
            rows = []
            for name, query in zip(model.nce_layers, queries, strict=True):
                row = [str(name), picture(crop(output, query.place), "query", 72)]
                row.append(picture(crop(sources[index], query.place), "positive", 72))
                for cosine, owner, region, nearness in zip(
                    query.cosine, query.image, query.region, query.nearness, strict=True
                ):
                    words = f"q·n {cosine:.2f}", tags.br(), f"n·k {nearness:.2f}"
                    row.append([picture(crop(sources[owner], region), f"of image {owner + 1}", 72), *words])
                rows.append(row)
            at = x * output.shape[1], y * output.shape[0]
            whole = {"source": sources[index], "translation": output}
            marks = [picture(marked(pixels, at), f"image {index + 1}: {kind}", 160) for kind, pixels in whole.items()]
            sections.append(tags.h3(f"image {index + 1}, query at {x:g}, {y:g}"))
            sections.append(tags.div(table(whole, [marks]), table(head, rows), cls="beside"))
    return sections


def crop(image: np.ndarray, at: tuple[float, float]) -> np.ndarray:
    """The square around (x, y), a fifth of the image wide; grey beyond the border."""
    side = max(8, image.shape[1] // 5)
    padded = np.pad(image, ((side, side), (side, side), (0, 0)), constant_values=128)
    x, y = (round(value + side / 2) for value in at)
    return padded[y : y + side, x : x + side]


def marked(image: np.ndarray, at: tuple[float, float]) -> np.ndarray:
    """With a square around (x, y)."""
    scale = max(1, 256 // image.shape[1])
    drawn = Image.fromarray(image.repeat(scale, axis=0).repeat(scale, axis=1))
    half = max(8, image.shape[1] // 5) * scale / 2
    x, y = at[0] * scale, at[1] * scale
    ImageDraw.Draw(drawn).rectangle((x - half, y - half, x + half, y + half), outline=(255, 0, 0), width=3)
    return np.asarray(drawn)


def write_page(args: argparse.Namespace, folder: Path, model: CUTModel, images: list, measured: dict) -> Path:
    """One file, pictures included; ``measured``: epoch -> its layers."""
    opt, (*older, last) = model.opt, measured
    whose = f"generated by N (--netN {opt.netN})" if "other" in kinds(model) else "the other patches of the image"
    body = [
        tags.h2(f"How near negatives come to queries: epoch {last}"),
        tags.p(
            "Cosines of queries (patches of the translation) with their positive (the source's patch at the same "
            f"place) and with the negatives, {whose}, on {len(images)} images. The further the negatives reach to the "
            "right, to where the positives are, the harder they are. Every curve is scaled to its highest value."
        ),
        distributions(model, measured[last]),
        *(html.fold(f"epoch {epoch}", distributions(model, measured[epoch])) for epoch in older),
        tags.h2("Hard negatives over training"),
        tags.p(
            "A negative is called hard if it weighs at least 1% of the positive in the loss: its cosine is then at "
            f"most {-opt.nce_T * math.log(HARD):.2f} (temperature {opt.nce_T:g} times ln 100) below the positive's."
        ),
        over_training(folder, model, measured),
        tags.h2("Checkpoints"),
        tags.p("Mean ± standard deviation over all pairs; loss: the contrastive loss of the layer."),
        html.fold("table", checkpoint_table(model, measured)),
        tags.h2(f"The regions nearest to the hardest negatives: epoch {last}"),
        tags.p(
            f"For each query the {SHOWN_NEGATIVES} negatives of highest cosine with it (q·n). A generated negative is "
            f"a vector, no patch: shown is the region, of all {len(images)} source images, whose key has the highest "
            "cosine with it (n·k); where that is low, the negative resembles nothing in the images. Pictures are a "
            "fifth of the image wide."
        ),
        *regions(model, images, args.num_shown, args.queries),
    ]
    header = {"model": opt.model, "checkpoints": ", ".join(measured), "data": opt.dataroot}
    header |= {"options": {k: v for k, v in vars(opt).items() if k != "message"}}
    title, out = f"{opt.easy_label or opt.name}: the negatives", args.out or folder / "negatives.html"
    head = [*html.terms(header), *other_pages.nav(folder, out), html.command()]
    write_atomic(out, html.page(("plots", "report"), title, head, [tags.main(body)]))
    other_pages.add(folder, "page of negatives", out)
    return out


if __name__ == "__main__":
    run(main)
