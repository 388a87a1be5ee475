"""DRN-D-22: the names and shapes of the public checkpoint, its receptive field and upsampling."""

import pytest
import torch

from util.metrics.drn import DRNSegmentation


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return DRNSegmentation().eval()


def public_shapes() -> dict[str, tuple[int, ...]]:
    """Written from the published architecture's table: name -> shape, batch norms aside."""
    shapes = {"base.0.0": (16, 3, 7, 7), "base.1.0": (16, 16, 3, 3), "base.2.0": (32, 16, 3, 3)}
    widths = {3: (32, 64), 4: (64, 128), 5: (128, 256), 6: (256, 512)}
    for level, (before, width) in widths.items():
        for block, channels in ((0, before), (1, width)):
            shapes[f"base.{level}.{block}.conv1"] = (width, channels, 3, 3)
            shapes[f"base.{level}.{block}.conv2"] = (width, width, 3, 3)
        shapes[f"base.{level}.0.downsample.0"] = (width, before, 1, 1)
    shapes |= {"base.7.0": (512, 512, 3, 3), "base.8.0": (512, 512, 3, 3)}
    return {f"{name}.weight": shape for name, shape in shapes.items()} | {
        "seg.weight": (19, 512, 1, 1),
        "seg.bias": (19,),
        "up.weight": (19, 1, 16, 16),
    }


def test_names_and_shapes_are_the_public_ones(net):
    state = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    weights = {key: shape for key, shape in state.items() if len(shape) != 1 or key == "seg.bias"}
    weights = {key: shape for key, shape in weights.items() if not key.endswith("num_batches_tracked")}
    assert weights == public_shapes()
    assert "base.3.0.bn2.running_var" in state and "base.3.0.downsample.1.weight" in state
    assert len(state) == 153 and sum(p.numel() for p in net.parameters()) == 15_895_363


def test_output_has_the_input_size(net):
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 64, 96)).shape == (1, 19, 64, 96)


def test_upsampling_is_bilinear(net):
    x = torch.randn(1, 19, 6, 5)
    expected = torch.nn.functional.interpolate(x, scale_factor=8, mode="bilinear", align_corners=False)
    inside = (slice(None), slice(None), slice(8, -8), slice(8, -8))  # at the border one pads with 0, the other repeats
    torch.testing.assert_close(net.up(x)[inside], expected[inside])


def test_dilations(net):
    """Stride 8 in all, then dilation 2, 4, 2, 1."""
    convolutions = [m for m in net.base.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
    assert [m.stride[0] for m in convolutions] == [1, 2] + [2, 1, 1, 1] * 2 + [1] * 10
    assert [m.dilation[0] for m in convolutions] == [1] * 10 + [2] * 4 + [4] * 4 + [2, 1]
