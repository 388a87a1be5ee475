"""CUT and FastCUT: contrastive learning for unpaired image-to-image translation (Park et al., ECCV 2020).

A patch of the translation (the query) must be closer to the patch of the source at the same position (the key, its
positive) than to other patches (the negatives). One step: translate -> D -> G, F.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from models import hard_negatives, networks
from models.base_model import BaseModel
from models.losses import GANLoss, as_one_image, contrastive_loss, mean_similarities
from util.devices import from_host
from util.errors import UserError
from util.flag_types import SWITCH, layer_list, non_negative, non_negative_int, positive, positive_int
from util.launches import each_layer
from util.metrics.contrast import COLLAPSED

# "Fast": no identity branch, a stronger contrastive loss, mirrored inputs, half the epochs.
FAST = dict(nce_idt=False, lambda_NCE=10.0, flip_equivariance=True, n_epochs=150, n_epochs_decay=50)


@dataclass
class Branch:
    """One pair of the contrastive loss, a source image s and its translation t: lists over ``nce_layers``."""

    source: list[Tensor]  # enc_l(s), (B, C, H, W)
    translation: list[Tensor]  # enc_l(t)
    summary: list[Tensor] = field(default_factory=list)  # what a generator of negatives may know of s

    def detach(self) -> "Branch":
        """The same without gradient."""
        return Branch(*([feature.detach() for feature in layers] for layers in vars(self).values()))


@dataclass
class Step:
    """What the phases of one step share; made by ``forward``, gone at the end of the step."""

    real_A: Tensor  # x, (B, C, H, W) in [-1, 1]
    real_B: Tensor  # y
    fake_B: Tensor  # x' = G(x)
    idt_B: Tensor | None  # y' = G(y), with nce_idt
    branches: list[Branch]  # (x, x'), and with nce_idt (y, y'); none with lambda_NCE 0


class CUTModel(BaseModel):
    def optimize_parameters(self) -> None:
        """One step: translate -> D -> G, F."""
        step = self.forward()
        self.report(self.update_D(step))  # min_D (GAN(D(x'), fake) + GAN(D(y), real)) / 2
        self.report(self.update_G_and_F(step))  # min_G,F GAN(D(x'), real) + NCE

    def forward(self) -> Step | None:
        """One pass of G over [x; y] gives the translations and the sources' features, one encoder pass over the
        translations gives theirs."""
        if not self.isTrain:
            self.fake_B = self.netG(self.real_A)
            return None
        opt = self.opt
        sources = [self.real_A, self.real_B] if opt.nce_idt else [self.real_A]
        mirrored = opt.flip_equivariance and self.draw_flip()
        one_size = len({images.shape[2:] for images in sources}) == 1  # which --preprocess none does not see to
        translations: list[Tensor] = []
        branches: list[Branch] = []
        for together in [sources] if one_size else [[images] for images in sources]:
            fakes, encoded = self.encode(together, mirrored)
            translations += fakes
            branches += encoded
        fake_B, idt_B = translations if opt.nce_idt else (translations[0], None)
        self.fake_B = fake_B.detach()  # for those who look
        if opt.nce_idt:
            self.idt_B = idt_B.detach()
        return Step(self.real_A, self.real_B, fake_B, idt_B, branches)

    def encode(self, sources: Sequence[Tensor], mirrored: bool) -> tuple[Sequence[Tensor], list[Branch]]:
        """Translation and branch of each batch of source images, all in one pass; no branches with lambda_NCE 0."""
        real = torch.cat(sources) if len(sources) > 1 else sources[0]
        fake, source = self.netG(real.flip(3) if mirrored else real, self.nce_layers)
        count = len(sources[0])
        if self.opt.lambda_NCE == 0:
            return fake.split(count), []
        translation = self.netG(fake, self.nce_layers, encode_only=True)
        if mirrored:  # the translations' features go back to the frame of the sources, which need their own pass
            translation = [f.flip(3) for f in translation]
            with torch.set_grad_enabled(self.negatives_reach_source()):
                source = self.netG(real, self.nce_layers, encode_only=True)
        return fake.split(count), list(map(Branch, by_batch(source, count), by_batch(translation, count)))

    def summarize(self, branches: list[Branch]) -> None:
        """Give each branch its ``summary``, where negatives are made from one; not in CUT."""

    def update_D(self, step: Step) -> dict[str, Tensor]:
        """D: (GAN(D(x'), fake) + GAN(D(y), real)) / 2."""
        if self.opt.lambda_GAN == 0:
            return dict.fromkeys(("D_fake", "D_real"), torch.zeros((), device=self.device))
        self.netD.requires_grad_(True)
        self.optimizer_D.zero_grad()
        fake = self.criterionGAN(self.netD(step.fake_B.detach()), False).mean()
        real, penalties = self.judge_real(step.real_B)
        ((fake + real) * 0.5 + sum(penalties.values())).backward()
        self.apply_gradients("D", self.optimizer_D)
        return {"D_fake": fake, "D_real": real} | penalties

    def judge_real(self, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """GAN(D(y), real), and penalties on D by name (SinCUT's D_R1; none here)."""
        return self.criterionGAN(self.netD(real), True).mean(), {}

    def update_G_and_F(self, step: Step) -> dict[str, Tensor]:
        """G, F: lambda_GAN * GAN(D(x'), real) + NCE(x, x'), or with nce_idt (NCE(x, x') + NCE(y, y')) / 2; D is
        frozen."""
        optimizers = [self.optimizer_G]
        if step.branches and self.netF.use_mlp:
            optimizers.append(self.optimizer_F)
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.netD.requires_grad_(False)
        loss_GAN = torch.zeros((), device=self.device)
        if self.opt.lambda_GAN > 0:
            loss_GAN = self.criterionGAN(self.netD(step.fake_B), True).mean() * self.opt.lambda_GAN
        pairs = [self.queries_and_keys("G", index, branch) for index, branch in enumerate(step.branches)]
        nce = self.contrastive_losses(step, pairs)
        further = self.further_losses(step, pairs)
        loss_G = loss_GAN + sum(nce) / max(1, len(nce)) + sum(further.values())
        if loss_G.requires_grad:
            loss_G.backward()
            self.apply_gradients("G", *optimizers)
        nce = nce or [torch.zeros((), device=self.device)] * 2  # lambda_NCE 0
        return {"G_GAN": loss_GAN, "G": loss_G, **dict(zip(("NCE", "NCE_Y"), nce, strict=False)), **further}

    def contrastive_losses(self, step: Step, pairs: list[tuple]) -> list[Tensor]:
        """NCE(s, t) of each branch with its queries and keys. Gradient flows through the queries, and through the
        negatives where they have any; never through the keys."""
        losses = []
        for index, (branch, (queries, keys)) in enumerate(zip(step.branches, pairs, strict=True)):
            negatives = self.negatives("G", index, branch)
            losses.append(self.nce(queries, keys, negatives, self.contrast))
            if index == 0:
                self.note_contrast(losses[0], queries, keys, negatives)
        return losses

    def queries_and_keys(self, phase: str, index: int, branch: Branch) -> tuple[list[Tensor], list[Tensor]]:
        """q_i = F_l(enc_l(t)_i) and k_i = F_l(enc_l(s)_i), (B, P, C) of each layer l, at fresh positions i, the same
        for every image of the batch. The keys have no gradient."""
        counts = [self.netF.positions(feature) for feature in branch.source]
        patch_ids = [self.draw_patch_ids(phase, index, layer, count) for layer, count in enumerate(counts)]
        query = self.netF.project(branch.translation, patch_ids)
        with torch.no_grad():
            return query, self.netF.project(branch.source, patch_ids)

    def negatives(self, phase: str, index: int, branch: Branch) -> list[Tensor | None]:
        """n_j, (B, n, C) of each layer; None stands for CUT's: the keys of the other positions."""
        return [None] * len(self.nce_layers)

    def nce(self, queries: list[Tensor], keys: list[Tensor], negatives: list[Tensor | None], loss: Callable) -> Tensor:
        """lambda_NCE * mean over layers of ``loss``: unless --nce_loss names another,
        -log( exp(q.k/T) / (exp(q.k/T) + sum_j exp(q.n_j/T)) )."""
        opt = self.opt
        across_images = opt.nce_includes_all_negatives_from_minibatch
        return opt.lambda_NCE * contrastive_loss(queries, keys, negatives, opt.nce_T, across_images, loss)

    def further_losses(self, step: Step, pairs: list[tuple]) -> dict[str, Tensor]:
        """What else G learns from, by name: SRC on (x, x') with --lambda_SRC, and what a subclass adds, such as
        SinCUT's |G(y) - y|."""
        if self.opt.lambda_SRC == 0 or not pairs:
            return {}
        return {"SRC": self.opt.lambda_SRC * hard_negatives.semantic_relation_loss(*pairs[0])}

    def negatives_reach_source(self) -> bool:
        """Whether gradient flows from the negatives into the source's features."""
        return False

    def draw_patch_ids(self, phase: str, branch: int, layer: int, positions: int) -> Tensor:
        """``num_patches`` different positions (all where there are no more), the same for every image of the batch."""
        count = min(self.opt.num_patches or positions, positions)
        ids = self.rng.choice(positions, count, replace=False, shuffle=False)
        return from_host(torch.from_numpy(ids), self.device)

    def draw_flip(self) -> bool:
        return self.rng.random() < 0.5

    def set_epoch(self, epoch: int) -> None:
        """hDCE's curriculum."""
        super().set_epoch(epoch)
        if isinstance(self.contrast, hard_negatives.HDCE):
            self.contrast.set_epoch(epoch)

    def note_contrast(self, loss: Tensor, queries: list[Tensor], keys: list[Tensor], negatives: list) -> None:
        """For ``get_current_statistics``."""
        vectors = [queries, keys, negatives]
        if self.opt.nce_includes_all_negatives_from_minibatch:
            vectors = [[as_one_image(x) for x in layers] for layers in vectors]
        for layer, means in zip(self.nce_layers, each_layer(mean_similarities, *vectors), strict=True):
            self.statistics |= zip((f"similarity_positive_{layer}", f"similarity_negative_{layer}"), means, strict=True)
        if self.opt.nce_loss not in hard_negatives.DECOUPLED:  # whose gradient is not zero where their value is
            quiet = loss.detach() < COLLAPSED * self.opt.lambda_NCE
            self.steps_without_contrast.add_(1).mul_(quiet)  # back to 0 where there is contrast
            self.statistics["steps_without_contrast"] = self.steps_without_contrast

    def get_current_statistics(self) -> dict[str, float]:
        """Mean cosine of query and positive, query and negatives, in each layer of ``nce_layers``; for how many steps
        in a row the contrastive loss has been practically zero, so that nothing ties a translation to its source."""
        values = torch.stack([v.float() for v in self.statistics.values()]).tolist() if self.statistics else []
        return dict(zip(self.statistics, values, strict=True))

    def __init__(self, opt):
        super().__init__(opt)
        self.loss_names = ["G_GAN", "D_real", "D_fake", "G", "NCE"]
        self.visual_names = ["real_A", "fake_B", "real_B"]
        self.statistics: dict[str, Tensor] = {}
        self.steps_without_contrast = torch.zeros((), device=self.device)  # in a row
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
        self.netG = networks.create_G(opt)
        if not self.isTrain:
            return
        self.netF = networks.create_F(opt, self.netG.feature_channels(self.nce_layers))
        self.netD = networks.create_D(opt, opt.output_nc)
        self.criterionGAN = GANLoss(opt.gan_mode).to(self.device)
        self.contrast = hard_negatives.choose_loss(opt, self.device)
        if opt.lambda_SRC > 0:
            self.loss_names.append("SRC")
        self.optimizer_G = self.adam(self.netG)
        self.optimizer_D = self.adam(self.netD)
        self.optimizers = [self.optimizer_G, self.optimizer_D]
        if self.netF.use_mlp:
            self.optimizer_F = self.adam(self.netF)
            self.optimizers.append(self.optimizer_F)

    @cached_property  # so that a subclass may assign to it
    def repeatable(self) -> bool:
        return not self.opt.flip_equivariance

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
        add("--nce_idt", **SWITCH, default=False, help="also NCE(G(Y), Y), the identity loss")
        add("--nce_layers", type=layer_list, default="0,4,8,12,16", help="G's layers whose features are compared")
        add("--nce_includes_all_negatives_from_minibatch", **SWITCH, default=False,
            help="negatives from all images of the batch, for small crops")  # fmt: skip
        netF = ["sample", "reshape", "mlp_sample"]
        add("--netF", default="mlp_sample", choices=netF, help="how features are projected")
        add("--netF_nc", type=positive_int, default=256, help="channels of the projection")
        add("--nce_T", type=positive, default=0.07, help="temperature of the contrastive loss")
        add("--num_patches", type=non_negative_int, default=256, help="patches a layer; 0: all positions")
        hard_negatives.add_options(parser)
        add("--flip_equivariance", **SWITCH, default=False,
            help="mirror G's input in half of the steps and compare mirrored features")  # fmt: skip


def by_batch(features: list[Tensor], count: int) -> list[list[Tensor]]:
    """The features of each batch of ``count`` images, which lie one after the other."""
    return [list(layers) for layers in zip(*(feature.split(count) for feature in features), strict=True)]
