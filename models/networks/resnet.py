"""The ResNet generator of CycleGAN and CUT; its first layers are the encoder of the contrastive loss."""

from argparse import Namespace
from collections.abc import Sequence

import torch
import torch.nn as nn

from models.networks.blocks import (
    Downsample,
    NormLayer,
    ReflectionPad2d,
    ResnetBlock,
    Upsample,
    feature_layers,
    needs_bias,
    run_layers,
)


class ResnetGenerator(nn.Module):
    """7x7 convolution, two times down, ``n_blocks`` residual blocks, two times up, 7x7 convolution, tanh.

    With ``no_antialias`` (``no_antialias_up``) strided (transposed) convolutions replace the blurred
    resampling. ``model`` is one flat list; a *layer* of the contrastive loss is an index into it.
    """

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        ngf: int = 64,
        norm_layer: NormLayer = nn.BatchNorm2d,
        use_dropout: bool = False,
        n_blocks: int = 6,
        padding_type: str = "reflect",
        no_antialias: bool = False,
        no_antialias_up: bool = False,
        opt: Namespace | None = None,
    ):
        super().__init__()
        self.input_nc = input_nc
        bias = needs_bias(norm_layer)

        def conv(in_nc: int, out_nc: int, size: int = 3, stride: int = 1, padding: int = 1) -> list[nn.Module]:
            convolution = nn.Conv2d(in_nc, out_nc, size, stride, padding, bias=bias)
            return [convolution, norm_layer(out_nc), nn.ReLU()]

        model = [ReflectionPad2d(3), *conv(input_nc, ngf, size=7, padding=0)]
        for dim in (ngf, 2 * ngf):
            if no_antialias:
                model += conv(dim, 2 * dim, stride=2)
            else:
                model += [*conv(dim, 2 * dim), Downsample(2 * dim)]
        for _ in range(n_blocks):
            model.append(ResnetBlock(4 * ngf, padding_type, norm_layer, use_dropout, bias))
        for dim in (4 * ngf, 2 * ngf):
            if no_antialias_up:
                up = nn.ConvTranspose2d(dim, dim // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)
                model += [up, norm_layer(dim // 2), nn.ReLU()]
            else:
                model += [Upsample(dim), *conv(dim, dim // 2)]
        model += [ReflectionPad2d(3), nn.Conv2d(ngf, output_nc, 7), nn.Tanh()]
        self.model = nn.Sequential(*model)

    def forward(self, x: torch.Tensor, layers: Sequence[int] = (), encode_only: bool = False):
        """Translate (B, input_nc, H, W) in [-1, 1] to (B, output_nc, H', W') in [-1, 1].

        H' = H where H is a multiple of 4, else the next such multiple, as in the published code. With
        ``layers``: (translation, features), the features in the order of ``layers``; with ``encode_only``:
        the features alone, and nothing after the last of them is computed.
        """
        if len(layers) == 0:
            return self.model(x)
        x, features = run_layers(self.model, x, layers, encode_only)
        return features if encode_only else (x, features)

    def feature_channels(self, layers: Sequence[int]) -> list[int]:
        """The channels of the feature at each of ``layers``."""
        channels = [self.input_nc]
        for layer in self.model:
            channels.append(getattr(layer, "out_channels", channels[-1]))
        return [channels[index + 1] for index in feature_layers(layers, len(self.model))]
