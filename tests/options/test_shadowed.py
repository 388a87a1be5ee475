"""A file of a fork that a package of ours hides, or that imports what was not copied, is told, with what to do."""

import pytest

import data
import models
from options.shadowed import ROOT, shadowed_files
from util.errors import UserError


def test_a_forks_networks_file_is_told(tmp_path):
    (tmp_path / "models" / "networks").mkdir(parents=True)
    (tmp_path / "models" / "__init__.py").touch()
    (tmp_path / "models" / "networks" / "__init__.py").touch()
    (tmp_path / "models" / "patchnce.py").touch()
    assert shadowed_files(tmp_path) == []
    (tmp_path / "models" / "networks.py").touch()
    (sentence,) = shadowed_files(tmp_path)
    assert sentence.startswith("models/networks.py is not read: the package models/networks/")
    assert "models/NAME_networks.py" in sentence and "import NAME_networks as networks" in sentence


@pytest.mark.parametrize("room", ["models/inference", "util/run", "util/pages", "util/loggers", "util/metrics"])
def test_ours_is_found_in_front_of_a_file_of_its_name(room):
    """Python takes a folder without __init__.py only where no file has its name."""
    assert (ROOT / room / "__init__.py").is_file()


FINDERS = [(models, "find_model_using_name", "--model theirs: models/theirs_model.py")]
FINDERS += [(data, "find_dataset_using_name", "--dataset_mode theirs: data/theirs_dataset.py")]


@pytest.mark.parametrize("package, find, flag", FINDERS)
def test_what_a_forks_file_imports_and_is_not_here_is_named(package, find, flag, tmp_path, monkeypatch):
    for name in ("theirs_model.py", "theirs_dataset.py"):
        (tmp_path / name).write_text("from .generator import define_G\n")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    with pytest.raises(UserError, match=f"{flag}.*generator.*; copy what it imports here, or install that package"):
        getattr(package, find)("theirs")
