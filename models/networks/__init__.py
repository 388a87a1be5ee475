"""The networks by the names of --netG and --netD."""

from argparse import Namespace
from collections.abc import Sequence

import torch.nn as nn

from models.networks.blocks import Downsample, InstanceNorm, ResnetBlock, Upsample, get_norm_layer
from models.networks.init import init_net, init_weights
from models.networks.patchgan import NLayerDiscriminator, PatchDiscriminator, PixelDiscriminator
from models.networks.resnet import ResnetGenerator
from util.errors import UserError

__all__ = [
    "Downsample",
    "InstanceNorm",
    "NLayerDiscriminator",
    "PatchDiscriminator",
    "PixelDiscriminator",
    "ResnetBlock",
    "ResnetGenerator",
    "Upsample",
    "define_D",
    "define_G",
    "get_norm_layer",
    "init_net",
    "init_weights",
]

RESNET_BLOCKS = {"resnet_9blocks": 9, "resnet_6blocks": 6, "resnet_4blocks": 4}


def define_G(
    input_nc: int,
    output_nc: int,
    ngf: int,
    netG: str,
    norm: str = "batch",
    use_dropout: bool = False,
    init_type: str = "normal",
    init_gain: float = 0.02,
    no_antialias: bool = False,
    no_antialias_up: bool = False,
    gpu_ids: Sequence[int] = (),
    opt: Namespace | None = None,
) -> nn.Module:
    """The generator called ``netG``, from ``input_nc`` to ``output_nc`` channels, with its first weights."""
    norm_layer = get_norm_layer(norm)
    if netG in RESNET_BLOCKS:
        net = ResnetGenerator(
            input_nc,
            output_nc,
            ngf,
            norm_layer,
            use_dropout,
            RESNET_BLOCKS[netG],
            no_antialias=no_antialias,
            no_antialias_up=no_antialias_up,
            opt=opt,
        )
    else:
        raise UserError(f"--netG '{netG}' does not exist: it is one of {', '.join(RESNET_BLOCKS)}")
    return init_net(net, init_type, init_gain, gpu_ids, initialize_weights="stylegan2" not in netG)


def define_D(
    input_nc: int,
    ndf: int,
    netD: str,
    n_layers_D: int = 3,
    norm: str = "batch",
    init_type: str = "normal",
    init_gain: float = 0.02,
    no_antialias: bool = False,
    gpu_ids: Sequence[int] = (),
    opt: Namespace | None = None,
) -> nn.Module:
    """The discriminator called ``netD`` for images of ``input_nc`` channels, with its first weights."""
    norm_layer = get_norm_layer(norm)
    if netD == "basic":
        net = NLayerDiscriminator(input_nc, ndf, 3, norm_layer, no_antialias)
    elif netD == "n_layers":
        net = NLayerDiscriminator(input_nc, ndf, n_layers_D, norm_layer, no_antialias)
    elif netD == "pixel":
        net = PixelDiscriminator(input_nc, ndf, norm_layer)
    elif netD == "patch":
        net = PatchDiscriminator(input_nc, ndf, norm_layer, no_antialias)
    else:
        raise UserError(f"--netD '{netD}' does not exist: it is basic, n_layers, pixel or patch")
    return init_net(net, init_type, init_gain, gpu_ids, initialize_weights="stylegan2" not in netD)
