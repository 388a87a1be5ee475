"""First weights of a network, and the device it lives on."""

from collections.abc import Sequence

import torch.nn as nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from util.devices import get_device
from util.errors import UserError

INIT = {
    "normal": lambda weight, gain: nn.init.normal_(weight, 0.0, gain),
    "xavier": lambda weight, gain: nn.init.xavier_normal_(weight, gain=gain),
    "kaiming": lambda weight, gain: nn.init.kaiming_normal_(weight, a=0, mode="fan_in"),
    "orthogonal": lambda weight, gain: nn.init.orthogonal_(weight, gain=gain),
}


def init_weights(net: nn.Module, init_type: str = "normal", init_gain: float = 0.02, debug: bool = False) -> None:
    """Draw all weights of convolutions and linear layers; biases 0, batch norm weights N(1, ``init_gain``).

    ``init_type``: normal (``init_gain`` is the standard deviation), xavier, orthogonal (it is a factor), or
    kaiming (it plays no part). ``debug`` prints each layer that is drawn.
    """
    if init_type not in INIT:
        raise UserError(f"--init_type '{init_type}' does not exist: it is {', '.join(INIT)}")

    def init_layer(layer: nn.Module) -> None:
        if isinstance(layer, (_ConvNd, nn.Linear)):
            INIT[init_type](layer.weight, init_gain)
        elif isinstance(layer, _BatchNorm) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, init_gain)
        else:
            return
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if debug:
            print(layer)

    net.apply(init_layer)


def init_net(
    net: nn.Module,
    init_type: str = "normal",
    init_gain: float = 0.02,
    gpu_ids: Sequence[int] = (),
    debug: bool = False,
    initialize_weights: bool = True,
) -> nn.Module:
    """Move ``net`` to the first of ``gpu_ids`` (empty: it stays where it is), draw its weights, return it."""
    if len(gpu_ids) > 0:
        net.to(get_device(list(gpu_ids)))
    if initialize_weights:
        init_weights(net, init_type, init_gain, debug=debug)
    return net
