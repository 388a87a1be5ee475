"""Weights & Biases, offline: what is logged, one run through a resume, and a run without key or package."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from util.errors import UserError
from util.loggers import Loggers, create_loggers
from util.run.checkpoints import set_aside
from util.run.progress import Progress


def options(folder, **changes):
    opt = {"checkpoints_dir": str(folder), "name": "run", "display_freq": 200, "tensorboard": False, "lr": 2e-4}
    opt |= {"use_wandb": True, "wandb_project_name": "project", "display_id": 0, "no_html": True, "quiet": True}
    return SimpleNamespace(**opt | {"rank": 0} | changes)


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    """The package, without a key or a network."""
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_X_SERVICE_WAIT", "300")  # seconds: a slow machine that runs other tests beside
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no_netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    wandb.teardown()
    yield wandb
    wandb.teardown()


def logger_of(opt, resume=None):
    from util.loggers.weights_and_biases import WandbLogger

    return WandbLogger(opt, resume)


def test_losses_pictures_and_the_best_score(wandb, tmp_path):
    logger = logger_of(options(tmp_path))
    image = np.zeros((8, 8, 3), np.uint8)
    for i, fid in ((2, 40.0), (4, 50.0)):
        progress = Progress(1, 100 * i, 100 * i, 100, learning_rates={"G": 2e-4})
        logger.log_losses(progress, {"NCE": 1 / i, "N": -1.0})
        logger.log_images(progress, {"real_A": image})
        logger.log_samples(progress, {"horse": {"fake_B": image}})
        logger.log_scores(progress, {"FID": fid, "images": 120})
    logger.log_losses(Progress(1, 600, 600, 100), {"G": 1.0})  # ends the step before
    run, summary = logger.run, dict(logger.run.summary)
    logger.close()
    assert dict(summary["scores/FID"]) == {"min": 40.0}
    assert summary["contrastive/NCE"] == 0.25 and summary["negatives/N"] == -1.0 and summary["learning_rate/G"] == 2e-4
    assert summary["_step"] == 400
    assert {"images/real_A", "samples horse/fake_B"} <= summary.keys() and "scores/images" not in summary
    assert run.config["lr"] == 2e-4 and run.project == "project" and run.name == "run"
    files = list((tmp_path / "run/wandb").glob("offline-run-*"))
    assert len(files) == 1 and list(files[0].glob("files/media/images/**/*.png"))


def test_a_resumed_training_goes_on_with_its_run_and_a_new_one_begins_another(wandb, tmp_path):
    ids = []
    for resume in (None, 300, None):
        if resume is None:
            set_aside(tmp_path / "run")
        logger = logger_of(options(tmp_path), resume)
        logger.log_losses(Progress(1, 400, 400, 100), {"NCE": 1.0})
        ids.append(logger.run.id)
        logger.close()
    assert ids[0] == ids[1] != ids[2]
    assert (tmp_path / "run/previous_1/wandb/run_id.txt").read_text() == ids[0]


def test_without_a_key_one_warning_and_nobody_is_asked(wandb, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "online")
    wandb.teardown()
    monkeypatch.setattr("builtins.input", lambda *prompt: pytest.fail("it asked"))
    logger = logger_of(options(tmp_path))
    loggers = Loggers([logger])
    loggers.log_losses(Progress(1, 100, 100, 100), {"NCE": 1.0})
    loggers.log_scores(Progress(1, 100, 100, 100), {"FID": 40.0})
    loggers.close()
    assert capsys.readouterr().err.count("warning: --use_wandb: there is no key") == 1
    assert not (tmp_path / "run").exists()


def test_it_is_one_of_the_loggers_of_the_first_rank_alone(wandb, tmp_path):
    with create_loggers(options(tmp_path)) as loggers:
        assert "WandbLogger" in [type(logger).__name__ for logger in loggers.loggers]
    assert create_loggers(options(tmp_path, rank=1)).loggers == []


def test_without_the_package_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.delitem(sys.modules, "util.loggers.weights_and_biases", raising=False)
    with pytest.raises(UserError, match="pip install wandb"):
        create_loggers(options(tmp_path))
    assert not list(tmp_path.iterdir())
