"""A file of a fork that a package of ours hides is told, with how to name it."""

import pytest

from options.shadowed import ROOT, shadowed_files


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
