"""Images that are too large for one pass: tiles that fit together without seams.

Instance norm sees the whole image: the mean and variance that it removes are taken over all positions, so tiles that
are normalized by themselves differ in tone and contrast. Here statistics are measured in a first pass over the whole
image, in batches of crops from all over it that are normalized as if each batch were one image, and then hold for all
tiles. With fixed statistics a network is a chain of convolutions, in which a pixel depends on its surroundings only up
to a certain distance (``reach``). Tiles that overlap by twice that distance agree where they meet: no seams, the result
is exactly that of one pass over the whole image with these statistics. They differ a little from that pass's own
(borders of the crops, batches): a slight shift of tone, the same everywhere.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from models.networks.blocks import InstanceNorm, Resample, Upsample
from models.networks.stylegan2 import Blur, EqualConv2d, NoiseInjection, UpConv2d
from util.devices import wide

CROP = 256  # pixels: about the size of the crops that the statistics are measured on
Tick = Callable[[int, int], object]  # told (done, of how many) passes


def translate_tiles(
    net: nn.Module, run: Callable[[Tensor], np.ndarray], pixels: np.ndarray, tile: int, tick: Tick = lambda *_: None
) -> np.ndarray:
    """(H, W, C) uint8, H and W multiples of the net's stride -> (H, W, C'), in tiles of at most ``tile`` pixels a side.

    ``run`` turns (B, C, h, w) uint8 into (B, h, w, C') uint8 by way of ``net``.
    """
    stride, radius = reach(net)
    tile = max(tile // stride, 1) * stride
    # Where the reach is too long for exact seams (U-Nets), tiles are blended over half of their width.
    exact = radius <= tile // 4
    margin = math.ceil((radius if exact else tile // 8) / stride) * stride
    overlap = 2 * margin if exact else tile // 2 // stride * stride
    height, width = pixels.shape[:2]
    rows, columns = (pieces(side, tile, overlap, margin, stride) for side in (height, width))
    result, done = None, itertools.count(1)
    with SharedStatistics(net) as statistics, FixedNoise([net], (height, width)) as noise:
        measured = crops(pixels, stride, tile**2) if statistics.norms else []
        passes = len(measured) + len(rows) * len(columns)
        for batch in measured:
            statistics.measure(partial(run, torch.cat([to_batch(crop) for crop in batch])))
            tick(next(done), passes)
        for y, fade_y in rows:
            row = None
            for x, fade_x in columns:
                noise.window = (y, x, len(fade_y))
                new = run(to_batch(pixels[y : y + len(fade_y), x : x + len(fade_x)]))[0]
                if row is None:
                    row = np.empty((len(fade_y), width, new.shape[2]), np.uint8)
                blend(row[:, x : x + len(fade_x)].swapaxes(0, 1), new.swapaxes(0, 1), fade_x)
                tick(next(done), passes)
            if result is None:
                result = np.empty((height, *row.shape[1:]), np.uint8)
            blend(result[y : y + len(fade_y)], row, fade_y)
    return result


def blend(place: np.ndarray, new: np.ndarray, weights: np.ndarray) -> None:
    """``new`` over what is at ``place``, both uint8, by weights that rise to 1 along the first axis. In strips: floats
    of a whole row of tiles take much memory."""
    whole = int(np.argmax(weights == 1))
    for start in range(0, whole, 16):
        rows = slice(start, min(start + 16, whole))
        weight = weights[rows].reshape(-1, 1, 1)
        place[rows] = np.rint(place[rows] + weight * (new[rows].astype(np.float32) - place[rows]))
    place[whole:] = new[whole:]


def to_batch(pixels: np.ndarray) -> Tensor:
    """(H, W, C) -> (1, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]


def pieces(length: int, tile: int, overlap: int, margin: int, stride: int) -> list[tuple[int, np.ndarray]]:
    """(start, weights) of each tile along one axis. The weight of a tile against those before it is 0 in the first
    ``margin`` pixels of their overlap, where it lacks surroundings, and 1 in the last, where they do."""
    if length <= tile:
        return [(0, np.ones(length, np.float32))]
    count = math.ceil((length - overlap) / (tile - overlap))
    starts = [round(i * (length - tile) / (count - 1) / stride) * stride for i in range(count)]
    found = [(0, np.ones(tile, np.float32))]
    for before, start in zip(starts[:-1], starts[1:], strict=True):
        shared = before + tile - start
        ramp = (np.arange(tile, dtype=np.float32) + 0.5 - margin) / max(shared - 2 * margin, 1)
        found.append((start, ramp.clip(0, 1) if shared > 2 * margin else (ramp >= 0).astype(np.float32)))
    return found


def crops(pixels: np.ndarray, stride: int, most: int) -> list[list[np.ndarray]]:
    """Views of the image, (h, w, C) of about ``CROP`` pixels a side, as batches of at most ``most`` pixels (but at
    least 4 crops), each of which is spread over the whole image."""
    (h, ys), (w, xs) = (along(side, stride) for side in pixels.shape[:2])
    corners = [(y, x) for y in ys for x in xs]
    rounds = math.ceil(len(corners) / max(4, most // (h * w)))
    return [[pixels[y : y + h, x : x + w] for y, x in corners[i::rounds]] for i in range(rounds)]


def along(side: int, stride: int) -> tuple[int, np.ndarray]:
    """(size, starts) of ``crops`` along one axis."""
    count = max(1, round(side / CROP))
    size = max(1, side // count // stride) * stride
    return size, (np.linspace(0, side - size, count) // stride * stride).astype(int)


class SharedStatistics:
    """While it is entered, the norms of ``net`` that normalize by what they are given take statistics from the calls
    within ``measure``; several such calls are averaged."""

    def __init__(self, net: nn.Module):
        self.norms = [m for m in net.modules() if normalizes_by_input(m)]
        # Sums over the calls of the mean and of the mean square, kept in place: small tensors that stay between large
        # ones that go keep a CPU's heap from shrinking, which then grows with every call.
        self.sums: dict[nn.Module, Tensor] = {}
        self.calls = 0
        self.fixed: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self.measuring = False

    def __enter__(self):
        for norm in self.norms:
            norm.forward = partial(self.normalize, norm)
        return self

    def __exit__(self, *exception):
        for norm in self.norms:
            del norm.forward

    def measure(self, run: Callable[[], object]) -> None:
        self.measuring = True
        run()
        self.measuring = False
        self.calls += 1
        for norm, sums in self.sums.items():
            mean, square = (sums / self.calls).unbind()
            self.fixed[norm] = mean.float(), (square - mean.square()).float()

    def normalize(self, norm: nn.Module, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape and type."""
        if self.measuring:
            variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
            found = torch.stack((mean, variance + mean.square())).to(wide(x.device))
            self.sums[norm] = self.sums[norm].add_(found) if norm in self.sums else found
        else:
            mean, variance = self.fixed[norm]
        scale = (variance + norm.eps).rsqrt()
        shift = -mean * scale
        if getattr(norm, "weight", None) is not None:
            scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
        scale, shift = (v.view(1, -1, 1, 1) for v in (scale, shift))
        return torch.addcmul(shift, x.float(), scale).to(x.dtype)


def normalizes_by_input(module: nn.Module) -> bool:
    """Instance norm, or batch norm in training mode, as test.py leaves it without --eval."""
    if isinstance(module, _NormBase):
        return module.training or not module.track_running_stats
    return isinstance(module, InstanceNorm)


class FixedNoise:
    """While it is entered, StyleGAN2's noise in ``networks`` is one map for the image, the same in every pass. Of an
    image of ``size`` (height, width) in tiles, a tile takes its ``window`` (y, x, height) of the map."""

    def __init__(self, networks: Iterable[nn.Module], size: tuple[int, int] | None = None):
        self.injections = [m for net in networks for m in net.modules() if isinstance(m, NoiseInjection)]
        self.size, self.window = size, (0, 0, size[0] if size else 0)
        self.maps: dict[tuple[int, ...], Tensor] = {}

    def __enter__(self):
        self.sources = [injection.draw_noise for injection in self.injections]
        for injection in self.injections:
            injection.draw_noise = self.draw
        return self

    def __exit__(self, *exception):
        for injection, source in zip(self.injections, self.sources, strict=True):
            injection.draw_noise = source

    def draw(self, signal: Tensor) -> Tensor:
        """The noise (1, 1, H, W) for a signal (B, C, H, W)."""
        if self.size is None:
            return self.map(signal.shape[2:]).to(signal)
        y, x, height = self.window
        scale = signal.shape[2] / height
        y, x = round(y * scale), round(x * scale)
        whole = self.map([round(side * scale) for side in self.size])
        return whole[:, :, y : y + signal.shape[2], x : x + signal.shape[3]].to(signal)

    def map(self, size: Sequence[int]) -> Tensor:
        size = tuple(size)
        if size not in self.maps:
            self.maps[size] = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(0))
        return self.maps[size]


def reach(net: nn.Module) -> tuple[int, int]:
    """(stride, radius) in pixels of the input: sizes should be multiples of the stride, and with fixed statistics an
    output pixel does not depend on input farther away than the radius. ``net``'s layers must be registered in the order
    in which they run, as those of all generators here are (the short way past a block is called skip)."""
    pixel, stride, radius = 1.0, 1.0, 0.0  # pixel: how many of the image's a pixel at this depth covers
    for name, module in net.named_modules():
        if ".skip" in name:
            continue
        if isinstance(module, nn.ConvTranspose2d | Upsample | UpConv2d):
            radius += pixel
            pixel /= 2 if isinstance(module, UpConv2d) else np.max(module.stride)  # a number or a pair of equal ones
        elif isinstance(module, nn.Conv2d | EqualConv2d | Resample | Blur):
            kernel = next(getattr(module, name) for name in ("filt", "kernel", "weight") if hasattr(module, name))
            radius += (kernel.shape[-1] - 1) / 2 * pixel
            pixel *= np.max(module.stride)
        stride = max(stride, pixel)
    return round(stride), math.ceil(radius)
