"""The contrastive losses of CUT's successors, which weigh the other patches of an image by how hard they are.

For one layer: unit queries q_i and keys k_i (B, P, C), keys without gradient, s_ij = q_i.k_j, T the temperature, j over
the other positions of the same image. Each loss is a mean over queries.

MoNCE: Zhan et al., "Modulated Contrast for Versatile Image Synthesis", CVPR 2022.
Decoupled, hDCE and SRC: Jung et al., "Exploring Patch-wise Semantic Relation for Contrastive Learning in
Image-to-Image Translation Tasks", CVPR 2022.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from models.losses import OWN, info_nce, own_keys, patch_similarities
from util.errors import UserError, warn
from util.flag_types import SWITCH, non_negative, positive, positive_int

ROUNDS = 50  # of Sinkhorn's algorithm
DECOUPLED = ("dce", "hdce")  # losses whose gradient stays where their value is next to nothing


def monce_loss(
    query: Tensor,
    key: Tensor,
    negatives: None,
    temperature: float,
    cost_type: str = "hard",
    eps: float = 1.0,
    weight: float = 1.0,
) -> Tensor:
    """mean_i [ log( exp(s_ii/T) + sum_j W_ij exp(s_ij/T) ) - s_ii/T ].

    W is the entropic optimal transport (MoNCE, eq. 7) between queries and keys, times (P - 1) ``weight``: its kernel is
    exp(c_ij / ``eps``) with c_ij = s_ij ("hard": near patches weigh more) or 1 - s_ij ("easy"). Gradient flows
    through W.
    """
    positive, negative = patch_similarities(query, key, negatives)
    cost = negative if cost_type == "hard" else 1 - negative
    kernel = (cost.masked_fill(own_keys(key), OWN) / eps).exp()
    v = torch.ones_like(positive)
    for _ in range(ROUNDS):
        u = 1 / (kernel @ v)
        v = 1 / (kernel.transpose(1, 2) @ u)
    transport = u * kernel * v.transpose(1, 2) * ((query.shape[1] - 1) * weight) + 1e-8
    others = (transport.log() + negative / temperature).logsumexp(dim=-1, keepdim=True)
    return (torch.logaddexp(positive / temperature, others) - positive / temperature).mean()


def decoupled_loss(
    query: Tensor, key: Tensor, negatives: Tensor | None, temperature: float, and_patches: bool = False
) -> Tensor:
    """The gradient of mean_i logsumexp_j( (s_ij - s_ii) / T ): the positive is not in the denominator, so that the
    gradient does not vanish while negatives are easy. The value is InfoNCE's, so that curves of both can be
    compared."""
    return _decoupled(*patch_similarities(query, key, negatives, and_patches), temperature)


def hdce_loss(query: Tensor, key: Tensor, negatives: None, temperature: float, gamma: Tensor | float = 1.0) -> Tensor:
    """``decoupled_loss`` with w_ij s_ij in place of s_ij; w_ij from ``hardness``."""
    positive, negative = patch_similarities(query, key, negatives)
    return _decoupled(positive, (negative * hardness(key, gamma)).masked_fill(own_keys(key), OWN), temperature)


def hardness(key: Tensor, gamma: Tensor | float) -> Tensor:
    """hDCE's weights w_ij (B, P, P): softmax over the other positions j of k_i.k_j / ``gamma``, divided by the largest
    of its row (Jung et al., section 3.3)."""
    key = F.normalize(key, dim=-1)
    _, similarity = patch_similarities(key, key, None)
    weights = (similarity / gamma).masked_fill(own_keys(key), -torch.inf).softmax(dim=-1)
    return weights / weights.amax(dim=-1, keepdim=True)


def semantic_relation_loss(queries: list[Tensor], keys: list[Tensor]) -> Tensor:
    """SRC, the mean over layers: the Jensen-Shannon divergence, summed over all entries, between the similarities of
    the queries among each other, softmax(q q'), and those of the keys (Jung et al., eq. 5; the softmax runs over the
    first position index)."""
    losses = []
    for query, key in zip(queries, keys, strict=True):
        query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
        p, q = ((x @ x.transpose(1, 2)).softmax(dim=1) for x in (query, key))
        middle = ((p + q) / 2).log()
        losses.append(((p * (p.log() - middle)).sum() + (q * (q.log() - middle)).sum()) / 2)
    return sum(losses) / len(losses)


class HDCE:
    """``hdce_loss`` with the gamma of the epoch."""

    def __init__(self, opt, device: torch.device):
        self.opt = opt
        self.gamma = torch.tensor(opt.HDCE_gamma, device=device)  # a tensor, so that a recorded step follows it
        self.set_epoch(opt.epoch_count)

    def __call__(self, query: Tensor, key: Tensor, negatives: None, temperature: float) -> Tensor:
        return hdce_loss(query, key, negatives, temperature, self.gamma)

    def set_epoch(self, epoch: int) -> None:
        """With --use_curriculum from --HDCE_gamma in a line to --HDCE_gamma_min at the last epoch; with --step_gamma 1
        after --step_gamma_epoch. Epochs count from 1."""
        opt, gamma = self.opt, self.opt.HDCE_gamma
        if opt.use_curriculum:
            gamma += (opt.HDCE_gamma_min - opt.HDCE_gamma) * epoch / (opt.n_epochs + opt.n_epochs_decay)
        if opt.step_gamma and epoch > opt.step_gamma_epoch:
            gamma = 1.0
        self.gamma.fill_(gamma)


FLAGS_OF = {"cost_type": "monce", "eps": "monce", "neg_term_weight": "monce"}
FLAGS_OF |= dict.fromkeys(("HDCE_gamma", "HDCE_gamma_min", "use_curriculum", "step_gamma", "step_gamma_epoch"), "hdce")


def add_options(parser) -> None:
    """The flags of the losses, under their published names; ``--lambda_NCE`` plays lambda_HDCE's part."""
    add = parser.add_argument
    add("--nce_loss", default="patchnce", choices=["patchnce", "monce", "dce", "hdce"],
        help="contrastive loss: CUT's, MoNCE, decoupled, or decoupled with hard weights")  # fmt: skip
    add("--cost_type", default="hard", choices=["hard", "easy"], help="monce: which patches weigh more")
    add("--eps", type=positive, default=1.0, help="monce: the larger, the more equal the weights")
    add("--neg_term_weight", type=positive, default=1.0, help="monce: weight of all negatives")
    add("--HDCE_gamma", type=positive, default=1.0, help="hdce: the larger, the more equal the weights")
    add("--HDCE_gamma_min", type=positive, default=1.0, help="hdce: the last epoch's, with --use_curriculum")
    add("--use_curriculum", **SWITCH, default=False, help="hdce: from --HDCE_gamma to --HDCE_gamma_min over the epochs")
    add("--step_gamma", **SWITCH, default=False, help="hdce: gamma 1 after --step_gamma_epoch")
    add("--step_gamma_epoch", type=positive_int, default=200, help="hdce: see --step_gamma")
    add("--lambda_SRC", type=non_negative, default=0.0,
        help="weight of SRC: patches of a translation are alike where those of its source are")  # fmt: skip


def choose_loss(opt, device: torch.device) -> Callable[..., Tensor]:
    """The loss of one layer, (query, key, negatives, temperature) -> scalar, that ``--nce_loss`` names. ``UserError``
    where flags contradict each other; those of another loss are told."""
    within_images = "--nce_loss hdce" if opt.nce_loss == "hdce" else "--lambda_SRC" if opt.lambda_SRC > 0 else None
    if within_images and opt.nce_includes_all_negatives_from_minibatch:
        raise UserError(
            f"{within_images} compares patches of one image; it needs --nce_includes_all_negatives_from_minibatch false"
        )
    if opt.lambda_SRC > 0 and opt.lambda_NCE == 0:
        raise UserError("--lambda_SRC compares the queries and keys of the contrastive loss; --lambda_NCE 0 has none")
    if (within_images or opt.nce_loss == "monce") and opt.num_patches == 1:
        raise UserError("--num_patches 1: the loss compares patches with each other, so it must be at least 2, or 0")
    for name, loss in FLAGS_OF.items():
        if opt.sources.get(name) == "typed" and loss != opt.nce_loss:
            warn(f"--{name} has no effect without --nce_loss {loss}")
    losses = {"patchnce": info_nce, "dce": decoupled_loss}
    losses["monce"] = partial(monce_loss, cost_type=opt.cost_type, eps=opt.eps, weight=opt.neg_term_weight)
    return HDCE(opt, device) if opt.nce_loss == "hdce" else losses[opt.nce_loss]


def _decoupled(positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    positive, others = positive / temperature, (negative / temperature).logsumexp(dim=-1, keepdim=True)
    learned = (others - positive).mean()
    shown = (torch.logaddexp(positive, others) - positive).mean()
    return learned + (shown - learned).detach()
