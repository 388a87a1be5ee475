"""NEGCUT and FastNEGCUT: instance-wise hard negatives (Wang et al., ICCV 2021).

CUT whose negatives are made for each image by a generator N, trained against the contrastive loss.
One step: translate -> D -> N -> G, F -> F_.
"""

import torch
from torch import Tensor

from models import networks
from models.cut_model import FAST, CUTModel
from models.losses import diversity_loss
from util.errors import UserError
from util.flag_types import non_negative, positive

MOMENTUM = 0.9  # F_ <- 0.9 F_ + 0.1 F after every step


class NEGCUTModel(CUTModel):
    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        CUTModel.add_contrastive_options(parser)
        opt, _ = parser.parse_known_args()
        add = parser.add_argument
        add("--NEGCUT_mode", default="NEGCUT", choices=["NEGCUT", "negcut", "FastNEGCUT", "fastnegcut"], help="preset")
        add("--netN", default="neg_gen_momentum", choices=list(networks.SOURCES), help="where negatives come from")
        add("--lambda_MS_neg", type=non_negative, default=1.0, help="weight of the negatives' diversity")
        add("--lr_N", type=positive, default=getattr(opt, "lr", 0.0002), help="learning rate of N; --lr unless given")
        add("--detach_negatives", action="store_true", help="no gradient into G through N in the G step")
        add(
            "--diversity_both",
            action="store_true",
            help="diversity of both branches' negatives, not the identity's alone",
        )
        add(
            "--momentum_init",
            default="random",
            choices=["random", "copy"],
            help="F_ starts at random or as a copy of F",
        )
        opt, _ = parser.parse_known_args()
        parser.set_defaults(nce_idt=True, lambda_NCE=1.0, pool_size=0)
        if opt.NEGCUT_mode.lower() == "fastnegcut":
            parser.set_defaults(**FAST)
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        if not self.isTrain:
            return
        if opt.num_patches < 2:
            raise UserError(f"--num_patches {opt.num_patches}: N makes as many negatives, so it must be at least 2")
        self.loss_names.append("N")
        self.model_names.append("N")
        channels, nc = self.netF.channels, opt.netF_nc
        init = dict(init_type=opt.init_type, init_gain=opt.init_gain, gpu_ids=opt.gpu_ids)
        self.netN = networks.define_N(opt.netN, channels, self.netF.out_channels(), nc, opt.num_patches, **init)
        self.netF_ = None
        if self.netN.needs_average:
            self.model_names.append("F_")
            self.netF_ = networks.define_F(opt.input_nc, opt.netF, channels=channels, opt=opt, **init)
            self.netF_.requires_grad_(False)
            if opt.momentum_init == "copy":
                self.netF_.load_state_dict(self.netF.state_dict())
        self.optimizer_N = self.adam(self.netN, opt.lr_N)
        self.optimizers.append(self.optimizer_N)

    def optimize_parameters(self) -> None:
        self.forward()
        self.context = [self.summarize(branch.source) for branch in self.branches]
        self.update_D()
        self.update_N()
        self.update_G_and_F()
        self.update_F_()
        self.branches, self.context, self.made = [], [], []

    def summarize(self, features: list[Tensor]) -> list[Tensor]:
        """What N may know of the source: by default m, the mean of F_'s projection over all positions."""
        if self.negatives_reach_source():
            return self.netN.context(features, self.netF, self.netF_)
        with torch.no_grad():
            return self.netN.context([f.detach() for f in features], self.netF, self.netF_)

    def update_N(self) -> None:
        """N makes the contrastive loss large and its negatives different from each other:
        -NCE + lambda_MS_neg * mean over layers of -mean |n[first half] - n[second half]|."""
        self.loss_N = torch.zeros((), device=self.device)
        if not self.branches:
            return
        self.netN.requires_grad_(True)
        self.optimizer_N.zero_grad()
        self.made = []
        nce = self.contrastive_losses("N")
        made = self.made if self.opt.diversity_both else self.made[-1:]
        diversity = [diversity_loss(n) for negatives in made for n in negatives]
        self.statistics["diversity"] = -diversity[-1].detach()
        loss_N = -sum(nce) / len(nce) + self.opt.lambda_MS_neg * sum(diversity) / len(diversity)
        loss_N.backward()
        self.apply_gradients("N", self.optimizer_N)
        self.netN.requires_grad_(False)
        self.loss_N = loss_N.detach()

    def negatives(self, phase: str, branch: int) -> list[Tensor]:
        """n_j = normalize(MLP([m, z_j])), z_j ~ N(0, I). In the N phase nothing but N learns; in the G phase, as in
        the published code, gradient reaches G through m, unless ``summarize`` has cut it."""
        context = self.context[branch]
        if phase == "N":
            context = [m.detach() for m in context]
        images = self.branches[branch].source[0].shape[0]
        noise = [self.draw_noise(phase, branch, layer, images) for layer in range(len(context))]
        negatives = self.netN(context, noise)
        self.made.append(negatives)
        return negatives

    def update_F_(self) -> None:
        """F_ <- 0.9 F_ + 0.1 F."""
        if self.netF_ is None:
            return
        with torch.no_grad():
            for average, weight in zip(self.netF_.parameters(), self.netF.parameters(), strict=True):
                average.lerp_(weight, 1 - MOMENTUM)

    def negatives_reach_source(self) -> bool:
        return not self.opt.detach_negatives

    def draw_noise(self, phase: str, branch: int, layer: int, images: int) -> Tensor:
        """z of one layer, (B, num_patches, 64), from N(0, 1)."""
        shape = (images, self.opt.num_patches, self.netN.noise_nc)
        return torch.randn(shape, generator=self.noise_rng, device=self.device)
