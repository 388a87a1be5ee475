"""What a flag's value may be: argparse types whose errors say what would be right."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from util.errors import UserError

LARGEST = 2**31 - 1  # what numpy, torch and file formats take
METAVARS: dict[Callable, str] = {}  # what the help shows for a value of each type


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults where they say something: not of switches, nor where a flag is left out by default or its help tells."""

    def _get_help_string(self, action):
        is_switch = isinstance(action.default, bool) and action.nargs == 0
        if is_switch or action.default in (None, "", "placeholder", []) or "default:" in action.help:
            return action.help
        return super()._get_help_string(action)


class ScriptHelp(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The same, below a description as it is written."""


class ScriptParser(argparse.ArgumentParser):
    """A script's: its docstring as it is written, the defaults of its flags, errors of one sentence."""

    def __init__(self, description: str | None, **how):
        super().__init__(description=description, formatter_class=ScriptHelp, **how)

    def error(self, message: str):
        raise UserError(f"{message}; --help explains the flags")


def _number(kind, low, high, unit: str):
    def parse(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not math.isfinite(value) or value < low or value > high:
            raise argparse.ArgumentTypeError(f"must be {unit}, not {text!r}")
        if kind is int and value > LARGEST:
            raise argparse.ArgumentTypeError(f"must be at most {LARGEST}, not {text!r}")
        return value

    METAVARS[parse] = "N" if kind is int else "X"
    return parse


positive_int = _number(int, 1, math.inf, "a whole number of at least 1")
non_negative_int = _number(int, 0, math.inf, "a whole number of at least 0")
percent = _number(int, 1, 100, "a whole number from 1 to 100")
port_number = _number(int, 1, 65535, "a port's number from 1 to 65535")
positive = _number(float, 1e-300, math.inf, "a number above 0")
non_negative = _number(float, 0, math.inf, "a number of at least 0")
fraction = _number(float, 0, 1, "a number from 0 to 1")


def count_or_inf(text: str) -> int | float:
    """A whole number of at least 1, or ``inf``."""
    return math.inf if text == "inf" else positive_int(text)


def file_to_write(text: str) -> Path:
    """A file whose folder is there."""
    if not Path(text).absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: its folder does not exist")
    return Path(text)


def norm_name(text: str) -> str:
    """A norm by CycleGAN's other spellings too: sync_batch; sync_instance, which needs nothing synchronized."""
    return {"sync_batch": "syncbatch", "sync_instance": "instance"}.get(text, text)


def sizes_repeat(preprocess: str) -> bool:
    """Whether all images come out in one size."""
    return any(word in preprocess for word in ("resize", "crop", "patch"))


def str2bool(text: str) -> bool:
    """yes/no, true/false, t/f, y/n, 1/0, as the official flags accept them."""
    if isinstance(text, bool):
        return text
    if text.lower() in ("yes", "true", "t", "y", "1"):
        return True
    if text.lower() in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"must be true or false, not {text!r}")


def part(text: str) -> tuple[int, int]:
    """``3/8`` -> (3, 8): the third of eight parts."""
    try:
        i, n = (positive_int(number) for number in text.split("/"))
    except (ValueError, argparse.ArgumentTypeError):
        i, n = 1, 0
    if i > n:
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, like 3/8, not {text!r}")
    return i, n


class ValueRange(argparse.Action):
    """``LOW HIGH``, or ``LOW HIGH LOW_B HIGH_B`` -> a list of numbers."""

    def __call__(self, parser, namespace, numbers, option_string=None):
        rising = all(math.isfinite(high) and low < high for low, high in zip(numbers[::2], numbers[1::2], strict=False))
        if len(numbers) not in (2, 4) or not rising:
            raise argparse.ArgumentError(
                self, f"must be LOW HIGH, or LOW HIGH LOW_B HIGH_B, each LOW below its HIGH, not {numbers}"
            )
        setattr(namespace, self.dest, numbers)


def layer_list(text: str) -> str:
    """Comma-separated layer indices, kept as text as in the official code: ``0,4,8,12,16``."""
    try:
        layers = [int(layer) for layer in text.split(",")]
    except ValueError:
        layers = []
    if not layers or min(layers) < -1 or len(set(layers)) != len(layers):
        raise argparse.ArgumentTypeError(
            f"must be different layer indices separated by commas, like 0,4,8,12,16, not {text!r}"
        )
    return text


def seconds(text: str) -> float:
    """A time span: ``90``, ``90s``, ``10m`` or ``1.5h`` -> seconds."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    return positive(text[:-1]) * unit if unit else positive(text)


SWITCH: dict = dict(type=str2bool, nargs="?", const=True)  # --flag, --flag true, --flag false
METAVARS |= {count_or_inf: "N", seconds: "TIME", layer_list: "LAYERS", str2bool: "true|false", part: "I/N"}
