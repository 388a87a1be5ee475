"""Colour images in ``--dataroot``/PHASE as lightness (A, 1 channel) and colour (B, 2 channels) of Lab."""

import numpy as np
import torch
from PIL import Image

from data.base_dataset import BaseDataset, get_transform, without_scaling
from data.domain import Domain, find_images, phase_folder
from util.errors import UserError
from util.pictures import reader_for

# sRGB (linear) to XYZ, and the white that Lab refers to: D65, 2 degree observer (IEC 61966-2-1, CIE 15).
RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = np.array([0.95047, 1.0, 1.08883])


class ColorizationDataset(BaseDataset):
    """A = L / 50 - 1, B = (a, b) / 110."""

    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        parser.set_defaults(input_nc=1, output_nc=2, direction="AtoB")
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        if (opt.input_nc, opt.output_nc, opt.direction) != (1, 2, "AtoB"):
            raise UserError("--dataset_mode colorization needs --input_nc 1 --output_nc 2 --direction AtoB")
        reader = reader_for(opt)
        self.images = Domain(opt, find_images(opt, phase_folder(opt), reader), 3, reader)

    def __getitem__(self, index: int) -> dict:
        transform = get_transform(without_scaling(self.opt), convert=False)
        lab = torch.from_numpy(rgb_to_lab(transform(self.images.scaled(index, self.opt)))).permute(2, 0, 1)
        path = self.images.paths[index]
        return {"A": lab[:1] / 50 - 1, "B": lab[1:] / 110, "A_paths": path, "B_paths": path}

    def __len__(self) -> int:
        return len(self.images)


def rgb_to_lab(image: Image.Image) -> np.ndarray:
    """8-bit sRGB -> (H, W, 3) float32: L in [0, 100], a and b about [-110, 110]."""
    rgb = np.asarray(image) / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ RGB_TO_XYZ.T / WHITE
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)
