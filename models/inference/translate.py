"""The one way in which a trained generator meets pictures: test.py, scores and pictures while training, compare.py,
translate.py and notebooks come through here, so that all give the same bytes for the same image.

- precision: what the network was set to (util/precision.py)
- layout: channels last where the device takes it, whatever the weights' is
- batch norm that takes its statistics from what it sees: one image at a time, so that a batch mixes nothing
- StyleGAN2's noise: one fixed map (FixedNoise)
- no gradients

How an image gets its size is the caller's affair: a dataset scales it, ``translate_pixels`` pads it.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.inference.tiling import FixedNoise, Tick, reach, translate_tiles
from util.devices import layout
from util.errors import UserError
from util.images import normalize, to_bytes

SMALLEST = 16  # pixels a side: smaller pictures are padded to it


def translate(call: Callable, batch: Tensor | dict, *networks: nn.Module):
    """What ``call`` makes of ``batch`` by way of ``networks``, on their device.

    A generator: images (B, C, H, W) in [-1, 1] -> (B, C', H, W) in [-1, 1]. A model's whole way: a loader's batch, a
    dict of tensors and lists with B entries -> a dict of such images.
    """
    device = next((p.device for net in networks for p in net.parameters()), torch.device("cpu"))
    with torch.inference_mode(), FixedNoise(networks):
        return _join([call(_on_device(part, device)) for part in _parts(batch, networks)])


def translate_pixels(
    net: nn.Module, pixels: list[np.ndarray], tile: int = 0, tick: Tick = lambda *_: None
) -> list[np.ndarray]:
    """Pictures (H, W, C) uint8 of one shape and any size -> (H, W, C') uint8; those of more than tile x tile pixels in
    tiles, 0: never, with ``tick`` after each."""
    stride, _ = reach(net)
    height, width = pixels[0].shape[:2]
    h, w = (max(math.ceil(side / stride) * stride, SMALLEST) for side in (height, width))
    if (h, w) != (height, width):
        pixels = [np.pad(array, ((0, h - height), (0, w - width), (0, 0)), "reflect") for array in pixels]
    if tile and h * w > tile**2:
        outputs = [translate_tiles(net, lambda part: _one_pass(net, part), array, tile, tick) for array in pixels]
    else:
        batch = torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2))
        outputs = _to_pixels(translate(net, normalize(batch), net))
    return [output[:height, :width] for output in outputs]


def mixes_images(*networks: nn.Module) -> bool:
    """Whether an image's translation depends on the others of its batch."""
    return any(isinstance(m, _BatchNorm) and m.training for net in networks for m in net.modules())


def _one_pass(net: nn.Module, part: Tensor) -> np.ndarray:
    """(B, C, h, w) uint8 -> (B, h, w, C') uint8, with the statistics and noise that surround the call."""
    with torch.inference_mode():
        return _to_pixels(net(_on_device(normalize(part), next(net.parameters()).device)))


def only_pictures(made) -> Tensor:
    """What a network gave, which must be one tensor."""
    if not isinstance(made, Tensor):  # F-LSeSim's network gives features too
        raise UserError(f"the network gives a {type(made).__name__} instead of pictures: use test.py")
    return made


def _to_pixels(images: Tensor) -> np.ndarray:
    images = only_pictures(images)
    return to_bytes(images).permute(0, 2, 3, 1).cpu().numpy()


def _parts(batch: Tensor | dict, networks: tuple[nn.Module, ...]) -> list:
    """The batch itself, or each of its images where they must not meet."""
    count = len(batch) if isinstance(batch, Tensor) else len(next(v for v in batch.values() if isinstance(v, Tensor)))
    if count == 1 or not mixes_images(*networks):
        return [batch]
    if isinstance(batch, Tensor):
        return list(batch.split(1))
    return [{key: value[i : i + 1] for key, value in batch.items()} for i in range(count)]


def _on_device(part, device: torch.device):
    """The images in it, that is; all else stays where it is."""
    if isinstance(part, dict):
        return {key: _on_device(value, device) for key, value in part.items()}
    if not isinstance(part, Tensor) or part.dim() != 4:
        return part
    # Copied even where it seems to lie right: with one channel strides are ambiguous, and libraries choose by them.
    return torch.empty_like(part, device=device, memory_format=layout(device)).copy_(part)


def _join(results: list):
    """The parts' results as one batch's."""
    first = results[0]
    if isinstance(first, dict):
        return {key: _join([result[key] for result in results]) for key in first}
    return torch.cat(results) if len(results) > 1 else only_pictures(first)
