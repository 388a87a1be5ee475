"""The contrastive losses of CUT's successors, which weigh the other patches of an image by how hard they are.

For one layer: unit queries q_i and keys k_i (B, P, C), keys without gradient, s_ij = q_i.k_j, T the temperature, j over
the other positions of the same image. Each loss is a mean over queries; none takes negatives that are made by a
generator, since each weighs the image's own patches against each other.

MoNCE: Zhan et al., "Modulated Contrast for Versatile Image Synthesis", CVPR 2022.
Decoupled, hDCE and SRC: Jung et al., "Exploring Patch-wise Semantic Relation for Contrastive Learning in
Image-to-Image Translation Tasks", CVPR 2022.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

OWN = -10.0  # stands for the own key's cosine, as in CUT: its exp(OWN / T) is nothing
ROUNDS = 50  # of Sinkhorn's algorithm


def similarities(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """s_ii (B, P, 1) and s_ij (B, P, P) with ``OWN`` on its diagonal; differentiable in both arguments."""
    own = torch.eye(query.shape[1], dtype=torch.bool, device=query.device)
    return (query * key).sum(dim=-1, keepdim=True), (query @ key.transpose(1, 2)).masked_fill(own, OWN)


def monce_loss(
    query: Tensor, key: Tensor, temperature: float, cost_type: str = "hard", eps: float = 1.0, weight: float = 1.0
) -> Tensor:
    """mean_i [ log( exp(s_ii/T) + sum_j W_ij exp(s_ij/T) ) - s_ii/T ].

    W is the entropic optimal transport (MoNCE, eq. 7) between queries and keys, times (P - 1) ``weight``: its kernel is
    exp(c_ij / ``eps``) with c_ij = s_ij ("hard": near patches weigh more) or 1 - s_ij ("easy"). Gradient flows
    through W.
    """
    positive, negative = similarities(query, key)
    cost = negative if cost_type == "hard" else 1 - negative
    own = torch.eye(query.shape[1], dtype=torch.bool, device=query.device)
    kernel = (cost.masked_fill(own, OWN) / eps).exp()
    v = torch.ones_like(positive)
    for _ in range(ROUNDS):
        u = 1 / (kernel @ v)
        v = 1 / (kernel.transpose(1, 2) @ u)
    transport = u * kernel * v.transpose(1, 2) * ((query.shape[1] - 1) * weight) + 1e-8
    others = (transport.log() + negative / temperature).logsumexp(dim=-1, keepdim=True)
    return (torch.logaddexp(positive / temperature, others) - positive / temperature).mean()


def hardness(key: Tensor, gamma: float) -> Tensor:
    """hDCE's weights w_ij (B, P, P): softmax over the other positions j of k_i.k_j / ``gamma``, divided by the largest
    of its row (Jung et al., section 3.3)."""
    key = F.normalize(key, dim=-1)
    _, similarity = similarities(key, key)
    own = torch.eye(key.shape[1], dtype=torch.bool, device=key.device)
    weights = (similarity / gamma).masked_fill(own, -torch.inf).softmax(dim=-1)
    return weights / weights.amax(dim=-1, keepdim=True)


def decoupled_loss(query: Tensor, key: Tensor, temperature: float, weights: Tensor | float = 1.0) -> Tensor:
    """The gradient of mean_i logsumexp_j( (w_ij s_ij - s_ii) / T ): the positive is not in the denominator, so that the
    gradient does not vanish while negatives are easy. The value is the cross entropy with w_ij s_ij in place of s_ij,
    as in the published code, so that curves of both kinds can be compared."""
    positive, negative = similarities(query, key)
    own = torch.eye(query.shape[1], dtype=torch.bool, device=query.device)
    positive, negative = positive / temperature, (negative * weights).masked_fill(own, OWN) / temperature
    others = negative.logsumexp(dim=-1, keepdim=True)
    learned = (others - positive).mean()
    shown = (torch.logaddexp(positive, others) - positive).mean()
    return learned + (shown - learned).detach()


def hdce_loss(query: Tensor, key: Tensor, temperature: float, gamma: float = 1.0) -> Tensor:
    """``decoupled_loss`` with ``hardness`` as weights."""
    return decoupled_loss(query, key, temperature, hardness(key, gamma))


def relation_loss(query: Tensor, key: Tensor) -> Tensor:
    """SRC: the Jensen-Shannon divergence, summed over all entries, between the similarities of the queries among each
    other, softmax(q q'), and those of the keys (Jung et al., eq. 5; the softmax runs over the first position index)."""
    query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
    p, q = ((x @ x.transpose(1, 2)).softmax(dim=1) for x in (query, key))
    middle = ((p + q) / 2).log()
    return ((p * (p.log() - middle)).sum() + (q * (q.log() - middle)).sum()) / 2
