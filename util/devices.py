"""Which processor runs the networks, and what its kind can do. Nothing else in the program names a kind of device."""

import ctypes
import importlib.util
import os
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from util import distributed
from util.device_kinds import KINDS, Kind
from util.errors import UserError

UNLISTED = Kind(bf16=False, pins=False, untried=True)
chosen: torch.device | None = None  # by the options of a script of others, which asks ``init_ddp`` for it


def kind_of(device: torch.device | str) -> Kind:
    """What ``device`` offers; of a kind that is not listed, no more than every device has."""
    name = torch.device(device).type
    known = KINDS.get(name, UNLISTED)
    return replace(known, tf32=False) if torch.version.hip else known


def wide(device: torch.device) -> torch.dtype:
    """The widest type of ``device``: float64, where it has that."""
    return torch.float64 if kind_of(device).double else torch.float32


def accelerator() -> tuple[str, int]:
    """(kind, how many of it) of what torch sees here besides the CPU: ("cuda", 2); ("cpu", 0) without any.

    A build of torch serves one kind: cuda, else xpu, else mps.
    """
    count = torch.accelerator.device_count()
    found = torch.accelerator.current_accelerator() if count else None  # torch 2.6 raises where there is none
    return (found.type, count) if found is not None else ("cpu", 0)


def choose_device(gpu_ids: str | None, kind: str | None) -> torch.device:
    """The device that the flags name, which becomes this process's current one; None for a flag that was not typed.

    Without both an accelerator if there is one. Under torchrun every process of a machine takes its own: those of the
    list, or those from the named one on. ``UserError`` for what is not there, or contradicts itself.
    """
    there, count = accelerator()
    ids = _numbers("0" if gpu_ids is None else gpu_ids)
    if kind is not None and gpu_ids is not None and (kind == "cpu") != (not ids):
        raise UserError(f"--device {kind} and --gpu_ids {gpu_ids} contradict each other; give one of them")
    if kind not in (None, "cpu", there):
        found = f"torch finds {there} here" if count else "torch finds none but the CPU here"
        raise UserError(f"--device {kind} is not there ({found}); use --device {there}")
    if kind == "cpu" or not ids or (kind is gpu_ids is None and not count):
        return torch.device("cpu")
    if distributed.environment()[1] > 1:
        place = distributed.local_rank()
        ids = [ids[0] + place] if len(ids) == 1 else ids[place : place + 1]
        if not ids:
            raise UserError(f"--gpu_ids {gpu_ids} names fewer GPUs than torchrun --nproc_per_node starts processes")
    missing = next((i for i in ids if i >= count), None)
    if missing is not None:
        has = f"this machine has {count}, numbered from 0" if count else "this machine has none"
        raise UserError(f"--gpu_ids {gpu_ids or 0}: GPU {missing} is not there ({has}); use -1 for the CPU")
    if len(ids) > 1:
        raise UserError(
            f"--gpu_ids {gpu_ids}: one process uses one GPU; for several start "
            f"`torchrun --nproc_per_node={len(ids)} train.py ...`"
        )
    device = torch.device(there, ids[0])
    make_current(device)
    return device


def _numbers(gpu_ids: str) -> list[int]:
    """``"0,1"`` -> [0, 1]; ``"-1"`` -> []."""
    try:
        return [i for i in map(int, gpu_ids.split(",")) if i >= 0]
    except ValueError:
        raise UserError(f"--gpu_ids must be a GPU's number, or -1 for the CPU, not {gpu_ids!r}") from None


def get_device(gpu_ids: list[int]) -> torch.device:
    """The device of resolved ``opt.gpu_ids``, as model files give them on to ``define_G`` and ``init_net``."""
    return torch.device(accelerator()[0], gpu_ids[0]) if gpu_ids else torch.device("cpu")


def make_current(device: torch.device) -> None:
    """What pins memory, counts it or records a step without naming a device means this one."""
    name = "set_device_index" if hasattr(torch.accelerator, "set_device_index") else "set_device_idx"  # before 2.7
    getattr(torch.accelerator, name)(device.index or 0)


def to_device(tensor: torch.Tensor, device: torch.device, layout=torch.preserve_format) -> torch.Tensor:
    """``tensor.to(device)``, not waited for where that is safe: without pinned memory Apple's copy reads the host's at
    a time when it may hold something else already."""
    return tensor.to(device, non_blocking=kind_of(device).pins, memory_format=layout)


def from_host(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The same by way of pinned memory, which alone allows not to wait."""
    return to_device(tensor.pin_memory() if kind_of(device).pins else tensor, device)


def layout(device: torch.device) -> torch.memory_format:
    """How images and filters of a translation lie on ``device``: with channels innermost where that works."""
    return torch.channels_last if kind_of(device).channels_last else torch.contiguous_format


def to_host_later(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    """A copy on the host that is waited for only when it is called for."""
    if not kind_of(tensor.device).pins:
        copy = tensor.to("cpu", copy=True)
        return lambda: copy
    pinned = torch.empty_like(tensor, device="cpu").pin_memory()
    pinned.copy_(tensor, non_blocking=True)
    arrived = torch.Event(tensor.device)
    arrived.record()

    def wait() -> torch.Tensor:
        while not arrived.query():  # not by synchronize, in which signals are not heard
            time.sleep(1e-4)
        return pinned

    return wait


def keep_memory(device: torch.device) -> None:
    """For training on a CPU with glibc: memory that was given back is used again by this process.

    glibc returns each large tensor to the system at once, which then fills every page of the next one with zeros
    (docs/performance.md has what it costs). Elsewhere this does nothing.
    """
    trim_threshold, mmap_max = -1, -4  # the numbers of malloc.h
    if device.type == "cpu" and sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(mmap_max, 0)
            mallopt(trim_threshold, -1)


def synchronize(device: torch.device) -> None:
    """Wait until ``device`` has done what it was given."""
    if device.type != "cpu":
        _module(device).synchronize()  # of the current one; torch.accelerator's is not there for every kind


def describe(device: torch.device) -> str:
    """``cuda:0 (NVIDIA H100)``; ``cpu``."""
    name = getattr(_module(device), "get_device_name", None) if device.type != "cpu" else None
    return f"{device} ({name(device)})" if name else str(device)


def generator_state(device: torch.device) -> torch.Tensor | None:
    """That of the device's own default generator; None on a CPU, whose generator is torch's."""
    return None if device.type == "cpu" else _module(device).get_rng_state()


def set_generator_state(device: torch.device, state: torch.Tensor) -> None:
    _module(device).set_rng_state(state)


def peak_memory() -> int | None:
    """Bytes that the current accelerator's tensors took at most; None where no accelerator is at work or it keeps no
    account."""
    kind, count = accelerator()
    module = torch.get_device_module(kind) if count else None
    if not (hasattr(module, "max_memory_allocated") and module.is_initialized()):
        return None
    return module.max_memory_allocated()


def memory_gb() -> float:
    """Peak memory in GB (1e9 bytes): the GPU's where one is used, else this process's; 0 if unknown."""
    if (used := peak_memory()) is not None:
        return used / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def free_memory(device: torch.device) -> int | None:
    """Bytes; None where the device does not tell, or shares the host's memory."""
    ask = getattr(_module(device), "mem_get_info", None) if device.type != "cpu" else None
    try:
        return ask(device)[0] if ask else None
    except RuntimeError:  # Intel's integrated ones
        return None


def lacks_for_compiling(device: torch.device) -> str:
    """What ``torch.compile`` would miss in the first step on an NVIDIA or AMD GPU; nothing on other devices."""
    if device.type != "cuda":
        return ""
    if importlib.util.find_spec("triton") is None:
        return "Triton, which torch brings along on Linux (elsewhere: pip install triton-windows)"
    if not torch.version.hip and torch.cuda.get_device_capability(device) < (7, 0):
        return "a GPU of compute capability 7.0 or newer"
    if sys.platform == "linux" and not any(map(shutil.which, [os.environ.get("CC", "gcc"), "gcc", "clang"])):
        return "a C compiler, such as gcc"
    if sys.platform == "linux" and not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's headers (python3-dev)"
    return ""


def _module(device: torch.device):
    """``torch.cuda`` of a cuda device, ..."""
    return torch.get_device_module(device.type)
