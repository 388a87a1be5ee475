"""What train.py and test.py print at their start and end, on one screen."""

import shlex
import textwrap
from collections import Counter
from pathlib import Path

import torch

from util import devices
from util.pictures import counted, list_folder
from util.words import plural

WIDTH, LABEL = 100, 10  # columns
NO_BREAK = "\u00a0"
ARITHMETIC = {"bf16": "bf16 inside the networks, fp32 for outputs and losses"}
SIDES = ("A", "B", "")  # trainA, trainB; paired images lie in train


def print_lines(label: str, *lines: str) -> None:
    """The lines under each other, the label before the first; long ones are wrapped, not at non-breaking spaces."""
    for line in lines:
        for part in textwrap.wrap(line, WIDTH - LABEL, break_long_words=False, break_on_hyphens=False):
            print(f"{label:<{LABEL}}{part}".replace(NO_BREAK, " "))
            label = ""


def print_options(opt, file: Path) -> None:
    """Those that differ from their defaults, or with ``--verbose`` all; ``file`` holds the whole table."""
    if opt.verbose:
        print(opt.message)
        return
    table = [line.split("\t[default: ") for line in opt.message.splitlines()]
    changed = [f"{row[0].strip().replace(': ', ' ')} ({row[1].rstrip(']')})" for row in table if row[1:]]
    print_lines("options", ", ".join(change.replace(" ", NO_BREAK) for change in changed))
    print_lines("" if changed else "options", f"defaults in parentheses; all options: {file}")


def print_start(opt, model, start: str, epoch_images: int, watch: list[str], has_scores: bool) -> None:
    """``start``: "new", or where training goes on; ``watch``: where to see the run."""
    folder = Path(opt.checkpoints_dir) / opt.name
    print_options(opt, folder / "train_opt.txt")
    counts = [count(opt.dataroot, opt.phase)]
    if has_scores:
        tests = count(opt.dataroot, "test") or count(opt.dataroot, "val")
        every = "epoch" if opt.eval_freq == 1 else f"{opt.eval_freq} epochs"
        counts.append(f"{tests}, scored every {every}" if tests else "")
    print_lines(
        "data", f"{opt.dataroot}: {'; '.join(filter(None, counts)) or plural(epoch_images, 'image')}", sizes(opt)
    )
    parameters = [
        f"{name} {sum(p.numel() for p in net.parameters()) / 1e6:.2f} M" for name, net in model.networks().items()
    ]
    print_lines("networks", f"{opt.model}: {', '.join(parameters)} parameters")
    print_lines("note", *model.notes(), *too_large(opt, model))
    if opt.verbose:
        model.print_networks(True)
    print_lines("device", device(opt, model))
    epochs = plural(opt.n_epochs + opt.n_epochs_decay, "epoch")
    print_lines("run", f"{start}, {epochs} of {plural(epoch_images, 'image')}")
    print_lines("files", str(folder))
    print_lines("watch", *watch)


def too_large(opt, model) -> list[str]:
    """For those who train as the papers did, without their hardware."""
    if model.device.type != "cpu" or opt.crop_size < 200 or opt.ngf < 64:
        return []
    smaller = "--load_size 143 --crop_size 128 --netG resnet_6blocks --ngf 16 --ndf 32 --netF_nc 128 --num_patches 128"
    return [f"without a GPU these sizes take days; smaller: {smaller} --fast"]


def count(dataroot: str, phase: str) -> str:
    """``200 trainA, 180 trainB``: the images in the folders of ``phase`` that there are, and what is none."""
    folders = [Path(dataroot) / f"{phase}{side}" for side in SIDES]
    found = {folder.name: list_folder(folder) for folder in folders if folder.is_dir()}
    left_out = counted(sum((listing.left_out for listing in found.values()), Counter()))
    counts = ", ".join(f"{len(listing.paths)} {name}" for name, listing in found.items())
    return f"{counts} (left out: {left_out})" if left_out else counts


def sizes(opt) -> str:
    """``scaled to 286, cropped to 256 pixels, mirrored, batches of 1``."""
    words = opt.preprocess
    scaled = f"scaled to {opt.load_size}" if any(word in words for word in ("resize", "scale")) else ""
    cropped = f"cropped to {opt.crop_size}" if any(word in words for word in ("crop", "patch", "trim")) else ""
    pixels = ", ".join(filter(None, (scaled, cropped)))
    mirrored = "" if opt.no_flip else "mirrored at random"
    return ", ".join(filter(None, (f"{pixels} pixels" if pixels else "", mirrored, f"batches of {opt.batch_size}")))


def device(opt, model) -> str:
    """``cuda:0 (NVIDIA H100), bf16 inside the networks, fp32 for outputs and losses, channels_last``; ``cpu, fp32, 4
    threads``."""
    lacks = devices.lacks_for_compiling(model.device)
    parts = [
        devices.describe(model.device),
        ARITHMETIC.get(model.precision, model.precision),
        *(["channels_last"] if model.layout is torch.channels_last else []),
        *(["compile"] if opt.compile and not lacks else []),
    ]
    if opt.fast and lacks:
        parts.append(f"not compiled, which needs {lacks}")
    if model.device.type == "cpu":
        parts.append(plural(torch.get_num_threads(), "thread"))
        if opt.fast and (model.precision, model.layout) == ("fp32", torch.preserve_format):
            parts.append("--fast changes nothing on a processor without fast bf16")
    if devices.kind_of(model.device).untried:
        parts.append(f"{model.device.type} has not been tried by this project yet, --device cpu has")
    return ", ".join([*parts, f"{opt.world_size} processes"] if opt.world_size > 1 else parts)


def print_end(opt, images: int, seconds: float, scores: str, interrupted: str | None) -> None:
    """``scores``: the line of the last and the best, or ""."""
    folder = Path(opt.checkpoints_dir) / opt.name
    speed = f": {images / seconds:.3g} images/s, with scores and saves" if images else ""
    print_lines("done", f"{plural(images, 'image')} in {clock(seconds)}{speed}")
    if scores:
        print_lines("score", scores)
    if list(folder.glob("best_net_*")):
        print_lines("best", f"{folder / 'best_net_*.pth'}, which --epoch best loads")
    if interrupted:
        print(f"interrupted ({interrupted}); go on with: {to_go_on(opt)}")
    else:
        print(f"{'next':<{LABEL}}python test.py {which_run(opt)}")  # in one line, to be copied


def to_go_on(opt) -> str:
    """The command after an interruption."""
    return f"python train.py {which_run(opt)} --continue_train"


def which_run(opt) -> str:
    elsewhere = [] if opt.checkpoints_dir == "./checkpoints" else ["--checkpoints_dir", opt.checkpoints_dir]
    return shlex.join(["--name", opt.name, *elsewhere])


def clock(seconds: float) -> str:
    """``40 seconds``, ``4.3 minutes``, ``5.2 hours``."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
