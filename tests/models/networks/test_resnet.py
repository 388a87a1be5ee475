import pytest
import torch
import torch.nn as nn

from models import networks
from util.errors import UserError


def generator(norm="instance", **options):
    torch.manual_seed(0)
    return networks.define_G(3, 3, 2, "resnet_4blocks", norm, init_gain=0.2, **options).double()


def image(batch=1, height=16, width=20):
    return torch.rand(batch, 3, height, width, dtype=torch.double)


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("no_antialias", [False, True])
def test_a_feature_is_what_its_layer_returns(norm, no_antialias):
    """Of every layer, also one in front of a ReLU."""
    net, x = generator(norm, no_antialias=no_antialias).eval(), image(2)
    layers = list(range(len(net.model)))
    output, features = net(x, layers)
    value = x
    for layer, feature in zip(net.model, features, strict=True):
        value = layer(value)
        assert torch.equal(feature, value)
    assert torch.equal(output, value) and torch.equal(output, net(x))
    assert net.feature_channels(layers) == [feature.shape[1] for feature in features]


def test_order_repetition_and_last_layer():
    net, layers = generator(), [8, 0, -1, 8]
    output, features = net(image(), layers)
    assert layers == [8, 0, -1, 8]
    assert features[0] is features[3] and features[2] is output
    assert net.feature_channels(layers) == [f.shape[1] for f in features] == [8, 3, 3, 8]


def test_encode_only_stops_at_the_last_layer_needed():
    net, x, called = generator(), image(), []
    for index, layer in enumerate(net.model):
        layer.register_forward_hook(lambda *_, index=index: called.append(index))
    features = net(x, [4, 0], encode_only=True)
    assert called == [0, 1, 2, 3, 4]
    for ours, full in zip(features, net(x, [4, 0])[1], strict=True):
        assert torch.equal(ours, full)


@pytest.mark.parametrize("layer", [27, -2, 1000])
def test_a_layer_that_does_not_exist(layer):
    net = generator()
    assert len(net.model) == 27
    for call in (lambda: net(image(), [0, layer]), lambda: net.feature_channels([0, layer])):
        with pytest.raises(UserError, match=f"--nce_layers has {layer}, .* 0 to 26"):
            call()


@pytest.mark.parametrize("height, width, out", [(16, 16, (16, 16)), (17, 18, (20, 20)), (19, 31, (20, 32))])
def test_output_size(height, width, out):
    for no_antialias in (False, True):
        net = generator(no_antialias=no_antialias, no_antialias_up=no_antialias)
        assert net(image(1, height, width)).shape[2:] == out


def test_dropout_only_in_training():
    net, x = generator(use_dropout=True), image()
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize("padding_type", ["reflect", "replicate", "zero"])
def test_padding_of_the_blocks(padding_type):
    net = networks.ResnetGenerator(3, 3, 2, nn.InstanceNorm2d, n_blocks=1, padding_type=padding_type)
    assert net(torch.rand(1, 3, 16, 16)).shape == (1, 3, 16, 16)
    assert net.model[1].bias is not None
    with pytest.raises(UserError, match="reflect"):
        networks.ResnetGenerator(3, 3, 2, padding_type="circular")
