"""Three training steps of CycleGAN, SinCUT and SinNEGCUT as the published code took them."""

import pytest
import torch
from recordings import Recording, difference, watch_gradients


# sin*: gradients and weights are recorded in float32
@pytest.mark.parametrize("scenario, exact", [("cycle_gan", 1e-8), ("sincut", 1e-6), ("sinnegcut", 1e-6)])
def test_three_steps_equal_the_recorded_ones(scenario, exact, reference_dir, tmp_path):
    recording = Recording(reference_dir, scenario)
    model = recording.model(tmp_path, torch.float64)
    gradients = watch_gradients(model)
    for step in range(recording.steps):
        recording.replay(model, step, torch.float64)
        model.set_input(recording.batch(step, torch.float64))
        model.optimize_parameters()
        assert model.get_current_losses() == pytest.approx(recording.about["losses"][step], rel=1e-8, abs=1e-10)
        if step == 0:
            assert difference(model.fake_B, recording.arrays["visual/fake_B"]) < exact
            recorded = recording.tensors("grad")
            assert gradients.keys() == recorded.keys()
            for key, value in recorded.items():
                assert difference(gradients[key], value) < exact, key
    ours = {f"{name}/{key}": v for name, net in model.networks().items() for key, v in net.state_dict().items()}
    for key, value in recording.tensors("final").items():
        assert difference(ours[key], value) < exact, key
