import copy
import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from models import networks
from models.networks.blocks import Downsample, InstanceNorm, ReflectionPad2d, Upsample, get_norm_layer
from scripts.dev.counts import operations
from util.device_kinds import KINDS
from util.errors import UserError

LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "cropped": lambda x: F.pad(x, (1, 2, 1, 1))[:, :, 1:-1, 1:-2],
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
}
LAYOUT_PAIRS = list(itertools.product(LAYOUTS, LAYOUTS))


def normalized(x, eps=1e-5):
    """The definition."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    return (x - mean) / (x - mean).square().mean(dim=(2, 3), keepdim=True).add(eps).sqrt()


def depthwise_down(x, filt):
    return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), filt, stride=2, groups=x.shape[1])


def depthwise_up(x, filt):
    x = F.pad(x, (1, 1, 1, 1), "replicate")
    return F.conv_transpose2d(x, filt, stride=2, padding=2, groups=x.shape[1])[:, :, 1:-1, 1:-1]


def value_and_gradient(function, x, grad=None):
    x = x.detach().requires_grad_()
    y = function(x)
    return y.detach(), torch.autograd.grad(y, x, torch.ones_like(y) if grad is None else grad)[0]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("input_layout, grad_layout", LAYOUT_PAIRS)
def test_instance_norm_in_every_layout(input_layout, grad_layout, batch):
    torch.manual_seed(0)
    x, grad = 3 * torch.randn(batch, 5, 6, 9) + 1, torch.randn(batch, 5, 6, 9)
    exact = value_and_gradient(normalized, x.double(), grad.double())
    ours = value_and_gradient(InstanceNorm(5), LAYOUTS[input_layout](x), LAYOUTS[grad_layout](grad))
    for a, b in zip(ours, exact, strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize("batch", [1, 3])
def test_instance_norm_keeps_the_layout(batch):
    x = torch.randn(batch, 4, 6, 5)
    assert InstanceNorm(4)(x).is_contiguous()
    last = x.contiguous(memory_format=torch.channels_last)
    assert InstanceNorm(4)(last).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("launches", [False, True])
def test_a_batch_in_channels_last_is_few_operations_where_each_is_launched(launches, monkeypatch):
    monkeypatch.setitem(KINDS, "cpu", replace(KINDS["cpu"], launches=launches))
    norm, counts = InstanceNorm(4), []
    for batch in (2, 5):
        x = torch.randn(batch, 4, 6, 5).contiguous(memory_format=torch.channels_last)
        counts.append(operations(lambda x=x: norm(x)))
        assert norm(x).is_contiguous(memory_format=torch.channels_last)
        assert (norm(x) - normalized(x)).abs().max() < 1e-5
    assert (counts[0] == counts[1]) == launches


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("batch", [1, 2])
def test_instance_norm_of_bf16_has_fp32_statistics(layout, batch):
    """A mean of 5 in bf16 is off by up to 0.016, a tenth of this standard deviation."""
    torch.manual_seed(0)
    x = LAYOUTS[layout]((5 + 0.15 * torch.randn(batch, 4, 16, 16)).bfloat16())
    grad = (normalized(x.float()) + torch.randn(x.shape)).bfloat16()
    y, gradient = value_and_gradient(InstanceNorm(4), x, LAYOUTS[layout](grad))
    exact = value_and_gradient(normalized, x.double(), grad.double())
    assert y.dtype == gradient.dtype == torch.bfloat16
    assert (y - exact[0]).abs().max() <= 2**-8 * exact[0].abs().max()
    assert (gradient - exact[1]).abs().max() <= 2**-7 * exact[1].abs().max()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("batch", [1, 2])
def test_instance_norm_twice_differentiable(layout, batch):
    torch.manual_seed(0)
    x = LAYOUTS[layout](torch.randn(batch, 2, 3, 4, dtype=torch.double)).requires_grad_()
    assert gradcheck(InstanceNorm(2), x)
    assert gradgradcheck(InstanceNorm(2), x)


def test_instance_norm_of_one_position():
    with pytest.raises(ValueError, match="one position"):
        InstanceNorm(3)(torch.zeros(2, 3, 1, 1))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("weights_layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(
    "input_layout, grad_layout", list(itertools.product(["contiguous", "channels_last"], repeat=2))
)
def test_gradients_inside_the_generator(input_layout, grad_layout, weights_layout, batch):
    torch.manual_seed(0)
    net = networks.define_G(3, 3, 4, "resnet_4blocks", "instance", init_gain=0.2)
    exact = copy.deepcopy(net).double()
    for module in exact.modules():
        if isinstance(module, InstanceNorm):
            module.forward = normalized
    if weights_layout == "channels_last":
        net.to(memory_format=torch.channels_last)
    x, grad = torch.randn(batch, 3, 16, 20), torch.randn(batch, 3, 16, 20)
    net(LAYOUTS[input_layout](x)).backward(LAYOUTS[grad_layout](grad))
    exact(x.double()).backward(grad.double())
    for (name, ours), (_, theirs) in zip(net.named_parameters(), exact.named_parameters(), strict=True):
        if theirs.grad.norm() > 1e-9:  # the bias in front of a norm has none
            assert (ours.grad - theirs.grad).norm() <= 1e-3 * theirs.grad.norm(), name


def test_autocast_stays_in_bf16():
    net = networks.define_G(3, 3, 4, "resnet_4blocks", "instance")
    with torch.autocast("cpu", torch.bfloat16):
        _, features = net(torch.randn(1, 3, 16, 16), range(1, len(net.model)))
    assert {feature.dtype for feature in features} == {torch.bfloat16}


@settings(max_examples=30)
@given(st.integers(1, 2), st.integers(1, 3), st.integers(2, 9), st.integers(2, 9), st.sampled_from(LAYOUT_PAIRS))
def test_resampling_equals_the_depthwise_formula(batch, channels, height, width, layouts):
    torch.manual_seed(batch + 10 * height + 100 * width)
    x = LAYOUTS[layouts[0]](torch.rand(batch, channels, height, width, dtype=torch.double))
    for module, plain in ((Downsample(channels), depthwise_down), (Upsample(channels), depthwise_up)):
        module, filt = module.double(), module.filt.double()
        grad = LAYOUTS[layouts[1]](torch.rand_like(plain(x, filt)))
        ours = value_and_gradient(module, x, grad)
        for a, b in zip(ours, value_and_gradient(lambda x: plain(x, filt), x, grad), strict=True):  # noqa: B023
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype, bound", [(torch.float32, 1e-6), (torch.bfloat16, 2**-7)])
@pytest.mark.parametrize("block, plain", [(Downsample, depthwise_down), (Upsample, depthwise_up)])
def test_resampling_in_lower_precision(block, plain, dtype, bound, layout):
    torch.manual_seed(0)
    module = block(4)
    x = LAYOUTS[layout](torch.randn(2, 4, 10, 13).to(dtype))
    grad = torch.randn(plain(x.float(), module.filt).shape).to(dtype)
    exact = value_and_gradient(lambda x: plain(x, module.filt.double()), x.double(), grad.double())
    for a, b in zip(value_and_gradient(module, x, LAYOUTS[layout](grad)), exact, strict=True):
        assert a.dtype == dtype and a.is_contiguous(memory_format=torch.channels_last) == (layout != "contiguous")
        assert (a - b).abs().max() <= bound * b.abs().max()


@pytest.mark.parametrize("block", [Downsample, Upsample])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_resampling_twice_differentiable(block, layout):
    x = LAYOUTS[layout](torch.rand(2, 2, 5, 4, dtype=torch.double)).requires_grad_()
    assert gradcheck(block(2).double(), x)
    assert gradgradcheck(block(2).double(), x)


@pytest.mark.parametrize("block, plain", [(Downsample, depthwise_down), (Upsample, depthwise_up)])
def test_filter_of_a_checkpoint_is_honoured(block, plain):
    torch.manual_seed(0)
    x, other = torch.rand(1, 3, 8, 8), block(3)
    other.load_state_dict({"filt": torch.rand_like(other.filt)})
    for a, b in zip(
        value_and_gradient(copy.deepcopy(other), x), value_and_gradient(lambda x: plain(x, other.filt), x), strict=True
    ):
        torch.testing.assert_close(a, b)
    other.load_state_dict(block(3).state_dict())
    torch.testing.assert_close(other(x), block(3)(x), rtol=0, atol=0)


@pytest.mark.parametrize("filt_size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_other_filters_keep_a_constant_image(filt_size, stride):
    small = Downsample(2, "reflect", filt_size, stride)(torch.full((1, 2, 9, 12), 3.0))
    torch.testing.assert_close(small, torch.full_like(small, 3.0))
    if filt_size % 2:
        assert small.shape[2:] == (-(-9 // stride), -(-12 // stride))


def test_upsample_with_an_odd_filter():
    large = Upsample(2, "repl", 3)(torch.full((1, 2, 5, 4), 2.0))
    assert large.shape == (1, 2, 10, 8)


@pytest.mark.parametrize("width", [1, 3])
def test_reflection_under_autocast(width):
    x = torch.randn(1, 2, 5, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        padded = ReflectionPad2d(width)(x)
    assert torch.equal(padded, F.pad(x, (width,) * 4, "reflect"))
    assert padded.dtype == torch.bfloat16


def test_norms_by_name():
    batch = get_norm_layer("batch")(4)
    assert batch.affine and batch.track_running_stats
    assert list(get_norm_layer("instance")(4).state_dict()) == []
    x = torch.randn(1, 4, 2, 2)
    assert get_norm_layer("none")(4)(x) is x
    with pytest.raises(UserError, match="--normG"):
        get_norm_layer("layer")


def test_graph_is_captured_whole_and_is_equal():
    torch.manual_seed(0)
    net = networks.define_D(3, 4, "basic", 3, "instance", init_gain=0.2).double()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    for layout in ("contiguous", "channels_last"):
        x = LAYOUTS[layout](torch.randn(2, 3, 32, 32, dtype=torch.double))
        for a, b in zip(value_and_gradient(compiled, x), value_and_gradient(net, x), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
