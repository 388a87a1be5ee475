"""Weights that the repository holds are found by name, by every command; files and folders by that text win."""

import argparse
import json

import numpy as np
import pytest
import torch
from PIL import Image

from models import networks
from models.inference import trained
from models.inference.translator import Translator
from util.errors import UserError


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Stands for models/inference/weights: one small generator, ``stripes``."""
    folder = tmp_path / "repository"
    folder.mkdir()
    torch.manual_seed(0)
    net = networks.define_G(3, 3, 2, "resnet_4blocks", "instance", init_type="kaiming")
    torch.save({key: value.half() for key, value in net.state_dict().items()}, folder / "stripes.pth")
    (folder / "stripes.json").write_text(json.dumps({"about": "grey to stripes", "seed": 3}))
    monkeypatch.setattr(trained, "FOLDER", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def choose(*flags):
    parser = argparse.ArgumentParser()
    trained.add_flags(parser.add_argument)
    return trained.chosen(parser.parse_args([*flags]))


def test_a_name_in_the_repository(repository):
    assert choose("--weights", "stripes") == (repository / "stripes.pth", "latest", None)
    assert trained.about(repository / "stripes.pth") == {"about": "grey to stripes", "seed": 3}
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8))
    by_name, by_file = Translator("stripes", device="cpu"), Translator(repository / "stripes.pth", device="cpu")
    assert next(by_name.net.parameters()).dtype == torch.float32
    assert np.array_equal(by_name(image), by_file(image)) and by_name(image).size == image.size


def test_a_file_by_that_text_wins(repository, tmp_path):
    (tmp_path / "stripes").write_bytes((repository / "stripes.pth").read_bytes())
    assert choose("--weights", "stripes")[0].resolve() == tmp_path / "stripes"


def test_a_wrong_name_lists_them(repository):
    with pytest.raises(UserError, match="stripe: no such file, .* named stripes"):
        choose("--weights", "stripe")
    with pytest.raises(UserError, match="stripe: no such file, .* named stripes"):
        Translator("stripe")
    with pytest.raises(UserError, match="--name.*--weights.*stripes"):
        choose()
    with pytest.raises(UserError, match="--name h2z and --weights stripes are two generators; give one"):
        choose("--name", "h2z", "--weights", "stripes")


def test_an_experiment_is_not_looked_for_in_the_repository(repository):
    with pytest.raises(UserError, match="--name stripes: there is no experiment"):
        choose("--name", "stripes", "--checkpoints_dir", ".")


@pytest.mark.parametrize("flags", [["--ema"], ["--net", "G_B"], ["--epoch", "5"]])
def test_what_chooses_among_an_experiment_s_weights(repository, flags):
    with pytest.raises(UserError, match="choose among an experiment's weights"):
        choose("--weights", "stripes", *flags)


def test_what_the_repository_holds_is_whole():
    """Each pair loads, is small, and says what it is and how it was made."""
    for name in trained.shipped():
        path = trained.find(name)
        assert path.stat().st_size < 8e6, name
        assert {"about", "command", "seed", "steps", "scores", "licence"} <= trained.about(path).keys(), name
        state = torch.load(path, weights_only=True)
        assert {v.dtype for v in state.values() if v.is_floating_point()} == {torch.float16}, name
        Translator(name, device="cpu")
