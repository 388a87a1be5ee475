"""Every start of a run that trains is kept with it: code, data, device."""

import subprocess

import pytest
from tiny_run import Run, draw_images

from util.json_lines import STARTS, read
from util.run.starts import checkout


def test_a_checkout_is_changed_by_its_files_and_new_code_not_by_data(tmp_path):
    def git(*command):
        quiet = {"check": True, "stdout": subprocess.DEVNULL}
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e@x", *command], cwd=tmp_path, **quiet)

    assert checkout(tmp_path) == {"commit": None, "changed": None}
    git("init", "-q")
    (tmp_path / "train.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "one")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/1.jpg").write_text("1")
    found = checkout(tmp_path)
    assert len(found["commit"]) == 40 and found["changed"] is False
    (tmp_path / "photos/model.py").write_text("1")
    assert checkout(tmp_path) == {"commit": found["commit"], "changed": True}
    (tmp_path / "photos/model.py").unlink()
    (tmp_path / "train.py").write_text("2")
    assert checkout(tmp_path) == {"commit": found["commit"], "changed": True}


def test_without_git_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checkout(tmp_path) == {"commit": None, "changed": None}


@pytest.mark.slow
def test_a_start_that_trains_leaves_a_line_and_others_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = draw_images(draw_images(tmp_path / "data"), phase="test")
    run = Run(tmp_path / "run", monkeypatch, f"--dataroot={data}", "--model=cycle_gan", "--n_epochs=1", "--lr=0.001")
    assert run(after={2: "SIGTERM"}) == 75
    (data / "trainA/0.png").write_bytes((data / "trainA/1.png").read_bytes() + b"more")
    assert run.resume() == 0
    assert run.resume() == 0  # all epochs are trained
    first, second = read(tmp_path / "run" / STARTS)
    assert "--lr=0.001" in first["command"] and "--continue_train" in second["command"]
    assert (first["total_images"], second["total_images"]) == (0, 2)
    assert first["device"].startswith("cpu, fp32") and {"python", "torch"} <= first["versions"].keys()
    assert first["data"]["trainA"]["images"] == 3 and first["data"]["trainB"]["images"] == 4
    assert first["data"]["trainA"] != second["data"]["trainA"]
    assert first["data"]["trainB"] == second["data"]["trainB"]
    assert first["data"].keys() == {"trainA", "trainB", "testA", "testB"}
    assert {"commit", "changed", "time", "dataroot"} <= first.keys()
