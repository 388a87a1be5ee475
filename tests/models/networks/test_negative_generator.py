"""N's negatives against the equation, written out here: n_j = normalize(W2 relu(W1 [m, z_j] + b1) + b2)."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks import SOURCES, init_net
from models.networks.patch_projector import PatchProjector

CHANNELS, NC, PATCHES, IMAGES = [3, 5], 8, 6, 2


def mlp(layers: nn.Sequential, x: Tensor) -> Tensor:
    first, _, last = layers
    return (x @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias


def rows(feature: Tensor) -> Tensor:
    return feature.flatten(2).transpose(1, 2)  # (B, H * W, C)


def mean_projection(netF: nn.Module, layer: int, feature: Tensor) -> Tensor:
    return F.normalize(mlp(netF.get_submodule(f"mlp_{layer}"), rows(feature)), dim=2).mean(dim=1)


def conv_mean(N: nn.Module, layer: int, feature: Tensor) -> Tensor:
    first, _, last = N.get_submodule(f"conv_{layer}")
    hidden = (rows(feature) @ first.weight[..., 0, 0].T + first.bias).clamp(min=0)
    return (hidden @ last.weight[..., 0, 0].T + last.bias).mean(dim=1)


MEANS = {  # m of each source, from N, F, F_, the layer and its feature
    "neg_gen_momentum": lambda N, netF, netF_, *where: mean_projection(netF_, *where),
    "neg_gen_al": lambda N, netF, netF_, *where: mean_projection(netF, *where),
    "neg_gen": lambda N, netF, netF_, *where: conv_mean(N, *where),
}


def test_every_source_is_held_against_the_equation():
    assert set(SOURCES) == {*MEANS, "neg_param"}


@pytest.mark.parametrize("netN", SOURCES)
def test_negatives_are_those_of_the_equation(netN):
    torch.manual_seed(0)
    netF, netF_ = (PatchProjector(CHANNELS, NC).double() for _ in range(2))
    N = init_net(SOURCES[netN](CHANNELS, [NC] * 2, NC, PATCHES), "normal", 0.5).double()
    for net in (netF, netF_, N):
        for weight in net.parameters():
            nn.init.normal_(weight, std=0.5)
    features = [torch.randn(IMAGES, width, 4, 3, dtype=torch.float64) for width in CHANNELS]
    noise = [torch.randn(IMAGES, PATCHES, N.noise_nc, dtype=torch.float64) for _ in CHANNELS]
    made = N(N.summarize(features, netF, netF_), noise)
    for layer, (feature, z) in enumerate(zip(features, noise, strict=True)):
        if netN == "neg_param":
            wanted = N.neg_sample[layer].expand(IMAGES, -1, -1)
        else:
            m = MEANS[netN](N, netF, netF_, layer, feature)
            wanted = mlp(N.get_submodule(f"mlp_{layer}"), torch.cat((m[:, None].expand(-1, PATCHES, -1), z), dim=2))
        torch.testing.assert_close(made[layer], F.normalize(wanted, dim=2), rtol=1e-6, atol=1e-6)
