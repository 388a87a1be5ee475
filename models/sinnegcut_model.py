"""SinNEGCUT: NEGCUT trained on one image a side."""

from models.negcut_model import NEGCUTModel
from models.single_image import SingleImage, add_single_image_options


class SinNEGCUTModel(SingleImage, NEGCUTModel):
    repeatable = NEGCUTModel.repeatable

    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        parser = add_single_image_options(NEGCUTModel.modify_commandline_options(parser, is_train), is_train)
        # As many negatives come from N: of one it could not learn diversity, and with two its negatives stayed so far
        # from the queries that the contrastive loss was zero for 160 steps (with 16: for 30 to 50).
        parser.set_defaults(num_patches=16)
        if is_train:
            parser.set_defaults(lr_N=parser.parse_known_args()[0].lr)
        return parser
