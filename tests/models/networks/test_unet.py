import pytest
import torch

from models import networks
from util.errors import UserError


def test_image_size_and_layers():
    net = networks.define_G(3, 1, 1, "unet_128", "instance", use_dropout=True)
    assert net(torch.rand(1, 3, 128, 128)).shape == (1, 1, 128, 128)
    with pytest.raises(UserError, match="multiples of 128"):
        net(torch.rand(1, 3, 128, 192))
    with pytest.raises(UserError, match="--nce_layers"):
        net.feature_channels([0, 4])
    assert any(isinstance(module, torch.nn.Dropout) for module in net.modules())
