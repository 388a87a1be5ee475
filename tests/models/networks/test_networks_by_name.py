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


def test_names_that_do_not_exist():
    with pytest.raises(UserError, match="resnet_9blocks"):
        networks.define_G(3, 3, 2, "resnet_cat")
    with pytest.raises(UserError, match="--netG resnet does not exist.*unet_256"):
        networks.define_G(3, 3, 2, "resnet")
    with pytest.raises(UserError, match="--netD .*tilestylegan2"):
        networks.define_D(3, 2, "patchgan")
