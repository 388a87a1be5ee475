"""A NaN or Inf, in an image or in a gradient, never reaches the weights."""

import dataclasses
import math

import pytest
import torch
from tiny_run import CONTRASTIVE, Run, draw_images, first_difference

import options
from data import create_dataset
from models import create_model
from util.errors import UserError
from util.run import checkpoints

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("images"))


def make(images, tmp_path, name, *flags):
    run = Run(tmp_path / "run", None, f"--dataroot={images}", f"--model={name}", *flags)
    opt = options.parse([*run.start, *run.flags, *(CONTRASTIVE if "cut" in name else [])])
    model, dataset = create_model(opt), create_dataset(opt)
    model.setup(opt)
    return model, next(iter(dataset))


def step(model, batch):
    model.set_input(batch)
    model.optimize_parameters()
    return [(phase, bad) for phase, _, bad in model.updates.read()]


def learned(model) -> dict:
    """Weights and what the optimizers remember."""
    nets = {name: net.state_dict() for name, net in model.networks().items() if name != "F_"}
    state = {"nets": nets, "optimizers": [optimizer.state_dict()["state"] for optimizer in model.optimizers]}
    return {key: copy(value) for key, value in state.items()}


def copy(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copy(v) for key, v in value.items()}
    return [copy(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["cut", "negcut", "cycle_gan"])
def test_an_image_with_bad_numbers_changes_nothing(images, tmp_path, name, value):
    model, batch = make(images, tmp_path, name, "--pool_size=2")
    step(model, batch)
    before = learned(model)
    bad = {k: torch.full_like(v, value) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    model.set_input(bad)
    model.optimize_parameters()
    updates = model.updates.read()
    assert {phase for phase, *_ in updates} == ({"G", "D", "N"} if name == "negcut" else {"G", "D"})
    assert all(bad and paths == batch["A_paths"] for _, paths, bad in updates)
    assert first_difference(before, learned(model)) is None
    assert all(not bad for _ in range(3) for _, bad in step(model, batch))
    after = learned(model)
    assert first_difference(before, after) is not None
    assert all(value.isfinite().all() for net in after["nets"].values() for value in net.values())


@pytest.mark.parametrize(("net", "phase"), [("G", "G"), ("F", "G"), ("D", "D"), ("N", "N")])
def test_a_bad_gradient_of_one_network_leaves_out_its_phase_alone(images, tmp_path, net, phase):
    model, batch = make(images, tmp_path, "negcut")
    step(model, batch)
    before = learned(model)
    weight = next(getattr(model, "net" + net).parameters())
    weight.requires_grad_(True)
    handle = weight.register_hook(lambda gradient: gradient * math.nan)
    assert step(model, batch) == [(p, p == phase) for p in ("D", "N", "G")]
    handle.remove()
    after = learned(model)
    stays = {"G", "F"} if phase == "G" else {phase}
    for name in ("G", "F", "D", "N"):
        same = first_difference(before["nets"][name], after["nets"][name]) is None
        assert same == (name in stays), name


def test_optimizers_that_are_not_fused_leave_it_out_too(images, tmp_path):
    model, batch = make(images, tmp_path, "cut")
    model.optimizer_D = torch.optim.SGD(model.netD.parameters(), lr=0.1)
    before = copy(model.netD.state_dict())
    assert ("D", True) in step(model, batch | {"B": batch["B"] * math.nan})
    assert first_difference(before, model.netD.state_dict()) is None
    step(model, batch)
    assert first_difference(before, model.netD.state_dict()) is not None


def test_the_run_names_phase_and_images_and_stops_in_the_end(images, tmp_path, monkeypatch, capsys):
    """D's gradient alone is bad, from step 5 on."""
    flags = ["--model=cut", *CONTRASTIVE, "--max_bad_steps=3", "--save_latest_freq=1", "--n_epochs=9"]
    run = Run(tmp_path / "run", monkeypatch, f"--dataroot={images}", *flags)
    from models.cut_model import CUTModel

    update_D, steps = CUTModel.update_D, iter(range(1, 1000))

    def bad_D(model, step):
        real = step.real_B * (math.nan if next(steps) >= 5 else 1)
        return update_D(model, dataclasses.replace(step, real_B=real))

    monkeypatch.setattr(CUTModel, "update_D", bad_D)
    with pytest.raises(UserError, match="--max_bad_steps 3: as many D steps in a row had NaN or Inf; the last good"):
        run()
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert len(warnings) == 3
    assert all("the D step had a NaN or Inf and was left out; images: " in line for line in warnings)
    assert all(str(images / "trainA") in line for line in warnings)
    state = checkpoints.load(run.folder / "latest_state.pt")
    assert state["position"]["total_images"] == 6
    assert all(v.isfinite().all() for net in state["model"]["networks"].values() for v in net.values())
    assert math.isnan(run.record[4]["losses"]["D_real"] or math.nan)
