"""Which trained network a command uses: an experiment, a file, or weights that the repository holds.

weights/NAME.pth is a generator in float16, weights/NAME.json says what it is: ``about``, ``photos``, ``command``,
``seed``, ``steps``, ``scores``, ``licence`` (scripts/dev/publish_weights.py writes both).
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from util.errors import UserError

FOLDER = Path(__file__).with_name("weights")


def shipped() -> list[str]:
    """Names of the weights in the repository."""
    return sorted(path.stem for path in FOLDER.glob("*.pth"))


def find(text: str | Path, flag: str = "--weights") -> Path:
    """The file or folder by that path, else the repository's weights of that name; ``UserError`` that lists them."""
    if Path(text).exists():
        return Path(text)
    if str(text) in shipped():
        return FOLDER / f"{text}.pth"
    there = f"weights named {', '.join(shipped())}" if shipped() else "no weights yet"
    raise UserError(f"{flag} {text}: no such file, and the repository holds {there}")


def about(path: Path) -> dict:
    """What NAME.json beside ``path`` says; empty without one."""
    note = path.with_suffix(".json")
    return json.loads(note.read_text()) if note.is_file() else {}


def heading(path: Path) -> str:
    """For a page: what the weights translate, else the file's name."""
    return _capital(about(path).get("about", "")) or path.stem


def sentences(path: Path, *keys: str) -> str:
    """For a page: what NAME.json says under ``keys``; empty where it says nothing."""
    known = about(path)
    return " ".join(f"{_capital(known[key])}." for key in keys if key in known)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def add_flags(add: Callable) -> None:
    """``--name``, ``--weights`` and what chooses among an experiment's; ``add`` is a parser's ``add_argument``."""
    add("--name", help="the experiment in --checkpoints_dir")
    add("--checkpoints_dir", default=Path("checkpoints"), type=Path, help="folder of all experiments")
    what = "instead of --name: a generator's .pth file, or weights in the repository"
    add("--weights", metavar="FILE|NAME", help=what)
    add("--epoch", default="latest", help="latest, best or an epoch's number")
    add("--ema", action="store_true", help="the averaged weights, EPOCH_net_G_ema.pth")
    add("--net", help="another network than the trained direction's: G_B of CycleGAN")


def chosen(args: argparse.Namespace) -> tuple[Path, str, str | None]:
    """(source, epoch, net) for ``Translator``."""
    if None not in (args.name, args.weights):
        raise UserError(f"--name {args.name} and --weights {args.weights} are two generators; give one of the flags")
    if args.name is None and args.weights is None:
        raise UserError(
            "give --name, an experiment in --checkpoints_dir, or --weights, a generator's .pth file or weights in the "
            f"repository ({', '.join(shipped()) or 'which holds none yet'})"
        )
    net = f"{args.net or 'G'}_ema" if args.ema else args.net
    if args.weights:
        source = find(args.weights)
        if source.is_file() and (net or args.epoch != "latest"):
            raise UserError(f"--epoch, --ema and --net choose among an experiment's weights; {source} is one network")
        return source, args.epoch, net
    folder = args.checkpoints_dir / args.name
    if not folder.is_dir():
        raise UserError(f"--name {args.name}: there is no experiment {folder}; name one, or give --weights")
    return folder, args.epoch, net
