"""Objectives: adversarial, patch contrastive, diversity of the negatives, gradient penalties."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from util.errors import UserError
from util.launches import go_together
from util.precision import no_autocast

OWN = -10.0  # stands for the own key's cosine, as in CUT: its exp(OWN / T) is nothing


class GANLoss(nn.Module):
    """How far the discriminator's ``prediction`` is from "real" or "fake".

    lsgan: (D - 1)^2 or D^2; vanilla: binary cross-entropy of the logit; wgangp: -D or D;
    nonsaturating: softplus(-D) or softplus(D), one value an image. Otherwise a scalar.
    """

    def __init__(self, gan_mode: str, target_real_label: float = 1.0, target_fake_label: float = 0.0):
        super().__init__()
        if gan_mode not in ("lsgan", "vanilla", "wgangp", "nonsaturating"):
            raise UserError(f"--gan_mode {gan_mode}: choose from lsgan, vanilla, wgangp, nonsaturating")
        self.gan_mode = gan_mode
        self.register_buffer("real_label", torch.tensor(target_real_label), persistent=False)
        self.register_buffer("fake_label", torch.tensor(target_fake_label), persistent=False)

    def forward(self, prediction: Tensor, target_is_real: bool) -> Tensor:
        prediction = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
        if self.gan_mode in ("lsgan", "vanilla"):
            label = (self.real_label if target_is_real else self.fake_label).to(prediction.dtype)
            loss = F.mse_loss if self.gan_mode == "lsgan" else F.binary_cross_entropy_with_logits
            return loss(prediction, label.expand_as(prediction))
        signed = -prediction if target_is_real else prediction
        if self.gan_mode == "wgangp":
            return signed.mean()
        return F.softplus(signed).view(prediction.shape[0], -1).mean(dim=1)


def contrastive_loss(
    queries: list[Tensor],
    keys: list[Tensor],
    negatives: list[Tensor | None],
    temperature: float = 0.07,
    across_images: bool = False,
    loss: Callable[[Tensor, Tensor, Tensor | None, float], Tensor] | None = None,
) -> Tensor:
    """The mean over layers of ``loss`` (default: ``info_nce``), which is one over queries, image by image.

    Of each layer: queries and keys (B, P, C) of unit length, negatives (B, n, C), or None for CUT's, the keys of the
    other positions. ``across_images``: the negatives of all images of the batch serve every query.
    """
    loss = loss or info_nce
    vectors = (queries, keys, negatives)
    if across_images:
        vectors = [[as_one_image(x) for x in layers] for layers in vectors]
    if all(layers[0] is None or go_together(layers) for layers in vectors):  # as images of one layer
        vectors = [[None if layers[0] is None else torch.cat(layers)] for layers in vectors]
    losses = [loss(query, key, n, temperature) for query, key, n in zip(*vectors, strict=True)]
    return sum(losses[1:], losses[0]) / len(losses)


def info_nce(
    query: Tensor, key: Tensor, negatives: Tensor | None, temperature: float, and_patches: bool = False
) -> Tensor:
    """Mean over queries of the cross entropy of [q.k, q.n_1, q.n_2, ...] / T with target 0 (CUT, section 3)."""
    return patch_nce_loss(*patch_similarities(query, key, negatives, and_patches), temperature)


def nonsaturating_loss(query: Tensor, key: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Mean over queries of -log(1 - p), p the share of exp(q.k/T) in exp(q.k/T) + sum_j exp(q.n_j/T); what N minimises
    with ``--loss_N nonsaturating``. Its gradient with respect to q.n_j/T is p times the share of n_j among the
    negatives: large while they are easy, where that of -InfoNCE is next to nothing."""
    positive, negative = patch_similarities(query, key, negatives)
    positive, others = positive / temperature, (negative / temperature).logsumexp(dim=-1, keepdim=True)
    return (torch.logaddexp(positive, others) - others).mean()


def own_keys(key: Tensor) -> Tensor:
    """Which of the (P, P) pairs of queries and keys are at one position."""
    return torch.eye(key.shape[1], dtype=torch.bool, device=key.device)


def patch_similarities(
    query: Tensor, key: Tensor, negatives: Tensor | None, and_patches: bool = False
) -> tuple[Tensor, Tensor]:
    """Cosines of every query with its positive, (B, P, 1), and with its negatives, (B, P, n); with None for CUT's
    negatives these are the keys of all positions, (B, P, P), the own one replaced by -10. ``and_patches``: CUT's stand
    behind those given."""
    with no_autocast(query.device):
        positive = (query * key).sum(dim=-1, keepdim=True)
        if negatives is None:
            return positive, (query @ key.transpose(1, 2)).masked_fill(own_keys(key), OWN)
        negative = query @ negatives.transpose(1, 2)
        if and_patches:
            negative = torch.cat((negative, patch_similarities(query, key, None)[1]), dim=-1)
        return positive, negative


def patch_nce_loss(positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """InfoNCE: mean over queries of -log( exp(q.k/T) / (exp(q.k/T) + sum_j exp(q.n_j/T)) )."""
    logits = torch.cat((positive, negative), dim=-1) / temperature
    return -logits.log_softmax(dim=-1).select(-1, 0).mean()


def as_one_image(vectors: Tensor | None) -> Tensor | None:
    """(B, n, C) of B images -> (1, B * n, C), as if all were of one."""
    return None if vectors is None else vectors.reshape(1, -1, vectors.shape[-1])


@torch.no_grad()
def mean_similarities(query: Tensor, key: Tensor, negatives: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean cosines of ``patch_similarities``, without CUT's -10, of (..., B, P, C) vectors: the mean of all products of
    two sets of vectors is the product of their means."""
    positive = (query * key).sum(dim=-1).mean(dim=(-2, -1))
    if negatives is not None:
        return positive, (query.mean(dim=-2) * negatives.mean(dim=-2)).sum(dim=-1).mean(dim=-1)
    count = query.shape[-2]
    every = (query.mean(dim=-2) * key.mean(dim=-2)).sum(dim=-1).mean(dim=-1)
    return positive, (every * count - positive) / max(1, count - 1)


def diversity_loss(negatives: Tensor) -> Tensor:
    """-mean |n[first half] - n[second half]| of (..., B, n, C) negatives: low when they are spread."""
    first, second, *_ = negatives.split(negatives.shape[-2] // 2, dim=-2)
    return -(first - second).abs().mean(dim=(-3, -2, -1))


def cal_gradient_penalty(
    netD: nn.Module, real: Tensor, fake: Tensor, type: str = "mixed", constant: float = 1.0, lambda_gp: float = 10.0
) -> tuple[Tensor, Tensor | None]:
    """WGAN-GP: lambda * mean (||dD/dx|| - constant)^2 at real, fake or mixed x, and that gradient."""
    if lambda_gp <= 0:
        return torch.zeros((), device=real.device), None
    alpha = torch.rand(real.shape[0], 1, 1, 1, device=real.device)
    points = {"real": real, "fake": fake, "mixed": alpha * real + (1 - alpha) * fake}[type]
    points = points.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(netD(points).sum(), points, create_graph=True)
    gradient = gradient.flatten(1)
    return ((gradient + 1e-16).norm(2, dim=1) - constant).square().mean() * lambda_gp, gradient
