"""Moving averages of a network's weights: of G for translating (--ema_decay), and NEGCUT's F_ of F.

Not ``torch.optim.swa_utils.AveragedModel``: its keys differ from the network's own, so that no file of G would fit, and
it reads a counter from the device at every step.
"""

import torch
from torch import Tensor, nn


def ema_factor(ema_decay: float, images: int) -> float:
    """What is left of the average after a step of ``images``. ``ema_decay``: below 1 that factor itself; from 1 on a
    half-life in images."""
    return ema_decay if ema_decay < 1 else 0.5 ** (images / ema_decay)


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, factor: float) -> None:
    """average <- factor * average + (1 - factor) * net; statistics of norms are copied, and all else that a module
    keeps without saying that its ``constant_buffers`` stay."""
    weights = list(average.parameters())
    if weights:  # F has none with --netF sample
        torch._foreach_lerp_(weights, list(net.parameters()), 1 - factor)
    ours, theirs = changing(average), changing(net)
    if ours:
        torch._foreach_copy_(ours, theirs)


def changing(net: nn.Module) -> list[Tensor]:
    modules = (module for module in net.modules() if not getattr(module, "constant_buffers", False))
    return [buffer for module in modules for buffer in module.buffers(recurse=False)]
