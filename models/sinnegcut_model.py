"""SinNEGCUT: NEGCUT trained on one image a side."""

from models.negcut_model import NEGCUTModel
from models.single_image import SingleImage, add_single_image_options


class SinNEGCUTModel(SingleImage, NEGCUTModel):
    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        parser = add_single_image_options(NEGCUTModel.modify_commandline_options(parser, is_train), is_train)
        parser.set_defaults(num_patches=2)  # of one patch an image N could not learn diversity
        if is_train:
            parser.set_defaults(lr_N=parser.parse_known_args()[0].lr)
        return parser
