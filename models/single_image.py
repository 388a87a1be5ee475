"""What SinCUT and SinNEGCUT add to CUT and NEGCUT: learning to translate from one image a side (CUT, section 4.4).

Patches of 64 pixels from two large images, StyleGAN2-like networks, an R1 penalty on D (Mescheder et al., ICML 2018)
and |G(y) - y|, since with one image D is quickly overfitted and colours drift.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.cut_model import Step
from util.errors import UserError
from util.flag_types import non_negative

DEFAULTS = dict(nce_includes_all_negatives_from_minibatch=True, dataset_mode="singleimage", num_patches=1)
DEFAULTS |= dict(netG="stylegan2", stylegan2_G_num_downsampling=1, netD="stylegan2", ngf=10, ndf=8)
DEFAULTS |= dict(nce_layers="0,2,4", lambda_NCE=4.0, load_size=1024, crop_size=64)
TRAINING = dict(gan_mode="nonsaturating", lr=0.002, beta1=0.0, beta2=0.99, preprocess="zoom_and_patch", batch_size=16)
TRAINING |= dict(save_epoch_freq=1, save_latest_freq=20000, n_epochs=8, n_epochs_decay=8)
TESTING = dict(preprocess="none", batch_size=1, num_test=1)  # the whole image as it is


def add_single_image_options(parser, is_train: bool):
    """The flags of the mixin, and defaults for one image a side."""
    parser.add_argument("--lambda_R1", type=non_negative, default=1.0, help="weight of the R1 penalty on D")
    parser.add_argument("--lambda_identity", type=non_negative, default=1.0, help="weight of |G(Y) - Y|")
    parser.set_defaults(**DEFAULTS, **(TRAINING if is_train else TESTING))
    return parser


class SingleImage:
    """Mixed into a contrastive model: ``class SinCUTModel(SingleImage, CUTModel)``."""

    def __init__(self, opt):
        super().__init__(opt)
        if not self.isTrain:
            return
        if opt.lambda_R1 > 0:
            self.loss_names.append("D_R1")
        if opt.lambda_identity > 0:
            if not opt.nce_idt or opt.flip_equivariance:
                raise UserError(
                    "--lambda_identity compares G(Y) with Y: it needs --nce_idt true and no --flip_equivariance "
                    "(so no Fast preset), or the value 0"
                )
            self.loss_names.append("idt")

    def judge_real(self, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """GAN(D(y), real), and R1 = lambda_R1 / 2 * E |dD/dy|^2."""
        if self.opt.lambda_R1 == 0:
            return super().judge_real(real)
        real = real.detach().requires_grad_()
        prediction = self.netD(real)
        (gradient,) = torch.autograd.grad(prediction.sum(), real, create_graph=True)
        penalty = gradient.square().flatten(1).sum(dim=1).mean() * (self.opt.lambda_R1 / 2)
        return self.criterionGAN(prediction, True).mean(), {"D_R1": penalty}

    def not_compiled(self) -> dict[str, str]:
        penalized = self.isTrain and self.opt.lambda_R1 > 0
        return super().not_compiled() | ({"D": "R1 differentiates its gradient (--lambda_R1)"} if penalized else {})

    def further_losses(self, step: Step, pairs: list[tuple]) -> dict[str, Tensor]:
        """lambda_identity * mean |G(y) - y|."""
        losses = super().further_losses(step, pairs)
        if self.opt.lambda_identity > 0:
            losses["idt"] = F.l1_loss(step.idt_B, step.real_B) * self.opt.lambda_identity
        return losses
