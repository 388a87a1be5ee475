"""What ends or disturbs a training from outside: signals, the time budget, a full disk, kill -9."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from tiny_run import CONTRASTIVE, Run, draw_images, first_difference, weights

from util.errors import UserError, run
from util.run import checkpoints, interruption
from util.run.interruption import Interruption

resource = pytest.importorskip("resource", reason="Windows has neither these limits nor these signals")
ROOT = Path(__file__).parents[3]
INTERRUPTED = 75


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def new_run(images, tmp_path, monkeypatch):
    def make(name, *flags):
        return Run(tmp_path / name, monkeypatch, f"--dataroot={images}", "--model=cut", *CONTRASTIVE, *flags)

    return make


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_is_noted_and_the_handlers_are_put_back(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with Interruption() as signals:
        assert not signals.requested()
        os.kill(os.getpid(), number)
        assert signals.requested() and signals.reason == name
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_ends_at_once():
    with pytest.raises(KeyboardInterrupt), Interruption():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)


def test_time_budget(monkeypatch):
    now = interruption.BEGUN + 59
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with_budget = Interruption(60)
    assert not with_budget.requested()
    now += 1
    assert with_budget.requested() and with_budget.reason == "--time_budget is used up"


@pytest.mark.slow
def test_time_budget_saves_and_exits(new_run):
    run = new_run("run", "--time_budget=0.001s")
    assert run() == INTERRUPTED
    assert run.state["position"] == {"epoch": 1, "epoch_images": 0, "total_images": 0}


@pytest.mark.slow
def test_sigterm_to_every_process_of_a_job(images, tmp_path):
    """As clusters send it: loader processes wait for the main one, which saves. This is the command itself."""
    flags = Run(tmp_path / "run", None, f"--dataroot={images}", "--model=cut", *CONTRASTIVE, "--num_threads=2")
    flags = [*flags.start, *flags.flags, "--n_epochs=1000"]
    alone = {"start_new_session": True, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, str(ROOT / "train.py"), *flags], **alone)
    record = tmp_path / "run" / "losses.jsonl"
    while process.poll() is None and not (record.exists() and record.read_text().count("\n") > 1):
        time.sleep(0.05)  # until both loaders have delivered a batch
    for pid in [*children(process.pid), process.pid]:
        os.kill(pid, signal.SIGTERM)
    _, messages = process.communicate()
    assert process.returncode == INTERRUPTED, messages
    assert messages == ""
    assert checkpoints.load(tmp_path / "run" / "latest_state.pt")["position"]["total_images"] > 0


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_saves_by_time(new_run, monkeypatch):
    saves = []
    monkeypatch.setattr(
        checkpoints, "save_state", lambda model, ranks, position, opt: saves.append(position.total_images)
    )
    assert new_run("run", "--save_latest_every=0.000000001h", "--save_epoch_freq=100")() == 0
    assert saves == [*range(1, 13), 12]


@pytest.mark.slow
def test_rotation_keeps_the_newest_epochs_latest_and_best(new_run):
    run = new_run("run", "--n_epochs=9", "--keep_checkpoints=2", "--save_epoch_freq=2", "--save_by_iter")
    foreign = ("best_net_G.pth", "2019_notes.txt", "old_net_G.pth", "1x_net_G.pth")
    assert run(after={1: lambda: [(run.folder / name).write_text("kept") for name in foreign]}) == 0
    saved = {path.name.split("_net_")[0] for path in run.folder.glob("*_net_G.pth")}
    assert saved == {"8", "10", "latest", "best", "old", "1x", *(f"iter_{n}" for n in (8, 16, 24, 32, 40))}
    assert (run.folder / "2019_notes.txt").exists()
    assert len(list(run.folder.glob("8_net_*.pth"))) == 3


@pytest.mark.slow
def test_a_disk_that_is_full_for_a_while(new_run, monkeypatch, capsys):
    """Files may grow to 20 kB only, from step 4 to 7: neither training nor the record has a gap."""
    monkeypatch.setattr("util.run.training_run.RETRY_SECONDS", 0)
    whole, run = new_run("whole"), new_run("run", "--save_latest_freq=2")
    assert whole() == 0
    kept = []

    def fill():
        kept.append((run.folder / "latest_state.pt").read_bytes())
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))

    def empty():
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        kept.append((run.folder / "latest_state.pt").read_bytes())

    try:
        assert run(after={3: fill, 8: empty}) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert kept[0] == kept[1]  # the last good one was left alone
    warnings = [line for line in capsys.readouterr().err.splitlines() if "FAILED" in line]
    assert len(warnings) == 4 and all("File too large" in line for line in warnings)
    assert first_difference(run.state["model"], whole.state["model"]) is None
    assert run.record == whole.record
    assert not list(run.folder.glob(".writing-*"))


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["patience", "signal", "room"])
def test_a_last_save_that_fails_is_no_success(ending, new_run, monkeypatch, capsys):
    monkeypatch.setattr("util.run.training_run.PATIENCE_SECONDS", 2 if ending == "patience" else 60)
    monkeypatch.setattr("util.run.training_run.RETRY_SECONDS", 1)
    run, unlimited = new_run("run", "--save_epoch_freq=2"), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        if ending == "room":
            threading.Timer(1.5, resource.setrlimit, (resource.RLIMIT_FSIZE, unlimited)).start()
        if ending == "signal":
            signal.raise_signal(signal.SIGTERM)

    try:
        if ending == "room":
            assert run(after={11: fill}) == 0
        else:
            with pytest.raises(UserError) as refused:
                run(after={11: fill})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert "SAVING TO" in capsys.readouterr().err
    if ending != "room":
        assert str(refused.value) == (
            f"the last save to {run.folder} failed, the state there is of epoch 3, image 0; "
            "make room and train what is missing with --continue_train"
        )
        assert run.state["position"]["total_images"] == 8
        assert run.resume() == 0
    assert run.state["position"]["total_images"] == 12


@pytest.mark.slow
def test_a_record_on_a_full_disk_follows_later(new_run, capsys):
    whole, run = new_run("whole"), new_run("run", "--save_latest_freq=1000")
    assert whole() == 0
    limit = [resource.RLIM_INFINITY]

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, ((run.folder / "losses.jsonl").stat().st_size + 50, *limit))

    try:
        assert run(after={2: fill, 5: lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit * 2)}) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit * 2)
    assert "JsonlLogger cannot write" in capsys.readouterr().err
    assert run.record == whole.record


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_to(new_run, monkeypatch, capsys):
    monkeypatch.setattr("util.run.training_run.RETRY_SECONDS", 0)
    run = new_run("run", "--save_latest_freq=1000")
    aside = run.folder.with_name("aside")

    def take_away():
        run.folder.rename(aside)
        run.folder.write_text("a file in the folder's place")

    def give_back():
        run.folder.unlink()
        aside.rename(run.folder)

    assert run(after={4: take_away, 7: give_back}) == 0
    assert "SAVING TO" not in capsys.readouterr().err  # nothing was due meanwhile
    assert run.resume("--n_epochs=3", "--save_latest_freq=1", after={2: take_away, 4: give_back}) == 0
    assert capsys.readouterr().err.count("FAILED") == 2
    assert run.state["position"]["epoch"] == 5


@pytest.mark.slow
def test_what_a_killed_save_left_is_removed(new_run):
    run = new_run("run")
    run(after={2: "SIGINT"})
    (run.folder / ".writing-x1y2.pt").write_text("half a file")
    before = weights(run.folder)
    assert run.resume(after={1: "SIGINT"}) == INTERRUPTED
    assert not list(run.folder.glob(".writing-*")) and weights(run.folder).keys() == before.keys()


@pytest.mark.slow
def test_kills_at_random_moments(tmp_path):
    """The drill with few kills; scripts/dev/drill.py --kills 30 is the whole one."""
    command = [sys.executable, str(ROOT / "scripts/dev/drill.py"), "--kills=6", f"--folder={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 kills" in done.stdout and "none lost" in done.stdout


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore."), "out of memory; use a "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes. More"), "can't allocate memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "DataLoader worker (pid 7)"),
        (OSError(errno.ENOSPC, "No space left on device", "a/b.json"), "a/b.json: No space left on device"),
    ],
)
def test_what_the_machine_lacks_is_one_sentence(error, says, capsys):
    with pytest.raises(SystemExit) as end:
        run(fail, error)
    message = capsys.readouterr().err
    assert end.value.code == 2 and message.startswith(f"error: {says}") and message.count("\n") == 1


def test_a_bug_is_a_traceback_and_ctrl_c_says_nothing(capsys):
    for error in (RuntimeError("shapes differ"), OSError(errno.ENOENT, "No such file"), KeyError("x")):
        with pytest.raises(type(error)):
            run(fail, error)
    with pytest.raises(SystemExit) as end:
        run(fail, KeyboardInterrupt())
    assert end.value.code == 130 and capsys.readouterr().err == ""


def test_a_signal_that_comes_while_the_ranks_agree_counts_the_next_time(monkeypatch):
    """Else one rank stops a step before the others, and they wait for it in different places."""
    with Interruption() as interruption:

        def agree_slowly(value):
            if interruption.reason is None:
                os.kill(os.getpid(), signal.SIGTERM)
            return value

        monkeypatch.setattr("util.distributed.is_distributed", lambda: True)
        monkeypatch.setattr("util.distributed.any_rank", agree_slowly)
        assert [interruption.requested(), interruption.requested()] == [False, True]
        assert interruption.reason == "SIGTERM"
