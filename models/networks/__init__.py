"""The networks by the names of --netG and --netD, and what model files written for CUT or CycleGAN look for here."""

# ruff: noqa: F401

from argparse import Namespace
from collections.abc import Sequence

import torch.nn as nn

from models.losses import GANLoss, cal_gradient_penalty
from models.networks.blocks import Downsample, InstanceNorm, ResnetBlock, Upsample, get_norm_layer
from models.networks.cyclegan_calls import as_cyclegan_calls
from models.networks.init import init_net, init_weights
from models.networks.negative_generator import SOURCES
from models.networks.patch_projector import PatchProjector, define_F
from models.networks.patchgan import NLayerDiscriminator, PatchDiscriminator, PixelDiscriminator
from models.networks.resnet import ResnetGenerator
from models.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator, TileStyleGAN2Discriminator
from models.networks.unet import UnetGenerator
from models.schedulers import get_scheduler
from util.errors import UserError

RESNET_BLOCKS = {"resnet_9blocks": 9, "resnet_6blocks": 6, "resnet_4blocks": 4}
UNET_DOWNS = {"unet_128": 7, "unet_256": 8}


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
    elif netG in UNET_DOWNS:
        net = UnetGenerator(input_nc, output_nc, UNET_DOWNS[netG], ngf, norm_layer, use_dropout)
    elif netG == "stylegan2":
        net = StyleGAN2Generator(input_nc, output_nc, ngf, inject_noise=True, opt=opt)
    elif netG == "smallstylegan2":
        net = StyleGAN2Generator(input_nc, output_nc, ngf, n_blocks=2, inject_noise=False, opt=opt)
    elif netG == "resnet_cat":
        raise UserError("--netG resnet_cat was announced by CUT and never written: use resnet_9blocks")
    else:
        names = ", ".join([*RESNET_BLOCKS, *UNET_DOWNS, "stylegan2", "smallstylegan2"])
        raise UserError(f"--netG {netG} does not exist: choose from {names}")
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
    elif netD == "stylegan2":
        net = StyleGAN2Discriminator(input_nc, ndf, opt=opt)
    elif netD == "tilestylegan2":
        net = TileStyleGAN2Discriminator(input_nc, ndf, opt=opt)
    else:
        names = "basic, n_layers, pixel, patch, stylegan2, tilestylegan2"
        raise UserError(f"--netD {netD} does not exist: choose from {names}")
    return init_net(net, init_type, init_gain, gpu_ids, initialize_weights="stylegan2" not in netD)


define_G = as_cyclegan_calls(define_G, 8, no_antialias=True, no_antialias_up=True)
define_D = as_cyclegan_calls(define_D, 7, no_antialias=True)


# The same from options: what models of ours call.


def create_G(opt, input_nc: int | None = None, output_nc: int | None = None) -> nn.Module:
    """The generator that the options describe, of other channels than theirs where some are given."""
    return define_G(
        input_nc or opt.input_nc, output_nc or opt.output_nc, opt.ngf, opt.netG, opt.normG, not opt.no_dropout,
        opt.init_type, opt.init_gain, opt.no_antialias, opt.no_antialias_up, opt.gpu_ids, opt,
    )  # fmt: skip


def create_D(opt, input_nc: int) -> nn.Module:
    """The discriminator that the options describe, for images of ``input_nc`` channels."""
    return define_D(
        input_nc, opt.ndf, opt.netD, opt.n_layers_D, opt.normD, opt.init_type, opt.init_gain, opt.no_antialias,
        opt.gpu_ids, opt,
    )  # fmt: skip


def create_F(opt, channels: list[int]) -> PatchProjector:
    """F that the options describe, for encoder features of these widths."""
    init = dict(init_type=opt.init_type, init_gain=opt.init_gain, gpu_ids=opt.gpu_ids)
    return define_F(opt.input_nc, opt.netF, **init, opt=opt, channels=channels)


def create_N(opt, netF: PatchProjector) -> nn.Module:
    """The negative source that the options describe, beside ``netF``."""
    source = SOURCES[opt.netN](netF.channels, netF.out_channels(), opt.netF_nc, opt.num_patches)
    return init_net(source, opt.init_type, opt.init_gain, opt.gpu_ids)
