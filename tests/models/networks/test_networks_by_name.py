from argparse import Namespace

import pytest
import torch

from models import networks
from util.errors import UserError

OPT = Namespace(load_size=32, crop_size=32, stylegan2_G_num_downsampling=1)


@pytest.mark.parametrize("netG", ["resnet_9blocks", "resnet_6blocks", "resnet_4blocks", "stylegan2", "smallstylegan2"])
def test_generators_take_any_channels(netG):
    net = networks.define_G(2, 4, 2, netG, "instance", opt=OPT)
    assert net(torch.rand(2, 2, 32, 32)).shape == (2, 4, 32, 32)


@pytest.mark.parametrize("netD", ["basic", "n_layers", "pixel", "patch", "stylegan2", "tilestylegan2"])
def test_discriminators_take_any_channels(netD):
    net = networks.define_D(2, 2, netD, norm="instance", opt=OPT)
    assert net(torch.rand(2, 2, 32, 32)).shape[1] == 1


@pytest.mark.parametrize("netF, positions", [("mlp_sample", 20), ("sample", 20), ("reshape", 16)])
def test_projectors_draw_positions_that_there_are(netF, positions):
    """As model files written for CUT call them, which give no positions; ``reshape`` has those of its 4 x 4 grid."""
    net = networks.define_F(3, netF, opt=Namespace(netF_nc=5))
    projected, patch_ids = net([torch.rand(2, 5, 8, 8)], 20, None)
    assert projected[0].shape == (2 * positions, 5) and len(set(patch_ids[0].tolist())) == positions


def test_names_that_do_not_exist():
    with pytest.raises(UserError, match="resnet_9blocks"):
        networks.define_G(3, 3, 2, "resnet_cat")
    with pytest.raises(UserError, match="--netG resnet does not exist.*unet_256"):
        networks.define_G(3, 3, 2, "resnet")
    with pytest.raises(UserError, match="--netD .*tilestylegan2"):
        networks.define_D(3, 2, "patchgan")
