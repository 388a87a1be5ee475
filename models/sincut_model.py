"""SinCUT: CUT trained on one image a side, such as a painting and a photograph (Park et al., ECCV 2020)."""

from models.cut_model import CUTModel
from models.single_image import SingleImage, add_single_image_options


class SinCUTModel(SingleImage, CUTModel):
    repeatable = CUTModel.repeatable

    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        return add_single_image_options(CUTModel.modify_commandline_options(parser, is_train), is_train)
