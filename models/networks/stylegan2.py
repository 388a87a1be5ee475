"""StyleGAN2 generator (encoder and decoder) and discriminators of SinCUT.

Weights are N(0, 1) and scaled by 1 / sqrt(fan in) when used ("equalized learning rate", Karras et al.).
"""

import math
from argparse import Namespace
from collections.abc import Callable, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F

from models.networks.blocks import feature_layers, run_layers
from models.networks.patchgan import tiles
from util.errors import UserError

BLUR = (1.0, 3.0, 3.0, 1.0)


def resolution(opt: Namespace) -> int:
    """The power of two nearest to the images' size: it chooses the widths of the layers."""
    return 2 ** round(math.log2(min(opt.load_size, opt.crop_size)))


def channels_at(size: int, multiplier: float, most: int) -> int:
    """Width of the layers that see ``size`` x ``size`` pixels; ``most`` up to 32 x 32."""
    if not 4 <= size <= 1024:
        raise UserError(f"StyleGAN2 has no layers for {size} x {size} pixels: --crop_size goes from 4 to 1024")
    channels = int(16384 / size * multiplier)
    return min(most, channels) if size <= 32 else channels


class Blur(nn.Module):
    """Zero padding, the filter (1, 3, 3, 1) both ways times ``gain``, then every ``stride``-th pixel."""

    constant_buffers = True  # no average has to follow them

    def __init__(self, pad: int, stride: int = 1, gain: float = 1.0):
        super().__init__()
        self.pad, self.stride = pad, stride
        row = torch.tensor(BLUR)
        self.register_buffer("kernel", gain * torch.outer(row, row) / row.sum() ** 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H', W'), H' = (H + 2 pad - 4) // stride + 1."""
        channels = int(x.shape[1])  # int: a constant to a tracer
        weight = self.kernel.flip(0, 1).to(x.dtype).expand(channels, 1, -1, -1)
        return F.conv2d(x, weight, stride=self.stride, padding=self.pad, groups=channels)


class EqualConv2d(nn.Module):
    """Convolution with scaled N(0, 1) weights and no bias (the activation has it)."""

    def __init__(self, in_channel: int, out_channel: int, kernel_size: int, stride: int = 1, padding: int = 0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channel, in_channel, kernel_size, kernel_size))
        self.scale = 1 / math.sqrt(in_channel * kernel_size**2)
        self.stride, self.padding = stride, padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


def activate(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """sqrt(2) leaky_relu(x + bias): keeps the size of a random signal."""
    return F.leaky_relu(x + bias.to(x.dtype), 0.2) * math.sqrt(2)


class EqualLinear(nn.Module):
    """Linear layer with scaled N(0, 1) weights, on request activated."""

    def __init__(self, in_dim: int, out_dim: int, activated: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_dim, in_dim))
        self.bias = nn.Parameter(torch.zeros(out_dim))
        self.scale, self.activated = 1 / math.sqrt(in_dim), activated

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.activated:
            return activate(F.linear(x, self.weight * self.scale), self.bias)
        return F.linear(x, self.weight * self.scale, self.bias)


class FusedLeakyReLU(nn.Module):
    """``activate`` with a bias for each channel."""

    def __init__(self, channel: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channel, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return activate(x, self.bias)


def conv_layer(
    in_channel: int, out_channel: int, kernel_size: int, downsample: bool = False, activated: bool = True
) -> nn.Sequential:
    """(blur), convolution, (activation); to half the size with ``downsample``."""
    if not downsample:
        layers = [EqualConv2d(in_channel, out_channel, kernel_size, padding=kernel_size // 2)]
    elif kernel_size == 1:  # what the convolution would skip need not be blurred either
        layers = [Blur(pad=1, stride=2), EqualConv2d(in_channel, out_channel, 1)]
    else:
        layers = [Blur(pad=2), EqualConv2d(in_channel, out_channel, kernel_size, stride=2)]
    return nn.Sequential(*layers, *([FusedLeakyReLU(out_channel)] if activated else []))


class ResBlock(nn.Module):
    """(two convolutions of x + x) / sqrt(2), to half the size with ``downsample``."""

    def __init__(self, in_channel: int, out_channel: int, downsample: bool = True):
        super().__init__()
        self.conv1 = conv_layer(in_channel, in_channel, 3)
        self.conv2 = conv_layer(in_channel, out_channel, 3, downsample)
        self.skip = nn.Identity()
        if in_channel != out_channel or downsample:
            self.skip = conv_layer(in_channel, out_channel, 1, downsample, activated=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class UpConv2d(nn.Module):
    """3x3 convolution to twice the size whose filters are brought to norm 1 (demodulation); no style."""

    def __init__(self, in_channel: int, out_channel: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, out_channel, in_channel, 3, 3))
        self.scale = 1 / math.sqrt(9 * in_channel)
        self.blur = Blur(pad=1, gain=4.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight[0] * self.scale
        weight = weight * torch.rsqrt(weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8)
        return self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))


def noise_like(image: torch.Tensor) -> torch.Tensor:
    """N(0, 1), one value a pixel: (B, 1, H, W) for (B, C, H, W)."""
    return torch.randn_like(image[:, :1])


class NoiseInjection(nn.Module):
    """x + weight * noise; ``draw_noise`` is an attribute so that the noise can come from elsewhere."""

    def __init__(self, active: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.active = active
        self.draw_noise: Callable = noise_like

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight.to(x.dtype) * self.draw_noise(x) if self.active else x


class StyledConv(nn.Module):
    """Up-convolution, noise, activation."""

    def __init__(self, in_channel: int, out_channel: int, inject_noise: bool = True):
        super().__init__()
        self.conv = UpConv2d(in_channel, out_channel)
        self.noise = NoiseInjection(inject_noise)
        self.activate = FusedLeakyReLU(out_channel)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activate(self.noise(self.conv(x)))


class StyleGAN2Encoder(nn.Module):
    """``convs``: the image, 1x1 convolution, blocks to half the size, blocks that keep it."""

    def __init__(self, input_nc: int, widths: Sequence[int], n_blocks: int):
        super().__init__()
        convs = [nn.Identity(), conv_layer(input_nc, widths[0], 1)]
        convs += [ResBlock(wide, narrow) for wide, narrow in zip(widths[:-1], widths[1:], strict=True)]
        convs += [ResBlock(widths[-1], widths[-1], downsample=False) for _ in range(n_blocks // 2)]
        self.convs = nn.Sequential(*convs)
        self.channels = [input_nc, *widths, *[widths[-1]] * (n_blocks // 2)]


class StyleGAN2Decoder(nn.Module):
    """The way back: blocks that keep the size, ``StyledConv`` to twice the size, 1x1 convolution."""

    def __init__(self, output_nc: int, widths: Sequence[int], n_blocks: int, inject_noise: bool):
        super().__init__()
        up = widths[::-1]
        convs = [ResBlock(up[0], up[0], downsample=False) for _ in range(n_blocks // 2)]
        convs += [StyledConv(wide, narrow, inject_noise) for wide, narrow in zip(up[:-1], up[1:], strict=True)]
        convs.append(conv_layer(up[-1], output_nc, 1))
        self.convs = nn.Sequential(*convs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convs(x)


class StyleGAN2Generator(nn.Module):
    """``opt`` gives ``load_size``, ``crop_size`` (widths) and ``stylegan2_G_num_downsampling``. The arguments are
    CUT's, and ``use_dropout``, ``padding_type`` and ``no_antialias`` mean nothing, as there.

    ``inject_noise`` False (smallstylegan2, the default where ``opt.netG`` says so): the same weights, unused ones for
    the noise among them.
    """

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        ngf: int = 64,
        use_dropout: bool = False,
        n_blocks: int = 6,
        padding_type: str = "reflect",
        no_antialias: bool = False,
        opt: Namespace | None = None,
        inject_noise: bool | None = None,
    ):
        super().__init__()
        if inject_noise is None:
            inject_noise = "small" not in opt.netG
        size = resolution(opt)
        sizes = [size // 2**n for n in range(opt.stylegan2_G_num_downsampling + 1)]
        widths = [channels_at(s, ngf / 32, most=512) for s in sizes]
        self.encoder = StyleGAN2Encoder(input_nc, widths, n_blocks)
        self.decoder = StyleGAN2Decoder(output_nc, widths, n_blocks, inject_noise)

    def forward(self, x: torch.Tensor, layers: Sequence[int] = (), encode_only: bool = False):
        """Translate (B, input_nc, H, W) to (B, output_nc, H, W): unbounded, its last layer is a leaky ReLU.

        ``layers`` (indices into the encoder) and ``encode_only`` as in ``ResnetGenerator``.
        """
        x, features = run_layers(self.encoder.convs, x, layers, encode_only)
        if encode_only:
            return features
        image = self.decoder(x)
        return (image, features) if features else image

    def feature_channels(self, layers: Sequence[int]) -> list[int]:
        """The channels of the feature at each of ``layers``."""
        return [self.encoder.channels[index] for index in feature_layers(layers, len(self.encoder.convs))]

    def set_noise_source(self, draw: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Take the noise (B, 1, H, W) for a signal (B, C, H, W) from ``draw(signal)`` instead of N(0, 1)."""
        for module in self.decoder.modules():
            if isinstance(module, NoiseInjection):
                module.draw_noise = draw


class StyleGAN2Discriminator(nn.Module):
    """Blocks down to 4 x 4, then two linear layers: one score an image of ``size`` x ``size`` pixels. The arguments are
    CUT's, and ``n_layers`` and ``no_antialias`` mean nothing, as there."""

    def __init__(
        self,
        input_nc: int,
        ndf: int = 64,
        n_layers: int = 3,
        no_antialias: bool = False,
        size: int | None = None,
        opt: Namespace | None = None,
    ):
        super().__init__()
        self.size = size = size or self.size_by(opt)
        widths = [channels_at(2**n, ndf / 64, most=384) for n in range(int(math.log2(size)), 1, -1)]
        blocks = [ResBlock(wide, narrow) for wide, narrow in zip(widths[:-1], widths[1:], strict=True)]
        self.convs = nn.Sequential(conv_layer(input_nc, widths[0], 1), *blocks)
        self.final_conv = conv_layer(widths[-1], widths[-1], 3)
        self.final_linear = nn.Sequential(
            EqualLinear(16 * widths[-1], widths[-1], activated=True), EqualLinear(widths[-1], 1)
        )

    @staticmethod
    def size_by(opt: Namespace) -> int:
        return resolution(opt)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, input_nc, size, size) -> (B, 1), unbounded."""
        if x.shape[2:] != (self.size, self.size):
            raise UserError(
                f"this StyleGAN2 discriminator takes images of {self.size} x {self.size} pixels, not "
                f"{x.shape[3]} x {x.shape[2]}: make --crop_size a power of two that is at most --load_size"
            )
        return self.final_linear(self.final_conv(self.convs(x)).flatten(1))


class TileStyleGAN2Discriminator(StyleGAN2Discriminator):
    """Judges tiles of ``size`` x ``size`` pixels by themselves."""

    @staticmethod
    def size_by(opt: Namespace) -> int:
        size = getattr(opt, "D_patch_size", None) or resolution(opt)  # a flag of forks
        if size < 4 or size & (size - 1):
            raise UserError(f"--D_patch_size {size} is not a power of two from 4 on")
        return size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, input_nc, H, W) -> (B * tiles, 1), unbounded; a rest beyond the last whole tile is cut off."""
        if min(x.shape[2:]) < self.size:
            raise UserError(f"--D_patch_size {self.size} is larger than the image, {x.shape[3]} x {x.shape[2]}")
        return super().forward(tiles(x, self.size))
