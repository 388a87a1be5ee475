"""What the next step of training depends on, as tensors and plain values: taken from a model and put back."""

import torch
from torch.optim import Optimizer

from util.image_pool import ImagePool
from util.random_state import rng_state, set_rng_state


def training_state(model) -> dict:
    """What all ranks share: weights, and what optimizers and schedules remember."""
    return {
        "networks": {name: net.state_dict() for name, net in model.networks().items()},
        "optimizers": [optimizer.state_dict() for optimizer in model.optimizers],
        "schedulers": [scheduler.state_dict() for scheduler in model.schedulers],
        "metric": model.metric,
    }


def load_training_state(model, state: dict, epoch: int, new_rates: bool = False) -> None:
    """Continue from ``training_state`` in ``epoch``. ``new_rates``: learning rates, betas and schedules are those of
    the flags, as if they had held from the start, not those of the state."""
    nets = state["networks"]
    if model.netG_ema and "G_ema" not in nets:
        nets = nets | {"G_ema": model.generator().state_dict()}  # loaded before it: the average starts here
    for name, net in model.networks().items():
        net.load_state_dict(nets[name])
    for optimizer, saved in zip(model.optimizers, state["optimizers"], strict=True):
        rates = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        load_optimizer(optimizer, saved)
        if new_rates:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group.update(rate)
    model.metric = state["metric"]
    if new_rates:
        schedule_from(model, epoch)
        return
    for scheduler, saved in zip(model.schedulers, state["schedulers"], strict=True):
        scheduler.load_state_dict(saved)


def load_optimizer(optimizer: Optimizer, saved: dict) -> None:
    """``optimizer.load_state_dict``, with each parameter's moments in that parameter's memory layout: torch keeps the
    layout that was saved, and fused Adam walks parameters and moments as they lie in memory."""
    optimizer.load_state_dict(saved)
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def rank_state(model) -> dict:
    """What each rank has its own: random generators, and memories of images."""
    pools = {name: value for name, value in vars(model).items() if isinstance(value, ImagePool)}
    return {"rng": rng_state(model), "pools": {k: [image.cpu() for image in v.images] for k, v in pools.items()}}


def load_rank_state(model, state: dict) -> None:
    """Continue from ``rank_state``."""
    set_rng_state(model, state["rng"])
    for name, images in state["pools"].items():
        getattr(model, name).images = [image.to(model.device) for image in images]


def schedule_from(model, epoch: int) -> None:
    """Learning rates as the schedules have them at the start of ``epoch``. Plateau's follow from scores: anew."""
    if model.opt.lr_policy != "plateau":
        for _ in range(epoch - model.opt.epoch_count):
            model.update_learning_rate()
