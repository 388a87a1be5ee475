"""The kinds of devices and the flags that choose among them. No torch here: flags are checked before its import."""

from collections.abc import Callable
from dataclasses import dataclass

PRECISIONS = ("fp32", "tf32", "bf16")  # arithmetic of the networks


@dataclass(frozen=True)
class Kind:
    """What a kind of device offers of what the program can use; what it lacks is chosen away."""

    double: bool = True  # float64
    bf16: bool = True  # autocast to bfloat16
    tf32: bool = False
    graphs: bool = False  # recorded steps
    compiles: bool = False  # whether compiling pays, for --fast
    pins: bool = True  # copies from pinned memory of the host need not be waited for; where none is, all have to be
    channels_last: bool = True  # gradients are right in this layout
    skips: bool = True  # fused Adam leaves a step out by itself where ``found_inf`` says so
    launches: bool = True  # an operation costs a launch, so few large ones win; a CPU's caches want small ones
    untried: bool = False  # no run of this project on one is known


KINDS = {
    "cpu": Kind(pins=False, launches=False),
    "cuda": Kind(tf32=True, graphs=True, compiles=True),  # NVIDIA, and AMD by way of ROCm
    "xpu": Kind(double=False, untried=True),  # Intel, whose Arc cards have no float64
    # Apple. Of older torch gradients of norms in channels-last are wrong there, and Adam takes no notice of found_inf.
    "mps": Kind(double=False, bf16=False, pins=False, channels_last=False, skips=False, untried=True),
}


def add_flags(add: Callable, default_ids: str | None = None) -> None:
    """``--gpu_ids`` and ``--device``, for ``choose_device``; ``add`` is a parser's ``add_argument``."""
    help = "the GPU to use; -1 for the CPU. Without the flag: a GPU if there is one"
    add("--gpu_ids", default=default_ids, help=help)
    help = "the kind of device: cuda is NVIDIA's and AMD's, xpu Intel's, mps Apple's; of several the one of --gpu_ids"
    add("--device", choices=list(KINDS), help=help)
