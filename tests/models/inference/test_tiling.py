"""Tiles fit together: with fixed statistics they are exactly one pass over the whole image."""

from argparse import Namespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import networks
from models.inference import tiling
from models.inference.tiling import FixedNoise, SharedStatistics, pieces, reach, to_batch, translate_tiles
from models.networks.blocks import InstanceNorm

OPT = Namespace(load_size=64, crop_size=64, stylegan2_G_num_downsampling=1)


def generator(netG, **arguments):
    torch.manual_seed(0)
    arguments = {"norm": "instance", "init_type": "kaiming", "opt": OPT} | arguments
    net = networks.define_G(3, 3, 4 if "resnet" in netG else 1, netG, **arguments)
    for module in net.modules():  # noise that can be seen
        if hasattr(module, "draw_noise"):
            torch.nn.init.constant_(module.weight, 0.3)
    return net.requires_grad_(False)


def picture(height, width):
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(0)
    waves = [128 + 100 * np.sin(x / 19 + k) * np.cos(y / (23 + 5 * k)) for k in range(3)]
    return (np.stack(waves, axis=-1) + rng.integers(-27, 27, (height, width, 3))).astype(np.uint8)


def runner(net):
    def run(batch):
        y = net(batch.float() / 127.5 - 1).clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
        return y.permute(0, 2, 3, 1).numpy()

    return run


def difference(a, b):
    return np.abs(a.astype(int) - b.astype(int))


RESNETS = [
    ("resnet_4blocks", {}),
    ("resnet_4blocks", {"no_antialias": True, "no_antialias_up": True}),
    ("resnet_4blocks", {"norm": "batch"}),
    ("resnet_4blocks", {"norm": "none"}),
    ("smallstylegan2", {}),
    ("stylegan2", {}),
]


@pytest.mark.parametrize("netG, arguments", RESNETS)
def test_no_pixel_depends_on_what_is_farther_away_than_the_reach(netG, arguments):
    net = generator(netG, **arguments).double()
    stride, radius = reach(net)
    size = (2 * radius // 4 + 8) * 4
    x = torch.rand(1, 3, size, size, dtype=torch.float64)
    y = x.clone()
    y[..., size // 2, size // 2] += 1
    with SharedStatistics(net) as statistics, FixedNoise([net], (size, size)):
        statistics.measure(lambda: net(x)) if statistics.norms else None
        changed = (net(x) != net(y)).any(dim=1)[0].nonzero() - size // 2
    assert changed.abs().max() <= radius
    assert changed.abs().max() >= radius // 2  # a reach that is far too long would cost time


def test_the_stride_is_that_of_the_network():
    strides = [reach(generator(netG))[0] for netG in ("resnet_4blocks", "stylegan2", "unet_128")]
    assert strides == [4, 2, 128]


@pytest.mark.parametrize("netG, arguments", RESNETS)
def test_tiles_equal_one_pass_with_the_same_statistics(netG, arguments, monkeypatch):
    net, pixels = generator(netG, **arguments), picture(320, 452)
    run, fixed = runner(net), {}
    exit = SharedStatistics.__exit__
    monkeypatch.setattr(SharedStatistics, "__exit__", lambda self, *e: (fixed.update(self.fixed), exit(self, *e))[1])
    tiled = translate_tiles(net, run, pixels, tile=256)
    with SharedStatistics(net) as statistics, FixedNoise([net], pixels.shape[:2]):
        statistics.fixed = dict(fixed)
        whole = run(to_batch(pixels))[0]
    assert difference(tiled, whole).max() <= 1


def test_statistics_of_several_batches_are_those_of_all_together():
    norm = torch.nn.Sequential(InstanceNorm(3))
    batches = [torch.randn(2, 3, 8, 8) * scale + mean for scale, mean in ((1.0, 0.0), (3.0, 5.0))]
    with SharedStatistics(norm) as statistics:
        for batch in batches:
            statistics.measure(lambda batch=batch: norm(batch))
        ((mean, variance),) = statistics.fixed.values()
        normalized = torch.cat([norm(batch) for batch in batches])
    together = torch.cat(batches)
    assert torch.allclose(mean, together.mean(dim=(0, 2, 3)), atol=1e-5)
    assert torch.allclose(variance, together.var(dim=(0, 2, 3), correction=0), rtol=1e-5)
    assert torch.allclose(normalized.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-2)


def test_tiles_are_close_to_one_pass_with_its_own_statistics():
    net, pixels = generator("resnet_4blocks"), picture(400, 520)
    run = runner(net)
    whole = run(to_batch(pixels))[0]
    assert whole.std() > 20
    assert difference(translate_tiles(net, run, pixels, tile=256), whole).mean() < 3
    alone = np.concatenate([run(to_batch(pixels[:, x : x + 104]))[0] for x in range(0, 520, 104)], axis=1)
    assert difference(alone, whole).mean() > 6  # what tiles without common statistics would give


def test_the_network_is_left_as_it_was():
    net = generator("resnet_4blocks", norm="batch")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    ticks = []
    translate_tiles(net, runner(net), picture(260, 260), tile=256, tick=lambda *done: ticks.append(done))
    assert [done for done, _ in ticks] == list(range(1, len(ticks) + 1)) and {of for _, of in ticks} == {len(ticks)}
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert not any("forward" in vars(module) for module in net.modules())


def test_a_unet_is_blended():
    """Its reach is longer than any tile: no exact seams, so no step may be left where tiles meet."""
    net, pixels = generator("unet_128"), picture(256, 512)
    tiled = translate_tiles(net, runner(net), pixels, tile=256).astype(float)
    assert tiled.shape == (256, 512, 3)
    steps = np.abs(np.diff(tiled, axis=1)).mean(axis=(0, 2))
    starts = [start for start, _ in pieces(512, 256, 128, 32, 128)][1:]
    seams = [steps[x - 1 : x + 129].max() for x in starts]
    assert max(seams) < 1.5 * np.percentile(steps, 99)


@settings(max_examples=200)
@given(
    blocks=st.integers(1, 400),
    tile=st.integers(24, 64),
    margin=st.integers(0, 5),
    extra=st.integers(0, 6),
    s=st.integers(1, 4),
)
def test_pieces_cover_an_axis_and_only_use_pixels_with_surroundings(blocks, tile, margin, extra, s):
    length, tile, margin = blocks * s, tile * s, margin * s
    overlap = 2 * margin + extra * s
    found = pieces(length, tile, overlap, margin, s)
    total = np.full(length, np.nan)
    for start, weight in found:
        assert start % s == 0 and len(weight) == min(tile, length)
        place = total[start : start + len(weight)]
        assert not np.isnan(place[weight < 1]).any()  # what is blended in has been written
        assert (weight >= 0).all() and (weight <= 1).all() and (np.diff(weight) >= 0).all()
        if start:
            assert (weight[:margin] == 0).all()
        total[start : start + len(weight)] = np.where(weight == 1, start, place)
    assert not np.isnan(total).any()
    for (before, _), (start, weight) in zip(found[:-1], found[1:], strict=True):
        shared = before + tile - start
        assert shared >= overlap
        assert (weight[shared - margin :] == 1).all()  # the end of the tile before, which lacks surroundings


@given(st.integers(1, 7000), st.integers(1, 7000), st.sampled_from([1, 4, 128]))
@settings(max_examples=30)
def test_crops_are_inside_and_cover_nearly_everything(height, width, stride):
    height, width = (max(1, side // 8 // stride) * stride for side in (height, width))
    pixels = np.zeros((height, width, 1), np.uint8)
    found = [crop for batch in tiling.crops(pixels, stride, 512 * 512) for crop in batch]
    area = sum(crop.size for crop in found)
    assert all(crop.shape[0] % stride == 0 and crop.shape[1] % stride == 0 for crop in found)
    counts = [max(1, round(side / tiling.CROP)) for side in (height, width)]
    assert area >= (height - counts[0] * stride) * (width - counts[1] * stride)
    assert area <= height * width
