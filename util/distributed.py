"""Several processes (ranks) started by torchrun: who this one is, and what all of them agree on.

In a training weights are equal everywhere and only gradients are exchanged; each rank has its own images, patches and
noise. Tensors on GPUs go through NCCL, all else through gloo. A single process calls the same functions, which then
return at once.
"""

import atexit
import functools
import json
import os
from collections.abc import Callable, Iterable
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import zip_longest

import torch
import torch.distributed as dist

from util.errors import UserError

PATIENCE = timedelta(hours=2)  # rank 0 may be evaluating; for a rank that hangs see util/run/rank_watch.py
AGAIN = "start the same torchrun command with {} to go on"


class ThisRank:
    """How far this rank has come, for ``rank_watch``: every rank joins the same collectives in the same order."""

    again = AGAIN.format("--continue_train") + " from the last checkpoint"  # where another rank was lost
    joined = 0  # collectives
    job: str | None = "starting"  # which may take as long as it needs: checking, compiling, scores, saving


def environment() -> tuple[int, int]:
    """(rank, world size) as torchrun set them; (0, 1) without it."""
    return _number("RANK", 0), _number("WORLD_SIZE", 1)


def local_rank() -> int:
    """Number of this process on its machine."""
    return _number("LOCAL_RANK", 0)


def start(opt) -> None:
    """Join the other ranks of a training; does nothing where there are none."""
    backend, kind = "gloo", opt.device.type
    if kind != "cpu" and opt.world_size > 1:
        backend = f"cpu:gloo,{kind}:{dist.Backend.default_device_backend_map[kind]}"
    _join(backend, PATIENCE)


def start_sharing(again: str) -> tuple[int, int]:
    """Join the other ranks of a script that shares files, where each takes as long as its files do: (rank, how many).
    ``again``: what to do where one is lost."""
    ThisRank.again = again
    _join("gloo", timedelta(days=365))
    return environment()


def _join(backend: str, patience: timedelta) -> None:
    if environment()[1] == 1 or is_distributed():
        return
    with _together():
        rank, ranks = environment()
        dist.init_process_group(backend, store=_meeting_place(), rank=rank, world_size=ranks, timeout=patience)
    atexit.register(dist.destroy_process_group)


@functools.cache
def _meeting_place() -> "dist.Store":  # which some builds of torch lack
    return next(dist.rendezvous("env://", timeout=PATIENCE))[0]


def found_by_rank_0(name: str, find: Callable[[], dict]) -> dict:
    """What ``find`` returns on rank 0 (plain JSON), on every rank, also before they have joined by ``start``; its
    ``UserError`` likewise."""
    rank, world_size = environment()
    if world_size == 1:
        return find()
    store = _meeting_place()
    if rank > 0:
        with _together():
            found = json.loads(store.get(name))
            store.set(f"{name}: heard by {rank}", "")
        if "error" in found:
            raise UserError(found["error"])
        return found["value"]
    try:
        value = find()
    except UserError as error:
        store.set(name, json.dumps({"error": str(error)}))
        with suppress(RuntimeError):  # the store may end with this process
            store.wait([f"{name}: heard by {other}" for other in range(1, world_size)], timedelta(seconds=10))
        raise
    store.set(name, json.dumps({"value": value}))
    return value


def is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def average_gradients(gradients: list[torch.Tensor], numbers: Iterable[float] = ()) -> torch.Tensor:
    """The mean over all ranks, in place: one all-reduce of all gradients laid flat. ``numbers`` travel with them; their
    means stay on the device."""
    travelling = [gradients[0].new_full((1,), number) for number in numbers]  # a copy from the host would wait
    flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), *travelling])
    with _together():
        dist.all_reduce(flat)
    flat /= dist.get_world_size()
    *parts, means = flat.split([*(gradient.numel() for gradient in gradients), len(travelling)])
    torch._foreach_copy_(gradients, [p.view(g.shape) for p, g in zip(parts, gradients, strict=True)])
    return means


def total(tensor: torch.Tensor) -> torch.Tensor:
    """The sum over all ranks, as a tensor of its own."""
    found = tensor.detach().clone(memory_format=torch.contiguous_format)
    with _together():
        dist.all_reduce(found)
    return found


def share_weights(networks: Iterable[torch.nn.Module]) -> None:
    """Rank 0's weights and buffers on every rank."""
    if not is_distributed():
        return
    with _together():
        for net in networks:
            for value in net.state_dict().values():
                here = value.contiguous()
                dist.broadcast(here, src=0)
                value.copy_(here)


def check_weights(networks: dict[str, torch.nn.Module]) -> None:
    """``UserError`` on every rank where a network's weights are not those of rank 0."""
    if not is_distributed():
        return
    weights = {name: [p.detach().cpu().double() for p in net.parameters()] for name, net in networks.items()}
    sums = {name: sum(float(weight.abs().sum()) for weight in each) for name, each in weights.items()}
    wanted = broadcast(sums)
    wrong = [name for name in sums if abs(sums[name] - wanted[name]) > 1e-6 * abs(wanted[name])]
    if any_rank(bool(wrong)):
        what = ", ".join(wrong) or "networks"
        raise UserError(
            f"the weights of {what} differ between ranks: the model's file must make its updates through "
            "self.apply_gradients(phase, optimizer), which averages the gradients"
        )


def any_rank(value: bool) -> bool:
    """Whether any rank says so; every rank has to ask."""
    if not is_distributed():
        return value
    answer = torch.tensor(int(value))
    with _together():
        dist.all_reduce(answer, dist.ReduceOp.MAX)
    return bool(answer)


def average(values: dict[str, float]) -> dict[str, float]:
    """The mean of each number over all ranks."""
    if not is_distributed() or not values:
        return values
    numbers = torch.tensor(list(values.values()), dtype=torch.float64)
    with _together():
        dist.all_reduce(numbers)
    return dict(zip(values, (numbers / dist.get_world_size()).tolist(), strict=True))


def gather(value) -> list | None:
    """Every rank's value in their order, on rank 0; None on the others."""
    if not is_distributed():
        return [value]
    values = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    with _together():
        dist.gather_object(value, values)
    return values


def gather_in_turns(share: list) -> list | None:
    """What ranks made of ``items[rank::ranks]``, as one list in the items' order, on rank 0; None on the others."""
    shares, none = gather(share), object()
    if shares is None:
        return None
    return [item for turn in zip_longest(*shares, fillvalue=none) for item in turn if item is not none]


def by_first(call: Callable):
    """What ``call()`` is on rank 0, which alone calls it, on every rank; its ``UserError`` likewise."""
    found = error = None
    if environment()[0] == 0:
        try:
            found = call()
        except UserError as raised:
            error = raised
    found, error = broadcast((found, error))
    if error:
        raise error
    return found


def broadcast(value):
    """Rank 0's value, on every rank."""
    if not is_distributed():
        return value
    values = [value]
    with _together():
        dist.broadcast_object_list(values)
    return values[0]


@contextmanager
def long_job(name: str):
    """A rank that takes its time in here isn't taken for one that hangs."""
    before, ThisRank.job = ThisRank.job, name
    try:
        yield
    finally:
        ThisRank.job = before


@contextmanager
def _together():
    """What only works while all ranks live. The one that died has said why; this one ends."""
    ThisRank.joined += 1
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"rank {environment()[0]} lost another rank ({reason}); the cause stands above or in that rank's output; "
            f"{ThisRank.again}"
        ) from error


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else default
