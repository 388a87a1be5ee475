"""What the networks are built from: norms, anti-aliased resampling, the residual block."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F

from util.errors import UserError

NormLayer = Callable[[int], nn.Module]


class InstanceNorm(nn.Module):
    """Each channel of each image to mean 0 and variance 1; no parameters, no running statistics.

    Written as a plain formula because ``F.instance_norm`` on a CPU returns wrong gradients at batch 1 when
    the incoming gradient is channels-last. Statistics are at least fp32; the result has the input's type
    and layout.
    """

    def __init__(self, num_features: int, eps: float = 1e-5):
        super().__init__()
        self.num_features, self.eps = num_features, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H, W); ``ValueError`` where an image has a single position."""
        if x.shape[2] * x.shape[3] == 1:
            raise ValueError(f"instance norm needs more than one position in an image, got {tuple(x.shape)}")
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        variance, mean = torch.var_mean(wide, dim=(2, 3), correction=0, keepdim=True)
        return ((wide - mean) * torch.rsqrt(variance + self.eps)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"


def get_norm_layer(norm_type: str = "instance") -> NormLayer:
    """The class of the norm called ``norm_type`` (instance, batch, none); it takes the number of channels."""
    layers = {"instance": InstanceNorm, "batch": nn.BatchNorm2d, "none": nn.Identity}
    if norm_type not in layers:
        raise UserError(f"norm '{norm_type}' does not exist: --normG and --normD take {', '.join(layers)}")
    return layers[norm_type]


def needs_bias(norm_layer: NormLayer) -> bool:
    """Whether a convolution in front of this norm has a bias, as in published checkpoints: instance only."""
    return getattr(norm_layer, "func", norm_layer) in (InstanceNorm, nn.InstanceNorm2d)


def binomial_filter(size: int) -> torch.Tensor:
    """The (size, size) blur of R. Zhang, "Making Convolutional Networks Shift-Invariant Again": sum 1."""
    row = torch.tensor([float(math.comb(size - 1, k)) for k in range(size)])
    return torch.outer(row, row) / row.sum() ** 2


PADDING = {"reflect": "reflect", "repl": "replicate", "zero": "constant"}


class Downsample(nn.Module):
    """Blur, then take every ``stride``-th pixel."""

    def __init__(self, channels: int, pad_type: str = "reflect", filt_size: int = 3, stride: int = 2):
        super().__init__()
        self.stride, self.mode = stride, PADDING[pad_type]
        before, after = (filt_size - 1) // 2, filt_size // 2
        self.pad = (before, after, before, after)
        self.register_buffer("filt", binomial_filter(filt_size).repeat(channels, 1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, ceil(H / stride), ceil(W / stride)) for an odd ``filt_size``."""
        return F.conv2d(F.pad(x, self.pad, self.mode), self.filt, stride=self.stride, groups=x.shape[1])


class Upsample(nn.Module):
    """Spread the pixels ``stride`` apart and blur: for the default filter, bilinear interpolation."""

    def __init__(self, channels: int, pad_type: str = "repl", filt_size: int = 4, stride: int = 2):
        super().__init__()
        self.stride, self.mode, self.even = stride, PADDING[pad_type], filt_size % 2 == 0
        self.pad = (filt_size - 1) // 2
        self.register_buffer("filt", stride**2 * binomial_filter(filt_size).repeat(channels, 1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, 2H, 2W) for the default filter and stride."""
        x = F.pad(x, (1, 1, 1, 1), self.mode)
        x = F.conv_transpose2d(x, self.filt, stride=self.stride, padding=1 + self.pad, groups=x.shape[1])
        return x[:, :, 1:-1, 1:-1] if self.even else x[:, :, 1:, 1:]


def padding_layer(padding_type: str, width: int) -> tuple[list[nn.Module], int]:
    """(layers in front of a convolution, zero padding of the convolution itself)."""
    if padding_type == "reflect":
        return [nn.ReflectionPad2d(width)], 0
    if padding_type == "replicate":
        return [nn.ReplicationPad2d(width)], 0
    if padding_type == "zero":
        return [], width
    raise UserError(f"padding '{padding_type}' does not exist: it is reflect, replicate or zero")


class ResnetBlock(nn.Module):
    """x + norm(conv(dropout(relu(norm(conv(x))))))."""

    def __init__(
        self,
        dim: int,
        padding_type: str,
        norm_layer: NormLayer,
        use_dropout: bool,
        use_bias: bool,
    ):
        super().__init__()
        pad, zeros = padding_layer(padding_type, 1)
        layers = [*pad, nn.Conv2d(dim, dim, 3, padding=zeros, bias=use_bias), norm_layer(dim), nn.ReLU(True)]
        if use_dropout:
            layers.append(nn.Dropout(0.5))
        pad, zeros = padding_layer(padding_type, 1)
        layers += [*pad, nn.Conv2d(dim, dim, 3, padding=zeros, bias=use_bias), norm_layer(dim)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, dim, H, W) -> the same shape."""
        return x + self.conv_block(x)


def feature_layers(layers: Sequence[int], depth: int) -> list[int]:
    """``layers`` with -1 read as the last one; ``UserError`` for a layer outside 0 to ``depth`` - 1."""
    for layer in layers:
        if not -1 <= layer < depth:
            raise UserError(f"--nce_layers has {layer}, but this generator has the layers 0 to {depth - 1}")
    return [layer % depth for layer in layers]


def run_layers(
    model: nn.Sequential, x: torch.Tensor, layers: Sequence[int], encode_only: bool
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """(``model(x)``, what comes out of each of ``layers``); ``encode_only`` stops after the last of these."""
    layers = feature_layers(layers, len(model))
    depth = max(layers, default=-1) + 1 if encode_only else len(model)
    features = {}
    for index, layer in enumerate(model[:depth]):
        x = layer(x)
        if index in layers:
            features[index] = x
    return x, [features[index] for index in layers]
