"""Objectives against their formulas, written out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from models.losses import (
    GANLoss,
    as_one_image,
    cal_gradient_penalty,
    contrastive_loss,
    diversity_loss,
    info_nce,
    mean_similarities,
    patch_nce_loss,
    patch_similarities,
)
from util.errors import UserError

few = settings(max_examples=30)
sizes = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5))  # B, P, n, C


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


# Adversarial

FORMULAS = {
    "lsgan": (lambda d: (d - 1) ** 2, lambda d: d**2),
    "vanilla": (lambda d: math.log1p(math.exp(-d)), lambda d: math.log1p(math.exp(d))),
    "wgangp": (lambda d: -d, lambda d: d),
    "nonsaturating": (lambda d: math.log1p(math.exp(-d)), lambda d: math.log1p(math.exp(d))),
}


@few
@given(
    mode=st.sampled_from(list(FORMULAS)),
    values=st.lists(st.lists(st.floats(-20, 20), min_size=6, max_size=6), min_size=1, max_size=3),
    is_real=st.booleans(),
)
def test_gan_losses(mode, values, is_real):
    prediction = torch.tensor(values, dtype=torch.float64).view(-1, 1, 2, 3)
    formula = FORMULAS[mode][0 if is_real else 1]
    each = [sum(map(formula, image)) / 6 for image in values]
    loss = GANLoss(mode)(prediction, is_real)
    if mode == "nonsaturating":  # one value an image
        assert loss.tolist() == pytest.approx(each)
    else:
        assert loss.shape == () and loss.item() == pytest.approx(sum(each) / len(each))


@pytest.mark.parametrize("mode", FORMULAS)
@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_gan_losses_of_extreme_predictions(mode, value):
    prediction = torch.full((1, 1, 2, 2), value, requires_grad=True)
    loss = GANLoss(mode)(prediction, True).mean()
    loss.backward()
    assert loss.isfinite() and prediction.grad.isfinite().all()


@pytest.mark.parametrize("mode", FORMULAS)
def test_gan_losses_of_half_precision_predictions_are_fp32(mode):
    prediction = torch.full((2, 1, 3, 3), 0.3, dtype=torch.bfloat16)
    loss = GANLoss(mode)(prediction, False)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, GANLoss(mode)(prediction.float(), False))


def test_labels_can_be_others_and_are_not_saved():
    criterion = GANLoss("lsgan", target_real_label=0.9, target_fake_label=0.1)
    assert criterion(torch.ones(1), True).item() == pytest.approx(0.01)
    assert criterion(torch.ones(1), False).item() == pytest.approx(0.81)
    assert not criterion.state_dict()


def test_an_unknown_mode():
    with pytest.raises(UserError, match="--gan_mode hinge: choose from lsgan, vanilla, wgangp, nonsaturating"):
        GANLoss("hinge")


# Contrastive


def plain_nce(query, key, negatives, temperature: float) -> float:
    """-log softmax of the positive among it and the negatives, a query at a time; CUT's own place has cosine -10."""
    images, patches = query.shape[:2]
    losses = []
    for b in range(images):
        for i in range(patches):
            if negatives is None:
                logits = [-10.0 if j == i else (query[b, i] @ key[b, j]).item() for j in range(patches)]
            else:
                logits = [(query[b, i] @ n).item() for n in negatives[b]]
            positive = (query[b, i] @ key[b, i]).item() / temperature
            largest = max([positive, *(x / temperature for x in logits)])
            total = math.exp(positive - largest) + sum(math.exp(x / temperature - largest) for x in logits)
            losses.append(math.log(total) + largest - positive)
    return sum(losses) / len(losses)


@few
@given(size=sizes, with_negatives=st.booleans(), across=st.booleans(), temperature=st.sampled_from([0.01, 0.07, 1.0]))
def test_nce_equals_a_plain_loop(size, with_negatives, across, temperature):
    images, patches, count, channels = size
    query, key = unit(images, patches, channels), unit(images, patches, channels, seed=1)
    negatives = unit(images, count, channels, seed=2) if with_negatives else None
    loss = contrastive_loss([query, key], [key, key], [negatives] * 2, temperature, across).item()  # of two layers
    own = info_nce(*((key, key, negatives) if not across else map(as_one_image, (key, key, negatives))), temperature)
    if across:
        query, key, negatives = map(as_one_image, (query, key, negatives))
    positive, negative = patch_similarities(query, key, negatives)
    total = images * patches
    assert positive.shape == ((1, total, 1) if across else (images, patches, 1))
    expected = count * images if with_negatives else total
    assert negative.shape[-1] == (expected if across else count if with_negatives else patches)
    wanted = plain_nce(query, key, negatives, temperature)
    assert patch_nce_loss(positive, negative, temperature).item() == pytest.approx(wanted, abs=1e-12)
    assert info_nce(query, key, negatives, temperature).item() == pytest.approx(wanted, abs=1e-12)
    assert loss == pytest.approx((wanted + own.item()) / 2, abs=1e-12)


def test_nce_at_its_limits():
    """Practically zero against far negatives, log(n + 1) against copies of the key."""
    query = unit(1, 4, 8)
    far, same = -query[:, :1].expand(1, 256, 8), query[:, :1].expand(1, 256, 8)
    one = query[:, :1]
    assert patch_nce_loss(*patch_similarities(one, one, far), 0.07).item() < 1e-9
    assert patch_nce_loss(*patch_similarities(one, one, same), 0.07).item() == pytest.approx(math.log(257))
    orthogonal = torch.zeros(1, 256, 1, dtype=torch.float64)
    wanted = math.log(1 + 256 * math.exp(-1 / 0.07))
    found = patch_nce_loss(torch.ones(1, 1, 1, dtype=torch.float64), orthogonal.transpose(1, 2), 0.07)
    assert found.item() == pytest.approx(wanted)


def test_nce_is_fp32_under_autocast():
    query, key = unit(1, 4, 8).float(), unit(1, 4, 8, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        positive, negative = patch_similarities(query, key, None)
    assert positive.dtype == negative.dtype == torch.float32
    assert torch.equal(negative, patch_similarities(query, key, None)[1])


@few
@given(size=sizes, own=st.booleans())
def test_statistics_leave_the_own_place_out(size, own):
    images, patches, count, channels = size
    query, key = unit(images, patches, channels), unit(images, patches, channels, seed=1)
    negatives = None if own else unit(images, count, channels, seed=2)
    positive, negative = mean_similarities(query, key, negatives)
    pairs = [
        (query[b, i] @ other).item()
        for b in range(images)
        for i in range(patches)
        for j, other in enumerate(key[b] if own else negatives[b])
        if not own or i != j
    ]
    assert positive.item() == pytest.approx((query * key).sum(-1).mean().item())
    assert negative.item() == pytest.approx(sum(pairs) / len(pairs) if pairs else 0, abs=1e-9)


@few
@given(images=st.integers(1, 3), count=st.integers(2, 9), channels=st.integers(1, 4))
def test_diversity(images, count, channels):
    negatives = unit(images, count, channels)
    half = count // 2
    distances = [
        abs((negatives[b, j, c] - negatives[b, half + j, c]).item())
        for b in range(images)
        for j in range(half)
        for c in range(channels)
    ]
    assert diversity_loss(negatives).item() == pytest.approx(-sum(distances) / len(distances))


# Gradient penalty


class Linear(nn.Module):
    """D(x) = w . x, whose gradient is w everywhere."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return (x * self.weight).sum(dim=(1, 2, 3))


@pytest.mark.parametrize("type", ["real", "fake", "mixed"])
@pytest.mark.parametrize("constant, lambda_gp", [(1.0, 10.0), (0.5, 2.0)])
def test_gradient_penalty_of_a_linear_critic(type, constant, lambda_gp):
    critic = Linear(torch.arange(12.0).view(3, 2, 2) / 10)
    real, fake = torch.rand(2, 3, 2, 2), torch.rand(2, 3, 2, 2)
    penalty, gradient = cal_gradient_penalty(critic, real, fake, type, constant, lambda_gp)
    norm = critic.weight.norm().item()
    assert penalty.item() == pytest.approx(lambda_gp * (norm - constant) ** 2, rel=1e-5)
    assert torch.allclose(gradient, critic.weight.detach().flatten().expand(2, -1))
    penalty.backward()  # d/dw lambda (|w| - c)^2 = 2 lambda (|w| - c) w / |w|
    wanted = 2 * lambda_gp * (norm - constant) / norm * critic.weight.detach()
    torch.testing.assert_close(critic.weight.grad, wanted, rtol=1e-4, atol=1e-5)


def test_gradient_penalty_of_nothing():
    penalty, gradient = cal_gradient_penalty(Linear(torch.ones(1, 2, 2)), torch.rand(1, 1, 2, 2), None, lambda_gp=0.0)
    assert penalty.item() == 0 and gradient is None
