"""Colour for gray photographs: pix2pix from lightness (L) to colour (a, b) of Lab (--dataset_mode colorization)."""

from models.pix2pix_model import Pix2PixModel
from util.lab import lab_to_rgb


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
