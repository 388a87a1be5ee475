"""Every experiment's flags are flags of the program; the command is printed and run."""

import os
import shlex
import sys

import pytest

import options
from scripts import launch
from util.errors import UserError

NAMES = sorted(path.stem for path in launch.EXPERIMENTS.glob("*.txt"))


@pytest.mark.parametrize("name", NAMES)
def test_the_flags_exist(name, tmp_path):
    flags = launch.read_experiment(name)
    where = ["--checkpoints_dir", str(tmp_path), "--gpu_ids", "-1"]
    opt = options.parse([*flags["both"], *flags["train"], *where])
    assert opt.name.startswith(name.split("_")[0])
    options.save_options(opt, (tmp_path / opt.name).mkdir() or tmp_path / opt.name)
    test = options.parse([*flags["both"], *flags["test"], *where, "--results_dir", str(tmp_path)], is_train=False)
    assert (test.model, test.direction, test.dataroot) == (opt.model, opt.direction, opt.dataroot)


def test_the_papers_experiments_are_there():
    assert {"horse2zebra", "cat2dog", "cityscapes", "grumpifycat", "singleimage"} <= set(NAMES)
    assert "BtoA" in launch.read_experiment("cityscapes")["train"]


@pytest.fixture
def ran(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "execv", lambda program, argv: calls.append((program, argv)))
    return calls


def test_training(ran, capsys):
    launch.main(["horse2zebra", "--n_epochs", "3"])
    line = capsys.readouterr().out.strip()
    wanted = (
        "--name horse2zebra_negcut --dataroot ./datasets/horse2zebra --model negcut --NEGCUT_mode NEGCUT --n_epochs 3"
    )
    assert line == f"python train.py {wanted}"
    assert ran == [(sys.executable, [sys.executable, str(launch.ROOT / "train.py"), *shlex.split(wanted)])]


def test_testing(ran, capsys):
    launch.main(["grumpifycat", "test"])
    assert capsys.readouterr().out.strip().endswith("--dataroot ./datasets/grumpifycat --phase train")
    assert ran[0][1][1].endswith("test.py") and "--model" not in ran[0][1]


def test_only_printing(ran, capsys):
    launch.main(["cat2dog", "train", "--dry_run", "--name", "with space"])
    assert "--name 'with space'" in capsys.readouterr().out and not ran
    launch.main([])
    said = capsys.readouterr().out
    assert all(name in said for name in NAMES)


def test_what_is_not_there(ran, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no experiment horse; choose from .*horse2zebra"):
        launch.main(["horse"])
    with pytest.raises(UserError, match=r"\(did you mean cityscapes\?\)$"):
        launch.main(["citiscape"])
    with pytest.raises(UserError, match="trian"):
        launch.main(["horse2zebra", "trian"])
    monkeypatch.setattr(launch, "EXPERIMENTS", tmp_path)
    (tmp_path / "x.txt").write_text("# x\n[tset]\n")
    with pytest.raises(UserError, match="line 2"):
        launch.main(["x"])
