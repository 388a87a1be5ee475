"""Which processor runs the networks."""

import torch

from util import distributed
from util.errors import UserError


def parse_gpu_ids(text: str, asked_for: bool) -> list[int]:
    """``"0"`` -> [0]; ``"-1"`` -> [] (the CPU). Without ``asked_for`` a missing GPU means the CPU, else an error.

    Under torchrun every process of a machine takes its own: those of the list, or those from the named one on.
    """
    try:
        ids = [int(i) for i in text.split(",")]
    except ValueError:
        raise UserError(f"--gpu_ids must be a GPU's number, or -1 for the CPU, not {text!r}") from None
    ids = [i for i in ids if i >= 0]
    if ids and distributed.environment()[1] > 1:
        place = distributed.local_rank()
        ids = [ids[0] + place] if len(ids) == 1 else ids[place : place + 1]
        if not ids:
            raise UserError(f"--gpu_ids {text} names fewer GPUs than torchrun --nproc_per_node starts processes")
    count = torch.cuda.device_count()
    missing = [i for i in ids if i >= count]
    if missing and not asked_for and not count:
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
