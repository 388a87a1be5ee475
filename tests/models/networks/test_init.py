import math

import pytest
import torch
import torch.nn as nn

from models.networks import init_net, init_weights
from util.errors import UserError


def layers():
    return nn.Sequential(nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), nn.ConvTranspose2d(64, 32, 3), nn.Linear(300, 200))


@pytest.mark.parametrize(
    "init_type, gain, std",
    [
        ("normal", 0.02, lambda fan_in, fan_out: 0.02),
        ("xavier", 0.5, lambda fan_in, fan_out: 0.5 * math.sqrt(2 / (fan_in + fan_out))),
        ("kaiming", 0.5, lambda fan_in, fan_out: math.sqrt(2 / fan_in)),
    ],
)
def test_spread_of_the_weights(init_type, gain, std):
    torch.manual_seed(0)
    net = layers()
    init_weights(net, init_type, gain)
    for layer, fans in ((net[0], (288, 576)), (net[2], (288, 576)), (net[3], (300, 200))):
        assert layer.weight.std().item() == pytest.approx(std(*fans), rel=0.05)
        assert layer.weight.mean().abs() < 0.1 * std(*fans)
        assert layer.bias.abs().max() == 0


def test_orthogonal():
    net = layers()
    init_weights(net, "orthogonal", 0.5)
    weight = net[0].weight.flatten(1)
    torch.testing.assert_close(weight @ weight.T, 0.25 * torch.eye(64), rtol=0, atol=1e-5)


def test_batch_norm():
    torch.manual_seed(0)
    net = nn.BatchNorm2d(2000)
    nn.init.ones_(net.bias)
    init_weights(net, "normal", 0.02)
    assert net.weight.mean().item() == pytest.approx(1, abs=0.002)
    assert net.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert net.bias.abs().max() == 0


def test_init_net_returns_the_net_and_can_leave_it_alone(capsys):
    net = layers()
    before = net[0].weight.clone()
    assert init_net(net, initialize_weights=False) is net
    assert torch.equal(net[0].weight, before)
    init_net(net, "xavier", 1.0, [], debug=True)
    assert not torch.equal(net[0].weight, before)
    assert "Conv2d" in capsys.readouterr().out


def test_unknown_type():
    with pytest.raises(UserError, match="--init_type .* orthogonal"):
        init_weights(layers(), "he")
