"""Colour for gray photographs: pix2pix from lightness (L) to colour (a, b) of Lab (--dataset_mode colorization)."""

import torch
from torch import Tensor

from models.pix2pix_model import Pix2PixModel

# Lab to XYZ (D65), XYZ to linear sRGB: IEC 61966-2-1, CIE 15.
WHITE = (0.95047, 1.0, 1.08883)
XYZ_TO_RGB = (
    (3.2404542, -1.5371385, -0.4985314),
    (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)


class ColorizationModel(Pix2PixModel):
    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        parser = Pix2PixModel.modify_commandline_options(parser, is_train)
        parser.set_defaults(dataset_mode="colorization", input_nc=1, output_nc=2)
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        self.visual_names = ["real_A", "real_B_rgb", "fake_B_rgb"]

    def compute_visuals(self) -> None:
        self.fake_B_rgb = lab_to_rgb(self.real_A, self.fake_B)
        if hasattr(self, "real_B"):
            self.real_B_rgb = lab_to_rgb(self.real_A, self.real_B)


def lab_to_rgb(lightness: Tensor, color: Tensor) -> Tensor:
    """(B, 1, H, W) = L / 50 - 1 and (B, 2, H, W) = (a, b) / 110 -> sRGB (B, 3, H, W) in [-1, 1]."""
    y = (lightness.detach().float() * 50 + 66) / 116  # (L + 16) / 116
    a, b = (color.detach().float() * 110).split(1, dim=1)
    f = torch.cat((y + a / 500, y, y - b / 200), dim=1)
    xyz = torch.where(f > 0.206893, f**3, (f - 16 / 116) / 7.787) * f.new_tensor(WHITE).view(1, 3, 1, 1)
    rgb = torch.einsum("ij,bjhw->bihw", f.new_tensor(XYZ_TO_RGB), xyz).clamp(0, 1)
    rgb = torch.where(rgb > 0.0031308, 1.055 * rgb ** (1 / 2.4) - 0.055, 12.92 * rgb)
    return rgb * 2 - 1
