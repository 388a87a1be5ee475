"""One generator alone, for translating a folder: python test.py --name NAME --model test --dataroot FOLDER

``--model_suffix _A`` takes ``EPOCH_net_G_A.pth``, one of CycleGAN's two generators.
"""

from models import networks
from models.base_model import BaseModel
from util.errors import UserError
from util.pictures import MODES


class TestModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        if is_train:
            raise UserError("--model test translates only; train with another model, such as negcut or cycle_gan")
        parser.set_defaults(dataset_mode="single")
        if "patch" in parser.parse_known_args()[0].preprocess:  # trained on patches of a single image
            parser.set_defaults(preprocess="none")
        parser.add_argument("--model_suffix", default="", help="the end of the generator's name: _A or _B of CycleGAN")
        return parser

    def __init__(self, opt):
        if opt.output_nc not in MODES:
            raise UserError(
                f"--model test: this generator gives images of {opt.output_nc} channels (--output_nc), pictures have 1 "
                "or 3; without --model test the run's own model makes pictures of them"
            )
        super().__init__(opt)
        self.visual_names = ["real", "fake"]
        self.model_names = ["G" + opt.model_suffix]
        self.netG = networks.create_G(opt)
        setattr(self, "netG" + opt.model_suffix, self.netG)

    def set_input(self, input: dict) -> None:
        self.real = self.on_device(input["A"])
        self.image_paths = input["A_paths"]

    def forward(self) -> None:
        self.fake = self.netG(self.real)

    def optimize_parameters(self) -> None:
        """Nothing is trained."""
