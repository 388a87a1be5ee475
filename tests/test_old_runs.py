"""Runs that an earlier version began go on with this one: the same weights one step later, the same translations.

``runs_of_b96a5de`` was made once by commit b96a5de on a CPU with torch 2.14: ``train_opt.txt`` has the flags, SIGTERM
ended training after its third step. ``one_step_later.pth`` (weights by network) and ``fake_B`` are what that commit
made of it: with ``--continue_train`` for one step, and with ``test.py``.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_script
import train
from util.loggers import Loggers

RUNS = Path(__file__).parent / "runs_of_b96a5de"
NAMES = ("cut", "negcut", "cyclegan")
pytestmark = pytest.mark.slow


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of the runs as the working folder; ``old(script, *flags)`` calls the script's main."""
    shutil.copytree(RUNS, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def call(script, *flags: str):
        monkeypatch.setattr(sys, "argv", ["script.py", "--checkpoints_dir=.", "--gpu_ids=-1", "--quiet", *flags])
        return script.main()

    return call


def state(name: str) -> dict:
    return torch.load(f"{name}/latest_state.pt", weights_only=True)


@pytest.mark.parametrize("name", NAMES)
def test_it_resumes_with_equal_weights_one_step_later(old, name, monkeypatch):
    step = Loggers.step

    def and_stop(loggers, progress):
        step(loggers, progress)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Loggers, "step", and_stop)
    before = state(name)
    with pytest.raises(SystemExit) as end:
        old(train, "--continue_train", f"--name={name}")
    assert end.value.code == 75
    now, recorded = state(name), torch.load(f"{name}/one_step_later.pth", weights_only=True)
    assert (before["position"]["total_images"], now["position"]["total_images"]) == (3, 4)
    networks = now["model"]["networks"]
    assert networks.keys() == recorded.keys()
    for net, tensors in recorded.items():
        assert networks[net].keys() == tensors.keys()
        for key, value in tensors.items():
            # Gradients of a bias before a norm are rounding noise, which Adam blows up: another machine has another.
            if value.dim() > 1:
                moved = (value - before["model"]["networks"][net][key]).norm()
                error = (networks[net][key] - value).norm()
                assert error <= 0.01 * moved, f"{net}/{key}: {error} where the step moved {moved}"


@pytest.mark.parametrize("name", NAMES)
def test_it_translates_as_before(old, name):
    old(test_script, f"--name={name}")
    for recorded in sorted(Path(name, "fake_B").iterdir()):
        (now,) = Path("results").rglob(f"fake_B/{recorded.name}")
        now, recorded = (np.asarray(Image.open(path), dtype=int) for path in (now, recorded))
        assert now.shape == recorded.shape and abs(now - recorded).max() <= 1
