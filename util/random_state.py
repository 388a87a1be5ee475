"""Every random generator that a training step draws from, to be saved and put back."""

import random

import numpy as np
import torch

from util import devices


def rng_state(model) -> dict:
    """The model's own generators, and the global ones that dropout, image pools and users' model files draw from."""
    keys: np.ndarray
    name, keys, *rest = np.random.get_state()  # type: ignore[assignment]
    state = {"patches": model.rng.bit_generator.state, "noise": model.noise_rng.get_state()}
    state |= {"python": random.getstate(), "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest)}
    kind = model.device.type
    return state | {"torch": torch.get_rng_state(), "device": kind, kind: devices.generator_state(model.device)}


def set_rng_state(model, state: dict) -> None:
    """Another kind of device has another kind of generators: those on it then start anew."""
    model.rng.bit_generator.state = state["patches"]
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["device"] == model.device.type:
        model.noise_rng.set_state(state["noise"])
        if state.get(model.device.type) is not None:
            devices.set_generator_state(model.device, state[model.device.type])
