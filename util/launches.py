"""Where every operation costs a launch, layers of one shape go through it at once; a CPU takes them one by one."""

from collections.abc import Callable

import torch
from torch import Tensor

from util.devices import kind_of


def go_together(tensors: list[Tensor]) -> bool:
    """Whether one operation on all ``tensors`` beats one on each: they are of one shape and each costs a launch."""
    first = tensors[0]
    return kind_of(first.device).launches and all(tensor.shape == first.shape for tensor in tensors)


def each_layer(function: Callable, *layers: list[Tensor | None]) -> list:
    """``function(a, b, ...)`` of each layer's tensors a, b, ..., or of all layers at once in a dimension before theirs:
    it takes and returns any leading ones. An argument may be None in all layers."""
    if not all(tensors[0] is None or go_together(tensors) for tensors in layers):
        return [function(*layer) for layer in zip(*layers, strict=True)]
    found = function(*(None if tensors[0] is None else torch.stack(tensors) for tensors in layers))
    if isinstance(found, tuple):
        return list(zip(*(tensor.unbind() for tensor in found), strict=True))
    return list(found.unbind())


def each_batch(function: Callable, batches: list[list[Tensor]]) -> list[list[Tensor]]:
    """``function(layers)`` of each batch's layers (B, ...), or once of all batches joined."""
    if len(batches) < 2 or not go_together([layers[0] for layers in batches]):
        return [list(function(layers)) for layers in batches]
    found = function([torch.cat(layer) for layer in zip(*batches, strict=True)])
    parts = [tensor.split(len(batches[0][0])) for tensor in found]
    return [list(layers) for layers in zip(*parts, strict=True)]
