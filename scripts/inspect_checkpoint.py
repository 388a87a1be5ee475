"""Say what checkpoint files hold, and the flags to load them with.

    python scripts/inspect_checkpoint.py checkpoints/h2z/latest_net_G.pth
    python scripts/inspect_checkpoint.py checkpoints/h2z

Weights that the repository holds go by their name. Architecture, sizes, norm and anti-aliasing are read from the names
and shapes of the weights. ``--keys`` lists them.
"""

import shlex
from argparse import Namespace
from pathlib import Path

import repository  # noqa: F401

from models.inference import trained
from models.inference.architecture import NO_WEIGHTS, guess_network
from util.errors import UserError, run
from util.flag_types import ScriptParser
from util.run import checkpoints
from util.run.run_summary import to_go_on


def main() -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("paths", nargs="+", help="files, folders of an experiment, or names of the repository's weights")
    add("--keys", action="store_true", help="also list every weight with its shape and type")
    args = parser.parse_args()
    for path in map(trained.find, args.paths):
        files = sorted([*path.glob("*.pth"), *path.glob("*.pt")]) if path.is_dir() else [path]
        if not files:
            raise UserError(f"{path} holds no .pth and no .pt files")
        for file in files:
            print("\n".join(describe(file, args.keys)))


def describe(path: Path, keys: bool = False) -> list[str]:
    """The lines to print about one file."""
    content = checkpoints.load(path, "file")
    lines = [f"{path}  ({path.stat().st_size / 1e6:.1f} MB)"]
    lines += [f"  {key:<9} {value}" for key, value in trained.about(path).items()]
    if isinstance(content, dict) and "position" in content and "model" in content:  # latest_state.pt
        at, of_run = content["position"], {"name": "NAME", "checkpoints_dir": "./checkpoints"}
        return [
            *lines,
            f"  state     epoch {at['epoch']}, {at['total_images']} images done, torch {content.get('torch')}",
            f"  networks  {', '.join(content['model']['networks'])}",
            f"  use       {to_go_on(Namespace(**of_run | content.get('options', {})))}",
        ]
    state = checkpoints.read_weights(path, "file")
    numbers = sum(value.numel() for key, value in state.items() if not key.endswith(NO_WEIGHTS))
    types = ", ".join(sorted({str(value.dtype).removeprefix("torch.") for value in state.values()}))
    lines.append(f"  weights   {len(state)} tensors, {numbers:,} parameters, {types}")
    if state.keys() != content.keys():
        lines.append("  names     begin with 'module.' (DataParallel); loading takes it off")
    network = guess_network(state)
    if network is None:
        lines.append("  network   unknown: none of this program's")
    else:
        lines += [f"  network   {network.kind}", f"  flags     {network.command_line()}"]
        lines += [f"  note      {note}" for note in network.notes]
        if network.kind == "generator":
            weights = shlex.quote(str(path))
            lines.append(f"  use       python scripts/translate.py --weights {weights} IMAGES --out FOLDER")
    bad = checkpoints.not_finite(state)
    if bad:
        lines.append(f"  WARNING   NaN or Inf in {len(bad)} weights, first {bad[0]}")
    return lines + ([f"  {key}  {tuple(v.shape)} {v.dtype}" for key, v in state.items()] if keys else [])


if __name__ == "__main__":
    run(main)
