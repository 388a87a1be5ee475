"""One training at a time in a run's folder; a lock never outlives its process."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_run import CONTRASTIVE, Run, draw_images

from util.errors import UserError
from util.run import lock
from util.run.lock import locked


@pytest.fixture
def opt(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0)
    return SimpleNamespace(checkpoints_dir=str(tmp_path), name="run", rank=0)


def test_a_second_one_is_told_who_has_it(opt, tmp_path):
    with locked(opt), pytest.raises(UserError) as error, locked(opt):
        pass
    folder = tmp_path / "run"
    assert f"--name run: another training (process {os.getpid()} on " in str(error.value)
    assert f"is writing to {folder}; wait for it, end it, or choose another --name" in str(error.value)
    with locked(opt):
        (folder / ".lock.json").write_text("{")
        with pytest.raises(UserError, match="another training is writing"), locked(opt):
            pass
    with locked(opt):  # it was given back
        pass
    assert not (folder / ".lock.json").exists()


def test_a_link_to_a_disk_that_is_gone(opt, tmp_path):
    opt.checkpoints_dir = str(tmp_path / "link")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match="--checkpoints_dir .*/link cannot be written to \\(.*File exists"), locked(opt):
        pass


def test_the_lock_of_a_killed_process_does_not_block(opt, tmp_path):
    """Nor does what it left beside it."""
    script = (
        "import os, signal; from types import SimpleNamespace; from util.run.lock import locked\n"
        f"with locked(SimpleNamespace(checkpoints_dir={str(tmp_path)!r}, name='run', rank=0)):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3])
    left = json.loads((tmp_path / "run/.lock.json").read_text())
    assert killed.returncode == -9 and left["process"] != os.getpid()
    with locked(opt):
        assert json.loads((tmp_path / "run/.lock.json").read_text())["process"] == os.getpid()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_the_file_system_has_no_locks_one_line_says_so(code, opt, capsys, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="Windows locks otherwise")

    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    entered = []
    with locked(opt):
        entered.append(1)
    err = capsys.readouterr().err
    assert entered and err.count("\n") == 1 and "cannot be locked" in err


def test_other_ranks_leave_it_to_the_first(opt):
    with locked(opt), locked(SimpleNamespace(**vars(opt) | {"rank": 1})):
        pass


@pytest.mark.slow
def test_a_training_holds_it_and_another_touches_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0)
    images = draw_images(tmp_path / "images")
    run = Run(tmp_path / "run", monkeypatch, f"--dataroot={images}", "--model=cut", *CONTRASTIVE)
    found = []

    def train_again():
        files = {path: path.stat().st_mtime_ns for path in run.folder.iterdir()}
        for start in (run, run.resume):
            with pytest.raises(UserError, match="another training"):
                start()
        found.append(files == {path: path.stat().st_mtime_ns for path in run.folder.iterdir()})

    assert run(after={2: train_again}) == 0 and found == [True]
    assert run() == 0


def test_a_run_refused_before_it_wrote_anything_leaves_no_folder(opt, tmp_path):
    with pytest.raises(UserError), locked(opt):
        raise UserError("no such folder")
    assert not (tmp_path / "run").exists()
