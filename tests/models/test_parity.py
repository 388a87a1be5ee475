"""Three training steps of each published model, as numbers: losses, gradients, translation and final weights.

The published code normalizes with torch's own instance norm. On a CPU its gradient is wrong at batch 1 where the
incoming gradient is channels-last, as it is behind the projection of patches; so are the gradients of G recorded at
batch 1, and what follows from them. Hence a chain: the recorded numbers equal the plain step with torch's norm, and
the plain step with the right norm equals ours. At batch 2 nothing is wrong and ours equals the recorded numbers.
"""

import pytest
import torch
from recordings import Recording, difference, watch_gradients

from scripts.dev.plain_step import PlainStep

SCENARIOS = ["negcut", "fastnegcut", "negcut_batch2", "negcut_neg_gen", "negcut_neg_gen_al", "negcut_neg_param"]
SCENARIOS += ["cut", "fastcut"]
ROUNDING = 3e-8  # of weights: Adam divides the rounding of a gradient that is zero by little more than its eps


def worst(ours: dict, wanted: dict) -> tuple[float, str]:
    assert wanted and wanted.keys() <= ours.keys()
    return max((difference(ours[key], value), key) for key, value in wanted.items())


def weights(nets: dict) -> dict:
    return {f"{name}/{key}": value for name, net in nets.items() for key, value in net.state_dict().items()}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_recorded_numbers_equal_the_plain_step(scenario, reference_dir, tmp_path):
    recording = Recording(reference_dir, scenario)
    model = recording.model(tmp_path, torch.float64)
    plain = PlainStep(model, norm="torch")
    for step in range(recording.steps):
        recording.replay(model, step, torch.float64)
        losses = plain.optimize_parameters(recording.batch(step, torch.float64))
        losses = {name: loss.item() for name, loss in losses.items()}
        assert losses == pytest.approx(recording.about["losses"][step], rel=1e-8, abs=1e-10)
    off, key = worst(weights(plain.nets), recording.tensors("final"))
    assert off < ROUNDING, key


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_our_step_equals_the_plain_step(scenario, reference_dir, tmp_path):
    recording = Recording(reference_dir, scenario)
    model = recording.model(tmp_path, torch.float64)
    plain = PlainStep(model)
    gradients = watch_gradients(model)
    for step in range(recording.steps):
        batch = recording.batch(step, torch.float64)
        recording.replay(model, step, torch.float64)
        model.set_input(batch)
        model.optimize_parameters()
        losses = {name: loss.item() for name, loss in plain.optimize_parameters(batch).items()}
        assert model.get_current_losses() == pytest.approx(losses, rel=1e-8, abs=1e-10)
        if step == 0:
            assert model.get_current_losses() == pytest.approx(recording.about["losses"][0], rel=1e-8, abs=1e-10)
            assert difference(model.fake_B, recording.arrays["visual/fake_B"]) < 1e-8
            recorded = recording.tensors("grad")
            assert gradients.keys() == recorded.keys()
            if recording.about["options"]["batch_size"] == 1:
                recorded = {key: value for key, value in recorded.items() if not key.startswith("G/")}
            off, key = worst(gradients, recorded)
            assert off < 1e-8, key
    off, key = worst(weights(model.networks()), weights(plain.nets))
    assert off < ROUNDING, key
    if recording.about["options"]["batch_size"] > 1:
        off, key = worst(weights(model.networks()), recording.tensors("final"))
        assert off < 1e-8, key
