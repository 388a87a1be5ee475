"""scripts/compare.py: budgets, what is trained and what is not trained again, and the page."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tiny_run import CONTRASTIVE, FLAGS, draw_images

import options
from models import create_model
from scripts import compare
from scripts.data import make_toy_dataset, score_toy
from util.errors import UserError

SIZE = 32  # the smallest that is drawn
SHARED = " ".join([*FLAGS[: FLAGS.index("--n_epochs")], *CONTRASTIVE, "--eval_freq=0", "--save_epoch_freq=1"])


def parsed(*arguments: str):
    return compare.parse(["--out=out", *arguments])


@pytest.mark.parametrize(
    "images, flags, epochs",
    [(8, "", (1, 1)), (9, "", (2, 1)), (16, "--n_epochs_decay 0", (4, 0)), (16, "--CUT_mode FastCUT", (3, 1))],
)
def test_a_budget_of_images_is_whole_epochs(tmp_path, images, flags, epochs):
    draw_images(tmp_path, a=3, b=4)  # an epoch has 4 images
    opt = parsed(f"--images={images}", f"--flags={SHARED} --dataroot {tmp_path}", f"--run=a={flags}")
    command = compare.command(opt, "a", 7)
    assert command[-2:] == [f"--n_epochs={epochs[0]}", f"--n_epochs_decay={epochs[1]}"]
    assert {"--seed=7", "--name=a_seed7"} <= set(command)


def test_a_budget_of_time_is_train_pys(tmp_path):
    draw_images(tmp_path)
    opt = parsed("--seconds=1.5m", f"--flags={SHARED} --dataroot {tmp_path}", "--run=a=--model negcut")
    assert "--time_budget=90s" in compare.command(opt, "a", 0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "at least one --run"),
        (["--run=a="], "--images or --seconds"),
        (["--run=a=", "--images=1", "--seconds=1"], "--images or --seconds"),
        (["--run=a b=", "--images=1"], "NAME of letters"),
        (["--run=a=", "--run=a=--lr 1", "--images=1"], "must differ"),
        (["--run=a=--lr fast", "--images=1"], "--lr"),
        (["--run=a=--suffix 'x", "--images=1"], "--run a: .*No closing quotation"),
        (["--existing=a=nowhere*"], "no folder there"),
        (["--run=a=", "--images=1", "--seconds_an_image=a=soon"], "--seconds_an_image: must be a number .*'soon'"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        compare.main([f"--out={tmp_path / 'out'}", *arguments])
    assert not (tmp_path / "out").exists()


def test_a_failed_run_says_where_to_look(tmp_path, monkeypatch):
    draw_images(tmp_path / "images")
    monkeypatch.setattr(compare, "wait_for", lambda argv, output: output.write("first\nerror: no space\n") and 2)
    arguments = [f"--flags={SHARED} --dataroot {tmp_path / 'images'}", "--run=a=", "--images=4"]
    with pytest.raises(UserError, match=r"a_seed0 ended with status 2: error: no space .*logs/a_seed0.txt"):
        compare.main([f"--out={tmp_path}", *arguments])
    assert not (tmp_path / "checkpoints/a_seed0" / compare.FINISHED).exists()


# A train.py that loses a Ctrl-C, as one that is being imported may, and saves at SIGTERM; it sends its parent a signal.
CHILD = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("saved")))
if len(sys.argv) > 1:
    os.kill(os.getppid(), int(sys.argv[1]))
time.sleep(3)
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has neither these signals nor these parents")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_run_and_then_the_comparison(tmp_path, capsys, name):
    output = open(tmp_path / "log", "w+")
    with pytest.raises(SystemExit, match="75"):
        compare.wait_for([sys.executable, "-c", CHILD, str(int(getattr(signal, name)))], output)
    output.seek(0)
    assert output.read() == "saved\n"
    assert capsys.readouterr().out == f"interrupted by {name}; the same command goes on\n"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
def test_a_signal_before_the_run_has_begun_ends_both(tmp_path, monkeypatch):
    started, popen = [], subprocess.Popen

    def interrupted(*arguments, **how):
        started.append(popen(*arguments, **how))
        os.kill(os.getpid(), signal.SIGINT)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with open(tmp_path / "log", "w") as output, pytest.raises(SystemExit, match="75"):
        compare.wait_for([sys.executable, "-c", CHILD], output)
    assert started[0].returncode in (0, -signal.SIGTERM)


def test_each_run_says_which_of_how_many_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare, "wait_for", lambda *_: 1 if "--seed=1" in _[0] else 0)
    monkeypatch.setattr(compare, "command", lambda opt, name, seed: [f"--seed={seed}"])
    for name in ("a", "b"):
        (tmp_path / f"checkpoints/{name}_seed0").mkdir(parents=True)
    arguments = [f"--out={tmp_path}", "--run=a=", "--run=b=", "--images=4", "--seeds=2"]
    for done in ("training", "is trained"):
        with pytest.raises(UserError, match="a_seed1 ended with status 1"):
            compare.main(arguments)
        runs = [f"a_seed0 (1 of 4): {done}", f"b_seed0 (2 of 4): {done}", "a_seed1 (3 of 4): training"]
        assert capsys.readouterr().out.splitlines() == runs


def test_a_folder_whose_name_looks_like_a_pattern_and_a_generator_of_another_name(tmp_path):
    """CycleGAN's netG_A, in a run named as copies of files are."""
    draw_images(tmp_path / "images", 2, 2, "test")
    where = [f"--dataroot={tmp_path / 'images'}", f"--checkpoints_dir={tmp_path}", "--name=h2z [1]"]
    run = options.parse([*where, "--model=cycle_gan", *FLAGS])
    create_model(run).save_networks("latest")
    options.save_options(run, tmp_path / "h2z [1]")
    record = {"epoch": 1, "total_images": 4, "images_per_second": 2.0, "losses": {"G_A": 1.0}}
    (tmp_path / "h2z [1]/losses.jsonl").write_text(json.dumps(record))
    opt = parsed(f"--existing=C={tmp_path / 'h2z [1]'}", "--samples=1")
    [folder] = compare.existing(opt)["C"]
    assert compare.score_and_show(opt, folder, True).keys() == {"input", "output"}


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> tuple[Path, list[str]]:
    """Two experiments of two seeds on a tiny drawn dataset."""
    folder = tmp_path_factory.mktemp("compared")
    make_toy_dataset.main([str(folder / "toy"), f"--size={SIZE}", "--train=3", "--test=2"])
    flags = f"{SHARED} --dataroot {folder / 'toy'} --load_size 36 --crop_size {SIZE} --ema_decay 0.5"
    arguments = [f"--out={folder / 'out'}", f"--flags={flags}", "--images=6", "--seeds=2", "--samples=2"]
    arguments += ["--run=CUT=--model cut", "--run=NEGCUT=--model negcut"]
    compare.main(arguments)
    return folder / "out", arguments


@pytest.mark.slow
def test_page_and_table(compared):
    out, _ = compared
    page = (out / "index.html").read_text()
    figures = re.findall(r"<figure.*?</figure>", page)
    titles = [ElementTree.fromstring(figure).find("figcaption/b").text for figure in figures]
    for title in ("stripes", "stripes_ema", "NCE", "similarity_negative_4"):
        assert titles.count(title) == 2  # over images and over time
    assert page.count("<img") == 2 * (2 + 2 * 2)  # images x (input, truth, G and average of two experiments)
    rows = (out / "table.md").read_text().splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:6]] == [
        "CUT", "CUT, average of G", "NEGCUT", "NEGCUT, average of G",
    ]  # fmt: skip
    assert all("±" in row for row in rows[2:6])
    scores = json.loads((out / "scores.json").read_text())["scores"]
    assert [len(run) for run in scores["NEGCUT"]] == [2, 2]  # both epochs of both seeds


@pytest.mark.slow
def test_scores_are_those_of_score_toy(compared, tmp_path):
    out, _ = compared
    where = [f"--checkpoints_dir={out / 'checkpoints'}", "--name=NEGCUT_seed1", f"--results_dir={tmp_path}"]
    command = [sys.executable, compare.ROOT / "test.py", *where, "--gpu_ids=-1", "--quiet"]
    subprocess.run(command, check=True, capture_output=True)
    images = tmp_path / "NEGCUT_seed1/test_latest/images/fake_B"
    wanted = score_toy.means(score_toy.score_folder(out.parent / "toy", images))["translated"]
    found = json.loads((out / "scores.json").read_text())["scores"]["NEGCUT"][1][-1][-1]
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)


@pytest.mark.slow
def test_finished_runs_are_not_trained_again(compared, monkeypatch, capsys):
    out, arguments = compared
    before = (out / "scores.json").read_text()
    monkeypatch.setattr(compare, "wait_for", lambda *_: pytest.fail("trained again"))
    compare.main(arguments)
    assert (out / "scores.json").read_text() == before
    with pytest.raises(UserError, match="other flags"):
        compare.main([*arguments, "--images=9"])


@pytest.mark.slow
def test_existing_runs_are_compared_without_training(compared, tmp_path, monkeypatch):
    out, _ = compared
    monkeypatch.setattr(compare, "wait_for", lambda *_: pytest.fail("trained"))
    compare.main([f"--out={tmp_path}", f"--existing=N={out / 'checkpoints/NEGCUT_seed*'}"])
    assert (
        json.loads((tmp_path / "scores.json").read_text())["scores"]["N"]
        == (json.loads((out / "scores.json").read_text())["scores"]["NEGCUT"])
    )
