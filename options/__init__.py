"""Every flag. ``parse`` resolves the command line once into a plain namespace that nothing writes to afterwards."""

import argparse
import copy
import functools
import json
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import models
from options.base_options import add_base_options
from options.checks import check
from options.option_parser import RUNS_FAST, OptionParser
from options.shadowed import shadowed_files
from options.test_options import add_test_options
from options.train_options import add_train_options
from util.errors import UserError, exit_on_mistakes, warn
from util.files import write_atomic
from util.run.saved_options import read_options
from util.words import did_you_mean

HELPS = {"-h", "--help", "--help-all"}
# What is not taken over from the saved options of a training run: where and how to run.
OWN = {"name", "suffix", "checkpoints_dir", "gpu_ids", "device", "epoch", "verbose", "quiet"}
OWN |= {"continue_train", "epoch_count"}
# Nor, in test.py, which images.
OWN_IN_TEST = {"phase", "seed", "batch_size", "num_threads", "serial_batches", "no_flip", "load_size", "cache"}
OWN_IN_TEST |= {"max_dataset_size"}


def look_ahead(argv: list[str] | None = None, is_train: bool = True) -> None:
    """What needs no torch, whose import takes seconds: --help, wrong values of the flags that all models share, a model
    or a run that is not there."""
    argv = sys.argv[1:] if argv is None else argv
    parser = _common_parser(argv, is_train)
    known, unknown = parser.parse_known_args()
    if HELPS & set(argv) and "--help-all" not in argv and not parser.typed() & {"model", "dataset_mode"}:
        print(parser.format_essentials())
        sys.exit(0)
    models.FILES.check(known.model)
    if (not is_train or known.continue_train) and not HELPS & set(argv) and "WORLD_SIZE" not in os.environ:
        _saved_options(known, is_needed=True, unknown=unknown)  # of several processes rank 0 alone reads them


def _common_parser(argv: list[str], is_train: bool) -> OptionParser:
    """Without the flags of models and datasets; --help has to wait until those have been added."""
    parser = OptionParser([a for a in argv if a not in HELPS], is_train)
    add_base_options(parser)
    (add_train_options if is_train else add_test_options)(parser)
    with parser.group("help"):
        parser.add_argument("-h", "--help", action="store_true", help="the essential flags; with --model also its own")
        parser.add_argument("--help-all", action="store_true", help="every flag")
    return parser


def parse(argv: list[str] | None = None, is_train: bool = True) -> argparse.Namespace:
    """The resolved options of train.py (``is_train``) or test.py; raises ``UserError`` for what cannot work."""
    import data
    from options.guessed_flags import generator_flags
    from options.unknown_flags import explained
    from util import distributed
    from util.devices import choose_device
    from util.precision import fast_settings

    argv = sys.argv[1:] if argv is None else argv
    parser = _common_parser(argv, is_train)
    known = parser.parse_known_args()[0]
    saved = {}
    if not is_train or known.continue_train:
        find = functools.partial(_saved_options, known, is_needed=parser.argv == argv)
        saved = distributed.found_by_rank_0(f"saved options of {known.name}", find) if is_train else find()
    parser.take_saved(saved)
    for kind, title, package in (("model", "model", models), ("dataset_mode", "dataset", data)):
        name = getattr(parser.parse_known_args()[0], kind)
        with parser.group(f"{title} {name}", is_chosen=name != saved.get(kind)):
            parser = package.get_option_setter(name)(parser, is_train)
    parser.check_saved()
    known = parser.parse_known_args()[0]
    if not is_train and not saved:
        parser.take("weights", generator_flags(known))
    device = choose_device(known.gpu_ids if "gpu_ids" in parser.typed() else None, known.device)
    if known.fast:
        source = "--fast" if parser.source["fast"] == "typed" else RUNS_FAST
        parser.take(source, fast_settings(device))
    if HELPS & set(argv):
        print(parser.format_help() if "--help-all" in argv else parser.format_essentials())
        sys.exit(0)

    opt, unknown = parser.parse_known_args()
    del opt.help, opt.help_all
    if unknown:
        raise UserError(explained(unknown, parser, is_train))
    opt.isTrain = is_train
    if not is_train and parser.source["load_size"] != "typed":
        opt.load_size = parser.plain["load_size"] = opt.crop_size  # test images are not jittered
    if opt.suffix:
        try:
            opt.name += "_" + opt.suffix.format(**vars(opt))
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise UserError(
                f"--suffix {opt.suffix}: in braces must stand options, as in {{model}}_{{load_size}} ({error})"
            ) from None
    opt.device, opt.gpu_ids = device, [] if device.type == "cpu" else [device.index]
    if "--norm" not in parser._option_string_actions:  # a model file's own
        opt.norm = opt.normG  # CycleGAN's names
    opt.amp = getattr(opt, "amp", False)  # NVIDIA's apex, which CUT's cycle_gan_model.py asks after
    opt.load_iter = int(opt.epoch[5:]) if re.fullmatch(r"iter_\d+", opt.epoch) else 0
    if not is_train:
        opt.trained_model = saved.get("model", opt.model)
    opt.rank, opt.world_size = distributed.environment()
    opt.quiet = opt.quiet or opt.rank > 0
    for sentence in shadowed_files() if opt.rank == 0 else ():
        warn(sentence)
    check(opt)
    if not is_train and opt.direction != saved.get("direction", opt.direction) and opt.model == saved.get("model"):
        raise UserError(_other_way(opt, saved["direction"]))
    if not is_train and parser.source["use_wandb"] == "typed":
        print("--use_wandb: test.py writes its page alone; losses, pictures and scores are logged while training")
    opt.sources = {key: source for key, source in parser.source.items() if key in vars(opt)}
    opt.message = _table(opt, parser.plain)
    if opt.sources["name"] == "default" and not opt.quiet:
        print(f"without --name the run is called {opt.name}")
    return opt


def parse_for_others(argv: list[str] | None, is_train: bool) -> argparse.Namespace:
    """``parse`` for the official training and testing scripts, which expect the table printed and written by it."""
    from util import devices
    from util.run import checkpoints

    opt = parse(argv, is_train)
    if opt.world_size > 1:
        raise UserError("torchrun is for train.py: this script's loop does not bring the processes' gradients together")
    if not opt.quiet:
        print(opt.message)
    if is_train:
        folder = Path(opt.checkpoints_dir) / opt.name
        if opt.continue_train:
            print(f"weights of --epoch {opt.epoch} are loaded; optimizers start anew, train.py would continue them")
        elif aside := checkpoints.set_aside(folder):
            print(checkpoints.where_it_went(opt.name, aside))
        folder.mkdir(parents=True, exist_ok=True)
        save_options(opt, folder)
        if opt.display_id is None:
            opt.display_id = 1  # they compare it with 0
    opt.others_loop, devices.chosen = True, opt.device
    exit_on_mistakes()
    return opt


def for_testing(opt: argparse.Namespace) -> argparse.Namespace:
    """The options with which test.py would translate the test split, for scores during training."""
    test = copy.copy(opt)
    test.isTrain, test.phase, test.load_size, test.batch_size, test.num_threads = False, "test", opt.crop_size, 1, 0
    test.max_dataset_size = math.inf
    return test


def _other_way(opt: argparse.Namespace, trained: str) -> str:
    """Of a test in another direction than the run was trained in: it would give a generator the other domain."""
    way = "train a run with --direction " + opt.direction
    if opt.model == "cycle_gan":  # its G_B translates back
        folder = Path(opt.dataroot) / f"{opt.phase}{'B' if trained == 'AtoB' else 'A'}"
        way = f"CycleGAN's generator of the other way: --model test --model_suffix _B --dataroot {folder}"
    return (
        f"--direction {opt.direction}: the run was trained {trained} and translates that way; "
        f"leave the flag out, or {way}"
    )


def save_options(opt: argparse.Namespace, folder: str | Path) -> None:
    """``train_opt.txt`` for people and ``train_opt.json`` for programs."""
    if opt.rank > 0:
        return
    prefix = "train_opt" if opt.isTrain else f"{opt.phase}_opt"
    values = {k: "inf" if v == math.inf else v for k, v in vars(opt).items() if k not in ("message", "device")}
    values["sources"] = {k: "--fast" if source == RUNS_FAST else source for k, source in opt.sources.items()}
    write_atomic(Path(folder) / f"{prefix}.json", json.dumps(values, indent=1))
    write_atomic(Path(folder) / f"{prefix}.txt", opt.message + "\n")


def _saved_options(opt: argparse.Namespace, is_needed: bool, unknown: Sequence[str] = ()) -> dict:
    """What test.py and --continue_train take from ``train_opt.json``; nothing where an official run has none, or where
    there is no run, unless it ``is_needed``: then a misspelt flag among the ``unknown`` may be why."""
    folder = Path(opt.checkpoints_dir) / opt.name
    if not folder.is_dir():
        if not is_needed:
            return {}
        for word in unknown:
            if meant := did_you_mean(word.split("=")[0], ["--name", "--checkpoints_dir"]):
                raise UserError(f"unrecognized arguments: {word}{meant}")
        runs = [path.parent.name for path in Path(opt.checkpoints_dir).glob("*/train_opt.json")]
        raise UserError(
            f"--name {opt.name}: there is no folder {folder}; train it first or mend --checkpoints_dir"
            f"{did_you_mean(opt.name, runs)}"
        )
    values = read_options(folder, "remove it and give the flags again")
    if values is None:
        return {}
    sources = values.pop("sources")
    own = OWN if hasattr(opt, "continue_train") else OWN | OWN_IN_TEST
    own = own | {k for k, source in sources.items() if source == "--fast"}  # chosen anew, for this machine
    if sources.get("lr_N") in ("default", "preset"):
        own = own | {"lr_N"}  # it followed --lr and goes on doing so
    return {k: v for k, v in values.items() if k not in own}


def _table(opt: argparse.Namespace, plain: dict) -> str:
    """All options in alphabetical order; what differs from its default is marked with it, and with where it comes from
    unless it was typed."""
    lines = ["----------------- Options ---------------"]
    for key, value in sorted(vars(opt).items()):
        mark, source = "", opt.sources.get(key, "typed")
        if key in plain and value != plain[key] and key not in ("gpu_ids", "device"):
            mark = f"\t[default: {plain[key]}{'' if source == 'typed' else f', {source}'}]"
        if key != "sources":
            lines.append(f"{key:>38}: {value!s:<30}{mark}".rstrip())
    return "\n".join([*lines, "----------------- End -------------------"])
