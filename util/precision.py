"""The arithmetic that networks run in. What they return, weights, optimizers, statistics of norms, losses and the
gradients of losses stay fp32."""

import os
from contextlib import contextmanager, nullcontext
from inspect import signature
from types import MethodType

import torch
from torch import nn

from util.devices import kind_of, lacks_for_compiling, layout
from util.errors import UserError, warn


def run_networks_in(precision: str, device: torch.device, *networks: nn.Module) -> None:
    """bf16: from now on each network computes its convolutions and linear layers in bf16, in ``forward`` and whatever
    else it lists in ``entries``. It returns fp32, so that a loss and its backward pass, whoever wrote them, run outside
    autocast and in fp32; the backward pass of a layer has the type of its forward pass."""
    for network in networks if precision == "bf16" else ():
        for name in entries(network):
            setattr(network, name, MethodType(_in_bf16(getattr(type(network), name), device.type), network))


def entries(network: nn.Module) -> tuple[str, ...]:
    """The methods by which a model calls ``network``: ``forward``, and those that its class lists in ``entries``."""
    return ("forward", *getattr(network, "entries", ()))


def _in_bf16(method, device_type: str):
    def call(network, *args, **kwargs):
        # Without its cache: that would hand the weights from before an update to what comes after it in the same step.
        with _autocast(device_type, dtype=torch.bfloat16, cache_enabled=False):
            return _to_fp32(method(network, *args, **kwargs))

    return call


def _to_fp32(output):
    if isinstance(output, torch.Tensor):
        return output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
    return type(output)(map(_to_fp32, output)) if type(output) in (list, tuple) else output


def no_autocast(device: torch.device):
    """The context of what must not run in a lower precision."""
    return _autocast(device.type, enabled=False)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The type that autocast computes in here; None outside it."""
    inside = device.type != "meta" and torch.is_autocast_enabled(device.type)
    return torch.get_autocast_dtype(device.type) if inside else None


def _autocast(device_type: str, **settings):
    """torch has none on ``meta``, which computes nothing."""
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, **settings)


def to_half(name: str, values: torch.Tensor) -> torch.Tensor:
    """The weights ``name`` in float16, to store them; ``UserError`` where they don't fit."""
    if not values.is_floating_point():
        return values
    if not values.half().isfinite().all():
        raise UserError(f"the weights {name} are too large for float16, or no numbers")
    return values.half()


def usable(precision: str, device: torch.device, asked_for: bool = True) -> str:
    """The precision that ``device`` will run in. ``UserError`` where tf32 was ``asked_for`` and there is none."""
    kind = kind_of(device)
    has = {"fp32": True, "tf32": kind.tf32, "bf16": kind.bf16}[precision]
    if precision == "bf16" and device.type != "cpu":  # a GPU that computes it by way of fp32 lacks convolutions
        has = has_fast_bf16(device)
    if has:
        return precision
    if precision == "tf32" and asked_for:
        raise UserError("--precision tf32 is a mode of NVIDIA GPUs; on this device use fp32 or bf16")
    warn(f"--precision {precision} is left out: {device.type} has none that is known to work here; fp32 is used")
    return "fp32"


def usable_layout(channels_last: bool, device: torch.device) -> torch.memory_format:
    """That of images and filters in training: the one asked for, else as they come where every layout works."""
    works = kind_of(device).channels_last
    if channels_last and not works:
        warn(f"--channels_last is left out: with it {device.type} has given wrong gradients")
    return torch.preserve_format if works and not channels_last else layout(device)


def configure(precision: str, sizes_repeat: bool) -> None:
    """Set what holds for the whole process. ``sizes_repeat``: cuDNN then tries its algorithms on each new size and
    keeps the fastest; with ever new sizes it would try for ever."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = sizes_repeat


@contextmanager
def configured(precision: str):
    """``configure`` for a while, for images of all sizes; the caller's settings come back."""
    matmul, allow_tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    benchmark = torch.backends.cudnn.benchmark
    configure(precision, sizes_repeat=False)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = allow_tf32, benchmark


def has_fast_bf16(device: torch.device) -> bool:
    """Whether ``device`` computes bf16 natively, rather than by way of fp32."""
    if device.type != "cpu":
        if not kind_of(device).bf16:
            return False
        ask = torch.get_device_module(device.type).is_bf16_supported
        by_itself = {"including_emulation": False} if signature(ask).parameters else {}  # xpu's takes it from 2.8 on
        return ask(**by_itself)
    check = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(check and check()) and _has_cpu_flag("avx512_bf16", "amx_bf16", "bf16")


def fast_settings(device: torch.device) -> dict[str, str | bool]:
    """What ``--fast`` chooses on ``device``, by flag; all as without it on a CPU without fast bf16.

    Compiling pays on GPUs alone: on a CPU the time is in the convolutions, which stay the same library calls. In fp32
    those of a CPU gain nothing by channels-last, and lose a fifth where there is no AVX-512.
    """
    kind, fast_bf16 = kind_of(device), has_fast_bf16(device)
    precision = "bf16" if fast_bf16 else "tf32" if kind.tf32 else "fp32"
    channels_last = kind.channels_last and (fast_bf16 or device.type != "cpu")
    return {
        "channels_last": channels_last,
        "compile": kind.compiles and not lacks_for_compiling(device),
        "precision": precision,
    }


def _has_cpu_flag(*names: str) -> bool:
    path = "/proc/cpuinfo"
    flags = open(path).read() if os.path.exists(path) else ""
    return any(f" {name}" in flags for name in names)
