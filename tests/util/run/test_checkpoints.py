"""Checkpoint files: round trips, files of other programs, damaged and hostile ones."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import options
from models import create_model
from models.inference.architecture import load_weights
from models.networks import define_G
from util.errors import UserError
from util.run import checkpoints
from util.run.progress import Position
from util.run.state import rank_state

FLAGS = "--dataroot none --gpu_ids -1 --model negcut --netG resnet_4blocks --ngf 1 --ndf 1 --netF_nc 4 --num_patches 4"


def generator(*, norm: str = "instance", ngf: int = 1, netG: str = "resnet_4blocks", **flags):
    return define_G(3, 3, ngf, netG, norm, init_type="normal", **flags)


def make(folder, *flags: str):
    opt = options.parse([*FLAGS.split(), "--checkpoints_dir", str(folder), "--name", "run", *flags])
    opt.rank, opt.world_size = 0, 1
    model = create_model(opt)
    model.setup(opt)
    (folder / "run").mkdir(exist_ok=True)
    return model


# Files


def test_what_is_saved_is_loaded(tmp_path):
    content = {"a": torch.arange(4.0), "b": [1, 2.5, "text", None], "c": {"d": torch.ones(2, dtype=torch.bfloat16)}}
    checkpoints.save(content, tmp_path / "x.pth")
    back = checkpoints.load(tmp_path / "x.pth")
    assert torch.equal(back["a"], content["a"]) and back["b"] == content["b"]
    assert back["c"]["d"].dtype == torch.bfloat16
    assert [p.name for p in tmp_path.iterdir()] == ["x.pth"]


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "x.pth"
    checkpoints.save({"a": torch.zeros(2)}, path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save({"a": torch.ones(2)}, path)
    assert torch.equal(checkpoints.load(path)["a"], torch.zeros(2))


def test_a_missing_file_names_the_others(tmp_path):
    for epoch in ("5", "10", "latest"):
        checkpoints.save({}, tmp_path / f"{epoch}_net_G.pth")
        checkpoints.save({}, tmp_path / f"{epoch}_net_D.pth")
    with pytest.raises(UserError) as error:
        checkpoints.load(tmp_path / "7_net_G.pth")
    assert "7_net_G.pth does not exist; --epoch must name a checkpoint that was saved" in str(error.value)
    for epoch in ("5", "10", "latest"):
        assert f" {epoch}" in str(error.value)
    with pytest.raises(UserError, match=f"and {tmp_path} has none"):
        checkpoints.load(tmp_path / "7_net_N.pth")
    with pytest.raises(UserError, match="does not exist"):
        checkpoints.load(tmp_path)  # a folder
    with pytest.raises(UserError, match="10_net_G_ema.pth does not exist; .*--ema_decay"):
        checkpoints.load(tmp_path / "10_net_G_ema.pth")
    (tmp_path / "5_net_G.pth").rename(tmp_path / "5_net_G_A.pth")
    with pytest.raises(UserError, match="5_net_G.pth does not exist; .*--model_suffix _A"):
        checkpoints.load(tmp_path / "5_net_G.pth")


@pytest.fixture(scope="module")
def saved_bytes(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "x.pth"
    checkpoints.save(generator().state_dict(), path)
    return path.read_bytes()


@settings(max_examples=40)
@given(keep=st.floats(0, 0.999))
def test_a_truncated_file_is_one_sentence(keep, saved_bytes, tmp_path_factory):
    path = tmp_path_factory.mktemp("cut") / "latest_net_G.pth"
    path.write_bytes(saved_bytes[: int(keep * len(saved_bytes))])
    with pytest.raises(
        UserError, match=r"latest_net_G.pth cannot be loaded \(.*\); replace it or choose another --epoch$"
    ):
        checkpoints.read_weights(path)


@settings(max_examples=30)
@given(content=st.binary(max_size=300))
def test_any_other_file_is_one_sentence(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("other") / "x.pth"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        checkpoints.read_weights(path)
    assert "\n" not in str(error.value) and "x.pth" in str(error.value)


class Hostile:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_file_is_not_run(save, tmp_path):
    mark, path = tmp_path / "was_run", tmp_path / "x.pth"
    save({"weight": Hostile(mark)}, path)
    with pytest.raises(UserError, match=r"cannot be loaded \(it holds more than tensors\)"):
        checkpoints.load(path)
    assert not mark.exists()
    torch.load(path, weights_only=False) if save is torch.save else pickle.loads(path.read_bytes())
    assert mark.exists()  # the file could have done it


@pytest.mark.parametrize("content", [b"# Read me\n\nP", b"PK\x03\x04"], ids=["text", "zip"])
def test_what_is_no_checkpoint_holds_no_code(content, tmp_path):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"x.pth cannot be loaded \(damaged or no checkpoint\); .* --weights$"):
        checkpoints.load(tmp_path / "x.pth", "--weights")


# Weights


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"a": 1}, torch.zeros(1), {"state_dict": {}}, "text"])
def test_no_weights(content, tmp_path):
    checkpoints.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match="holds no network's weights"):
        checkpoints.read_weights(tmp_path / "x.pth")


def test_weights_of_data_parallel(tmp_path):
    net, other = generator(), generator()
    checkpoints.save({f"module.{k}": v for k, v in net.state_dict().items()}, tmp_path / "x.pth")
    load_weights(other, tmp_path / "x.pth", "--netG")
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in net.state_dict().items())


def test_files_without_filters_and_with_statistics_of_old_instance_norms(tmp_path):
    net, other = generator(), generator()
    state = {k: v for k, v in net.state_dict().items() if not k.endswith(".filt")}
    assert len(state) < len(net.state_dict())
    state["model.2.running_mean"] = state["model.2.running_var"] = torch.zeros(1)
    state["model.2.num_batches_tracked"] = torch.zeros(())
    checkpoints.save(state, tmp_path / "x.pth")
    load_weights(other, tmp_path / "x.pth", "--netG")
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in net.state_dict().items())


def test_statistics_of_batch_norms_are_weights(tmp_path):
    net = generator(norm="batch")
    checkpoints.save({k: v for k, v in net.state_dict().items() if "running_mean" not in k}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="of another architecture"):
        load_weights(generator(norm="batch"), tmp_path / "x.pth", "--normG")


def test_weights_that_another_training_ruined_are_refused(tmp_path):
    net = generator()
    state = net.state_dict() | {"model.1.bias": torch.tensor([torch.nan])}
    checkpoints.save(state, tmp_path / "x.pth")
    with pytest.raises(UserError, match="NaN or Inf in 1 weights, first model.1.bias; take another --epoch"):
        load_weights(net, tmp_path / "x.pth", "--netG")


@pytest.mark.parametrize(
    "other, flag",
    [
        (dict(ngf=2), "--ngf 1"),
        (dict(netG="resnet_6blocks"), "--netG resnet_4blocks"),
        (dict(norm="batch"), "--normG instance"),
        (dict(no_antialias=True), "--netG resnet_4blocks"),
    ],
)
def test_another_architecture_names_the_flags_of_the_file(other, flag, tmp_path):
    checkpoints.save(generator().state_dict(), tmp_path / "x.pth")
    net = generator(**other)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_weights(net, tmp_path / "x.pth", "--netG")
    assert "is of another architecture" in str(error.value) and flag in str(error.value)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_an_unknown_network_names_the_flags_that_decide(tmp_path):
    checkpoints.save({"something.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"give the flags it was trained with \(--netD --ndf\)"):
        load_weights(generator(), tmp_path / "x.pth", "--netD --ndf")


# Old ones


@given(epochs=st.sets(st.integers(0, 300), max_size=8), keep=st.none() | st.integers(1, 6))
@settings(max_examples=30)
def test_rotation_keeps_the_newest_epochs(epochs, keep, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rotate")
    others = {f"{name}_net_G.pth" for name in ("latest", "best", "iter_500")} | {"latest_state.pt", "3_notes.txt"}
    for name in others | {f"{epoch}_net_{net}.pth" for epoch in epochs for net in "GD"}:
        (folder / name).touch()
    checkpoints.rotate(folder, keep)
    kept = sorted(epochs)[-keep:] if keep else epochs
    assert {p.name for p in folder.iterdir()} == others | {f"{epoch}_net_{net}.pth" for epoch in kept for net in "GD"}


# The state


def step(model) -> dict:
    generator = torch.Generator().manual_seed(3)
    A, B = torch.rand(2, 1, 3, 32, 32, generator=generator) * 2 - 1
    model.set_input({"A": A, "B": B, "A_paths": ["a"], "B_paths": ["b"]})
    model.optimize_parameters()
    return model.get_current_losses()


@pytest.fixture
def saved(tmp_path):
    model = make(tmp_path)
    step(model)
    checkpoints.save_state(model, [rank_state(model)], Position(3, 1, 9), model.opt)
    return model


def test_a_state_brings_back_the_next_step(saved, tmp_path):
    other = make(tmp_path, "--seed", "0")
    assert checkpoints.load_state(other, other.opt) == Position(3, 1, 9)
    assert step(other) == step(saved)


@pytest.mark.parametrize("then, now", [([], ["--channels_last"]), (["--channels_last"], [])])
def test_a_state_is_loaded_into_todays_memory_layout(then, now, tmp_path):
    """With equal gradients the next step gives equal weights, whichever layout the moments were saved in."""
    model = make(tmp_path, "--ngf", "2", "--ndf", "2", "--model", "cut", *then)
    step(model)
    checkpoints.save_state(model, [rank_state(model)], Position(3, 1, 9), model.opt)
    other = make(tmp_path, "--ngf", "2", "--ndf", "2", "--model", "cut", *now)
    checkpoints.load_state(other, other.opt)
    layouts = [[p.stride() for p in one.netG.parameters()] for one in (model, other)]
    assert layouts[0] != layouts[1]
    for ours, theirs in zip(other.optimizers, model.optimizers, strict=True):
        pairs = list(zip(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True))
        for a, b in pairs:
            b.grad = torch.empty_like(b).copy_(torch.linspace(-1, 1, b.numel()).reshape(b.shape))
            a.grad = torch.empty_like(a).copy_(b.grad)
        ours.step()
        theirs.step()
        assert all(torch.equal(a, b) for a, b in pairs)


def test_no_state(tmp_path):
    model = make(tmp_path)
    assert checkpoints.load_state(model, model.opt) is None


@pytest.mark.parametrize("flag, value", [("ngf", "2"), ("netN", "neg_gen"), ("direction", "BtoA"), ("netF_nc", "8")])
def test_what_a_resumed_run_cannot_change(flag, value, saved, tmp_path):
    other = make(tmp_path, f"--{flag}", value)
    with pytest.raises(
        UserError,
        match=f"--{flag} {value}: the run in .* was trained with .*; leave --{flag} out, or choose another --name",
    ):
        checkpoints.load_state(other, other.opt)


def test_what_it_can_change_is_named_and_holds(saved, tmp_path, capsys):
    other = make(tmp_path, "--lr", "0.5", "--lambda_NCE", "2")
    capsys.readouterr()
    checkpoints.load_state(other, other.opt)
    printed = capsys.readouterr().out
    assert printed.startswith("continuing with changed flags: ") and printed.count("\n") == 1
    for change in ("--lr 0.0002 -> 0.5", "--lr_N 0.0002 -> 0.5", "--lambda_NCE 1.0 -> 2.0"):
        assert change in printed
    assert set(other.learning_rates().values()) == {0.5}


def test_paths_names_and_machines_may_change_silently(saved, tmp_path, capsys):
    other = make(tmp_path, "--num_threads", "7", "--quiet", "--cache", "none")
    capsys.readouterr()
    checkpoints.load_state(other, other.opt)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda state: state | {"version": 99}, "was written by another version of this program"),
        (lambda state: [1], "was written by another version of this program"),
        (lambda state: {k: v for k, v in state.items() if k != "position"}, "does not fit the flags"),
        (lambda state: state | {"model": {}}, "does not fit the flags"),
        (lambda state: state | {"ranks": [{}]}, "does not fit the flags"),
    ],
)
def test_a_state_that_does_not_fit(spoil, says, saved, tmp_path):
    path = tmp_path / "run" / checkpoints.STATE
    checkpoints.save(spoil(checkpoints.load(path)), path)
    other = make(tmp_path)
    with pytest.raises(UserError) as error:
        checkpoints.load_state(other, other.opt)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_plain_options_fit_into_a_file(tmp_path):
    model = make(tmp_path)
    plain = checkpoints.plain_options(model.opt)
    checkpoints.save(plain, tmp_path / "x.pth")
    assert checkpoints.load(tmp_path / "x.pth") == plain
    assert plain["max_dataset_size"] == float("inf") and "message" not in plain
