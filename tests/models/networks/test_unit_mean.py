"""The closed-form mean projection against the plain one."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.networks import unit_mean as module
from models.networks.patch_projector import PatchProjector, l2_normalize
from util.device_kinds import KINDS


def projector(dtype=torch.float64):
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6)).to(dtype)
    return mlp.requires_grad_(False)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("chunk", [4, 64])
@pytest.mark.parametrize("launches", [False, True])
def test_value_and_gradient_equal_the_plain_mean(batch, chunk, launches, monkeypatch):
    monkeypatch.setitem(KINDS, "cpu", replace(KINDS["cpu"], launches=launches))
    monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(module, "AT_ONCE", 6 * 7 * batch)  # 7 patches of 6 channels
    assert module.chunk_size(torch.empty(batch, 23, 5), 6) == (max(chunk, 7) if launches else chunk)
    mlp = projector()
    x = torch.randn(batch, 23, 5, dtype=torch.float64, requires_grad=True)
    g = torch.randn(batch, 6, dtype=torch.float64)
    ours, plain = module.unit_mean(mlp, x), l2_normalize(mlp(x)).mean(dim=1)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-14)
    (mine,) = torch.autograd.grad(ours, x, g)
    (theirs,) = torch.autograd.grad(plain, x, g)
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-14)


def test_in_bf16_it_stays_near_fp32():
    mlp = projector(torch.float32)
    x = torch.randn(2, 400, 5, requires_grad=True)
    g = torch.randn(2, 6)
    (wanted,) = torch.autograd.grad(l2_normalize(mlp(x)).mean(dim=1), x, g)
    with torch.autocast("cpu", torch.bfloat16):
        mean = module.unit_mean(mlp, x)
    (found,) = torch.autograd.grad(mean, x, g)
    assert mean.dtype == torch.float32
    # ReLUs near zero may switch, so the measure is the whole gradient's, not its largest difference.
    assert (found - wanted).norm() < 0.03 * wanted.norm()


def test_a_projection_of_zero_length_has_a_finite_gradient():
    mlp = projector()
    for weight in mlp.parameters():
        weight.zero_()
    x = torch.randn(1, 3, 5, dtype=torch.float64, requires_grad=True)
    module.unit_mean(mlp, x).sum().backward()
    assert x.grad.isfinite().all()


def test_a_learning_projector_learns_through_its_mean():
    net = PatchProjector([3], nc=4, init_type="normal", init_gain=0.5)
    features = [torch.randn(1, 3, 6, 5)]
    net.spatial_mean(features)[0].sum().backward()
    found = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    l2_normalize(net.mlp_0(features[0].flatten(2).transpose(1, 2))).mean(dim=1).sum().backward()
    for mine, parameter in zip(found, net.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-4, atol=1e-6)
