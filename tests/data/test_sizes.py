"""Images that the networks cannot take are refused at the start, by name."""

import pytest
import torch
from drawn import FOR_TESTING, draw, draw_folder, draw_unpaired, make_opt

import data
from models import networks
from util.errors import UserError
from util.sides import smallest_side

NETWORKS = {"netG": "resnet_9blocks", "netD": "basic", "n_layers_D": 3}


def test_images_too_small_for_the_networks_are_named(tmp_path):
    root = draw_unpaired(tmp_path, a=2, b=2, width=40, height=40)
    draw(200, 6).save(root / "trainA" / "thin.png")
    words = r"1 of 3 images are too small.*thin\.png' with 200 x 6 pixels \(200 x 8 after --preprocess none\).*needs 24"
    with pytest.raises(UserError, match=words):
        data.create_dataset(make_opt(root, preprocess="none", **NETWORKS))
    (root / "trainA" / "thin.png").unlink()
    with pytest.raises(UserError, match=r"multiples of 128, not .*000\.png' with 40 x 40 pixels"):
        data.create_dataset(make_opt(root, preprocess="none", **NETWORKS | {"netG": "unet_128"}))
    assert len(data.create_dataset(make_opt(root, preprocess="none", **NETWORKS)))


def test_images_too_small_to_be_translated_are_named(tmp_path):
    draw(200, 5).save(draw_folder(tmp_path / "testA", 1) / "thin.png")
    draw_folder(tmp_path / "testB", 1)
    with pytest.raises(UserError, match=r"1 of 2 images are too small.*thin\.png' with 200 x 5 pixels.*needs 8"):
        data.create_dataset(make_opt(tmp_path, preprocess="none", netG="resnet_9blocks", **FOR_TESTING))


@pytest.mark.parametrize("netD, smallest", [("basic", 24), ("n_layers", 96), ("pixel", 8)])
def test_the_smallest_size_is_taken(netD, smallest):
    """By the networks themselves; what is 4 pixels smaller is refused by torch."""
    assert smallest_side(make_opt("", netD=netD, n_layers_D=5)) == smallest
    G = networks.define_G(3, 3, 2, "resnet_4blocks", "instance")
    D = networks.define_D(3, 2, netD, 5, "instance")
    D(G(torch.zeros(1, 3, smallest, 200)))
    if netD != "pixel":
        with pytest.raises(RuntimeError):
            D(torch.zeros(1, 3, smallest - 4, 200))
