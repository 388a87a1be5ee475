import pytest
import torch

from models import networks
from models.networks.patchgan import tiles


def test_tiles_go_row_by_row():
    x = torch.arange(2 * 1 * 5 * 7).reshape(2, 1, 5, 7)
    cut = tiles(x, 2)
    assert cut.shape == (2 * 2 * 3, 1, 2, 2)
    assert torch.equal(cut[1], x[0, :, :2, 2:4])
    assert torch.equal(cut[3], x[0, :, 2:4, :2])
    assert torch.equal(cut[6], x[1, :, :2, :2])


def test_patch_discriminator_judges_each_tile_alone():
    torch.manual_seed(0)
    net = networks.define_D(3, 4, "patch", norm="instance", init_gain=0.2).double()
    x = torch.rand(2, 3, 32, 48, dtype=torch.double)
    scores = net(x)
    assert scores.shape == (2 * 6, 1, 2, 2)
    torch.testing.assert_close(net(x[1:, :, 16:, :16]), scores[9:10], rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_gradient_penalty(norm):
    """Second derivatives against finite differences of the first."""
    torch.manual_seed(0)
    net = networks.define_D(3, 2, "basic", norm=norm, init_gain=0.3).double()
    weight, x = net.model[3].weight, torch.rand(1, 3, 32, 32, dtype=torch.double)

    def penalty():
        sample = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(net(sample).sum(), sample, create_graph=True)
        return gradient.square().sum()

    penalty().backward()
    step = torch.randn_like(weight)
    with torch.no_grad():
        weight += 1e-6 * step
        above = penalty_value(penalty)
        weight -= 2e-6 * step
        below = penalty_value(penalty)
    slope = (weight.grad * step).sum().item()
    assert slope == pytest.approx((above - below) / 2e-6, rel=1e-4)


def penalty_value(penalty):
    with torch.enable_grad():
        return penalty().item()
