"""Checkpoint files: whole or not at all, never running code from them, and the state that a run resumes from."""

import io
import platform
import warnings
from dataclasses import fields
from pathlib import Path

import torch

from util import distributed, files
from util.errors import UserError
from util.run.progress import Position
from util.run.state import load_rank_state, load_training_state, training_state

STATE = "latest_state.pt"
STATE_VERSION = 1
# What a run leaves in its folder.
OF_A_RUN = ("*_net_*.pth", STATE, "train_opt.*", "*.jsonl", "loss_log.txt", "last_images.png", "negatives.html")
OF_A_RUN += ("web", "tensorboard", "wandb")  # not the list of checked images, which holds for the folder of images


def save(content, path: str | Path) -> None:
    """``torch.save`` beside ``path``, flushed and renamed; ``OSError`` where the disk is full."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    files.write_atomic(path, buffer.getvalue())


def load(path: str | Path, flag: str = "--epoch"):
    """The tensors and plain values in ``path``, on the CPU; ``flag`` is what the user would change."""
    path = Path(path)
    if not path.is_file():
        way = _other_way(path) or f"{flag} must name a checkpoint that was saved{_saved_beside(path)}"
        raise UserError(f"{path} does not exist; {way}")
    try:
        with warnings.catch_warnings():  # about odd pickles, which are then refused
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated, not a checkpoint, or a pickle with code: all kinds of exceptions
        reason = "it holds more than tensors" if _holds_code(path, error) else "damaged or no checkpoint"
        raise UserError(f"{path} cannot be loaded ({reason}); replace it or choose another {flag}") from error


def _holds_code(path: Path, error: Exception) -> bool:
    """Whether torch refused what a pickle would make or run; it says so of a text, too, which is neither."""
    if "weights_only" not in str(error).lower():
        return False
    with open(path, "rb") as file:
        return file.read(2).startswith((b"PK", b"\x80"))


def read_weights(path: str | Path, flag: str = "--epoch") -> dict[str, torch.Tensor]:
    """A network's weights by name, without the ``module.`` that DataParallel puts in front."""
    state = load(path, flag)
    if not isinstance(state, dict) or not all(isinstance(k, str) and _is_plain(v) for k, v in state.items()):
        raise UserError(f"{path} holds no network's weights; choose another {flag}")
    return {key.removeprefix("module."): value for key, value in state.items()}


def not_finite(state: dict[str, torch.Tensor]) -> list[str]:
    """Names of the weights with a NaN or Inf in them."""
    return [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]


def _is_plain(value) -> bool:
    """A tensor that can be copied into a network's: neither sparse nor without data."""
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_meta


def save_state(model, ranks: list[dict], position: Position, opt) -> None:
    """``latest_state.pt``: one file with all that the next step depends on, weights included, so that a kill between
    two files can't mix two moments. ``ranks``: each rank's ``rank_state``."""
    at = {field.name: getattr(position, field.name) for field in fields(Position)}
    state = {"version": STATE_VERSION, "position": at, "model": training_state(model)}
    state |= {"ranks": ranks, "options": plain_options(opt)}
    state |= {"torch": str(torch.__version__), "python": platform.python_version()}
    save(state, Path(opt.checkpoints_dir) / opt.name / STATE)


def load_state(model, opt) -> Position | None:
    """Continue from ``latest_state.pt``; None where there is none. Rank 0 reads it and hands it out: the others needn't
    see its folder."""
    path = Path(opt.checkpoints_dir) / opt.name / STATE
    state, there = None, opt.rank == 0 and path.exists()
    if there:
        state = load(path, "--name (or move the file away to go on from the weights alone)")
    there, state = distributed.broadcast((there, state))
    if not there:
        return None
    if not isinstance(state, dict) or state.get("version") != STATE_VERSION:
        raise UserError(
            f"{path} was written by another version of this program: update it, or move the file away "
            "to go on from the weights alone"
        )
    try:
        position = Position(**state["position"])
        changed = changed_flags(dict(state["options"]), plain_options(opt), path.parent, quiet=opt.rank > 0)
        new_rates = any(key.startswith(RATES) for key in changed)
        load_training_state(model, state["model"], position.epoch, new_rates)
        if opt.lr_policy == "cosine" and opt.rank == 0:
            _tell_old_cosine(model, opt.n_epochs + opt.n_epochs_decay)
        if opt.rank < len(state["ranks"]):  # with more ranks than before, the new ones start with numbers of their own
            load_rank_state(model, state["ranks"][opt.rank])
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not fit the flags; give those it was trained with ({reason})") from error
    return position


def _tell_old_cosine(model, epochs: int) -> None:
    """A schedule that a state brought along, of when it fell over ``--n_epochs`` alone."""
    lengths = {scheduler.T_max for scheduler in model.schedulers} - {epochs}
    if lengths:
        print(f"the cosine schedule that it began with is kept: it falls to zero at epoch {max(lengths)}, not {epochs}")


def set_aside(folder: Path) -> Path | None:
    """Move what an earlier run left to ``previous_N`` below its folder, so that a new one of the same name neither
    overwrites it nor goes on with it by mistake. The new folder, or None where there was nothing."""
    return files.set_aside(folder, [path for pattern in OF_A_RUN for path in folder.glob(pattern)])


def where_it_went(name: str, aside: Path) -> str:
    return (
        f"--name {name}: the files of an earlier run are now in {aside}; "
        f"--name {name}/{aside.name} --continue_train goes on with it"
    )


def numbered_epochs(folder: Path, network: str = "*") -> list[int]:
    """Those whose weights of ``network``, a pattern, were saved under their number, in order."""
    names = {path.name.split("_net_")[0] for path in folder.glob(f"*_net_{network}.pth")}
    return sorted(int(name) for name in names if name.isdecimal())


def rotate(folder: Path, keep: int | None) -> None:
    """Remove the weights of all but the newest ``keep`` epochs; never ``latest``, ``best`` or ``iter_N``."""
    for epoch in numbered_epochs(folder)[:-keep] if keep else []:
        for path in folder.glob(f"{epoch}_net_*.pth"):
            path.unlink()


def plain_options(opt) -> dict:
    """Options as values that a file can hold."""
    return {
        k: v for k, v in vars(opt).items() if isinstance(v, int | float | str | list | type(None)) and k != "message"
    }


# Changing these would continue another model, or other weights than those saved.
FIXED = {"model", "netG", "netD", "netF", "netF_nc", "netN", "ngf", "ndf", "n_layers_D", "normG", "normD", "input_nc"}
FIXED |= {"output_nc", "no_antialias", "no_antialias_up", "no_dropout", "nce_layers", "stylegan2_G_num_downsampling"}
FIXED |= {"dataset_mode", "direction"}
FIXED |= {"NEGCUT_mode", "CUT_mode"}  # presets are defaults, and the defaults of a resumed run are what was saved
FIXED |= {"nce_loss", "negatives", "loss_N"}
BEFORE = {"nce_loss": "patchnce", "negatives": "generated", "loss_N": "minimax"}  # of runs older than these flags
# Changing these changes the learning rates from here on.
RATES = ("lr", "beta", "n_epochs")
# These change from run to run without changing the training.
FREE = {"continue_train", "gpu_ids", "epoch", "epoch_count", "num_threads", "quiet", "verbose", "name", "suffix"}
FREE |= {"checkpoints_dir", "isTrain", "rank", "world_size", "time_budget", "cache"}


def changed_flags(saved: dict, now: dict, folder: Path, quiet: bool) -> list[str]:
    """Names of the flags that differ from the run's; prints them, and refuses those that cannot change."""
    saved = BEFORE | saved
    changed = [key for key in saved if key in now and saved[key] != now[key] and key not in FREE]
    for key in changed:
        if key in FIXED:
            raise UserError(
                f"--{key} {now[key]}: the run in {folder} was trained with {saved[key]}; "
                f"leave --{key} out, or choose another --name"
            )
    if changed and not quiet:
        print("continuing with changed flags: " + ", ".join(f"--{k} {saved[k]} -> {now[k]}" for k in changed))
    return changed


def _other_way(path: Path) -> str:
    """What takes the weights that lie beside the missing ``path``, or would have made it; "" where nothing does."""
    epoch, _, net = path.stem.partition("_net_")
    if path.with_name(f"{epoch}_net_{net}_A.pth").is_file():
        return f"there is {epoch}_net_{net}_A.pth, which --model test --model_suffix _A takes (_B: the other way)"
    if net.endswith("_A") and path.with_name(f"{epoch}_net_{net.removesuffix('_A')}.pth").is_file():
        return f"there is {epoch}_net_{net.removesuffix('_A')}.pth, which --model test takes"
    if net.endswith("_ema") and path.with_name(f"{epoch}_net_{net.removesuffix('_ema')}.pth").is_file():
        return "the run keeps no averaged weights, which train.py --ema_decay would make"
    return ""


def _saved_beside(path: Path) -> str:
    """ ", such as latest, 5, 10": the epochs that do exist for the same network."""
    ending = path.name[path.name.find("_net_") :] if "_net_" in path.name else path.name
    there = sorted(p.name[: -len(ending)] for p in path.parent.glob(f"*{ending}"))
    return f", such as {', '.join(there[:6])}" if there else f", and {path.parent} has none"
