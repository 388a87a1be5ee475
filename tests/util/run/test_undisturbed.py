"""Scores and pictures leave a run as it is without them."""

import pytest
import torch
from drawn_family import options_of
from tiny_run import CONTRASTIVE, Run, draw_images, first_difference
from torch import nn

from models import create_model
from models.cut_model import CUTModel
from util.random_state import rng_state
from util.run.undisturbed import undisturbed

DISTURBED_BY_A_LOOK = "--model=cut --normG=batch --no_dropout=false --ema_decay=0.5 --n_epochs_decay=0".split()


@pytest.fixture
def new_run(tmp_path, monkeypatch):
    images = draw_images(draw_images(tmp_path / "images"), 3, 3, "test")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(name: str, *flags: str) -> Run:
        start = [f"--dataroot={images}", *CONTRASTIVE, *DISTURBED_BY_A_LOOK, "--feature_space=effnet_lite0"]
        return Run(tmp_path / name, monkeypatch, *start, *flags)

    return make


def of_the_run(state: dict) -> dict:
    """Without the last score, which is kept for --lr_policy plateau."""
    return {"model": {k: v for k, v in state["model"].items() if k != "metric"}, "ranks": state["ranks"]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:FD-effnet_lite0 of")
def test_a_run_with_scores_is_the_run_without(new_run):
    scored, plain = new_run("scored", "--eval_freq=1"), new_run("plain", "--eval_freq=0")
    assert scored() == plain() == 0
    assert (scored.folder / "metrics.jsonl").exists()
    assert first_difference(of_the_run(scored.state), of_the_run(plain.state)) is None


@pytest.mark.slow
def test_a_run_with_pictures_is_the_run_without(new_run, monkeypatch):
    def compute_visuals(model):
        model.netG(model.real_A + torch.randn_like(model.real_A))

    monkeypatch.setattr(CUTModel, "compute_visuals", compute_visuals)
    shown = new_run("shown", "--eval_freq=0", "--display_freq=1")
    plain = new_run("plain", "--eval_freq=0", "--display_freq=1000", "--update_html_freq=1000")
    assert shown() == plain() == 0
    assert first_difference(of_the_run(shown.state), of_the_run(plain.state)) is None


def test_buffers_modes_and_generators_are_put_back(tmp_path):
    model = create_model(options_of(tmp_path, "--netG=resnet_4blocks", "--ngf=2", "--ndf=2", *DISTURBED_BY_A_LOOK))
    norm = next(m for m in model.netG.modules() if isinstance(m, nn.BatchNorm2d))
    norm.eval()
    modes = [m.training for m in model.netG.modules()]
    before = rng_state(model), {k: v.clone() for k, v in model.netG.state_dict().items()}
    with pytest.raises(ZeroDivisionError), undisturbed(model):
        model.train()
        model.netG(torch.zeros(1, 3, 16, 16))
        model.rng.random(), torch.randn((), generator=model.noise_rng)
        assert first_difference(before, (rng_state(model), model.netG.state_dict()))
        raise ZeroDivisionError
    assert first_difference(before, (rng_state(model), model.netG.state_dict())) is None
    assert [m.training for m in model.netG.modules()] == modes
