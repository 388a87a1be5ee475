import json

import pytest
import torch
from tiny_run import CONTRASTIVE, Killed, Run, draw_images, first_difference, kill, weights

from models.base_model import BaseModel
from util.errors import UserError
from util.loggers import Loggers

pytestmark = pytest.mark.slow
INTERRUPTED = 75


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def new_run(images, tmp_path, monkeypatch):
    def make(name, *flags, model="negcut"):
        contrastive = CONTRASTIVE if "cut" in model else []
        return Run(tmp_path / name, monkeypatch, f"--dataroot={images}", f"--model={model}", *contrastive, *flags)

    return make


def assert_equal(run, other):
    assert first_difference(run.state["model"], other.state["model"]) is None
    assert first_difference(run.state["ranks"], other.state["ranks"]) is None
    assert run.state["position"] == other.state["position"]
    assert first_difference(weights(run.folder), weights(other.folder)) is None
    assert run.record == other.record and run.record


@pytest.mark.parametrize(
    "flags",
    [
        "--model negcut",
        "--model negcut --num_threads 4 --cache none",
        "--model negcut --num_threads 4 --cache ram --batch_size 3 --lr_policy step --lr_decay_iters 1",
        "--model cut --cache none --flip_equivariance --lr_policy plateau --serial_batches",
        "--model cut --cache ram --num_threads 4 --batch_size 2 --no_dropout false --normG batch --lr_policy cosine",
        "--model cycle_gan --pool_size 2",
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(new_run, monkeypatch, flags):
    """4 images, so 4 steps an epoch: the interruptions lie in its middle, at its last step and at its first."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(4))  # workers on any machine
    flags = flags.split()
    whole, parts = (new_run(name, *flags[2:], model=flags[1]) for name in ("whole", "parts"))
    assert whole() == 0
    steps = 3 * -(-4 // int(flags[flags.index("--batch_size") + 1] if "--batch_size" in flags else 1))
    assert parts(after={2: "SIGTERM"}) == INTERRUPTED
    assert parts.resume(after={steps // 3 - 2 or steps: "SIGINT"}) in (0, INTERRUPTED)
    assert parts.resume(after={1: "SIGUSR1"}) in (0, INTERRUPTED)
    assert parts.resume() == 0
    assert len(whole.record) == steps
    assert_equal(whole, parts)


def test_the_record_has_the_first_step_the_frequencies_and_the_last(new_run, monkeypatch):
    """Nothing by the clock and nothing at an interruption, though losses are looked at after every step."""
    whole, parts = new_run("whole", "--print_freq=5", model="cut"), new_run("parts", "--print_freq=5", model="cut")
    assert whole() == 0
    monkeypatch.setattr("util.loggers.SHOW_SECONDS", 0)
    assert parts(after={2: "SIGTERM"}) == INTERRUPTED
    assert parts.resume(after={4: "SIGINT"}) == INTERRUPTED
    assert parts.resume() == 0
    assert [row["total_images"] for row in whole.record] == [1, 5, 10, 12]
    assert_equal(whole, parts)


def test_scores_and_averages_resume_too(new_run, tmp_path):
    """The best epoch, the samples and the plateau schedule follow from them."""
    images = draw_images(draw_images(tmp_path / "images"), 3, 3, phase="test")
    flags = f"--dataroot={images}", "--eval_freq=1", "--ema_decay=0.9", "--lr_policy=plateau", "--eval_num=2"
    whole, parts = (new_run(name, *flags, model="cut") for name in ("whole", "parts"))
    assert whole() == 0
    assert parts(after={4: "SIGTERM"}) == INTERRUPTED  # before the evaluation of epoch 1
    assert parts.resume(after={5: "SIGTERM"}) == INTERRUPTED
    assert parts.resume() == 0
    assert_equal(whole, parts)
    scores = [[json.loads(line) for line in (run.folder / "metrics.jsonl").open()] for run in (whole, parts)]
    scores = [[{k: v for k, v in row.items() if k != "time"} for row in rows] for rows in scores]
    assert scores[0] == scores[1] and [row["epoch"] for row in scores[0]] == [1, 2, 3]
    assert first_difference(weights(whole.folder, "best"), weights(parts.folder, "best")) is None
    assert weights(whole.folder, "best").keys() >= {"best_net_G.pth", "best_net_G_ema.pth"}


def test_an_evaluation_is_recorded_once_where_a_kill_comes_before_its_save(new_run, tmp_path, monkeypatch):
    images = draw_images(draw_images(tmp_path / "images"), 3, 3, phase="test")
    run = new_run("run", f"--dataroot={images}", "--eval_freq=1", "--eval_num=2", "--save_latest_freq=1", model="cut")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Loggers, "log_samples", lambda *_: kill())  # the scores are written
        run()
    assert run.state["position"]["epoch"] == 1
    assert run.resume() == 0
    assert [json.loads(line)["epoch"] for line in (run.folder / "metrics.jsonl").open()] == [1, 2, 3]


def test_killed_and_resumed_from_the_last_save_equals_uninterrupted(new_run):
    whole, parts = (new_run(name, "--save_latest_freq=3", "--save_epoch_freq=1") for name in ("whole", "parts"))
    assert whole() == 0
    with pytest.raises(Killed):
        parts(after={2: kill})  # before anything is saved
    for step in (3, 6, 1, 4):
        with pytest.raises(Killed):
            parts.resume(after={step: kill})
    assert parts.resume() == 0
    assert_equal(whole, parts)


def test_a_model_is_told_each_epoch_after_a_resume_too(new_run, monkeypatch):
    epochs = []
    monkeypatch.setattr(BaseModel, "set_epoch", lambda model, epoch: epochs.append(epoch))
    run = new_run("run", model="cut")
    assert run(after={6: "SIGTERM"}) == INTERRUPTED  # in the second epoch of four steps
    assert epochs == [1, 2]
    assert run.resume() == 0
    assert epochs == [1, 2, 2, 3]


def test_a_finished_run_goes_on_with_more_epochs(new_run):
    """The schedule is the new one, from where it stands: as if it had held from the start."""
    whole, parts = new_run("whole", "--n_epochs=3", "--n_epochs_decay=2"), new_run("parts")
    assert whole() == 0 and parts() == 0
    assert parts.resume() == 0 and parts.record[-1]["epoch"] == 3
    assert parts.resume("--n_epochs=3", "--n_epochs_decay=2") == 0
    assert [row["epoch"] for row in parts.record] == [row["epoch"] for row in whole.record]
    assert [row["learning_rates"] for row in parts.record[12:]] == [row["learning_rates"] for row in whole.record[12:]]
    assert first_difference(parts.state["model"]["schedulers"], whole.state["model"]["schedulers"]) is None


def test_a_finished_run_is_left_as_it_is(new_run, capsys):
    run = new_run("run")
    assert run() == 0
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.folder.rglob("*") if path.is_file()}
    assert run.resume() == run.resume("--lr=0.1") == 0
    out = capsys.readouterr().out
    assert out.count(f"all 3 epochs of {run.folder} are trained, nothing is changed; ") == 2
    assert "--n_epochs 102 trains 100 more" in out
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in run.folder.rglob("*") if p.is_file()} == before


def test_a_cosine_schedule_of_before_is_kept_and_told(new_run, capsys):
    """It rose again in the epochs of --n_epochs_decay; the state holds its period."""
    run = new_run("run", "--lr_policy=cosine")
    assert run(after={1: "SIGINT"}) == INTERRUPTED
    state = run.state
    for scheduler in state["model"]["schedulers"]:
        scheduler["T_max"] = 2
    torch.save(state, run.folder / "latest_state.pt")
    capsys.readouterr()
    assert run.resume() == 0
    assert "the cosine schedule that it began with is kept: it falls to zero at epoch 2" in capsys.readouterr().out
    rates = [row["learning_rates"]["G"] for row in run.record[::4]]
    assert rates == pytest.approx([0.0002, 0.0001, 0.0])


def test_changed_flags_are_named_and_hold(new_run, capsys):
    run = new_run("run")
    assert run(after={5: "SIGINT"}) == INTERRUPTED
    assert run.resume("--lr=0.001", "--beta1=0.4", "--n_epochs_decay=2", after={1: "SIGINT"}) == INTERRUPTED
    line = next(line for line in capsys.readouterr().out.splitlines() if "changed flags" in line)
    assert all(change in line for change in ("--beta1 0.5 -> 0.4", "--lr 0.0002 -> 0.001", "--n_epochs_decay 1 -> 2"))
    group = run.state["model"]["optimizers"][0]["param_groups"][0]
    assert (group["lr"], group["betas"]) == (0.001, (0.4, 0.999))
    assert run.resume(after={1: "SIGINT"}) == INTERRUPTED
    assert "changed" not in capsys.readouterr().out  # they are the run's own now
    assert run.state["model"]["optimizers"][0]["param_groups"][0]["lr"] == 0.001


def test_an_average_may_begin_and_end_on_the_way(new_run):
    run = new_run("run")
    assert run(after={1: "SIGINT"}) == INTERRUPTED
    assert run.resume("--ema_decay=1e-9", after={2: "SIGINT"}) == INTERRUPTED  # the average is nearly the last G
    nets = run.state["model"]["networks"]
    assert all(torch.allclose(nets["G_ema"][key], nets["G"][key], atol=1e-6) for key in nets["G"])
    assert run.resume("--ema_decay=0", after={1: "SIGINT"}) == INTERRUPTED
    assert "G_ema" not in run.state["model"]["networks"]
    plain, other = new_run("plain"), new_run("other", "--pretrained_name=plain", "--ema_decay=1", "--lr=1e-12")
    assert plain(after={1: "SIGINT"}) == other(after={1: "SIGINT"}) == INTERRUPTED
    nets, old = other.state["model"]["networks"], plain.state["model"]["networks"]
    assert all(torch.allclose(nets["G_ema"][key], old["G"][key], atol=1e-6) for key in old["G"])


def test_weights_of_another_run_are_named_and_what_it_lacks_starts_new(new_run, capsys):
    """NEGCUT from CUT, which has no N and no F_."""
    cut = new_run("cut", model="cut")
    assert cut(after={2: "SIGINT"}) == INTERRUPTED
    run = new_run("run", "--pretrained_name=cut", "--lr=1e-12", model="negcut")
    run.flags.remove("--quiet")
    assert run(after={1: "SIGINT"}) == INTERRUPTED
    out = " ".join(capsys.readouterr().out.split())
    assert f"new, weights of G, F, D from {cut.folder}, epoch latest; new: N, F_" in out
    nets, old = run.state["model"]["networks"], cut.state["model"]["networks"]
    assert all(torch.allclose(nets[name][key], old[name][key], atol=1e-6) for name in "GFD" for key in old[name])


def test_a_run_with_weights_of_another_goes_on_if_killed_before_its_first_save(new_run):
    cut, run = new_run("cut", model="cut"), new_run("run", "--pretrained_name=cut", model="cut")
    cut(after={2: "SIGINT"})
    with pytest.raises(Killed):
        run(after={1: kill})
    assert run.resume(after={1: "SIGINT"}) == INTERRUPTED and len(run.record) == 1


@pytest.mark.parametrize(
    "flag", ["--ngf=3", "--netF_nc=5", "--nce_layers=0,4", "--normG=none", "--direction=BtoA", "--model=cut"]
)
def test_another_architecture_is_refused_and_nothing_is_touched(new_run, flag):
    run = new_run("run")
    run(after={1: "SIGINT"})
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    name, value = flag.split("=")
    with pytest.raises(
        UserError,
        match=rf"^{name} {value}: the run in .* was trained with .*; leave {name} out, or choose another --name$",
    ):
        train_again = Run(run.folder, run.monkeypatch)
        train_again.resume(flag)
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_flags_of_a_plug_in_that_do_not_fit_are_one_sentence(new_run):
    run = new_run("run", "--netN=neg_param")
    run(after={1: "SIGINT"})
    with pytest.raises(UserError, match=r"latest_state.pt does not fit the flags; give those it was trained with"):
        run.resume("--num_patches=6")


def strip_to_official(run):
    """What the published code leaves: weights and a text log."""
    for path in run.folder.iterdir():
        if not path.name.endswith(".pth") and path.name != "loss_log.txt":
            path.unlink()


def test_official_weights_resume_with_one_line_about_what_is_missing(new_run, capsys):
    run = new_run("run", "--save_epoch_freq=1")
    run(after={10: "SIGINT"})  # in epoch 3
    strip_to_official(run)
    before = weights(run.folder)
    assert run(*run.flags, "--continue_train", "--lr_policy=linear", after={1: "SIGINT"}) == INTERRUPTED
    lines = [line for line in capsys.readouterr().out.splitlines() if "weights but no latest_state.pt" in line]
    assert len(lines) == 1 and "start anew at epoch 3 (from the newest" in lines[0]
    assert run.record[0]["epoch"] == 3 and run.record[0]["total_images"] == 9
    assert set(run.record[0]["learning_rates"].values()) == {0.0001}  # that of epoch 3, not of the start
    moved = max((weights(run.folder)[f][k] - before[f][k]).abs().max() for f in before for k in before[f])
    assert 0 < moved < 0.001 + 0.1 * 1  # one step from there (F_ moves by a tenth)


@pytest.mark.parametrize(
    ("flags", "epoch", "how"),
    [
        (["--epoch=2"], 3, "from --epoch"),
        (["--epoch=2", "--epoch_count=2"], 2, "from --epoch_count"),
        ([], 3, "from the newest numbered checkpoint"),
    ],
)
def test_how_the_epoch_of_official_weights_is_found(new_run, capsys, flags, epoch, how):
    run = new_run("run", "--save_epoch_freq=1")
    run(after={9: "SIGINT"})
    strip_to_official(run)
    (run.folder / "loss_log.txt").unlink()
    assert run(*run.flags, "--continue_train", *flags, after={1: "SIGINT"}) == INTERRUPTED
    assert f"start anew at epoch {epoch} ({how})" in capsys.readouterr().out
    assert run.state["position"]["epoch"] == epoch


def test_a_state_of_a_newer_version_is_refused(new_run):
    run = new_run("run")
    run(after={1: "SIGINT"})
    torch.save(run.state | {"version": 99}, run.folder / "latest_state.pt")
    with pytest.raises(UserError, match="latest_state.pt was written by another version"):
        run.resume()


def test_a_new_run_of_an_old_name_sets_the_old_one_aside(new_run):
    run = new_run("run")
    assert run("--save_epoch_freq", "1") == 0
    stays = (".lock", "checked_images.json")  # what is known of the folder of images holds for the new run too
    old = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file() and path.name not in stays}
    with pytest.raises(Killed):
        run("--lr", "0.001", after={2: kill})  # before its first save
    aside = run.folder / "previous_1"
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == old
    assert not list(run.folder.glob("*_net_*.pth"))
    assert json.loads((run.folder / "train_opt.json").read_text())["lr"] == 0.001
    assert run.resume() == 0 and run.state["options"]["lr"] == 0.001
    assert (
        run.record[0]["total_images"] == 1 and run.state["position"]["total_images"] == run.record[-1]["total_images"]
    )
    assert run() == 0 and (run.folder / "previous_2/latest_state.pt").exists()
