"""Looking at a model while it trains: scores and pictures must not change the run."""

from contextlib import contextmanager

import torch

from util.random_state import rng_state, set_rng_state


@contextmanager
def undisturbed(model):
    """Leaves the model as it was, whatever runs inside: buffers (batch norm's running statistics move with every image
    that a network sees in training mode), modes, and all random generators (dropout draws from them)."""
    networks = list(model.networks().values())
    modes = [(module, module.training) for network in networks for module in network.modules()]
    buffers = [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]
    generators = rng_state(model)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        set_rng_state(model, generators)
