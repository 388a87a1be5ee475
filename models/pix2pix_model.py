"""pix2pix: translation learned from pairs (Isola et al., CVPR 2017).

D sees input and output together. One step: translate -> D -> G. Defaults are those of its own code base, not CUT's: a
U-Net with batch norm and dropout, which also translates with both active unless test.py is given --eval.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from models import networks
from models.base_model import BaseModel
from util.flag_types import non_negative

DEFAULTS = dict(dataset_mode="aligned", netG="unet_256", normG="batch", normD="batch", no_dropout=False)
DEFAULTS |= dict(init_type="normal", no_antialias=True, no_antialias_up=True)
TRAINING = dict(gan_mode="vanilla", pool_size=0, n_epochs=100, n_epochs_decay=100)


class Pix2PixModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        parser.set_defaults(**DEFAULTS)
        if is_train:
            parser.set_defaults(**TRAINING)
            parser.add_argument("--lambda_L1", type=non_negative, default=100.0, help="weight of |G(A) - B|")
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        self.loss_names = ["G_GAN", "G_L1", "D_real", "D_fake"]
        self.visual_names = ["real_A", "fake_B", "real_B"]
        self.model_names = ["G", "D"] if self.isTrain else ["G"]
        self.netG = networks.create_G(opt)
        if not self.isTrain:
            return
        self.netD = networks.create_D(opt, opt.input_nc + opt.output_nc)
        self.criterionGAN = networks.GANLoss(opt.gan_mode).to(self.device)
        self.optimizer_G = self.adam(self.netG)
        self.optimizer_D = self.adam(self.netD)
        self.optimizers = [self.optimizer_G, self.optimizer_D]

    def forward(self) -> None:
        self.fake_B = self.netG(self.real_A)

    def judge(self, output: Tensor) -> Tensor:
        """D's scores of ``output`` as a translation of the source."""
        return self.netD(torch.cat((self.real_A, output), dim=1))

    def optimize_parameters(self) -> None:
        self.forward()
        self.update_D()
        self.update_G()

    def update_D(self) -> None:
        """(GAN(D(x, G(x)), fake) + GAN(D(x, y), real)) / 2."""
        self.set_requires_grad(self.netD, True)
        self.optimizer_D.zero_grad()
        loss_fake = self.criterionGAN(self.judge(self.fake_B.detach()), False).mean()
        loss_real = self.criterionGAN(self.judge(self.real_B), True).mean()
        ((loss_fake + loss_real) * 0.5).backward()
        self.apply_gradients("D", self.optimizer_D)
        self.report({"D_fake": loss_fake, "D_real": loss_real})

    def update_G(self) -> None:
        """GAN(D(x, G(x)), real) + lambda_L1 |G(x) - y|, with D frozen."""
        self.set_requires_grad(self.netD, False)
        self.optimizer_G.zero_grad()
        loss_GAN = self.criterionGAN(self.judge(self.fake_B), True).mean()
        loss_L1 = F.l1_loss(self.fake_B, self.real_B) * self.opt.lambda_L1
        (loss_GAN + loss_L1).backward()
        self.apply_gradients("G", self.optimizer_G)
        self.report({"G_GAN": loss_GAN, "G_L1": loss_L1})
