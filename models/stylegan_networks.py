"""The StyleGAN2 networks under their official module name, for model files written for CUT."""

from models.networks.stylegan2 import (
    StyleGAN2Decoder,
    StyleGAN2Discriminator,
    StyleGAN2Encoder,
    StyleGAN2Generator,
    TileStyleGAN2Discriminator,
)

__all__ = ["StyleGAN2Decoder", "StyleGAN2Discriminator", "StyleGAN2Encoder", "StyleGAN2Generator"]
__all__ += ["TileStyleGAN2Discriminator"]
