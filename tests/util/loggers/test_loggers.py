"""Progress, the fan-out, the console and the JSONL record."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from util.json_lines import read
from util.loggers import Logger, Loggers, create_loggers, loss_group
from util.loggers.console import ConsoleLogger
from util.loggers.jsonl import JsonlLogger, cut
from util.run.progress import Position, Progress


def options(folder, **more):
    defaults = {"checkpoints_dir": str(folder), "name": "run", "display_id": 0, "no_html": True}
    return SimpleNamespace(**defaults | {"quiet": False, "tensorboard": False, "use_wandb": False, "rank": 0} | more)


def at(total_images, epoch=1, **more):
    return Progress(epoch=epoch, epoch_images=total_images, total_images=total_images, **more)


class Recorder(Logger):
    def __init__(self):
        self.events = []

    def log_losses(self, progress, losses):
        self.events.append(losses)

    def log_images(self, progress, images):
        self.events.append(images)

    def log_samples(self, progress, samples):
        self.events.append(samples)


class Broken(Logger):
    def log_losses(self, progress, losses):
        raise OSError("disk full")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 12))
def test_passed_is_true_once_for_each_multiple_or_step(steps, every):
    total, fired = 0, 0
    for images in steps:
        total += images
        fired += at(total, step_images=images).passed(every)
    multiples = {sum(steps[:i]) // every for i in range(1, len(steps) + 1)} - {0}
    assert fired == len(multiples)


def test_due_at_the_first_step_the_frequency_and_the_last():
    steps = [Progress(1 + i // 5, 2 * (i % 5 + 1), 2 * (i + 1), 2, epoch_size=10, last_epoch=2) for i in range(10)]
    assert [step.total_images for step in steps if step.due(8)] == [2, 8, 16, 20]
    assert not any(step.due(100) for step in steps[1:-1])  # not at the end of each epoch


def test_passed_never_at_frequency_zero():
    assert not at(100).passed(0)


def test_seconds_left_counts_the_rest_of_the_epoch_and_the_epochs_after():
    progress = Progress(2, 30, 130, epoch_size=100, last_epoch=4, seconds_per_image=0.5)
    assert progress.seconds_left == (70 + 200) * 0.5
    assert at(3).seconds_left is None


@pytest.mark.parametrize(
    "name, group",
    [
        ("G_GAN", "adversarial"),
        ("D_fake", "adversarial"),
        ("D_R1", "adversarial"),
        ("NCE", "contrastive"),
        ("NCE_Y", "contrastive"),
        ("N", "negatives"),
        ("similarity_negative_4", "similarity"),
        ("diversity", "negatives"),
        ("G", "other"),
        ("idt_A", "other"),
    ],
)
def test_loss_group(name, group):
    assert loss_group(name) == group


def test_a_failing_logger_is_dropped_with_one_warning(capsys):
    recorder = Recorder()
    loggers = Loggers([Broken(), recorder])
    for i in range(3):
        loggers.log_losses(at(i), {"NCE": torch.tensor(2.0)})
    assert recorder.events == [{"NCE": 2.0}] * 3
    err = capsys.readouterr().err
    assert err.count("warning:") == 1 and "Broken" in err and "disk full" in err


def test_tensors_become_arrays_once_for_all_loggers():
    first, second = Recorder(), Recorder()
    loggers = Loggers([first, second])
    array = np.zeros((2, 3, 3), np.uint8)
    loggers.log_images(at(1), {"real_A": torch.ones(2, 1, 4, 6), "fake_B": array})
    images = first.events[0]
    assert images["real_A"].shape == (4, 6, 3) and images["real_A"].dtype == np.uint8 and images["real_A"].min() == 255
    assert images["fake_B"] is array
    assert second.events[0]["real_A"] is images["real_A"]
    loggers.log_samples(at(1), {"horse/1": {"input": torch.zeros(3, 4, 4)}})
    assert first.events[1]["horse/1"]["input"].shape == (4, 4, 3)


def test_a_picture_that_is_none_is_left_out_with_one_warning(capsys):
    recorder = Recorder()
    loggers = Loggers([recorder])
    for i in range(2):
        labels = {"odd": torch.zeros(5), "labels": torch.zeros(5, 4, 4), "real_A": torch.zeros(3, 4, 4)}
        loggers.log_images(at(i), labels)
    assert [list(images) for images in recorder.events] == [["real_A"]] * 2
    err = capsys.readouterr().err
    assert err.count("warning: the picture odd") == 1 and err.count("the picture labels can't be shown") == 1


def test_the_classic_line_on_the_console_and_in_loss_log(tmp_path, capsys):
    with create_loggers(options(tmp_path)) as loggers:
        progress = at(100, seconds_per_image=0.1234, data_share=0.01, epoch_size=100, last_epoch=4)
        loggers.step(progress)
        loggers.log_losses(progress, {"G_GAN": 0.5, "NCE": float("nan")})
    line = "(epoch: 1, iters: 100, time: 0.123, data: 0.001) G_GAN: 0.500 NCE: nan"
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == line
    assert out.splitlines()[1].startswith("End of epoch 1 / 4 \t Time Taken: 0 sec")
    assert err == "" and "\033" not in out  # no bar, no colour where no terminal reads
    assert (tmp_path / "run/loss_log.txt").read_text().splitlines()[-1] == line


def test_quiet_writes_the_file_alone(tmp_path, capsys):
    with create_loggers(options(tmp_path, quiet=True)) as loggers:
        loggers.step(at(100, epoch_size=100))
        loggers.log_losses(at(100), {"G_GAN": 0.5})
    assert capsys.readouterr() == ("", "")
    assert "G_GAN: 0.500" in (tmp_path / "run/loss_log.txt").read_text()


def test_bar_and_colour_on_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = ConsoleLogger(options(tmp_path))
    for i in range(1, 5):
        progress = at(i, epoch_size=4, last_epoch=9, seconds_per_image=1.0)
        console.step(progress)
        console.log_losses(progress, {"G_GAN": float("inf")})
    console.close()
    out, err = capsys.readouterr()
    assert "\033[31mG_GAN: inf" in out
    assert "epoch 1/9" in err and "1/4, 0:00:35 left, 1 images/s, G_GAN inf" in err  # of all nine epochs


def test_a_live_line_shows_losses_that_are_not_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    loggers = create_loggers(options(tmp_path))
    assert not loggers.wants_losses()
    monkeypatch.setattr("util.loggers.SHOW_SECONDS", 0)
    assert loggers.wants_losses() and not Loggers([]).wants_losses()
    for image in (1, 2):
        loggers.step(at(image, epoch_size=4, last_epoch=9))
        loggers.show_losses(at(image, epoch_size=4, last_epoch=9), {"G_GAN": 0.5})
    loggers.close()
    out, err = capsys.readouterr()
    assert "G_GAN 0.500" in err and out == ""
    assert read(tmp_path / "run/losses.jsonl") == [] and "G_GAN" not in (tmp_path / "run/loss_log.txt").read_text()


def test_a_pipe_is_told_once_how_long_it_will_take(tmp_path, monkeypatch, capsys):
    console = ConsoleLogger(options(tmp_path))
    console.begun -= 29
    for seconds in (0, 2, 3):
        console.step(at(10, epoch_size=20, last_epoch=3, seconds_per_image=1.5, time=console.begun + 29 + seconds))
    assert capsys.readouterr().out == "0.667 images/s: 0:01:15 left\n"


@pytest.mark.parametrize("where, bar", [({"IPKernelApp": {}}, True), ({"TerminalIPythonApp": {}}, False)])
def test_a_notebook_has_a_bar_and_an_ipython_in_a_pipe_none(tmp_path, monkeypatch, where, bar):
    shell = SimpleNamespace(config=where)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    console = ConsoleLogger(options(tmp_path))
    assert console.show_bar == bar and not console.colour
    assert not ConsoleLogger(options(tmp_path, quiet=True)).show_bar


def test_no_color_is_obeyed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not ConsoleLogger(options(tmp_path)).colour


def test_loggers_say_where_to_watch(tmp_path):
    with create_loggers(options(tmp_path, model="negcut", dataroot="data", no_html=False)) as loggers:
        assert loggers.where_to_watch() == [str(tmp_path / "run/web/index.html")]


def test_the_record_is_strict_json_and_flushed(tmp_path):
    logger = JsonlLogger(options(tmp_path))
    logger.log_losses(at(100, learning_rates={"G": 2e-4}), {"NCE": float("inf"), "G_GAN": 0.25})
    logger.log_scores(at(100), {"FID": np.float32(40.5), "images": 120, "features": "inception"})
    (row,) = read(tmp_path / "run/losses.jsonl")  # before close
    assert row["losses"] == {"NCE": None, "G_GAN": 0.25} and row["learning_rates"] == {"G": 2e-4}
    (row,) = read(tmp_path / "run/metrics.jsonl")
    assert row["scores"] == {"FID": 40.5, "images": 120, "features": "inception"} and row["total_images"] == 100


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 4))
def test_a_resumed_record_equals_an_uninterrupted_one(tmp_path_factory, killed, saved, torn):
    saved = min(saved, killed)
    whole, resumed = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("resumed")

    def train(folder, first, last, resume=None):
        logger = JsonlLogger(options(folder), resume)
        for i in range(first, last + 1):
            logger.log_losses(at(i, time=0.0), {"NCE": i / 3})
        logger.close()

    train(whole, 1, 15)
    train(resumed, 1, killed)
    path = resumed / "run/losses.jsonl"
    path.write_text(path.read_text() + '{"epoch": 1, "total_im'[: torn * 5])
    train(resumed, saved + 1, 15, resume=Position(1, saved, saved))

    def without_memory(path):
        return [{k: v for k, v in row.items() if k != "memory_gb"} for row in read(path)]

    assert without_memory(path) == without_memory(whole / "run/losses.jsonl")
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_what_an_epochs_end_gave_is_cut_where_the_epoch_is_still_under_way(tmp_path):
    """Killed between its scores and its save, the run evaluates that epoch again."""
    path = tmp_path / "metrics.jsonl"
    rows = [(1, 4, "scores"), (2, 8, "losses"), (2, 8, "scores"), (2, 8, "samples"), (3, 9, "losses")]
    rows = [{"epoch": epoch, "total_images": total, kind: {}} for epoch, total, kind in rows]
    for at, left in ((Position(2, 4, 8), 2), (Position(3, 0, 8), 4), (Position(3, 1, 9), 5)):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        cut(path, at)
        assert read(path) == rows[:left]


def test_cut_leaves_no_file_where_there_was_none(tmp_path):
    cut(tmp_path / "losses.jsonl", Position(1, 5, 5))
    assert read(tmp_path / "losses.jsonl") == [] and not list(tmp_path.iterdir())


def test_the_options_choose_the_loggers(tmp_path):
    def kinds(**flags):
        opt = options(tmp_path, model="negcut", dataroot="data", **flags)
        with create_loggers(opt) as loggers:
            return [type(logger).__name__ for logger in loggers.loggers]

    assert kinds() == ["JsonlLogger", "ConsoleLogger"]
    assert kinds(no_html=False)[2:] == ["TrainingPage"]
    pytest.importorskip("tensorboard")
    assert kinds(tensorboard=True)[2:] == ["TensorboardLogger"]


def test_visdom_missing_is_a_warning(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "visdom", None)
    monkeypatch.delitem(sys.modules, "util.loggers.visdom_logger", raising=False)
    with create_loggers(options(tmp_path, display_id=None)) as loggers:
        assert len(loggers.loggers) == 2
    assert "--display_id 0" in capsys.readouterr().err
