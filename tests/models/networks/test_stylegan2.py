import json
import os
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import networks
from util.errors import UserError

FOLDER = os.environ.get("NEGCUT_REFERENCE_DIR")


def options(**changed):
    return Namespace(**{"load_size": 32, "crop_size": 32, "stylegan2_G_num_downsampling": 1, **changed})


def generator(netG="stylegan2", **changed):
    torch.manual_seed(0)
    return networks.define_G(3, 3, 1, netG, opt=options(**changed)).double()


@pytest.mark.skipif(not FOLDER, reason="NEGCUT_REFERENCE_DIR does not name the reference numbers")
def test_recorded_translation_with_recorded_noise():
    record = json.loads((Path(FOLDER) / "sincut.json").read_text())
    data, opt = np.load(Path(FOLDER) / "sincut.npz"), Namespace(**record["options"])
    net = networks.define_G(opt.input_nc, opt.output_nc, opt.ngf, opt.netG, opt.normG, opt=opt).double()
    weights = {key[7:]: torch.from_numpy(data[key]) for key in data.files if key.startswith("init/G/")}
    assert net.load_state_dict(weights, strict=False).unexpected_keys == []
    noise = [
        torch.from_numpy(data[d["key"]]).double()
        for d in record["draws"]
        if d["step"] == 0 and d["phase"] == "forward" and d["kind"] == "normal_"
    ]
    net.set_noise_source(lambda image: noise.pop(0))
    with torch.no_grad():
        fake = net(torch.cat([torch.from_numpy(data["data/0/A"]), torch.from_numpy(data["data/0/B"])]).double())
    recorded = data["visual/fake_B"]
    assert noise == []
    assert np.abs(fake[: len(recorded)].numpy() - recorded).max() <= 1e-7 * np.abs(recorded).max()


def test_noise_is_drawn_anew_and_can_be_replaced():
    net, x = generator(), torch.rand(2, 3, 32, 32).double()
    assert torch.equal(net(x), net(x))  # its weight starts at zero
    for module in net.modules():
        if hasattr(module, "draw_noise"):
            torch.nn.init.ones_(module.weight)
    assert not torch.equal(net(x), net(x))
    net.set_noise_source(lambda image: torch.ones_like(image[:, :1]))
    assert torch.equal(net(x), net(x))


def test_small_generator_takes_no_noise():
    net, x = generator("smallstylegan2"), torch.rand(1, 3, 32, 32).double()
    net.set_noise_source(None)
    assert net(x).shape == x.shape


def test_features_of_the_encoder():
    net, x = generator(stylegan2_G_num_downsampling=2), torch.rand(2, 3, 32, 32).double()
    image, features = net(x, [0, 2, -1])
    assert torch.equal(features[0], x) and image.shape == x.shape
    assert [f.shape[1] for f in features] == net.feature_channels([0, 2, -1])
    assert [f.shape[3] for f in features] == [32, 16, 8]
    for ours, alone in zip(features, net(x, [0, 2, -1], encode_only=True), strict=True):
        assert torch.equal(ours, alone)
    with pytest.raises(UserError, match="nce_layers"):
        net(x, [len(net.encoder.convs)])


def test_strided_blur_of_the_skip_equals_blur_then_stride():
    net = networks.define_D(3, 1, "stylegan2", opt=options()).double()
    skip, x = net.convs[1].skip, torch.rand(2, net.convs[1].skip[1].weight.shape[1], 16, 16).double()
    kernel = skip[0].kernel.expand(x.shape[1], 1, -1, -1)
    blurred = torch.nn.functional.conv2d(x, kernel, padding=1, groups=x.shape[1])
    plain = torch.nn.functional.conv2d(blurred, skip[1].weight * skip[1].scale, stride=2)
    torch.testing.assert_close(skip(x), plain, rtol=0, atol=1e-12)


def test_discriminator_refuses_another_size():
    net = networks.define_D(3, 1, "stylegan2", opt=options())
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 1)
    with pytest.raises(UserError, match="--crop_size"):
        net(torch.rand(2, 3, 48, 48))


def test_tiles_are_judged_by_themselves():
    torch.manual_seed(0)
    net = networks.define_D(3, 1, "tilestylegan2", opt=options(D_patch_size=16)).double()
    x = torch.rand(2, 3, 32, 52).double()
    scores = net(x)
    assert scores.shape == (2 * 2 * 3, 1)
    torch.testing.assert_close(net(x[:1, :, 16:, 32:48])[0], scores[5], rtol=1e-12, atol=0)
    with pytest.raises(UserError, match="D_patch_size"):
        networks.define_D(3, 1, "tilestylegan2", opt=options(D_patch_size=24))
    with pytest.raises(UserError, match="D_patch_size"):
        net(torch.rand(1, 3, 8, 8))


def test_gradient_penalty_reaches_the_weights():
    net = networks.define_D(3, 1, "stylegan2", opt=options()).double()
    x = torch.rand(2, 3, 32, 32).double().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert all(p.grad.abs().max() > 0 for name, p in net.named_parameters() if name.endswith("weight"))
