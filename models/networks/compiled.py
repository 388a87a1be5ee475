"""--compile, for a network's every way in."""

import torch
from torch import nn

from util.precision import entries


def compile_entries(net: nn.Module) -> None:
    """``net(...)`` and the methods that its class lists in ``entries`` are compiled, each when it is first called.

    ``nn.Module.compile`` reaches ``net(...)`` alone: F's ``project`` and F_'s ``spatial_mean`` would pass it by.
    """
    net.compile()
    for name in entries(net):
        if name != "forward":
            setattr(net, name, torch.compile(getattr(net, name)))
