"""--cuda_graph without a GPU: everything but the recording itself. Here a recorded step is repeated by running it again
with its draws taken from the graph's tensors, which is what the GPU reads."""

import copy
import json

import pytest
import torch
from drawn_family import options_of, pair_batch

from models import create_model
from util.run import step_graph
from util.run.guarded_updates import GuardedUpdates
from util.run.state import load_training_state, rank_state, training_state
from util.run.step_graph import WARM_UP, StepGraph

TINY = "--netG resnet_4blocks --ngf 4 --ndf 4 --netD n_layers --n_layers_D 2 --lr 0.002"


class Rerun(StepGraph):
    records = 0

    def record(self):
        self.records += 1
        state, count = copy.deepcopy(training_state(self.model)), self.model.steps_without_contrast.clone()
        self.model.run_step()
        load_training_state(self.model, state, 1)  # recording changes nothing
        self.model.steps_without_contrast.copy_(count)

    def repeat(self):
        given, model = iter(self.draws), self.model
        inputs = {name: getattr(model, name) for name in self.images}
        updates, model.updates = model.updates, GuardedUpdates()
        for name in step_graph.DRAWS:
            setattr(model, name, lambda *arguments: next(given)[-1])
        vars(model).update(self.images)
        model.run_step()
        for name in step_graph.DRAWS:
            vars(model).pop(name)
        assert next(given, None) is None
        for name, tensor in self.results.items():
            tensor.copy_(getattr(model, name))
        for (*_, bad, here), (*_, new, new_here) in zip(self.updates, model.updates.pending, strict=True):
            bad.copy_(new), here.copy_(new_here)
        for name, tensor in self.statistics.items():
            tensor.copy_(model.statistics[name])
        vars(model).update(inputs)
        model.updates = updates


def make(folder, *flags):
    contrastive = [] if "cycle_gan" in flags else ["--netF_nc", "8", "--num_patches", "16"]
    opt = options_of(folder, *TINY.split(), *contrastive, *flags)
    model = create_model(opt)
    model.setup(opt)
    return model


@pytest.mark.parametrize("flags", ["--model negcut", "--model negcut --netN neg_gen --detach_negatives", "--model cut"])
def test_repeated_steps_equal_ordinary_ones(flags, tmp_path, monkeypatch):
    monkeypatch.setattr(step_graph, "obstacle", lambda model: "")
    plain, graphed = (make(tmp_path, *flags.split()) for _ in range(2))
    step = Rerun(graphed)
    seeds = [[i, i + 50] for i in range(WARM_UP + 3)] + [[90]] + [[i, i + 60] for i in range(3)]  # one smaller batch
    for number, batch in enumerate(seeds):
        if number == WARM_UP + 2:
            plain.update_learning_rate()
            for group in [g for m in (plain, graphed) for o in m.optimizers for g in o.param_groups]:
                group["lr"] = 0.001
        batch = pair_batch(batch, 32)
        if number == len(seeds) - 1:
            batch["A"] = batch["A"] * float("nan")
        plain.step(batch)
        step(batch)
        assert json.dumps(plain.get_current_losses()) == json.dumps(graphed.get_current_losses())
        assert json.dumps(plain.get_current_statistics()) == json.dumps(graphed.get_current_statistics())
        assert torch.equal(plain.fake_B, graphed.fake_B) or number == len(seeds) - 1
        assert torch.equal(plain.real_A, graphed.real_A) or number == len(seeds) - 1
    assert step.records == 2
    assert plain.updates.read() == graphed.updates.read()
    for name, net in plain.networks().items():
        for key, value in net.state_dict().items():
            assert torch.equal(value, graphed.networks()[name].state_dict()[key]), (name, key)
    assert json.dumps(str(rank_state(plain))) == json.dumps(str(rank_state(graphed)))


def test_a_step_that_cannot_be_recorded_runs_as_usual(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(step_graph, "obstacle", lambda model: "")
    plain, graphed = (make(tmp_path, "--model", "negcut") for _ in range(2))
    step = StepGraph(graphed)

    def broken():
        graphed.draw_patch_ids("N", 0, 0, 100)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(step, "record", broken)
    for seed in range(WARM_UP + 2):
        plain.step(pair_batch([seed], 32))
        step(pair_batch([seed], 32))
    assert plain.get_current_losses() == graphed.get_current_losses()
    assert "recording the step failed (operation not permitted" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "flags, reason",
    [("--model negcut", "GPU"), ("--model negcut --NEGCUT_mode FastNEGCUT", "host"), ("--model cycle_gan", "host")],
)
def test_obstacles_are_told_and_training_goes_on(flags, reason, tmp_path, monkeypatch, capsys):
    model = make(tmp_path, *flags.split())
    if reason == "host":
        monkeypatch.setattr(model, "device", torch.device("cuda"))
    step = StepGraph(model)
    monkeypatch.undo()
    assert reason in step.obstacle and "--cuda_graph is left out" in "".join(capsys.readouterr())
    step(pair_batch([0], 32))
    assert model.get_current_losses()
