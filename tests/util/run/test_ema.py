"""The average of the generator's weights, --ema_decay: a factor a step, or a half-life in images."""

import pytest
import torch
from drawn_family import options_of, pair_batch

from models import create_model
from util.run.state import load_rank_state, load_training_state, rank_state, training_state

TINY = "--model cut --netG resnet_4blocks --ngf 2 --ndf 2 --netD pixel --netF_nc 4 --num_patches 4 --lr 0.01"


def make(folder, *flags: str, is_train: bool = True):
    opt = options_of(folder, "--name", "run", *TINY.split()[: None if is_train else 6], *flags, is_train=is_train)
    model = create_model(opt)
    model.setup(opt)
    return model


def step(model, *seeds: int) -> None:
    model.set_input(pair_batch(seeds, 16))
    model.optimize_parameters()
    model.update_ema()


def weights(net) -> dict:
    return {key: value.detach().clone() for key, value in net.named_parameters()}


def assert_close(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-5, atol=1e-7)


def test_none_by_default(tmp_path):
    model = make(tmp_path)
    model.update_ema()
    assert model.netG_ema is None and "G_ema" not in model.networks()


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_a_factor_a_step(decay, tmp_path):
    model = make(tmp_path, "--ema_decay", str(decay))
    average = weights(model.netG)
    assert_close(weights(model.netG_ema), average)  # it starts as G
    for seed in range(3):
        step(model, seed)
        average = {k: decay * average[k] + (1 - decay) * v for k, v in weights(model.netG).items()}
        assert_close(weights(model.netG_ema), average)
    assert not any(p.requires_grad for p in model.netG_ema.parameters())


@pytest.mark.parametrize("batches", [[(1,), (2,), (3,), (4,)], [(1, 2), (3, 4)], [(1, 2, 3), (4,)]])
def test_a_half_life_in_images(batches, tmp_path):
    """After as many images half of the old value is left, whatever the batch size."""
    model = make(tmp_path, "--ema_decay", "4")
    with torch.no_grad():
        for weight in model.netG_ema.parameters():
            weight.fill_(1.0)
        for weight in model.netG.parameters():
            weight.fill_(0.0)
    for seeds in batches:
        model.set_input(pair_batch(seeds, 16))
        model.update_ema()
    for weight in model.netG_ema.parameters():
        torch.testing.assert_close(weight, torch.full_like(weight, 0.5), rtol=1e-5, atol=0)


def test_statistics_of_norms_are_copied(tmp_path):
    model = make(tmp_path, "--ema_decay", "0.9", "--normG", "batch")
    step(model, 1, 2)
    buffers = dict(model.netG.named_buffers())
    assert any(key.endswith("running_mean") and value.any() for key, value in buffers.items())
    for key, value in model.netG_ema.named_buffers():
        assert torch.equal(value, buffers[key]), key


def test_it_does_not_change_the_training(tmp_path):
    plain, averaged = make(tmp_path), make(tmp_path, "--ema_decay", "0.9")
    for seed in range(2):
        step(plain, seed)
        step(averaged, seed)
    assert all(torch.equal(v, weights(plain.netG)[k]) for k, v in weights(averaged.netG).items())
    assert averaged.get_current_losses() == plain.get_current_losses()


def test_it_is_saved_and_resumed(tmp_path):
    model, other = make(tmp_path, "--ema_decay", "0.9"), make(tmp_path, "--ema_decay", "0.9", "--seed", "9")
    step(model, 1)
    model.save_networks("latest")
    saved = torch.load(tmp_path / "run" / "latest_net_G_ema.pth", weights_only=True)
    assert_close({k: saved[k] for k in weights(model.netG)}, weights(model.netG_ema))
    torch.save([training_state(model), rank_state(model)], tmp_path / "state.pt")
    state, rank = torch.load(tmp_path / "state.pt", weights_only=True)
    load_training_state(other, state, epoch=1)
    load_rank_state(other, rank)
    for made in (model, other):
        step(made, 2)
    assert all(torch.equal(v, weights(model.netG_ema)[k]) for k, v in weights(other.netG_ema).items())


def test_a_test_needs_no_average(tmp_path):
    model = make(tmp_path, "--ema_decay", "0.9")
    model.save_networks("latest")
    tester = make(tmp_path, is_train=False)
    assert list(tester.networks()) == ["G"]
    assert all(torch.equal(v, weights(model.netG)[k]) for k, v in weights(tester.netG).items())
