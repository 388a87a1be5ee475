"""What the networks are built from: norms, anti-aliased resampling, the residual block."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F

from models.networks.cpu_kernels import Halve, is_channels_last
from models.networks.sync_norm import SyncBatchNorm
from util.devices import kind_of, layout
from util.errors import UserError
from util.flag_types import norm_name
from util.precision import no_autocast

NormLayer = Callable[[int], nn.Module]


class InstanceNorm(nn.Module):
    """Each channel of each image to mean 0 and variance 1; no parameters, no running statistics.

    Not ``F.instance_norm``: on a CPU its gradient at batch 1 is wrong (by more than 100%, silently) when the
    incoming gradient is channels-last. The two kernels used here are right in every layout, and each is
    several times faster where it is used. Statistics are at least fp32.
    """

    constant_buffers = True  # no average has to follow them

    def __init__(self, num_features: int, eps: float = 1e-5):
        super().__init__()
        self.num_features, self.eps = num_features, eps
        # They change no value: given fp32 parameters, the kernels keep fp32 statistics of bf16 input.
        self.register_buffer("one", torch.ones(num_features), persistent=False)
        self.register_buffer("zero", torch.zeros(num_features), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same shape, type and layout; ``ValueError`` where H x W is a single position."""
        if x.shape[2:].numel() == 1:
            raise ValueError(f"instance norm needs more than one position in an image, got {tuple(x.shape)}")
        half = x.dtype in (torch.bfloat16, torch.float16)
        affine = (self.one.float(), self.zero.float()) if half else (None, None)
        with no_autocast(x.device):
            if not is_channels_last(x):
                return F.group_norm(x.contiguous(), self.num_features, *affine, self.eps)
            if x.shape[0] > 1 and kind_of(x.device).launches:  # there and back in the other layout, whatever the batch
                x = F.group_norm(x.contiguous(), self.num_features, *affine, self.eps)
                return x.contiguous(memory_format=torch.channels_last)
            # The batch norm of a single image is its instance norm.
            images = [x] if x.shape[0] == 1 else x.split(1)
            images = [F.batch_norm(image, None, None, *affine, True, eps=self.eps) for image in images]
            return images[0] if len(images) == 1 else torch.cat(images)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"


def make_channels_last(net: nn.Module) -> None:
    """Weights of convolutions with their channels innermost (``net.to`` refuses StyleGAN2's, of five dimensions)."""
    for weight in net.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=layout(weight.device))


def get_norm_layer(norm_type: str = "instance") -> NormLayer:
    """The class of the norm of that name (instance, batch, syncbatch, none); it takes the number of channels."""
    norm_type = norm_name(norm_type)
    layers = {"instance": InstanceNorm, "batch": nn.BatchNorm2d, "syncbatch": SyncBatchNorm, "none": nn.Identity}
    if norm_type not in layers:
        raise UserError(f"norm '{norm_type}' does not exist: --normG and --normD take {', '.join(layers)}")
    return layers[norm_type]


def needs_bias(norm_layer: NormLayer) -> bool:
    """Whether a convolution in front of this norm has a bias, as in published checkpoints: instance only."""
    return getattr(norm_layer, "func", norm_layer) in (InstanceNorm, nn.InstanceNorm2d)


class ReflectionPad2d(nn.ReflectionPad2d):
    """Keeps the type of its input under autocast, where torch's own turns bf16 into fp32 on a CPU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with no_autocast(x.device):
            return super().forward(x)


class Resample(nn.Module):
    """What ``Downsample`` and ``Upsample`` share: the blur ``filt`` (channels, 1, ``filt_size``, ``filt_size``).

    The filter is the binomial one of R. Zhang, "Making Convolutional Networks Shift-Invariant Again", times
    ``gain``. ``fast``: ``usual`` arguments, for which there is a faster way, and this filter. Where a checkpoint
    holds another filter, that one is applied as it is.
    """

    constant_buffers = True

    def __init__(self, channels: int, pad_type: str, filt_size: int, stride: int, gain: int, usual: bool):
        super().__init__()
        self.mode = {"reflect": "reflect", "repl": "replicate", "zero": "constant"}[pad_type]
        self.stride, self.usual, self.fast = stride, usual, usual
        row = torch.tensor([float(math.comb(filt_size - 1, k)) for k in range(filt_size)])
        self.standard = gain * torch.outer(row, row) / row.sum() ** 2
        self.register_buffer("filt", self.standard.repeat(channels, 1, 1, 1))
        self.register_load_state_dict_post_hook(Resample.compare_filter)

    @staticmethod
    def compare_filter(module: "Resample", _) -> None:
        filt = module.filt.cpu().float()
        module.fast = module.usual and torch.equal(filt, module.standard.expand_as(filt))


class Downsample(Resample):
    """Blur, then take every ``stride``-th pixel."""

    def __init__(self, channels: int, pad_type: str = "reflect", filt_size: int = 3, stride: int = 2):
        usual = (pad_type, filt_size, stride) == ("reflect", 3, 2)
        super().__init__(channels, pad_type, filt_size, stride, 1, usual)
        before, after = (filt_size - 1) // 2, filt_size // 2
        self.pad = (before, after, before, after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, ceil(H / stride), ceil(W / stride)) for an odd ``filt_size``."""
        with no_autocast(x.device):
            filt = self.filt.to(x.dtype)
            traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
            if self.fast and x.requires_grad and x.device.type == "cpu" and not traced:
                return Halve.apply(x, filt)
            return F.conv2d(F.pad(x, self.pad, self.mode), filt, stride=self.stride, groups=x.shape[1])


class Upsample(Resample):
    """Spread the pixels ``stride`` apart and blur: as usual, bilinear interpolation."""

    def __init__(self, channels: int, pad_type: str = "repl", filt_size: int = 4, stride: int = 2):
        usual = (pad_type, filt_size, stride) == ("repl", 4, 2)
        super().__init__(channels, pad_type, filt_size, stride, stride**2, usual)
        self.pad, self.end = 1 + (filt_size - 1) // 2, -1 if filt_size % 2 == 0 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, 2H, 2W) for the default filter and stride."""
        with no_autocast(x.device):
            if self.fast:
                return F.interpolate(x, scale_factor=2, mode="bilinear")
            x, filt = F.pad(x, (1, 1, 1, 1), self.mode), self.filt.to(x.dtype)
            x = F.conv_transpose2d(x, filt, stride=self.stride, padding=self.pad, groups=x.shape[1])
            return x[:, :, 1 : self.end, 1 : self.end]


# Layers in front of a convolution; zeros it adds by itself.
PADDINGS: dict[str, list] = {"reflect": [ReflectionPad2d], "replicate": [nn.ReplicationPad2d], "zero": []}


class ResnetBlock(nn.Module):
    """x + norm(conv(dropout(relu(norm(conv(x))))))."""

    def __init__(self, dim: int, padding_type: str, norm_layer: NormLayer, use_dropout: bool, use_bias: bool):
        super().__init__()
        if padding_type not in PADDINGS:
            raise UserError(f"padding '{padding_type}' does not exist: it is reflect, replicate or zero")

        def conv() -> list[nn.Module]:
            pads = [pad(1) for pad in PADDINGS[padding_type]]
            return [*pads, nn.Conv2d(dim, dim, 3, padding=0 if pads else 1, bias=use_bias), norm_layer(dim)]

        dropout = [nn.Dropout(0.5)] if use_dropout else []
        self.conv_block = nn.Sequential(*conv(), nn.ReLU(), *dropout, *conv())

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
