"""Learning rates, epoch by epoch."""

import math
import pickle
from argparse import Namespace

import pytest
import torch
from drawn_family import options_of
from hypothesis import given, settings
from hypothesis import strategies as st

from models import create_model
from models.schedulers import get_scheduler
from util.errors import UserError
from util.run.state import schedule_from


def schedule(epochs: int, lr: float = 1.0, **values) -> list[float]:
    """The rate in each of ``epochs`` epochs."""
    opt = Namespace(**(dict(epoch_count=1, n_epochs=4, n_epochs_decay=3, lr_decay_iters=2, eval_metric=None) | values))
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, rates = get_scheduler(optimizer, opt), []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@settings(max_examples=30)
@given(n_epochs=st.integers(0, 6), decay=st.integers(0, 6), lr=st.floats(1e-6, 1))
def test_linear(n_epochs, decay, lr):
    """Epoch e, counted from 1: constant until n_epochs, then 1 - (e - n_epochs) / (n_epochs_decay + 1)."""
    epochs = n_epochs + decay
    rates = schedule(epochs, lr, lr_policy="linear", n_epochs=n_epochs, n_epochs_decay=decay)
    wanted = [lr * (1 - max(0, e - n_epochs) / (decay + 1)) for e in range(1, epochs + 1)]
    assert rates == pytest.approx(wanted)
    assert all(rate > 0 for rate in rates)


def test_the_published_schedule():
    rates = schedule(400, 0.0002, lr_policy="linear", n_epochs=200, n_epochs_decay=200)
    assert rates[0] == rates[199] == 0.0002
    assert rates[200] == pytest.approx(0.0002 * 200 / 201)
    assert rates[399] == pytest.approx(0.0002 / 201)


@settings(max_examples=20)
@given(start=st.integers(1, 7))
def test_linear_from_a_later_epoch(start):
    whole = schedule(7, lr_policy="linear")
    assert schedule(8 - start, lr_policy="linear", epoch_count=start) == pytest.approx(whole[start - 1 :])


def test_step():
    assert schedule(7, lr_policy="step") == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001])


def test_cosine():
    """Over all epochs, those of --n_epochs_decay too: the published one rises again in them."""
    wanted = [(1 + math.cos(math.pi * t / 7)) / 2 for t in range(8)]
    assert schedule(8, lr_policy="cosine", n_epochs=4, n_epochs_decay=3) == pytest.approx(wanted)
    assert schedule(1, lr_policy="cosine", n_epochs=0, n_epochs_decay=1) == [1]


def test_an_unknown_policy():
    with pytest.raises(UserError, match="--lr_policy exponential: choose from linear, step, plateau, cosine"):
        schedule(1, lr_policy="exponential")


def test_a_schedule_can_be_pickled():
    opt = Namespace(lr_policy="linear", epoch_count=2, n_epochs=3, n_epochs_decay=4)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1)
    [factor] = pickle.loads(pickle.dumps(get_scheduler(optimizer, opt).lr_lambdas))
    assert [factor(epoch) for epoch in range(6)] == pytest.approx([1, 1, 0.8, 0.6, 0.4, 0.2])


TINY = "--netG resnet_4blocks --ngf 1 --ndf 1 --netF_nc 4 --num_patches 4 --model negcut --lr 0.01 --lr_N 0.1".split()


def trained(folder, *flags: str):
    opt = options_of(folder, *TINY, *flags)
    model = create_model(opt)
    model.setup(opt)
    return model


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_every_network_follows(tmp_path):
    model = trained(tmp_path, "--n_epochs", "1", "--n_epochs_decay", "3")
    for share in (1, 0.75, 0.5, 0.25):
        rates = {"G": 0.01 * share, "D": 0.01 * share, "F": 0.01 * share, "N": 0.1 * share}
        assert model.learning_rates() == pytest.approx(rates)
        model.update_learning_rate()


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("metric, sign", [("FID", 1), ("class_340", -1)])
def test_plateau_follows_the_score(metric, sign, tmp_path):
    """x 0.2 when it has not become better by a hundredth in more than 5 evaluations; epochs without one don't count."""
    model = trained(tmp_path, "--lr_policy", "plateau", "--eval_metric", metric)
    rates = []
    for score in [100, 90, 89.5, 89.4, 89.3, 89.2, 89.15, 89.12, 80, 80]:
        for epoch in range(3):
            model.metric = (score if sign > 0 else 1 / score) if epoch == 0 else None
            model.update_learning_rate()
        rates.append(model.learning_rates()["N"])
    assert rates == pytest.approx([0.1] * 7 + [0.02] * 3)


def test_plateau_without_any_score(tmp_path):
    model = trained(tmp_path, "--lr_policy", "plateau")
    for _ in range(20):
        model.update_learning_rate()
    assert model.learning_rates()["N"] == 0.1


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("policy", ["linear", "step", "cosine"])
def test_rates_at_the_start_of_a_later_epoch(policy, tmp_path):
    flags = ["--lr_policy", policy, "--n_epochs", "3", "--n_epochs_decay", "3", "--lr_decay_iters", "2"]
    whole, later = trained(tmp_path, *flags), trained(tmp_path, *flags)
    for _ in range(4):
        whole.update_learning_rate()
    schedule_from(later, 5)
    assert later.learning_rates() == pytest.approx(whole.learning_rates())
    assert later.learning_rates()["G"] != 0.01
