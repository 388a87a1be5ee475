"""Put a run's generator into the repository, where ``--weights NAME`` of translate.py, demo.py and others finds it.

    python scripts/dev/publish_weights.py h2z --epoch best --ema --out horse2zebra \\
        --about "horses to zebras" --licence "trained on photographs that are for research only"

Writes models/inference/weights/NAME.pth, the weights rounded to float16, and NAME.json beside it: the training's
command, seed and steps, the recorded scores of these weights, and what you say about them. The file is loaded before it
is kept.
"""

import shlex
import tempfile
from pathlib import Path

import repository  # noqa: F401

from models.inference import trained
from models.inference.translator import Translator
from util import strict_json
from util.errors import UserError, run
from util.files import write_atomic
from util.flag_types import ScriptParser
from util.json_lines import read
from util.metrics.records import summary
from util.precision import to_half
from util.run import checkpoints
from util.run.saved_options import read_options

LIMIT = 8e6  # bytes: everybody who clones the repository fetches them
NOT_OF_THE_WEIGHTS = {"checkpoints_dir", "gpu_ids", "num_threads", "quiet", "display_id", "no_html", "print_freq"}
NOT_OF_THE_WEIGHTS |= {"display_freq", "update_html_freq"}


def main() -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("name", help="the experiment in --checkpoints_dir")
    add("--checkpoints_dir", default=Path("checkpoints"), type=Path, help="folder of all experiments")
    add("--epoch", default="latest", help="latest, best or an epoch's number")
    add("--ema", action="store_true", help="the averaged weights")
    add("--out", required=True, metavar="NAME", help="the name by which --weights takes them")
    add("--about", required=True, help="what they translate, in a few words")
    add("--photos", help="what becomes of a photo of anything else, where that is not plain")
    add("--licence", required=True, help="what the pictures that they were trained on allow, in a sentence")
    add("--command", help="the training's command, where the run was resumed and its files no longer tell")
    args = parser.parse_args()
    folder = args.checkpoints_dir / args.name
    options = read_options(folder, "publish another run")
    if options is None:
        raise UserError(f"{folder} is no run of train.py: train_opt.json is missing")
    if not args.out.isidentifier():
        raise UserError(f"--out {args.out}: letters, digits and underscores make a name")
    epoch, images, scores = position(folder, options, args.epoch)
    note = {
        "about": args.about,
        **({"photos": args.photos} if args.photos else {}),
        "command": args.command or command(options),
        "seed": options["seed"],
        "epoch": epoch,
        "images": images,
        "steps": images // (options["batch_size"] * options.get("world_size", 1)),
        "scores": of_these_weights(scores, args.ema),
        "licence": args.licence,
    }
    weights = folder / f"{args.epoch}_net_G{'_ema' if args.ema else ''}.pth"
    publish(weights, trained.FOLDER / f"{args.out}.pth", note)


def publish(weights: Path, path: Path, note: dict) -> None:
    """Write ``path``, the weights in float16, and the note beside it."""
    state = {key: to_half(key, value) for key, value in checkpoints.read_weights(weights).items()}
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / path.name
        checkpoints.save(state, trial)
        Translator(trial, device="cpu")
        content = trial.read_bytes()
    if len(content) > LIMIT:
        raise UserError(f"{weights} makes {len(content) / 1e6:.1f} MB; the repository takes {LIMIT / 1e6:.0f} at most")
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, content)
    write_atomic(path.with_suffix(".json"), strict_json.dumps(note, indent=1) + "\n")
    print(f"{path}: {len(content) / 1e6:.1f} MB\n{path.with_suffix('.json')}:")
    print("\n".join(f"  {key:<9} {value}" for key, value in note.items()))


def position(folder: Path, options: dict, epoch: str) -> tuple[int, int, dict]:
    """(epoch, images seen, recorded scores) of the weights saved as ``epoch``."""
    rows = read(folder / "metrics.jsonl")
    if epoch == "latest":
        at = checkpoints.load(folder / checkpoints.STATE)["position"]
        scored = [row for row in rows if row["total_images"] == at["total_images"]]
        last = scored[-1] if scored else at | {"scores": {}}
        return last["epoch"], at["total_images"], last["scores"]
    if epoch == "best":
        metric = options["eval_metric"] or next(iter(rows[-1]["scores"])) if rows else ""
        found = summary(folder / "metrics.jsonl", metric)
        if found is None:
            raise UserError(f"{folder / 'metrics.jsonl'} does not tell which epoch was the best; give --epoch N")
        epoch = found["best_epoch"]
    of_epoch = [row for row in read(folder / "losses.jsonl") + rows if row["epoch"] == int(epoch)]
    if not of_epoch:
        raise UserError(f"--epoch {epoch}: the records in {folder} have nothing of that epoch")
    return int(epoch), of_epoch[-1]["total_images"], of_epoch[-1].get("scores", {})


def of_these_weights(scores: dict, average: bool) -> dict:
    """Of a row of metrics.jsonl what belongs to the averaged weights, or to the others; counts and notes to both."""
    notes = {key: value for key, value in scores.items() if not isinstance(value, float)}
    own = {key: value for key, value in scores.items() if key not in notes and key.endswith("_ema") == average}
    return notes | {key.removesuffix("_ema"): value for key, value in own.items()}


def command(options: dict) -> str:
    """train.py with the flags that were typed and change the weights."""
    sources = options["sources"]
    if "saved" in sources.values() or "typed" not in sources.values():  # resumed, or from before they were noted
        raise UserError("the run was resumed, so its files no longer tell what was typed first; give --command")
    words = ["python", "train.py"]
    for key, value in options.items():
        if sources.get(key) == "typed" and key not in NOT_OF_THE_WEIGHTS:
            values = value if isinstance(value, list) else [] if value is True else [value]
            words += [f"--{key}", *map(str, values)]
    return shlex.join(words)


if __name__ == "__main__":
    run(main)
