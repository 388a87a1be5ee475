"""What a call consists of: arithmetic, operations, and where its time goes."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


def flops(call) -> float:
    """GFLOP of a call: forward and backward, convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e9


class Operations(TorchDispatchMode):
    """Counts what torch dispatches: operations of ATen that are no views."""

    NONE = (torch.ops.aten._unsafe_view.default, torch.ops.aten.promote_types.default)  # a view too, and a question

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.namespace == "aten" and not func.is_view and func not in self.NONE
        return func(*args, **(kwargs or {}))


def operations(call) -> int:
    with Operations() as counted:
        call()
    return counted.count


def profile(call, device: torch.device) -> str:
    """Where the time of ``call`` goes, which waits for the device at its end: the operations that take the most."""
    with torch.profiler.profile(activities=list(torch.profiler.supported_activities())) as profiled:
        call()
    by = "self_cpu_time_total" if device.type == "cpu" else "self_device_time_total"
    return profiled.key_averages().table(sort_by=by, row_limit=15, max_name_column_width=60)
