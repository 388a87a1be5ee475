"""Colour images in ``--dataroot``/PHASE as lightness (A, 1 channel) and colour (B, 2 channels) of Lab."""

import torch

from data.base_dataset import BaseDataset, get_transform, without_scaling
from data.domain import Domain, find_images
from util.errors import UserError
from util.lab import rgb_to_lab
from util.pictures import phase_folder, reader_for


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
