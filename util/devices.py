"""Which processor runs the networks."""

import torch

from util.errors import UserError


def parse_gpu_ids(text: str, asked_for: bool) -> list[int]:
    """``"0"`` -> [0]; ``"-1"`` -> [] (the CPU). Without ``asked_for`` a missing GPU means the CPU, else an error."""
    try:
        ids = [int(i) for i in text.split(",")]
    except ValueError:
        raise UserError(f"--gpu_ids must be a GPU's number, or -1 for the CPU, not {text!r}") from None
    ids = [i for i in ids if i >= 0]
    count = torch.cuda.device_count()
    missing = [i for i in ids if i >= count]
    if missing and not asked_for:
        return []
    if missing:
        there = f"this machine has {count}, numbered from 0" if count else "this machine has none"
        raise UserError(f"--gpu_ids {text}: GPU {missing[0]} is not there ({there}); use -1 for the CPU")
    if len(ids) > 1:
        raise UserError(
            f"--gpu_ids {text}: one process uses one GPU; for several start "
            f"`torchrun --nproc_per_node={len(ids)} train.py ...`"
        )
    return ids


def get_device(gpu_ids: list[int]) -> torch.device:
    """The torch device of resolved ``opt.gpu_ids``."""
    return torch.device(f"cuda:{gpu_ids[0]}" if gpu_ids else "cpu")
