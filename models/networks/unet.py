"""The U-Net generator of pix2pix."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn as nn

from models.networks.blocks import NormLayer, needs_bias
from util.errors import UserError


class UnetGenerator(nn.Module):
    """``num_downs`` times down to the bottleneck and up again, each level's input handed to its output."""

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        num_downs: int,
        ngf: int = 64,
        norm_layer: NormLayer = nn.BatchNorm2d,
        use_dropout: bool = False,
    ):
        super().__init__()
        self.multiple = 2**num_downs
        block = UnetBlock(8 * ngf, 8 * ngf, None, norm_layer)
        for _ in range(num_downs - 5):
            block = UnetBlock(8 * ngf, 8 * ngf, block, norm_layer, use_dropout)
        for dim in (4 * ngf, 2 * ngf, ngf):
            block = UnetBlock(dim, 2 * dim, block, norm_layer)
        outermost = nn.Sequential(
            nn.Conv2d(input_nc, ngf, 4, stride=2, padding=1, bias=needs_bias(norm_layer)),
            block,
            nn.ReLU(),
            nn.ConvTranspose2d(2 * ngf, output_nc, 4, stride=2, padding=1),
            nn.Tanh(),
        )
        self.model = nn.Sequential(OrderedDict(model=outermost))  # published weights are called model.model.0 ...

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, input_nc, H, W) -> (B, output_nc, H, W), both in [-1, 1]; 2^``num_downs`` divides H and W."""
        if x.shape[2] % self.multiple or x.shape[3] % self.multiple:
            raise UserError(
                f"this U-Net takes images whose sides are multiples of {self.multiple}, not "
                f"{x.shape[3]} x {x.shape[2]}: change --crop_size or --preprocess, or choose another --netG"
            )
        return self.model(x)

    def feature_channels(self, layers: Sequence[int]) -> list[int]:
        """Always a ``UserError``: levels inside levels, no list of layers."""
        raise UserError(
            "a U-Net (--netG) has no layers for --nce_layers: contrastive models need a resnet or stylegan2"
        )


class UnetBlock(nn.Module):
    """One level: down, ``inner``, up. (B, ``outer_nc``, H, W) -> (B, 2 * ``outer_nc``, H, W)."""

    def __init__(
        self, outer_nc: int, inner_nc: int, inner: nn.Module | None, norm_layer: NormLayer, use_dropout: bool = False
    ):
        super().__init__()
        bias = needs_bias(norm_layer)
        up_nc = inner_nc if inner is None else 2 * inner_nc
        down = [nn.LeakyReLU(0.2), nn.Conv2d(outer_nc, inner_nc, 4, stride=2, padding=1, bias=bias)]
        if inner is not None:
            down += [norm_layer(inner_nc), inner]
        up = [nn.ReLU(), nn.ConvTranspose2d(up_nc, outer_nc, 4, stride=2, padding=1, bias=bias), norm_layer(outer_nc)]
        self.model = nn.Sequential(*down, *up, *([nn.Dropout(0.5)] if use_dropout else []))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # What the published net hands over is not x: its in-place activation has changed x by then.
        x = self.model[0](x)
        return torch.cat((x, self.model[1:](x)), dim=1)
