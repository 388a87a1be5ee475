"""Replays a recorded training run: its weights, images and random draws go into one of our models."""

import json
from pathlib import Path

import numpy as np
import torch

import options
from models import create_model

# Flags of the published code that say nothing about the arithmetic (N trains at lr), and null for an infinite size.
UNUSED = {"isTrain", "display_port", "max_dataset_size", "amp", "lr_N"}


class Recording:
    def __init__(self, folder: Path, scenario: str):
        self.about = json.loads((folder / f"{scenario}.json").read_text())
        with np.load(folder / f"{scenario}.npz") as arrays:
            self.arrays = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        self.steps = len(self.about["losses"])

    def tensors(self, prefix: str) -> dict[str, torch.Tensor]:
        """The arrays below ``prefix/``, without it."""
        return {k[len(prefix) + 1 :]: v for k, v in self.arrays.items() if k.startswith(prefix + "/")}

    def draws(self, kind: str, step: int, phase: str) -> list[torch.Tensor]:
        wanted = (kind, step, phase)
        return [self.arrays[d["key"]] for d in self.about["draws"] if (d["kind"], d["step"], d["phase"]) == wanted]

    def model(self, folder: Path, dtype: torch.dtype, extra: list[str] = ()):
        """Our model with the recorded flags and weights."""
        argv = [*self.about["flags"], "--dataroot", "none", "--gpu_ids", "-1", "--checkpoints_dir", str(folder), *extra]
        opt = options.parse(argv)
        for key, value in self.about["options"].items():
            if key not in UNUSED:
                assert getattr(opt, key) == value, f"--{key}"
        model = create_model(opt)
        for name, net in model.networks().items():
            fixed = {k: v for k, v in net.state_dict().items() if k.endswith((".filt", ".kernel"))}
            net.load_state_dict(fixed | self.tensors(f"init/{name}"))
            net.to(dtype)
        model.setup(opt)
        return model

    def batch(self, step: int, dtype: torch.dtype) -> dict:
        images = {side: self.arrays[f"data/{step}/{side}"].to(dtype) for side in "AB"}
        return images | {f"{side}_paths": [""] * len(images[side]) for side in "AB"}

    def replay(self, model, step: int, dtype: torch.dtype) -> None:
        """Make ``model`` take the recorded draws of ``step``."""
        layers = len(getattr(model, "nce_layers", []))
        noise = iter(self.draws("normal_", step, "forward"))

        def draw_patch_ids(phase, branch, layer, positions):
            ids = self.draws("randperm", step, phase)[branch * layers + layer]
            assert ids.max() < positions
            return ids.long()

        def draw_noise(phase, branch, layer, images):
            recorded = self.draws("randn", step, phase)
            return recorded[branch * layers + layer].to(dtype) if recorded else torch.empty(images, 0, 0)

        model.draw_patch_ids, model.draw_noise = draw_patch_ids, draw_noise
        if hasattr(model, "netG") and hasattr(model.netG, "set_noise_source"):
            model.netG.set_noise_source(lambda signal: next(noise).to(dtype))
        model.draw_flip = lambda: self.draws("flip_u", step, "forward")[0].item() < 0.5


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference over the largest value of the tensor; values below 1e-6 count as 1e-6."""
    ours, theirs = ours.detach().double(), theirs.double()
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-6)).item()


def watch_gradients(model) -> dict[str, torch.Tensor]:
    """Fill and return a dict with the gradients ``NET/KEY`` that each optimizer sees at its first step."""
    seen: dict[str, torch.Tensor] = {}
    apply = model.apply_gradients

    def apply_and_watch(phase, *optimizers):
        stepped = {id(p) for o in optimizers for group in o.param_groups for p in group["params"]}
        for name, net in model.networks().items():
            for key, weight in net.named_parameters():
                if id(weight) in stepped and weight.grad is not None:
                    seen.setdefault(f"{name}/{key}", weight.grad.detach().clone())
        apply(phase, *optimizers)

    model.apply_gradients = apply_and_watch
    return seen
