"""Objectives: adversarial, patch contrastive, diversity of the negatives, gradient penalties."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from util.errors import UserError


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


def patch_similarities(
    query: Tensor, key: Tensor, negatives: Tensor | None, across_images: bool
) -> tuple[Tensor, Tensor]:
    """Cosines of every query with its positive, (B, P, 1), and with its negatives, (B, P, n).

    query, key: (B, P, C) of unit length, the key without gradient. ``negatives``: (B, n, C), or None for CUT's: the
    keys of the other positions, the own one replaced by -10. ``across_images``: the negatives of all images of the
    batch serve every query (B becomes 1 and P becomes B * P).
    """
    if across_images:
        query, key = (x.reshape(1, -1, x.shape[-1]) for x in (query, key))
        negatives = None if negatives is None else negatives.reshape(1, -1, negatives.shape[-1])
    with torch.autocast(query.device.type, enabled=False):
        positive = (query * key).sum(dim=-1, keepdim=True)
        if negatives is not None:
            return positive, query @ negatives.transpose(1, 2)
        own = torch.eye(query.shape[1], dtype=torch.bool, device=query.device)
        return positive, (query @ key.transpose(1, 2)).masked_fill(own, -10.0)


def patch_nce_loss(positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """InfoNCE: mean over queries of -log( exp(q.k/T) / (exp(q.k/T) + sum_j exp(q.n_j/T)) )."""
    logits = torch.cat((positive, negative), dim=-1) / temperature
    return -logits.log_softmax(dim=-1)[..., 0].mean()


def hard_negative_loss(positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """What a generator of negatives minimises without saturating: mean over queries of -log(1 - p), p the share of
    exp(q.k/T) in exp(q.k/T) + sum_j exp(q.n_j/T). So it is logsumexp over the positive and all negatives minus
    logsumexp over the negatives; its gradient, p times a negative's share among the negatives, is large while they are
    easy."""
    positive, others = positive / temperature, (negative / temperature).logsumexp(dim=-1, keepdim=True)
    return (torch.logaddexp(positive, others) - others).mean()


def similarity_statistics(layer: int, positive: Tensor, negative: Tensor, own_among_them: bool) -> dict[str, Tensor]:
    """Mean cosines of ``patch_similarities``; with ``own_among_them`` without the -10 that stands for the own key."""
    mean = negative.detach().mean()
    if own_among_them:
        count = negative.shape[-1]
        mean = (mean * count + 10) / max(1, count - 1)
    return {f"similarity_positive_{layer}": positive.detach().mean(), f"similarity_negative_{layer}": mean}


def diversity_loss(negatives: Tensor) -> Tensor:
    """-mean |n[first half] - n[second half]| of (B, n, C) negatives: low when they are spread."""
    half = negatives.shape[1] // 2
    return -(negatives[:, :half] - negatives[:, half : 2 * half]).abs().mean()


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
