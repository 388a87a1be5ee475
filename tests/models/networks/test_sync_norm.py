"""Batch norm over several processes; that two of them equal one is in tests/test_distributed.py."""

import pytest
import torch
from drawn_family import options_of
from ranks import run_ranks
from torch import nn

from models import create_model, networks
from models.inference.architecture import guess_network
from models.inference.translate import translate
from models.networks.sync_norm import SyncBatchNorm
from util import distributed
from util.errors import UserError

TINY = "--netG resnet_4blocks --ngf 2 --ndf 2".split()


def test_in_one_process_it_is_batch_norm():
    norm, other = SyncBatchNorm(3), nn.BatchNorm2d(3)
    x = torch.randn(2, 3, 5, 4)
    for train in (True, True, False):
        assert torch.equal(norm.train(train)(x), other.train(train)(x))
    assert norm.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in norm.state_dict().items())


@pytest.mark.parametrize("name, kind", [("syncbatch", SyncBatchNorm), ("sync_batch", SyncBatchNorm),
                                        ("sync_instance", networks.InstanceNorm)])  # fmt: skip
def test_names(name, kind, tmp_path):
    opt = options_of(tmp_path, *TINY, "--norm", name)
    assert opt.normG == opt.normD == {"sync_batch": "syncbatch", "sync_instance": "instance"}.get(name, name)
    for net in (networks.create_G(opt), networks.create_D(opt, 3), networks.define_G(3, 3, 2, "resnet_4blocks", name)):
        norms = {type(m) for m in net.modules() if "Norm" in type(m).__name__}
        assert norms == {kind}
    assert guess_network(net.state_dict()).flags["normG"] == ("instance" if kind is networks.InstanceNorm else "batch")


def of_unequal_images(rank):
    """A forward and backward pass of one image here, two there; then one rank alone translates."""
    opt = type("opt", (), {"world_size": 2, "device": torch.device("cpu")})
    distributed.start(opt)
    torch.manual_seed(0)
    net, images = SyncBatchNorm(3).double(), torch.randn(3, 3, 4, 4, dtype=torch.float64) * 3 + 1
    mine = (images[:1] if rank == 0 else images[1:]).requires_grad_()
    (net(mine) ** 3).sum().backward()
    translated = translate(net, images[:2].float(), net.float()) if rank == 0 else None
    return mine.grad, net.running_mean, net.running_var, translated


@pytest.mark.slow
def test_ranks_may_have_unequally_many_images_and_translate_alone():
    (first, mean, variance, translated), (second, *_) = run_ranks(2, of_unequal_images)
    torch.manual_seed(0)
    norm, x = nn.BatchNorm2d(3).double(), torch.randn(3, 3, 4, 4, dtype=torch.float64) * 3 + 1
    x.requires_grad_()
    (norm(x) ** 3).sum().backward()
    torch.testing.assert_close(torch.cat((first, second)), x.grad)
    norm = norm.float()
    alone = torch.cat([norm(x[i : i + 1].detach().float()) for i in range(2)])
    torch.testing.assert_close(translated, alone)
    torch.testing.assert_close(mean, norm.running_mean)
    torch.testing.assert_close(variance, norm.running_var)


@pytest.mark.parametrize(
    "flags, told", [("batch", "in G, D: each of 2 processes"), ("syncbatch", ""), ("instance", "")]
)
def test_what_batch_norm_does_in_several_processes_is_said(flags, told, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    opt = options_of(tmp_path, *TINY, "--norm", flags)
    create_model(opt).setup(opt)
    said = capsys.readouterr().err
    assert told in said and said.count("batch norm") == bool(told)


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--flip_equivariance", "--flip_equivariance .*syncbatch"),
        ("--CUT_mode FastCUT", "--flip_equivariance .*syncbatch"),
        ("--preprocess scale_width", "--preprocess scale_width with syncbatch"),
    ],
)
def test_unequally_many_passes_are_refused(flags, message, tmp_path, monkeypatch):
    options_of(tmp_path, *TINY, "--normG", "syncbatch", *flags.split())
    monkeypatch.setenv("WORLD_SIZE", "2")
    options_of(tmp_path, *TINY, *flags.split())
    with pytest.raises(UserError, match=message):
        options_of(tmp_path, *TINY, "--normG", "syncbatch", *flags.split())
