"""A model to start from: a network G learns to turn A into B from pairs, by |G(A) - B| alone.

Copy this file to ``models/NAME_model.py``, call the class ``NameModel``, and ``--model NAME`` finds it.
"""

from torch.nn import functional as F

from models import networks
from models.base_model import BaseModel
from util.flag_types import non_negative


class TemplateModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        """Add flags, change defaults; a flag that the user gives always wins."""
        parser.set_defaults(dataset_mode="aligned")
        if is_train:
            parser.add_argument("--lambda_regression", type=non_negative, default=1.0, help="weight of |G(A) - B|")
        return parser

    def __init__(self, opt):
        """Make everything that will ever exist: networks, optimizers."""
        super().__init__(opt)  # self.opt, self.device, self.isTrain...
        self.loss_names = ["G"]  # self.loss_G is printed, recorded and plotted
        self.visual_names = ["data_A", "data_B", "output"]  # self.data_A... are shown
        self.model_names = ["G"]  # self.netG is saved, loaded, moved to the device
        self.netG = networks.create_G(opt)
        if self.isTrain:
            self.optimizer = self.adam(self.netG)
            self.optimizers = [self.optimizer]  # their learning rates follow --lr_policy, their states are saved

    def set_input(self, input: dict) -> None:
        """Take what the dataset's ``__getitem__`` made, as a batch."""
        A, B = ("A", "B") if self.opt.direction == "AtoB" else ("B", "A")
        self.data_A = self.on_device(input[A])
        self.image_paths = input[A + "_paths"]
        if B in input:  # in testing it may be missing
            self.data_B = self.on_device(input[B])

    def forward(self) -> None:
        """Both training and testing come through here."""
        self.output = self.netG(self.data_A)

    def optimize_parameters(self) -> None:
        """One step."""
        self.forward()
        self.optimizer.zero_grad()
        loss = F.l1_loss(self.output, self.data_B) * self.opt.lambda_regression
        loss.backward()
        self.apply_gradients("G", self.optimizer)  # a step that leaves out NaN and Inf
        self.report({"G": loss})  # self.loss_G, without its graph
