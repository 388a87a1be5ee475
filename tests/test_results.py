"""The folder that test.py fills: one call's translations, whatever an earlier one has left there."""

import shutil
import sys
from pathlib import Path

import pytest
from tiny_run import CONTRASTIVE, FLAGS, draw_images

import options
import test as test_script
from models import create_model
from scripts import evaluate
from util.errors import UserError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """``run("--phase=val")`` tests a run that was just begun; returns the pictures of its results, by their folder."""
    draw_images(tmp_path / "images", a=3, b=3, phase="test")
    shutil.copytree(tmp_path / "images/testB", tmp_path / "images/two")
    (tmp_path / "images/two/2.png").unlink()

    def train(*flags: str) -> None:
        where = [f"--checkpoints_dir={tmp_path}", "--name=run", f"--dataroot={tmp_path / 'images'}"]
        opt = options.parse([*where, *FLAGS, *flags])
        model = create_model(opt)
        model.setup(opt)
        model.save_networks("latest")
        options.save_options(opt, tmp_path / "run")

    def test(*flags: str) -> list[str]:
        where = [f"--checkpoints_dir={tmp_path}", "--name=run", f"--results_dir={tmp_path / 'results'}"]
        monkeypatch.setattr(sys, "argv", ["test.py", *where, "--gpu_ids=-1", "--num_threads=0", "--quiet", *flags])
        test_script.main()
        return pictures(tmp_path / "results/run")

    test.train, test.folder = train, tmp_path
    train("--model=cut", *CONTRASTIVE)
    return test


def pictures(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("images/*/*.png"))


def fakes(found: list[str]) -> list[str]:
    return [path for path in found if "fake" in path]


def test_what_a_call_does_not_overwrite_is_set_aside(run, capsys):
    assert fakes(run()) == [f"test_latest/images/fake_B/{n}.png" for n in range(3)]
    assert "earlier call" not in capsys.readouterr().out
    before = (run.folder / "results/run/test_latest/images/fake_B/2.png").read_bytes()
    found = run("--num_test=2")
    assert fakes(found) == [*(f"test_latest/images/fake_B/{n}.png" for n in range(2)),
                            "test_latest/previous_1/images/fake_B/2.png"]  # fmt: skip
    assert "test_latest/previous_1/images/real_A/2.png" in found
    assert f"are now in {run.folder / 'results/run/test_latest/previous_1'}" in capsys.readouterr().out
    assert (run.folder / "results/run/test_latest/previous_1/images/fake_B/2.png").read_bytes() == before


def test_a_repeat_moves_nothing(run):
    first = run()
    assert run() == first and run() == first


def test_each_call_sets_aside_in_a_folder_of_its_own(run):
    for count in (3, 2, 1):
        found = run(f"--num_test={count}")
    assert [path for path in fakes(found) if "previous" in path] == [
        "test_latest/previous_1/images/fake_B/2.png", "test_latest/previous_2/images/fake_B/1.png",
    ]  # fmt: skip


def test_the_generator_alone_has_a_folder_of_its_own(run):
    run()
    found = run("--model=test", f"--dataroot={run.folder / 'images/two'}")
    assert fakes(found) == [*(f"test_latest/images/fake_B/{n}.png" for n in range(3)),
                            *(f"test_latest_single/images/fake/{n}.png" for n in range(2))]  # fmt: skip


def test_another_model_than_the_trained_is_told(run, capsys):
    run("--model=negcut")
    assert "--model negcut: run was trained with cut, whose generator translates\n" in capsys.readouterr().out
    page = (run.folder / "results/run/test_latest/index.html").read_text()
    assert "<b>model</b> cut<" in page and "<b>model</b> negcut" not in page


def test_of_an_official_run_the_folder_is_the_usual_one(run):
    (run.folder / "run/train_opt.json").unlink()
    flags = ["--netG=resnet_4blocks", "--ngf=2", "--load_size=20", "--crop_size=16"]
    found = run("--model=test", f"--dataroot={run.folder / 'images/two'}", *flags)
    assert fakes(found) == [f"test_latest/images/fake/{n}.png" for n in range(2)]


@pytest.mark.filterwarnings("ignore:FD-effnet_lite0 of")
def test_evaluate_says_when_the_folder_and_its_page_disagree(run, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(run.folder / "cache"))
    run()
    made = run.folder / "results/run/test_latest/images/fake_B"
    score = [str(run.folder / "images/testB"), str(made), "--feature_space=effnet_lite0", "--gpu_ids=-1"]
    evaluate.main(score)
    assert "disagree" not in capsys.readouterr().err
    made.joinpath("0.png").rename(made / "a é.png")
    shutil.copy(made / "1.png", made / "b.png")
    evaluate.main(score)
    assert (
        f"{made} and the page above it disagree: 2 of its 4 are not on the page (first a é.png) and 1 of the page's 3 "
        "are not in it (first 0.png)"
    ) in capsys.readouterr().err


def test_two_channels_are_no_picture(run):
    shutil.rmtree(run.folder / "run")
    flags = ["--model=colorization", "--normG=instance", "--netG=resnet_4blocks"]
    run.train(*flags)
    with pytest.raises(
        UserError, match="--model test: this generator gives images of 2 channels .*without --model test"
    ):
        run("--model=test", f"--dataroot={run.folder / 'images/two'}")
    assert not (run.folder / "results").exists()
    (run.folder / "images/two").rename(run.folder / "images/test")
    assert len(fakes(run(f"--dataroot={run.folder / 'images'}"))) == 2
