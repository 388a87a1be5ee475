"""docs/plugin/negcut_model.py, NEGCUT in one file for a CUT clone, as a drop-in model here: the recorded numbers of the
published code, and the plain step.

On a CPU the recorded gradients of G are wrong at batch 1 (docs/equality.md). The file avoids that by the layout in
which it takes patches; to be compared with what was recorded it is given the recorded layout, and torch's norm.
"""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from recordings import Recording, difference
from test_parity import ROUNDING, weights, worst

import models
from scripts.dev.plain_step import PlainStep, make_plain, rows

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "docs/plugin/negcut_model.py"
NEGCUT = ["negcut", "fastnegcut", "negcut_batch2", "negcut_neg_gen", "negcut_neg_gen_al", "negcut_neg_param"]


@pytest.fixture(scope="module")
def plugin():
    """The file, as if it lay in models."""
    spec = importlib.util.spec_from_file_location("models.plugin_negcut_model", PLUGIN)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def model_of(recording, plugin, folder, norm, monkeypatch):
    """The file's model with the recorded flags and weights; its networks with the blurs of the published code."""
    monkeypatch.setattr(models, "find_model_using_name", lambda name: plugin.NEGCUTModel)
    model = recording.model(folder, torch.float64)
    for net in model.networks().values():
        make_plain(net, norm)
    return model


@pytest.mark.parametrize("scenario", NEGCUT)
def test_it_equals_the_recorded_numbers(scenario, plugin, reference_dir, tmp_path, monkeypatch):
    recording = Recording(reference_dir, scenario)
    model = model_of(recording, plugin, tmp_path, "torch", monkeypatch)
    monkeypatch.setattr(plugin, "patches", lambda f, ids=None: rows(f) if ids is None else rows(f)[:, ids])
    for step in range(recording.steps):
        recording.replay(model, step, torch.float64)
        model.set_input(recording.batch(step, torch.float64))
        model.optimize_parameters()
        assert model.get_current_losses() == pytest.approx(recording.about["losses"][step], rel=1e-8, abs=1e-10)
        if step == 0:
            assert difference(model.fake_B, recording.arrays["visual/fake_B"]) < 1e-8
    assert list(model.networks()) == recording.about["networks"]
    off, key = worst(weights(model.networks()), recording.tensors("final"))
    assert off < ROUNDING, key


@pytest.mark.parametrize("scenario", ["negcut", "fastnegcut"])
def test_it_is_right_with_torchs_norm_too(scenario, plugin, reference_dir, tmp_path, monkeypatch):
    """As an unchanged CUT clone has it: three steps as they are with an exact norm."""
    recording = Recording(reference_dir, scenario)
    ours = recording.model(tmp_path, torch.float64)
    plain = PlainStep(ours)
    model = model_of(recording, plugin, tmp_path, "torch", monkeypatch)
    for step in range(recording.steps):
        batch = recording.batch(step, torch.float64)
        recording.replay(ours, step, torch.float64)
        recording.replay(model, step, torch.float64)
        model.set_input(batch)
        model.optimize_parameters()
        losses = {name: loss.item() for name, loss in plain.optimize_parameters(batch).items()}
        assert model.get_current_losses() == pytest.approx(losses, rel=1e-8, abs=1e-10)
    off, key = worst(weights(model.networks()), weights(plain.nets))
    assert off < ROUNDING, key
