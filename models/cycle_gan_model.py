"""CycleGAN: two translators that undo each other (Zhu et al., ICCV 2017).

G_A: A -> B and G_B: B -> A; D_A judges B, D_B judges A. One step: translate -> G_A, G_B -> D_A, D_B.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from models import networks
from models.base_model import BaseModel
from util.errors import UserError
from util.flag_types import non_negative
from util.image_pool import ImagePool

# Where the defaults are CUT's and CycleGAN's own code has others.
CYCLEGANS_CODE = dict(n_epochs=100, n_epochs_decay=100, init_type="normal", no_antialias=True, no_antialias_up=True)


class CycleGANModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        parser.set_defaults(no_dropout=True)
        if is_train:
            add = parser.add_argument
            add("--lambda_A", type=non_negative, default=10.0, help="weight of the cycle A -> B -> A")
            add("--lambda_B", type=non_negative, default=10.0, help="weight of the cycle B -> A -> B")
            add("--lambda_identity", type=non_negative, default=0.5,
                help="weight of |G_A(B) - B| and |G_B(A) - A|, as a share of lambda_B and lambda_A")  # fmt: skip
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        self.loss_names = ["D_A", "G_A", "cycle_A", "D_B", "G_B", "cycle_B"]
        self.visual_names = ["real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B"]
        self.model_names = ["G_A", "G_B", "D_A", "D_B"] if self.isTrain else ["G_A", "G_B"]
        self.netG_A = networks.create_G(opt)
        self.netG_B = networks.create_G(opt, opt.output_nc, opt.input_nc)
        if not self.isTrain:
            return
        if opt.lambda_identity > 0:
            if opt.input_nc != opt.output_nc:
                raise UserError(
                    "--lambda_identity above 0 needs the same --input_nc and --output_nc; give it the value 0"
                )
            self.loss_names += ["idt_A", "idt_B"]
            self.visual_names += ["idt_A", "idt_B"]
        self.netD_A = networks.create_D(opt, opt.output_nc)
        self.netD_B = networks.create_D(opt, opt.input_nc)
        self.fake_A_pool, self.fake_B_pool = ImagePool(opt.pool_size), ImagePool(opt.pool_size)
        self.criterionGAN = networks.GANLoss(opt.gan_mode).to(self.device)
        self.optimizer_G = self.adam(nn.ModuleList((self.netG_A, self.netG_B)))
        self.optimizer_D = self.adam(nn.ModuleList((self.netD_A, self.netD_B)))
        self.optimizers = [self.optimizer_G, self.optimizer_D]

    def generator(self) -> nn.Module:
        return self.netG_A

    def notes(self) -> list[str]:
        theirs = [
            f"--{flag}" if value is True else f"--{flag} {value}"
            for flag, value in CYCLEGANS_CODE.items()
            if self.opt.sources[flag] == "default"
        ]
        if not theirs:
            return []
        return [
            f"defaults are CUT's; CycleGAN's own code has {' '.join(theirs)}, as in "
            "scripts/experiments/horse2zebra_cyclegan.txt"
        ]

    def forward(self) -> None:
        """x_A -> G_A(x_A) -> G_B(G_A(x_A)), and the same from B."""
        self.fake_B = self.netG_A(self.real_A)
        self.rec_A = self.netG_B(self.fake_B)
        if hasattr(self, "real_B"):
            self.fake_A = self.netG_B(self.real_B)
            self.rec_B = self.netG_A(self.fake_A)

    def optimize_parameters(self) -> None:
        self.forward()
        self.update_G()
        self.update_D()

    def update_G(self) -> None:
        """GAN(D_A(G_A(A)), real) + lambda_A |G_B(G_A(A)) - A| + lambda_B lambda_identity |G_A(B) - B|, and its mirror
        image, with D_A and D_B frozen."""
        opt = self.opt
        self.set_requires_grad([self.netD_A, self.netD_B], False)
        self.optimizer_G.zero_grad()
        losses = {
            "G_A": self.criterionGAN(self.netD_A(self.fake_B), True).mean(),
            "G_B": self.criterionGAN(self.netD_B(self.fake_A), True).mean(),
            "cycle_A": F.l1_loss(self.rec_A, self.real_A) * opt.lambda_A,
            "cycle_B": F.l1_loss(self.rec_B, self.real_B) * opt.lambda_B,
        }
        if opt.lambda_identity > 0:
            self.idt_A, self.idt_B = self.netG_A(self.real_B), self.netG_B(self.real_A)
            losses["idt_A"] = F.l1_loss(self.idt_A, self.real_B) * opt.lambda_B * opt.lambda_identity
            losses["idt_B"] = F.l1_loss(self.idt_B, self.real_A) * opt.lambda_A * opt.lambda_identity
        sum(losses.values()).backward()
        self.apply_gradients("G", self.optimizer_G)
        self.report(losses)

    def update_D(self) -> None:
        self.set_requires_grad([self.netD_A, self.netD_B], True)
        self.optimizer_D.zero_grad()
        self.loss_D_A = self.backward_D(self.netD_A, self.real_B, self.fake_B_pool.query(self.fake_B.detach()))
        self.loss_D_B = self.backward_D(self.netD_B, self.real_A, self.fake_A_pool.query(self.fake_A.detach()))
        self.apply_gradients("D", self.optimizer_D)

    def backward_D(self, netD: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """(GAN(D(real), real) + GAN(D(fake), fake)) / 2."""
        loss = (self.criterionGAN(netD(real), True).mean() + self.criterionGAN(netD(fake), False).mean()) * 0.5
        loss.backward()
        return loss.detach()
