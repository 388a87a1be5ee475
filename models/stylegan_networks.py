"""The StyleGAN2 networks under their official module name, for model files written for CUT."""

from models.networks.stylegan2 import (  # noqa: F401
    StyleGAN2Decoder,
    StyleGAN2Discriminator,
    StyleGAN2Encoder,
    StyleGAN2Generator,
    TileStyleGAN2Discriminator,
)
