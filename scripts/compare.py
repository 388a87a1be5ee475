"""Train several experiments with equal budgets and several seeds, and compare them on one page.

    python scripts/compare.py --out comparisons/negatives --images 600 --seeds 3 \\
        --flags "--dataroot datasets/toy --ngf 16 --load_size 36 --crop_size 32" \\
        --run CUT="--model cut" --run NEGCUT="--model negcut" --run detached="--model negcut --detach_negatives"
    python scripts/compare.py --out comparisons/h2z --existing CUT="checkpoints/h2z_cut*" \\
        --existing NEGCUT=checkpoints/h2z

Every run is one of train.py, in OUT/checkpoints/NAME_seedN, with what it printed in OUT/logs. Ctrl-C and SIGTERM end it
and this script, with exit status 75. The same command does not train a finished run again; an interrupted one goes on,
or starts anew where the budget is a time. Written at the end:

    OUT/index.html   curves over images and over time, scores, the contrastive term, samples side by side
    OUT/table.md     the same scores as a table: mean +- standard deviation over the seeds, last and best
                     (both with the differences to --against NAME, seed by seed)
    OUT/scores.json  the numbers behind it

Scores are those that training recorded (metrics.jsonl) and, on the dataset of make_toy_dataset.py, those of
score_toy.py for every numbered checkpoint (with few epochs, give --save_epoch_freq 1). ``best`` is the best epoch of
each run by the score in question, as papers report; ``last`` is where the run ended.
"""

import argparse
import glob
import json
import math
import os
import re
import shlex
import subprocess
import sys
import time
import warnings
from itertools import product
from pathlib import Path

import numpy as np
from repository import ROOT

import options
from data import create_dataset
from models import create_model
from models.inference.architecture import load_weights
from scripts.data.score_toy import score
from util.errors import UserError, run
from util.files import write_atomic
from util.flag_types import ScriptParser, positive_int, seconds
from util.images import tensor2im
from util.json_lines import read
from util.metrics.images import read_image
from util.metrics.records import append_scores
from util.pages import comparison_page
from util.pages.comparison import EMA, read_run
from util.pictures import source_side
from util.run.checkpoints import numbered_epochs
from util.run.interruption import EXIT_CODE, Interruption

RECORDS = ("metrics.jsonl", "drawn_scores.jsonl")  # of scores, in a run's folder: training's, and ours
FINISHED = "compared.json"  # in a run's folder: the flags that it was trained with, to its end


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ScriptParser(__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the comparison")
    add("--run", type=named, action="append", default=[], metavar='NAME="FLAGS"',
        help="an experiment and its flags of train.py")  # fmt: skip
    add("--existing", type=named, action="append", default=[], metavar="NAME=FOLDERS",
        help="an experiment that train.py has run: its folder, or a pattern of folders, one a seed")  # fmt: skip
    add("--flags", default="", help="flags of train.py that all experiments share")
    add("--seeds", type=positive_int, default=3, help="runs of each experiment: --seed 0, 1, ...")
    add("--images", type=positive_int, help="budget: training images a run, rounded up to whole epochs; the learning "
        "rate falls in the same part of them as --n_epochs and --n_epochs_decay say (default: half)")  # fmt: skip
    add("--seconds", type=seconds, help="budget: time a run (90, 10m, 1.5h), at a constant learning rate")
    add("--against", metavar="NAME", help="also a table of differences to this experiment, seed by seed, with 95%% "
        "t-intervals; in bold what differs after Holm's correction")  # fmt: skip
    add("--seconds_an_image", type=rate, action="append", default=[], metavar="NAME=SECONDS",
        help="of every experiment, measured apart: also a table at the time when the first has ended")  # fmt: skip
    add("--samples", type=positive_int, default=4, help="test images shown side by side")
    add("--title", default="", help="of the page (default: the folder's name)")
    opt = parser.parse_args(argv)
    if not opt.run and not opt.existing:
        raise UserError('give at least one --run NAME="flags" or --existing NAME=FOLDER')
    if opt.run and (opt.images is None) == (opt.seconds is None):
        raise UserError("give either --images or --seconds: every run gets the same budget")
    names = [name for name, _ in opt.run + opt.existing]
    if len(set(names)) < len(names):
        raise UserError(f"the experiments' names must differ: {', '.join(names)}")
    if opt.against not in (None, *names):
        raise UserError(f"--against {opt.against}: choose from {', '.join(names)}")
    opt.run, opt.existing, opt.seconds_an_image = map(dict, (opt.run, opt.existing, opt.seconds_an_image))
    if opt.seconds_an_image and sorted(opt.seconds_an_image) != sorted(names):
        raise UserError(f"--seconds_an_image must be given for each of {', '.join(names)}")
    return opt


def named(text: str) -> tuple[str, str]:
    """``NAME=rest``"""
    name, equals, rest = text.partition("=")
    if not equals or not re.fullmatch(r"[\w.+-]+", name):
        raise argparse.ArgumentTypeError(f'must be NAME="...", NAME of letters, digits and . _ + -, not {text!r}')
    return name, rest


def rate(text: str) -> tuple[str, float]:
    name, time = named(text)
    return name, seconds(time)


def main(argv: list[str] | None = None) -> None:
    opt = parse(argv)
    for name in opt.run:  # flags that cannot work are refused before any training
        command(opt, name, 0)
    runs = {name: [opt.out / "checkpoints" / f"{name}_seed{seed}" for seed in range(opt.seeds)] for name in opt.run}
    runs |= existing(opt)
    # All experiments of one seed, then the next: what is there can be compared early.
    for number, (seed, name) in enumerate(product(range(opt.seeds), opt.run), start=1):
        train(opt, runs[name][seed], name, seed, f"{number} of {opt.seeds * len(opt.run)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = [score_and_show(opt, folder, i == 0) for each in runs.values() for i, folder in enumerate(each)]
    experiments = {name: [read_run(folder, *RECORDS) for folder in each] for name, each in runs.items()}
    shown = dict(zip(runs, filter(None, samples), strict=True))
    title, differences = opt.title or opt.out.name, (opt.against, opt.seconds_an_image)
    print(comparison_page.write(opt.out, title, header(opt), experiments, shown, *differences))
    print(f"open {opt.out / 'index.html'}")


def existing(opt: argparse.Namespace) -> dict[str, list[Path]]:
    """Experiment -> the folders that its pattern matches."""
    found = {}
    for name, pattern in opt.existing.items():
        folders = [pattern] if Path(pattern).is_dir() else glob.glob(pattern)  # one may be called "h2z [1]"
        found[name] = sorted(path for path in map(Path, folders) if read(path / "losses.jsonl"))
        if not found[name]:
            raise UserError(f"--existing {name}={pattern}: no folder there holds a losses.jsonl of train.py")
    return found


def command(opt: argparse.Namespace, name: str, seed: int) -> list[str]:
    """The flags of train.py for one run."""
    try:
        own = shlex.split(f"{opt.flags} {opt.run[name]}")
    except ValueError as error:
        raise UserError(f"--run {name}: its flags or those of --flags end within a word: {error}") from None
    flags = ["--quiet", "--display_id=0", "--print_freq=10", *own]
    flags += [f"--checkpoints_dir={opt.out / 'checkpoints'}", f"--name={name}_seed{seed}", f"--seed={seed}"]
    if opt.seconds:
        budget = [f"--time_budget={opt.seconds:g}s", "--n_epochs=1000000", "--n_epochs_decay=0"]
        options.parse([*flags, *budget])
        return [*flags, *budget]
    parsed = options.parse(flags)
    epochs = math.ceil(opt.images / len(create_dataset(parsed)))
    falling = epochs * parsed.n_epochs_decay // (parsed.n_epochs + parsed.n_epochs_decay)
    return [*flags, f"--n_epochs={epochs - falling}", f"--n_epochs_decay={falling}"]


def train(opt: argparse.Namespace, folder: Path, name: str, seed: int, which: str) -> None:
    """One run of train.py to the end of its budget, unless it has been there; ``which``: ``1 of 4``."""
    flags, marker = command(opt, name, seed), folder / FINISHED
    if marker.exists():
        if json.loads(marker.read_text()) != flags:
            raise UserError(f"{folder} was trained with other flags ({marker}); remove it or choose another --out")
        print(f"{folder.name} ({which}): is trained")
        return
    goes_on = opt.images and (folder / "latest_state.pt").exists()
    log = opt.out / "logs" / f"{folder.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"{folder.name} ({which}): {'goes on' if goes_on else 'training'}", flush=True)
    with open(log, "a" if goes_on else "w", encoding="utf-8") as file:
        status = wait_for([sys.executable, ROOT / "train.py", *flags, *(["--continue_train"] * bool(goes_on))], file)
    if status != (EXIT_CODE if opt.seconds else 0):
        last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
        raise UserError(f"{folder.name} ended with status {status}: {last} (see {log})")
    write_atomic(marker, json.dumps(flags))


def wait_for(argv: list, output) -> int:
    """Exit status of a run of train.py. What ends this script ends the run first, which saves. It is always told by
    SIGTERM: until train.py listens that ends it too, while a Ctrl-C during its imports may be lost there."""
    with Interruption() as signals:
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)
        is_told = os.name != "posix"  # Windows' terminate() would not let it save; Ctrl-C reaches it there
        try:
            while process.poll() is None:
                if signals.reason and not is_told:
                    process.terminate()
                    is_told = True
                time.sleep(0.1)
        finally:  # a second Ctrl-C, which ends train.py at once
            process.wait()
    if signals.reason:
        print(f"interrupted by {signals.reason}; the same command goes on")
        sys.exit(EXIT_CODE)
    return process.returncode


def score_and_show(opt: argparse.Namespace, folder: Path, show: bool) -> dict[str, list[np.ndarray]]:
    """Score a run's checkpoints on the drawn dataset, once each; with ``show`` return test images by label, as the
    last weights translate them."""
    where = [f"--checkpoints_dir={folder.parent}", f"--name={folder.name}", f"--results_dir={opt.out}"]
    run_opt = options.parse([*where, "--quiet"], is_train=False)
    drawn = Path(run_opt.dataroot, "testA_truth").is_dir() and run_opt.direction == "AtoB"
    if not drawn and not show:
        return {}
    model, side = create_model(run_opt), source_side(run_opt)
    model.set_up_networks()
    net = getattr(model, "net" + model.model_names[0])
    batches = list(create_dataset(run_opt))
    paths = [Path(path) for batch in batches for path in batch[side + "_paths"]]

    def translate(file: str, count: int) -> list[np.ndarray]:
        load_weights(net, folder / file, model.architecture_flags)
        outputs = (model.translate(batch[side], net) for batch in batches[:count])
        return [tensor2im(image) for output in outputs for image in output]

    for epoch, images_seen, files in unscored(folder, model.model_names[0]) if drawn else []:
        scores = {}
        for ending, file in files.items():
            made = [toy_scores(image, path) for image, path in zip(translate(file, len(paths)), paths, strict=True)]
            scores |= {name + ending: float(np.mean([one[name] for one in made])) for name in made[0]}
        append_scores(folder / RECORDS[1], scores, epoch, images_seen)
    if not show:
        return {}
    shown = {"input": [tensor2im(image) for batch in batches[: opt.samples] for image in batch[side]]}
    if drawn:
        shown["truth"] = [read_image(path.parents[1] / "testA_truth" / path.name) for path in paths[: opt.samples]]
    for ending in ("", EMA):
        if (folder / (file := f"latest_net_{model.model_names[0]}{ending}.pth")).exists():
            shown["output" + ending] = translate(file, opt.samples)
    return shown


def unscored(folder: Path, network: str) -> list[tuple[int, int, dict[str, str]]]:
    """(epoch, images seen, {"": file, "_ema": file}) of the checkpoints that drawn_scores.jsonl does not have."""
    losses = read(folder / "losses.jsonl")
    seen = {row["epoch"]: row["total_images"] for row in losses}
    prefixes = {epoch: str(epoch) for epoch in numbered_epochs(folder, network) if epoch in seen}
    prefixes.setdefault(losses[-1]["epoch"], "latest")
    done = {row["total_images"] for row in read(folder / RECORDS[1])}
    found = []
    for epoch, prefix in sorted(prefixes.items()):
        files = {ending: f"{prefix}_net_{network}{ending}.pth" for ending in ("", EMA)}
        if seen[epoch] not in done:
            found.append((epoch, seen[epoch], {e: file for e, file in files.items() if (folder / file).exists()}))
    return found


def toy_scores(image: np.ndarray, path: Path) -> dict[str, float]:
    """score_toy.py's scores of the translation of testA's ``path``."""
    truth, mask = (read_image(path.parents[1] / folder / path.name) for folder in ("testA_truth", "testA_mask"))
    return score(image, read_image(path), truth, mask[..., 0])


def header(opt: argparse.Namespace) -> dict:
    budget = f"{opt.images} images" if opt.images else f"{opt.seconds:g} seconds" if opt.seconds else "that of each run"
    flags = {"all": opt.flags or "–"} | {name: flags or "–" for name, flags in (opt.run | opt.existing).items()}
    return {"budget a run": budget, "flags": flags, "command": {"": shlex.join(["python", *sys.argv])}}


if __name__ == "__main__":
    run(main)
