"""Official names of ``util.util``, for model and dataset files written for CUT or CycleGAN."""

import importlib
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from util import devices, images
from util.flag_types import str2bool

__all__ = ["copyconf", "correct_resize", "diagnose_network", "find_class_in_module", "mkdir", "mkdirs", "print_numpy"]
__all__ += ["save_image", "str2bool", "tensor2im", "init_ddp", "cleanup_ddp"]


def tensor2im(input_image: Tensor | np.ndarray, imtype=np.uint8) -> np.ndarray:
    """(C, H, W), or the first of (B, C, H, W), in [-1, 1] -> (H, W, 3); arrays pass as they are."""
    if isinstance(input_image, np.ndarray):
        return input_image.astype(imtype)
    return images.tensor2im(input_image).astype(imtype)


def save_image(image_numpy: np.ndarray, image_path: str | Path, aspect_ratio: float = 1.0) -> None:
    """``images.save_image``."""
    images.save_image(image_numpy, image_path, aspect_ratio)


def mkdir(path: str | Path) -> None:
    """Make the folder and those above it, where missing."""
    Path(path).mkdir(parents=True, exist_ok=True)


def mkdirs(paths: str | Path | list) -> None:
    """``mkdir`` for one or several."""
    for path in paths if isinstance(paths, list | tuple) else [paths]:
        mkdir(path)


def copyconf(default_opt: Namespace, **kwargs) -> Namespace:
    """A copy of the options with some changed."""
    return Namespace(**vars(default_opt) | kwargs)


def find_class_in_module(target_cls_name: str, module: str) -> type:
    """The class of that name, in any case and without underscores."""
    wanted = target_cls_name.replace("_", "").lower()
    return next(cls for name, cls in vars(importlib.import_module(module)).items() if name.lower() == wanted)


def correct_resize(t: Tensor, size: tuple[int, int], mode="bicubic") -> Tensor:
    """(B, C, H, W) in [-1, 1] to ``size`` (H, W), antialiased."""
    return nn.functional.interpolate(t, tuple(size), mode=mode, antialias=True).clamp(-1, 1)


def diagnose_network(net: nn.Module, name: str = "network") -> None:
    """Print the mean absolute gradient of the network's weights."""
    means = [p.grad.abs().mean() for p in net.parameters() if p.grad is not None]
    print(f"{name}: mean |gradient| {torch.stack(means).mean().item() if means else 0.0}")


def print_numpy(x: np.ndarray, val: bool = True, shp: bool = False) -> None:
    """Print the shape and the statistics of an array."""
    if shp:
        print("shape,", x.shape)
    if val:
        x = x.astype(np.float64)
        print(f"mean = {x.mean():.3f}, min = {x.min():.3f}, max = {x.max():.3f}, median = {np.median(x):.3f}")


def init_ddp() -> torch.device:
    """The device that the options chose, or would choose without a flag. There is nothing else to begin: several
    processes are for train.py, and ``TrainOptions().parse()`` has refused them."""
    return devices.chosen or devices.choose_device(None, None)


def cleanup_ddp() -> None:
    """Nothing was begun."""
