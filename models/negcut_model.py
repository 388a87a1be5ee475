"""NEGCUT and FastNEGCUT: instance-wise hard negatives (Wang et al., ICCV 2021, arXiv 2108.04547).

CUT (Park et al., ECCV 2020) whose negatives are made for each image by a generator N, an adversary of the contrastive
loss. For a source s (x, and with --nce_idt also y), its translation t = G(s) and each encoder layer l of --nce_layers:

    k_i = F_l(enc_l(s)_i), q_i = F_l(enc_l(t)_i)    key and query at position i (CUT, section 3)
    m = mean over all positions of F_l(enc_l(s)_i)  by F_, the moving average of F (NEGCUT, section 3 and figure 2)
    n_j = normalize(MLP_l([m, z_j])), z_j ~ N(0, I) negatives of this image (section 3)
    NCE = lambda_NCE * mean over l and i of -log( exp(q_i.k_i/T) / (exp(q_i.k_i/T) + sum_j exp(q_i.n_j/T)) )

One step, on one forward pass of G: translate -> D -> N -> G, F -> F_.
"""

from functools import partial

import torch
from torch import Tensor

from models import networks
from models.cut_model import FAST, Branch, CUTModel, Step
from models.losses import diversity_loss, nonsaturating_loss
from util.errors import UserError
from util.flag_types import non_negative, positive
from util.launches import each_batch, each_layer
from util.run.averages import update_average

MOMENTUM = 0.9


class NEGCUTModel(CUTModel):
    def optimize_parameters(self) -> None:
        """One step: translate -> D -> N -> G, F -> F_."""
        step = self.forward()
        self.summarize(step.branches)
        self.report(self.update_D(step))  # min_D (GAN(D(x'), fake) + GAN(D(y), real)) / 2, as in CUT
        self.report(self.update_N(step))  # max_N NCE, and diverse negatives
        self.report(self.update_G_and_F(step))  # min_G,F GAN(D(x'), real) + NCE, as in CUT, which asks for negatives()
        self.update_F_()

    def summarize(self, branches: list[Branch]) -> None:
        """What N sees of each source: m, the mean of F_'s projection of all positions (NEGCUT, section 3), or what else
        --netN asks for (models/networks/negative_generator.py)."""
        reach = self.negatives_reach_source()  # whether gradient does, in the G step
        sources = [(branch if reach else branch.detach()).source for branch in branches]
        with torch.set_grad_enabled(reach):
            summaries = each_batch(partial(self.netN.summarize, netF=self.netF, netF_=self.netF_), sources)
        for branch, summary in zip(branches, summaries, strict=True):
            branch.summary = summary

    def negatives(self, phase: str, index: int, branch: Branch) -> list[Tensor]:
        """n_j = normalize(MLP_l([m, z_j])), z_j ~ N(0, I_64), (B, num_patches, C) of each layer (NEGCUT, section 3)."""
        images = branch.source[0].shape[0]
        noise = [self.draw_noise(phase, index, layer, images) for layer in range(len(branch.source))]
        return self.netN(branch.summary, noise)

    def update_N(self, step: Step) -> dict[str, Tensor]:
        """N: -hardness of its negatives + lambda_MS_neg * the mean over layers of -|n[first half] - n[second half]|, so
        that different z give different negatives (NEGCUT, section 3)."""
        if not step.branches:
            return {"N": torch.zeros((), device=self.device)}
        self.netN.requires_grad_(True)
        self.optimizer_N.zero_grad()
        hardness, diverse = [], []
        for index, branch in enumerate(step.branches):
            branch = branch.detach()  # nothing but N learns here
            with torch.no_grad():
                queries, keys = self.queries_and_keys("N", index, branch)
            negatives = self.negatives("N", index, branch)
            hardness.append(self.hardness(queries, keys, negatives))
            diverse = diverse + negatives if self.opt.diversity_both else negatives  # published: of the last branch
        loss_diversity = torch.stack(each_layer(diversity_loss, diverse)).mean()
        loss_N = -sum(hardness) / len(hardness) + self.opt.lambda_MS_neg * loss_diversity
        loss_N.backward()
        self.apply_gradients("N", self.optimizer_N)
        self.netN.requires_grad_(False)  # in the G step gradient flows through N, not into it
        self.statistics["diversity"] = -loss_diversity.detach()
        return {"N": loss_N}

    def hardness(self, queries: list[Tensor], keys: list[Tensor], negatives: list[Tensor]) -> Tensor:
        """What N maximises. minimax: NCE (adversarial contrastive learning: NEGCUT, section 3). nonsaturating:
        lambda_NCE * log(1 - p) where NCE = -lambda_NCE * log(p), which teaches N while its negatives are easy too."""
        if self.opt.loss_N == "nonsaturating":
            return -self.nce(queries, keys, negatives, nonsaturating_loss)
        return self.nce(queries, keys, negatives, self.contrast_of_generated)

    def update_F_(self) -> None:
        """F_ <- 0.9 F_ + 0.1 F."""
        if self.netF_ is not None:
            update_average(self.netF_, self.netF, MOMENTUM)

    def negatives_reach_source(self) -> bool:
        """Whether, in the G step, gradient reaches G through m and N too. In the published code it does."""
        return not self.opt.detach_negatives

    def draw_noise(self, phase: str, branch: int, layer: int, images: int) -> Tensor:
        """z of one layer, (B, num_patches, 64), from N(0, 1); the other arguments name the draw."""
        shape = (images, self.opt.num_patches, self.netN.noise_nc)
        return torch.randn(shape, generator=self.noise_rng, device=self.device)

    repeatable = CUTModel.repeatable  # each class says so anew: see BaseModel

    def __init__(self, opt):
        super().__init__(opt)
        if not self.isTrain:
            return
        if opt.num_patches < 2:
            raise UserError(f"--num_patches {opt.num_patches}: N makes as many negatives, so it must be at least 2")
        if opt.nce_loss in ("monce", "hdce"):
            raise UserError(
                f"--nce_loss {opt.nce_loss} weighs an image's patches against each other, so it is for --model cut, "
                "whose negatives they are; --model negcut takes patchnce or dce"
            )
        self.contrast_of_generated = self.contrast  # N's own, which sees no patches, whatever --negatives gives to G
        if opt.negatives == "both":
            self.contrast = partial(self.contrast, and_patches=True)
        self.loss_names.append("N")
        self.model_names.append("N")
        self.netN = networks.create_N(opt, self.netF)
        self.netF_ = None
        if self.netN.needs_average:
            self.model_names.append("F_")
            self.netF_ = networks.create_F(opt, self.netF.channels).requires_grad_(False)
            if opt.momentum_init == "copy":
                self.netF_.load_state_dict(self.netF.state_dict())
        self.optimizer_N = self.adam(self.netN, opt.lr_N)
        self.optimizers.append(self.optimizer_N)

    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        CUTModel.add_contrastive_options(parser)
        lr = getattr(parser.parse_known_args()[0], "lr", 0.0002)  # test.py has no --lr
        add = parser.add_argument
        add("--NEGCUT_mode", default="NEGCUT", choices=["NEGCUT", "negcut", "FastNEGCUT", "fastnegcut"], help="preset")
        add("--netN", default="neg_gen_momentum", choices=list(networks.SOURCES), help="where negatives come from")
        add("--negatives", default="generated", choices=["generated", "both"],
            help="what G and F are contrasted with: N's negatives, or these and the image's other patches")  # fmt: skip
        add("--loss_N", default="minimax", choices=["minimax", "nonsaturating"],
            help="what N minimises: -NCE, or -log(1 - p), which does not fade while negatives are easy")  # fmt: skip
        add("--lambda_MS_neg", type=non_negative, default=1.0, help="weight of the negatives' diversity")
        add("--lr_N", type=positive, default=lr, help="learning rate of N; --lr unless given")
        add("--detach_negatives", action="store_true", help="no gradient into G through N in the G step")
        add("--diversity_both", action="store_true",
            help="diversity of both branches' negatives, not the identity's alone")  # fmt: skip
        add("--momentum_init", default="random", choices=["random", "copy"],
            help="F_ starts at random or as a copy of F")  # fmt: skip
        opt, _ = parser.parse_known_args()
        parser.set_defaults(nce_idt=True, lambda_NCE=1.0, pool_size=0)
        if opt.NEGCUT_mode.lower() == "fastnegcut":
            parser.set_defaults(**FAST)
        return parser
