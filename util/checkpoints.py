"""Reading and writing checkpoint files: whole or not at all, and never running code from them."""

from pathlib import Path

import torch

from util.errors import UserError
from util.files import replacing


def save(content, path: str | Path) -> None:
    """``torch.save`` beside ``path``, flushed and renamed."""
    with replacing(path) as beside:
        torch.save(content, beside)


def load(path: str | Path, flag: str = "--epoch"):
    """The tensors and plain values in ``path``, on the CPU; ``flag`` is what the user would change."""
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; {flag} must name a checkpoint that was saved{_saved_beside(path)}"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated, not a checkpoint, or a pickle with code: all kinds of exceptions
        reason = (
            "it holds more than tensors"
            if "weights_only" in str(error).lower()
            else "damaged or no checkpoint"
        )
        raise UserError(f"{path} cannot be loaded ({reason}); replace it or choose another {flag}") from error


def load_weights(net: torch.nn.Module, path: str | Path, flags: str, flag: str = "--epoch") -> None:
    """Load a network's weights; a mismatch names the first keys and the ``flags`` that decide the architecture."""
    state = load(path, flag)
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{path} holds no network's weights; choose another {flag}")
    state = {_plain_key(k): v for k, v in state.items()}
    wanted = net.state_dict()
    # Files of other versions may hold, or lack, what is no weight: fixed filters, statistics of instance norm.
    state = {k: v for k, v in state.items() if k in wanted or not k.endswith(NO_WEIGHTS)}
    state |= {k: v for k, v in wanted.items() if k not in state and k.endswith((".filt", ".kernel"))}
    wrong = [k for k in wanted if k not in state] + [k for k in state if k not in wanted]
    wrong += [k for k in wanted if k in state and state[k].shape != wanted[k].shape]
    if wrong:
        raise UserError(
            f"{path} is of another architecture: {len(wrong)} weights differ ({', '.join(wrong[:3])}, ...); "
            f"give the flags it was trained with ({flags})"
        )
    net.load_state_dict(state)


NO_WEIGHTS = (".filt", ".kernel", ".running_mean", ".running_var", ".num_batches_tracked")


def _plain_key(key: str) -> str:
    return key.removeprefix("module.")


def _saved_beside(path: Path) -> str:
    """ ", such as latest, 5, 10": the epochs that do exist for the same network."""
    ending = path.name[path.name.find("_net_") :] if "_net_" in path.name else path.name
    there = sorted(p.name[: -len(ending)] for p in path.parent.glob(f"*{ending}"))
    return f", such as {', '.join(there[:6])}" if there else f", and {path.parent} has none"
