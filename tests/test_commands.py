"""The command lines of the README, as processes of their own: draw, train, test, score; and that training learns."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from util.images import tensor2im

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
TINY = "--netG resnet_4blocks --ngf 2 --netD n_layers --n_layers_D 1 --ndf 2 --netF_nc 8 --num_patches 16".split()
TINY += "--load_size 36 --crop_size 32 --lr 0.001 --display_id 0".split()


def command(folder: Path, script: str, *arguments, status: int = 0) -> subprocess.CompletedProcess:
    """``python SCRIPT ARGUMENTS`` with ``folder`` as the current one, on the CPU, on a single core."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["XDG_CACHE_HOME"] = str(folder / ".cache")
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *map(str, arguments)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return done


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder in which NEGCUT has been trained for two epochs and tested; one test image lies in a folder below."""
    folder = tmp_path_factory.mktemp("place")
    command(folder, "scripts/data/make_toy_dataset.py", "datasets/toy", "--size", 32, "--train", 4, "--test", 3)
    for side in "AB":
        (folder / f"datasets/toy/test{side}/more").mkdir()
        shutil.copy(folder / f"datasets/toy/train{side}/0001.png", folder / f"datasets/toy/test{side}/more/0000.png")
    flags = ["--dataroot", "datasets/toy", "--name", "toy", "--model", "negcut", *TINY]
    flags += ["--n_epochs", 1, "--n_epochs_decay", 1, "--eval_freq", 1, "--print_freq", 2, "--update_html_freq", 4]
    for script, arguments in (("train", flags), ("test", ["--name", "toy"])):
        done = command(folder, f"{script}.py", *arguments)
        (folder / f"{script}.out").write_text(done.stdout)
        (folder / f"{script}.err").write_text(done.stderr)
    return folder


def test_training_leaves_its_files(place):
    run = place / "checkpoints/toy"
    there = set(names(run))
    assert there >= {"train_opt.txt", "train_opt.json", "loss_log.txt", "losses.jsonl", "metrics.jsonl", "web"}
    assert there >= {f"{epoch}_net_{net}.pth" for epoch in ("latest", "best") for net in ("G", "F", "D", "N", "F_")}
    assert "latest_state.pt" in there and not [name for name in there if name.startswith(".") and name != ".lock"]
    losses, scores = (rows(run / f"{name}.jsonl") for name in ("losses", "metrics"))
    assert [(row["epoch"], row["total_images"]) for row in losses] == [(1, 1), (1, 2), (1, 4), (2, 6), (2, 8)]
    assert losses[0]["losses"].keys() >= {"G_GAN", "D_real", "D_fake", "G", "NCE", "NCE_Y", "N"}
    assert [row["epoch"] for row in scores] == [1, 2] and scores[0]["scores"]["images"] == 4
    assert (run / "loss_log.txt").read_text().count("(epoch: ") == 5
    assert (run / "web/index.html").stat().st_size > 1000


def test_training_says_what_it_does_and_what_comes_next(place):
    printed = (place / "train.out").read_text()
    start = printed[: printed.index("(epoch: 1")].splitlines()
    assert len(start) <= 24 and max(map(len, start)) <= 100
    for words in (
        "netF_nc 8 (256)", "checkpoints/toy/train_opt.txt", "4 trainA, 4 trainB; 4 testA, 4 testB, scored every epoch",
        "scaled to 36, cropped to 32", "negcut: G 0.", "parameters", "cpu, fp32", "new, 2 epochs of 4 images",
        "checkpoints/toy/web/index.html",
    ):  # fmt: skip
        assert any(words in line for line in start), words
    end = printed[printed.index("\ndone  ") :]
    for words in ("8 images in", "images/s", ": last ", ", best ", "checkpoints/toy/best_net_*.pth"):
        assert words in end
    assert end.splitlines()[-1].split(maxsplit=1) == ["next", "python test.py --name toy"]
    assert "UserWarning" not in (place / "train.err").read_text()
    assert "\033" not in printed and "\r" not in (place / "train.err").read_text() + (place / "test.err").read_text()


def test_verbose_prints_the_whole_table_and_the_layers_on_a_terminal_that_lacks_letters(place, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    flags = ["--name", "toy", "--dataroot", "datasets/toy", "--results_dir", "结果", "--verbose", "--num_test", 1]
    printed = command(place, "test.py", *flags).stdout
    assert ["netF_nc:", "8", "[default:", "256,", "saved]"] in [line.split() for line in printed.splitlines()]
    assert "ReflectionPad2d" in printed
    assert r"\u7ed3\u679c" in printed and (place / "结果/toy/test_latest/index.html").is_file()


def test_quiet_training_prints_nothing(place):
    flags = ["--dataroot", "datasets/toy", "--name", "silent", "--model", "negcut", *TINY, "--quiet"]
    done = command(place, "train.py", *flags, "--n_epochs", 1, "--n_epochs_decay", 0, "--max_dataset_size", 2)
    assert done.stdout == "" and (place / "checkpoints/silent/loss_log.txt").stat().st_size


def test_all_test_images_are_translated_and_equal_names_kept_apart(place):
    images = place / "results/toy/test_latest/images"
    assert names(images) == ["fake_B", "real_A", "real_B"]
    wanted = ["0000.png", "0001.png", "0002.png", "more_0000.png"]
    assert all(names(images / label) == wanted for label in names(images))
    for name, source in zip(wanted, ["0000.png", "0001.png", "0002.png", "more/0000.png"], strict=True):
        for side in "AB":
            original = pixels(place / f"datasets/toy/test{side}" / source)
            assert np.array_equal(pixels(images / f"real_{side}" / name), original)
    last = (place / "test.out").read_text().rstrip().splitlines()[-1]
    assert last == "4 images: open results/toy/test_latest/index.html"


def test_translations_are_those_of_the_saved_generator(place):
    from models.inference.architecture import load_weights
    from models.networks import define_G

    net = define_G(3, 3, 2, "resnet_4blocks", "instance")
    load_weights(net, place / "checkpoints/toy/latest_net_G.pth", "--netG")
    images = place / "results/toy/test_latest/images"
    for name in names(images / "fake_B"):
        source = torch.from_numpy(pixels(images / "real_A" / name)).permute(2, 0, 1)[None].float() / 255 * 2 - 1
        with torch.no_grad():
            made = tensor2im(net(source)).astype(int)
        assert np.abs(made - pixels(images / "fake_B" / name)).max() <= 1


def test_pages_in_a_browser(place, browser):
    browser.log.clear()
    browser.goto((place / "results/toy/test_latest/index.html").as_uri())
    loaded = "document.images.length === 12 && [...document.images].every(x => x.naturalWidth === 32)"
    browser.wait_for_function(loaded)
    names = "[...document.querySelectorAll('.card .name span')].map(x => x.textContent).filter(x => x)"
    assert browser.evaluate(names) == ["0000", "0001", "0002", "more_0000"]
    assert "negcut" in browser.evaluate("document.body.textContent")
    assert browser.evaluate("PAGE.labels") == ["real_A", "fake_B", "another image of B"]
    browser.goto((place / "checkpoints/toy/web/index.html").as_uri())
    browser.wait_for_function("[...document.images].filter(x => x.naturalWidth).length > 0")
    assert browser.log == []


def test_a_test_needs_the_source_folder_alone(place):
    """Neither training folders nor the other side; some of the images, another epoch, another place for results."""
    alone = place / "alone"
    shutil.copytree(place / "datasets/toy/testA", alone / "testA")
    flags = ["--name", "toy", "--dataroot", alone, "--num_test", 2, "--epoch", "best", "--results_dir", "elsewhere"]
    printed = command(place, "test.py", *flags, "--quiet").stdout
    images = place / "elsewhere/toy/test_best/images"
    assert names(images) == ["fake_B", "real_A"] and names(images / "fake_B") == ["0000.png", "0001.png"]
    assert printed.rstrip().splitlines()[-1] == "2 images: open elsewhere/toy/test_best/index.html"


def test_the_other_direction(place):
    """--direction BtoA: the sources lie in testB."""
    flags = ["--dataroot", "datasets/toy", "--name", "back", "--direction", "BtoA", *TINY, "--n_epochs", 1]
    command(place, "train.py", *flags, "--n_epochs_decay", 0, "--eval_freq", 0, "--max_dataset_size", 2, "--no_html")
    assert not (place / "checkpoints/back/web").exists() and not rows(place / "checkpoints/back/metrics.jsonl")
    shutil.copytree(place / "datasets/toy/testB", place / "alone_B/testB")
    command(place, "test.py", "--name", "back", "--dataroot", "alone_B")
    images = place / "results/back/test_latest/images"
    assert len(names(images / "fake_B")) == 4
    assert np.array_equal(pixels(images / "real_A/0001.png"), pixels(place / "datasets/toy/testB/0001.png"))


def test_a_mistake_is_one_sentence_and_status_2(place):
    done = command(place, "train.py", "--dataroot", "datasets/toy", "--name", "never", "--model", "negcutt", status=2)
    assert done.stderr.startswith("error: --model negcutt: ") and done.stderr.count("\n") == 1
    assert not (place / "checkpoints/never").exists()
