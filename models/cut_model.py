"""CUT and FastCUT: contrastive learning for unpaired image-to-image translation (Park et al., ECCV 2020).

A patch of the translation (the query) must be closer to the patch of the source at the same position (the key, its
positive) than to other patches (the negatives). One step: translate -> D -> G, F.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models import hard_negatives, networks
from models.base_model import BaseModel
from models.losses import GANLoss, hard_negative_loss, patch_nce_loss, patch_similarities, similarity_statistics
from util.errors import UserError
from util.flag_types import layer_list, non_negative, non_negative_int, positive, positive_int, str2bool

COLLAPSED = 1e-3  # a contrastive loss below it, per unit of lambda_NCE, is practically zero
# "Fast": no identity branch, a stronger contrastive loss, mirrored inputs, half the epochs.
FAST = dict(nce_idt=False, lambda_NCE=10.0, flip_equivariance=True, n_epochs=150, n_epochs_decay=50)


@dataclass
class Branch:
    """One pair of the contrastive loss: the encoder's features of a source image and of its translation."""

    source: list[Tensor]  # (B, C, H, W) a layer
    translation: list[Tensor]


class CUTModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        CUTModel.add_contrastive_options(parser)
        parser.add_argument("--CUT_mode", default="CUT", choices=["CUT", "cut", "FastCUT", "fastcut"], help="preset")
        opt, _ = parser.parse_known_args()
        parser.set_defaults(nce_idt=True, lambda_NCE=1.0, pool_size=0)
        if opt.CUT_mode.lower() == "fastcut":
            parser.set_defaults(**FAST)
        return parser

    @staticmethod
    def add_contrastive_options(parser) -> None:
        """The flags of every contrastive model."""
        add = parser.add_argument
        add("--lambda_GAN", type=non_negative, default=1.0, help="weight of the adversarial loss GAN(G(X))")
        add("--lambda_NCE", type=non_negative, default=1.0, help="weight of the contrastive loss NCE(G(X), X)")
        add(
            "--nce_idt",
            type=str2bool,
            nargs="?",
            const=True,
            default=False,
            help="also NCE(G(Y), Y), the identity loss",
        )
        add("--nce_layers", type=layer_list, default="0,4,8,12,16", help="G's layers whose features are compared")
        add("--nce_includes_all_negatives_from_minibatch", type=str2bool, nargs="?", const=True, default=False,
            help="negatives from all images of the batch, for small crops")  # fmt: skip
        add(
            "--netF",
            default="mlp_sample",
            choices=["sample", "reshape", "mlp_sample"],
            help="how features are projected",
        )
        add("--netF_nc", type=positive_int, default=256, help="channels of the projection")
        add("--nce_T", type=positive, default=0.07, help="temperature of the contrastive loss")
        add("--num_patches", type=non_negative_int, default=256, help="patches a layer; 0: all positions")
        add("--nce_loss", default="patchnce", choices=["patchnce", "monce", "dce", "hdce"], help="contrastive loss")
        add("--cost_type", default="hard", choices=["hard", "easy"], help="MoNCE: which patches weigh more")
        add("--eps", type=positive, default=1.0, help="MoNCE: entropy of the transport")
        add("--neg_term_weight", type=positive, default=1.0, help="MoNCE: weight of the negatives")
        add("--HDCE_gamma", type=positive, default=1.0, help="hDCE: temperature of the weights")
        add("--lambda_SRC", type=non_negative, default=0.0, help="weight of SRC")
        add("--loss_N", default="minimax", choices=["minimax", "nonsaturating"], help="what N learns from")
        add("--negatives", default="generated", choices=["generated", "both"], help="which negatives count")
        add("--flip_equivariance", type=str2bool, nargs="?", const=True, default=False,
            help="mirror G's input in half of the steps and compare mirrored features")  # fmt: skip

    def __init__(self, opt):
        super().__init__(opt)
        self.loss_names = ["G_GAN", "D_real", "D_fake", "G", "NCE"]
        self.visual_names = ["real_A", "fake_B", "real_B"]
        self.statistics: dict[str, Tensor] = {}
        self.quiet_steps = torch.zeros((), device=self.device)  # steps in a row in which the contrastive loss was zero
        self.repeatable = not opt.flip_equivariance
        self.gamma = opt.HDCE_gamma
        self.nce_layers = [int(layer) for layer in opt.nce_layers.split(",")]
        if opt.nce_idt and self.isTrain:
            self.loss_names.append("NCE_Y")
            self.visual_names.append("idt_B")
        if self.isTrain and (opt.nce_idt or opt.lambda_NCE > 0) and opt.input_nc != opt.output_nc:
            raise UserError(
                f"--nce_idt and the contrastive loss feed images of --output_nc {opt.output_nc} to G, which takes "
                f"--input_nc {opt.input_nc}: give both the same value, or --nce_idt false --lambda_NCE 0"
            )

        self.model_names = ["G", "F", "D"] if self.isTrain else ["G"]
        init = dict(init_type=opt.init_type, init_gain=opt.init_gain, no_antialias=opt.no_antialias)
        init.update(gpu_ids=opt.gpu_ids, opt=opt)
        self.netG = networks.define_G(
            opt.input_nc, opt.output_nc, opt.ngf, opt.netG, opt.normG, not opt.no_dropout,
            no_antialias_up=opt.no_antialias_up, **init,
        )  # fmt: skip
        if not self.isTrain:
            return
        channels = self.netG.feature_channels(self.nce_layers)
        self.netF = networks.define_F(opt.input_nc, opt.netF, opt.normG, not opt.no_dropout, channels=channels, **init)
        self.netD = networks.define_D(opt.output_nc, opt.ndf, opt.netD, opt.n_layers_D, opt.normD, **init)
        self.criterionGAN = GANLoss(opt.gan_mode).to(self.device)
        self.optimizer_G = self.adam(self.netG)
        self.optimizer_D = self.adam(self.netD)
        self.optimizers = [self.optimizer_G, self.optimizer_D]
        if self.netF.use_mlp:
            self.optimizer_F = self.adam(self.netF)
            self.optimizers.append(self.optimizer_F)

    def optimize_parameters(self) -> None:
        self.forward()
        self.update_D()
        self.update_G_and_F()
        self.branches = []

    def forward(self) -> None:
        """One pass of G over [x; y] gives the translations and the sources' features, one encoder pass over the
        translations gives theirs."""
        if not self.isTrain:
            self.fake_B = self.netG(self.real_A)
            return
        opt = self.opt
        pair = [self.real_A, self.real_B] if opt.nce_idt else [self.real_A]
        mirrored = opt.flip_equivariance and self.draw_flip()
        if len({images.shape[2:] for images in pair}) == 1:
            passes = self.encode(pair, mirrored)
        else:  # images of sizes of their own, as --preprocess none leaves them
            passes = [self.encode([images], mirrored)[0] for images in pair]
        self.fake_B = passes[0][0]
        if opt.nce_idt:
            self.idt_B = passes[1][0]
        self.branches = [Branch(*features) for _, *features in passes if features]

    def encode(self, batches: list[Tensor], mirrored: bool) -> list[tuple]:
        """(translations, their sources' features, their own features) of each batch, all in one pass. Without a
        contrastive loss the translations alone."""
        real = torch.cat(batches) if len(batches) > 1 else batches[0]
        fake, source = self.netG(real.flip(3) if mirrored else real, self.nce_layers)
        images = len(batches[0])

        def parts(x: Tensor) -> list[Tensor]:
            return [x[i : i + images] for i in range(0, len(x), images)]

        if self.opt.lambda_NCE == 0:
            return [(part,) for part in parts(fake)]
        translation = self.netG(fake, self.nce_layers, encode_only=True)
        if mirrored:  # the translations' features go back to the frame of the sources, which need their own pass
            translation = [f.flip(3) for f in translation]
            with torch.set_grad_enabled(self.negatives_reach_source()):
                source = self.netG(real, self.nce_layers, encode_only=True)
        features = [zip(*map(parts, layers), strict=True) for layers in (source, translation)]
        return list(zip(parts(fake), *features, strict=True))

    def update_D(self) -> None:
        """(GAN(D(x'), fake) + GAN(D(y), real)) / 2."""
        self.loss_D_fake = self.loss_D_real = torch.zeros((), device=self.device)
        if self.opt.lambda_GAN == 0:
            return
        self.netD.requires_grad_(True)
        self.optimizer_D.zero_grad()
        loss_fake = self.criterionGAN(self.netD(self.fake_B.detach()), False).mean()
        loss_real, penalty = self.judge_real()
        ((loss_fake + loss_real) * 0.5 + penalty).backward()
        self.apply_gradients("D", self.optimizer_D)
        self.loss_D_fake, self.loss_D_real = loss_fake.detach(), loss_real.detach()

    def judge_real(self) -> tuple[Tensor, Tensor | float]:
        """GAN(D(y), real), and a penalty on D's gradient there (SinCUT's; none here)."""
        return self.criterionGAN(self.netD(self.real_B), True).mean(), 0.0

    def further_loss(self) -> Tensor | float:
        """What a subclass adds to G's loss, such as SinCUT's |G(y) - y|."""
        return self.relation if self.opt.lambda_SRC else 0.0

    def update_G_and_F(self) -> None:
        """lambda_GAN * GAN(D(x'), real) + NCE, with D frozen."""
        optimizers = [self.optimizer_G, *([self.optimizer_F] if self.branches and hasattr(self, "optimizer_F") else [])]
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.netD.requires_grad_(False)
        loss_GAN = torch.zeros((), device=self.device)
        if self.opt.lambda_GAN > 0:
            loss_GAN = self.criterionGAN(self.netD(self.fake_B), True).mean() * self.opt.lambda_GAN
        nce = self.contrastive_losses("G")
        loss_G = loss_GAN + sum(nce) / max(1, len(nce)) + self.further_loss()
        if loss_G.requires_grad:
            loss_G.backward()
            self.apply_gradients("G", *optimizers)
        self.loss_G_GAN, self.loss_G = loss_GAN.detach(), loss_G.detach()
        if nce:
            quiet = nce[0].detach() < COLLAPSED * self.opt.lambda_NCE
            self.quiet_steps.add_(1).mul_(quiet)
            self.statistics["steps_without_contrast"] = self.quiet_steps
        for name, loss in zip(("NCE", "NCE_Y"), nce or [loss_GAN.new_zeros(())] * 2, strict=False):
            setattr(self, "loss_" + name, loss.detach())

    def contrastive_losses(self, phase: str) -> list[Tensor]:
        """lambda_NCE * mean over layers of InfoNCE, for each branch, with fresh positions."""
        losses, relation = [], 0.0
        for index, branch in enumerate(self.branches):
            patch_ids = [
                self.draw_patch_ids(phase, index, layer, self.netF.positions(feature))
                for layer, feature in enumerate(branch.source)
            ]
            with torch.set_grad_enabled(phase == "G"):  # in NEGCUT's N phase only N learns
                query = self.netF.project(branch.translation, patch_ids)
            with torch.no_grad():
                key = self.netF.project(branch.source, patch_ids)
            total = 0.0
            for layer, (q, k, n) in enumerate(zip(query, key, self.negatives(phase, index), strict=True)):
                positive, negative = patch_similarities(q, k, n, self.opt.nce_includes_all_negatives_from_minibatch)
                if phase == "N" and self.opt.loss_N == "nonsaturating":
                    total = total - hard_negative_loss(positive, negative, self.opt.nce_T)
                elif n is None and self.opt.nce_loss != "patchnce":
                    total = total + self.weighted_loss(q, k)
                elif phase == "G" and n is not None and self.opt.negatives == "both":
                    others = patch_similarities(q, k, None, self.opt.nce_includes_all_negatives_from_minibatch)[1]
                    total = total + patch_nce_loss(positive, torch.cat((negative, others), dim=-1), self.opt.nce_T)
                else:
                    total = total + patch_nce_loss(positive, negative, self.opt.nce_T)
                if phase == "G" and index == 0 and self.opt.lambda_SRC:
                    relation = relation + hard_negatives.relation_loss(q, k)
                if phase == "G" and index == 0:
                    self.statistics |= similarity_statistics(self.nce_layers[layer], positive, negative, n is None)
            losses.append(self.opt.lambda_NCE * total / len(query))
        if phase == "G" and self.opt.lambda_SRC:
            self.relation = self.opt.lambda_SRC * relation / len(query)
        return losses

    def weighted_loss(self, query: Tensor, key: Tensor) -> Tensor:
        opt = self.opt
        if opt.nce_loss == "monce":
            return hard_negatives.monce_loss(query, key, opt.nce_T, opt.cost_type, opt.eps, opt.neg_term_weight)
        if opt.nce_loss == "dce":
            return hard_negatives.decoupled_loss(query, key, opt.nce_T)
        return hard_negatives.hdce_loss(query, key, opt.nce_T, self.gamma)

    def get_current_statistics(self) -> dict[str, float]:
        """Mean cosine of query and positive, query and negatives, in each layer of ``nce_layers``; for how many steps
        in a row the contrastive loss has been practically zero, so that nothing ties a translation to its source."""
        values = torch.stack([v.float() for v in self.statistics.values()]).tolist() if self.statistics else []
        return dict(zip(self.statistics, values, strict=True))

    def negatives(self, phase: str, branch: int) -> list[Tensor | None]:
        """The negatives (B, n, C) of each layer; None stands for the other positions' keys."""
        return [None] * len(self.nce_layers)

    def negatives_reach_source(self) -> bool:
        """Whether gradient flows from the negatives into the source's features."""
        return False

    def draw_patch_ids(self, phase: str, branch: int, layer: int, positions: int) -> Tensor:
        """``num_patches`` different positions (all where there are no more), the same for every image of the batch."""
        count = min(self.opt.num_patches or positions, positions)
        ids = self.rng.choice(positions, count, replace=False, shuffle=False)
        return torch.from_numpy(ids).to(self.device, non_blocking=True)

    def draw_flip(self) -> bool:
        return self.rng.random() < 0.5
