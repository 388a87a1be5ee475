"""PatchGAN discriminators: one score for each patch (``basic``, ``n_layers``), pixel or 16 x 16 tile."""

import torch
import torch.nn as nn

from models.networks.blocks import Downsample, NormLayer, needs_bias


class NLayerDiscriminator(nn.Module):
    """``n_layers`` times 4x4 convolution and down, then two convolutions: 70 x 70 patches for 3 layers."""

    def __init__(
        self,
        input_nc: int,
        ndf: int = 64,
        n_layers: int = 3,
        norm_layer: NormLayer = nn.BatchNorm2d,
        no_antialias: bool = False,
    ):
        super().__init__()
        bias = needs_bias(norm_layer)
        stride, dim = (2 if no_antialias else 1), ndf
        model = [nn.Conv2d(input_nc, dim, 4, stride, padding=1), nn.LeakyReLU(0.2)]
        if not no_antialias:
            model.append(Downsample(dim))
        for n in range(1, n_layers + 1):
            last = n == n_layers
            in_nc, dim = dim, ndf * min(2**n, 8)
            convolution = nn.Conv2d(in_nc, dim, 4, 1 if last else stride, padding=1, bias=bias)
            model += [convolution, norm_layer(dim), nn.LeakyReLU(0.2)]
            if not no_antialias and not last:
                model.append(Downsample(dim))
        model.append(nn.Conv2d(dim, 1, 4, padding=1))
        self.model = nn.Sequential(*model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, input_nc, H, W) in [-1, 1] -> one unbounded score a patch, (B, 1, about H/8, about W/8)."""
        return self.model(x)


class PixelDiscriminator(nn.Module):
    """1x1 convolutions: each pixel is judged by its colour alone."""

    def __init__(self, input_nc: int, ndf: int = 64, norm_layer: NormLayer = nn.BatchNorm2d):
        super().__init__()
        bias = needs_bias(norm_layer)
        self.net = nn.Sequential(
            nn.Conv2d(input_nc, ndf, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(ndf, 2 * ndf, 1, bias=bias),
            norm_layer(2 * ndf),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * ndf, 1, 1, bias=bias),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, input_nc, H, W) in [-1, 1] -> (B, 1, H, W), unbounded."""
        return self.net(x)


class PatchDiscriminator(NLayerDiscriminator):
    """A two-layer PatchGAN on tiles of 16 x 16 pixels, each normalised by itself."""

    SIZE = 16

    def __init__(
        self, input_nc: int, ndf: int = 64, norm_layer: NormLayer = nn.BatchNorm2d, no_antialias: bool = False
    ):
        super().__init__(input_nc, ndf, 2, norm_layer, no_antialias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, input_nc, H, W) in [-1, 1] -> (B * tiles, 1, 2, 2)."""
        return super().forward(tiles(x, self.SIZE))


def tiles(x: torch.Tensor, size: int) -> torch.Tensor:
    """(B, C, H, W) -> (B * rows * columns, C, size, size), row by row; what is left over is cut off."""
    batch, channels, height, width = x.shape
    rows, columns = height // size, width // size
    x = x[:, :, : rows * size, : columns * size].reshape(batch, channels, rows, size, columns, size)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, size, size)
