"""Every flag. ``parse`` resolves the command line once into a plain namespace that nothing writes to afterwards."""

import argparse
import copy
import json
import math
import sys
from contextlib import contextmanager
from pathlib import Path

import data
import models
from options.base_options import add_base_options
from options.checks import check
from options.test_options import add_test_options
from options.train_options import add_train_options
from util import distributed
from util.devices import get_device, parse_gpu_ids
from util.errors import UserError
from util.files import write_atomic
from util.precision import fast_settings

# What is not taken over from the saved options of a training run: where and how to run.
OWN = {"name", "suffix", "checkpoints_dir", "gpu_ids", "epoch", "verbose", "quiet", "continue_train", "epoch_count"}
# Nor, in test.py, which images.
OWN_IN_TEST = {"phase", "seed", "batch_size", "num_threads", "serial_batches", "no_flip", "load_size", "cache"}
OWN_IN_TEST |= {"max_dataset_size"}


class OptionParser(argparse.ArgumentParser):
    """argparse with named groups for model and dataset files, and errors of one sentence."""

    _group = None

    def __init__(self, argv: list[str], **kwargs):
        self.argv = argv
        super().__init__(allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **kwargs)

    @contextmanager
    def group(self, title: str):
        """Flags added inside this block are listed under ``title`` in the help."""
        self._group = self.add_argument_group(title)
        yield self
        self._group = None

    def add_argument(self, *args, **kwargs):
        return (self._group or super()).add_argument(*args, **kwargs)

    def parse_known_args(self, args=None, namespace=None):
        # Official model files call this without arguments to look at the flags so far.
        return super().parse_known_args(self.argv if args is None else args, namespace)

    def error(self, message: str):
        raise UserError(message)


def parse(argv: list[str] | None = None, is_train: bool = True) -> argparse.Namespace:
    """The resolved options of train.py (``is_train``) or test.py; raises ``UserError`` for what cannot work."""
    argv = sys.argv[1:] if argv is None else argv
    # --help has to wait until the model and the dataset have added their flags.
    parser = OptionParser([a for a in argv if a not in ("-h", "--help")], add_help=False)
    add_base_options(parser)
    (add_train_options if is_train else add_test_options)(parser)

    known = parser.parse_known_args()[0]
    saved = _saved_options(known, is_needed=parser.argv == argv) if not is_train or known.continue_train else {}
    parser.set_defaults(**_known(parser, saved))
    for kind, title, package in (("model", "model", models), ("dataset_mode", "dataset", data)):
        name = getattr(parser.parse_known_args()[0], kind)
        before = _known(parser, saved)
        with parser.group(f"{title} {name}"):
            parser = package.get_option_setter(name)(parser, is_train)
        values = _known(parser, saved)
        if name != saved.get(kind, name):  # another one than trained with, as --model test: its own defaults hold
            values = {k: v for k, v in values.items() if k not in before}
        parser.set_defaults(**values)
    known = parser.parse_known_args()[0]
    gpu_ids = parse_gpu_ids(known.gpu_ids, asked_for="gpu_ids" in explicit_flags(parser))
    if known.fast:
        parser.set_defaults(**fast_settings(get_device(gpu_ids)))
    parser.add_argument("-h", "--help", action="help", help="show this help and exit")
    if not is_train and "load_size" not in explicit_flags(parser):
        parser.set_defaults(load_size=parser.parse_known_args()[0].crop_size)  # test images are not jittered

    opt = parser.parse_args(argv)
    opt.isTrain = is_train
    if opt.suffix:
        try:
            opt.name += "_" + opt.suffix.format(**vars(opt))
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise UserError(
                f"--suffix {opt.suffix}: in braces must stand options, as in {{model}}_{{load_size}} ({error})"
            ) from None
    opt.gpu_ids = gpu_ids
    opt.rank, opt.world_size = distributed.environment()
    opt.quiet = opt.quiet or opt.rank > 0
    check(opt)
    opt.message = _table(opt, parser)
    return opt


def explicit_flags(parser: OptionParser) -> set[str]:
    """Names of the options that the user typed."""
    actions = (parser._option_string_actions.get(a.split("=")[0]) for a in parser.argv)
    return {action.dest for action in actions if action}


def for_testing(opt: argparse.Namespace) -> argparse.Namespace:
    """The options with which test.py would translate the test split, for scores during training."""
    test = copy.copy(opt)
    test.isTrain, test.phase, test.load_size, test.batch_size, test.num_threads = False, "test", opt.crop_size, 1, 0
    test.max_dataset_size = math.inf
    return test


def save_options(opt: argparse.Namespace, folder: str | Path) -> None:
    """``train_opt.txt`` for people and ``train_opt.json`` for programs."""
    if opt.rank > 0:
        return
    prefix = "train_opt" if opt.isTrain else f"{opt.phase}_opt"
    values = {k: "inf" if v == math.inf else v for k, v in vars(opt).items() if k != "message"}
    write_atomic(Path(folder) / f"{prefix}.json", json.dumps(values, indent=1))
    write_atomic(Path(folder) / f"{prefix}.txt", opt.message + "\n")


def _saved_options(opt: argparse.Namespace, is_needed: bool) -> dict:
    """What test.py and --continue_train take from ``train_opt.json``; nothing where an official run has none, or where
    there is no run, unless it ``is_needed``."""
    folder = Path(opt.checkpoints_dir) / opt.name
    if not folder.is_dir():
        if not is_needed:
            return {}
        raise UserError(f"--name {opt.name}: there is no folder {folder}; train it first or mend --checkpoints_dir")
    path = folder / "train_opt.json"
    if not path.exists():
        return {}
    try:
        values = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        raise UserError(
            f"{path} is not a readable JSON file; restore it or remove it and give the flags again"
        ) from None
    own = OWN if hasattr(opt, "continue_train") else OWN | OWN_IN_TEST
    if values.get("lr_N") == values.get("lr"):
        own = own | {"lr_N"}  # it followed --lr and goes on doing so
    return {k: v for k, v in values.items() if k not in own}


def _known(parser: OptionParser, values: dict) -> dict:
    """The saved values that are flags of ``parser``, checked as if they were typed: the file may have been edited."""
    known = {}
    for action in parser._actions:
        value = values.get(action.dest)
        if value is None:  # the default of then: today's may be another
            continue
        if action.nargs in (None, "?"):
            try:
                value = parser._get_value(action, str(value))
                parser._check_value(action, value)
            except argparse.ArgumentError as error:
                raise UserError(f"train_opt.json holds a wrong value: {error}") from None
        known[action.dest] = value
    return known


def _table(opt: argparse.Namespace, parser: OptionParser) -> str:
    """All options in alphabetical order; those that differ from the default are marked with it."""
    set_here = ("isTrain", "gpu_ids", "rank", "world_size")
    lines = ["----------------- Options ---------------"]
    for key, value in sorted(vars(opt).items()):
        default = parser.get_default(key)
        mark = f"\t[default: {default}]" if value != default and key not in set_here else ""
        lines.append(f"{key:>38}: {value!s:<30}{mark}".rstrip())
    return "\n".join([*lines, "----------------- End -------------------"])
