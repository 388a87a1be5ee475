"""What inspect_checkpoint.py says about files of all kinds, and that the loading error says the same."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models import networks
from models.inference.architecture import load_weights
from scripts.inspect_checkpoint import describe
from util.errors import UserError
from util.run.progress import Position

ROOT = Path(__file__).parents[2]


def generator(**arguments):
    return networks.define_G(3, 3, 2, **{"netG": "resnet_4blocks", "norm": "instance"} | arguments)


def test_a_generator(tmp_path):
    file = tmp_path / "latest_net_G.pth"
    torch.save(generator(no_antialias=True).state_dict(), file)
    text = "\n".join(describe(file))
    assert (
        "--netG resnet_4blocks --ngf 2 --input_nc 3 --output_nc 3 --normG instance --no_dropout --no_antialias" in text
    )
    assert f"{sum(p.numel() for p in generator().parameters()):,} parameters" in text
    assert "translate.py" in text


def test_the_commands_can_be_copied(tmp_path):
    where = {"name": "my run", "checkpoints_dir": str(tmp_path)}
    weights, state = tmp_path / "of a run.pth", tmp_path / "latest_state.pt"
    torch.save(generator().state_dict(), weights)
    torch.save({"position": vars(Position(1)), "model": {"networks": {}}, "options": where}, state)
    assert f"python scripts/translate.py --weights '{weights}' IMAGES" in describe(weights)[-1]
    to_go_on = f"python train.py --name 'my run' --checkpoints_dir {tmp_path} --continue_train"
    assert describe(state)[-1] == f"  use       {to_go_on}"


def test_official_files_of_several_kinds_load(tmp_path):
    """With ``module.``, without the blur's filters, with the statistics of old instance norms."""
    trained, file = generator(), tmp_path / "net.pth"
    state = {"module." + key: value for key, value in trained.state_dict().items() if not key.endswith(".filt")}
    state["module.model.2.running_mean"] = torch.zeros(2)
    state["module.model.2.running_var"] = torch.ones(2)
    torch.save(state, file)
    assert any("module." in line for line in describe(file))
    net = generator()
    load_weights(net, file, "")
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in trained.state_dict().items())


def test_batch_norm_from_before_its_counter(tmp_path):
    trained, file = generator(norm="batch"), tmp_path / "net.pth"
    state = {k: v for k, v in trained.state_dict().items() if not k.endswith(".num_batches_tracked")}
    torch.save(state, file)
    net = generator(norm="batch")
    load_weights(net, file, "")
    assert torch.equal(net.state_dict()["model.2.weight"], state["model.2.weight"])


def test_the_loading_error_names_the_flags_of_the_file(tmp_path):
    file = tmp_path / "net.pth"
    torch.save(generator(netG="resnet_6blocks", no_antialias_up=True).state_dict(), file)
    flags = "--netG resnet_6blocks --ngf 2 --input_nc 3 --output_nc 3 --normG instance --no_dropout --no_antialias_up"
    with pytest.raises(UserError, match=flags):
        load_weights(generator(), file, "")


@pytest.mark.parametrize("netG", ["resnet_4blocks", "unet_128"])
def test_our_files_have_exactly_the_official_names(netG):
    """No prefix of a wrapper, nothing beside the weights and the fixed filters."""
    assert all(key.startswith("model.") for key in generator(netG=netG).state_dict())


def test_unknown_and_bad_weights(tmp_path):
    file = tmp_path / "other.pth"
    torch.save({"a": torch.tensor([float("nan")])}, file)
    text = "\n".join(describe(file, keys=True))
    assert "unknown" in text and "NaN" in text and "a  (1,)" in text


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint"])
def test_what_is_no_checkpoint(content, tmp_path):
    file = tmp_path / "x.pth"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match="x.pth"):
        describe(file)


@pytest.mark.slow
def test_the_command(tmp_path):
    torch.save(generator().state_dict(), tmp_path / "latest_net_G.pth")
    state = {"version": 1, "position": {"epoch": 3, "epoch_images": 0, "total_images": 20}}
    torch.save(
        state | {"model": {"networks": {"G": {}, "D": {}}}, "options": {"name": "h2z"}}, tmp_path / "latest_state.pt"
    )
    command = [sys.executable, str(ROOT / "scripts/inspect_checkpoint.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--netG resnet_4blocks" in done.stdout and "epoch 3, 20 images" in done.stdout
