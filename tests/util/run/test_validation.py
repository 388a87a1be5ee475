"""Scores while training: those of scripts/evaluate.py on the files of test.py, and the best weights they choose."""

import json
import shutil
import sys
from argparse import Namespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import CONTRASTIVE, Run, draw_images, first_difference, weights

import options
import test as test_script
from data import create_dataset
from models import create_model
from scripts import evaluate
from util.errors import UserError
from util.run.validation import Validation, create_validation


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Four images to train on; five to test in A, four in B, of two sizes."""
    root = draw_images(tmp_path_factory.mktemp("images"))
    rng = np.random.default_rng(1)
    for side, count in (("A", 5), ("B", 4)):
        (root / f"test{side}").mkdir()
        for i in range(count):
            size = (20 + 8 * (i % 2), 24, 3)
            Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(root / f"test{side}" / f"{i}.png")
    return root


@pytest.fixture
def new_run(images, tmp_path, monkeypatch):
    def make(*flags: str) -> Run:
        start = [f"--dataroot={images}", "--model=negcut", *CONTRASTIVE, "--feature_space=effnet_lite0"]
        return Run(tmp_path / "run", monkeypatch, *start, *flags)

    return make


def rows(run: Run) -> list[dict]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def same_scores(trained: dict, own: dict) -> None:
    for key, value in own.items():
        assert trained[key] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), key


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.filterwarnings("ignore:FD-effnet_lite0 of")
def test_scores_are_those_of_evaluate_on_the_files_of_test(direction, new_run, images, tmp_path, monkeypatch, capsys):
    run = new_run("--n_epochs=1", "--n_epochs_decay=0", "--eval_freq=1", f"--direction={direction}")
    assert run("--max_dataset_size=3", "--ema_decay=0.5") == 0
    (row,) = rows(run)

    results = tmp_path / "results"
    argv = ["test.py", "--name=run", f"--checkpoints_dir={tmp_path}", f"--results_dir={results}", "--gpu_ids=-1"]
    monkeypatch.setattr(sys, "argv", [*argv, "--quiet"])
    test_script.main()
    made = results / "run" / "test_latest" / "images" / "fake_B"
    references = images / ("testB" if direction == "AtoB" else "testA")
    assert len(list(made.iterdir())) == (5 if direction == "AtoB" else 4)
    command = [str(references), str(made), "--feature_space=effnet_lite0", f"--out={tmp_path / 'own.jsonl'}"]
    evaluate.main([*command, "--size=16"])
    own = json.loads((tmp_path / "own.jsonl").read_text())["scores"]

    assert len(own) == 8  # two distances, the standard error of one, two counts, three notes
    assert own["size"] == row["scores"]["size"] == "16x16"
    same_scores(row["scores"], own)
    averaged = {key for key in row["scores"] if key.endswith("_ema")}
    assert averaged == {"FD-effnet_lite0-16px_ema", "KD-effnet_lite0-16px_ema", "KD-effnet_lite0-16px_se_ema"}
    assert row["scores"]["FD-effnet_lite0-16px_ema"] != row["scores"]["FD-effnet_lite0-16px"]

    capsys.readouterr()
    evaluate.main(command)  # without --size real images are as large as their files
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "size" in line]
    assert warning == (
        "warning: translations are 16x16, real images of 2 sizes: the size itself enters the distance; "
        "--size 16 brings all to 16x16 first"
    )
    whole = json.loads((tmp_path / "own.jsonl").read_text().splitlines()[1])["scores"]
    assert whole["size"] == "of 3 sizes" and "FD-effnet_lite0-mixed" in whole


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.filterwarnings("ignore:FD-effnet_lite0 of")
def test_pairs_are_scored_against_their_other_halves(direction, tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    for split, count in (("train", 2), ("test", 3)):
        (tmp_path / "pairs" / split).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (24, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pairs" / split / f"{i}.png")
    start = [
        f"--dataroot={tmp_path / 'pairs'}",
        "--model=pix2pix",
        "--netG=resnet_4blocks",
        "--no_dropout",
        f"--direction={direction}",
    ]
    run = Run(tmp_path / "run", monkeypatch, *start, "--feature_space=effnet_lite0")
    assert run("--n_epochs=1", "--n_epochs_decay=0", "--eval_freq=1") == 0
    (row,) = rows(run)

    argv = [
        "test.py",
        "--name=run",
        f"--checkpoints_dir={tmp_path}",
        f"--results_dir={tmp_path}/results",
        "--gpu_ids=-1",
    ]
    monkeypatch.setattr(sys, "argv", [*argv, "--quiet"])
    test_script.main()
    made = tmp_path / "results" / "run" / "test_latest" / "images"
    evaluate.main(
        [f"{made}/real_B", f"{made}/fake_B", "--paired", "--feature_space=effnet_lite0", f"--out={tmp_path}/own.jsonl"]
    )
    own = json.loads((tmp_path / "own.jsonl").read_text())["scores"]
    assert own["references"] == 3 and 5 < own["PSNR"] < 20 and -1 < own["SSIM"] < 1
    same_scores(row["scores"], own)
    page = (made.parent / "scores.js").read_text()
    assert "PSNR" in page and "SSIM" in page


@pytest.mark.slow
def test_a_test_image_that_breaks_while_training_is_named(new_run, tmp_path):
    data = draw_images(draw_images(tmp_path / "data"), phase="test")
    run = new_run(f"--dataroot={data}", "--n_epochs=1", "--n_epochs_decay=0", "--cache=none", "--eval_freq=1")
    with pytest.raises(UserError, match="testA/1.png"):
        run(after={2: lambda: (data / "testA/1.png").write_bytes(b"")})


SCORES = {"FID": [50.0, 30.0, 40.0, 31.0, 20.0, 20.0], "class_340": [0.1, 0.3, 0.2, 0.6, 0.6, 0.5]}
BEST = {"FID": 5, "class_340": 4}  # of equal ones the first


@pytest.fixture
def scripted(monkeypatch):
    """Validation gives ``SCORES``, one column an evaluation."""
    evaluations = iter(range(6))

    def scores(self, model):
        at = next(evaluations)
        return {name: values[at] for name, values in SCORES.items()} | {"images": 5}, {}

    monkeypatch.setattr(Validation, "run", scores)
    evaluator = Namespace(score=lambda images: dict.fromkeys(SCORES, 0.5) | {"images": 2}, warned=set())
    monkeypatch.setattr("util.metrics.evaluator.Evaluator", lambda *args, **kwargs: evaluator)


@pytest.mark.slow
@pytest.mark.parametrize("metric", SCORES)
def test_the_best_weights_follow_the_metric(metric, scripted, new_run):
    run = new_run("--n_epochs=6", "--n_epochs_decay=0", "--eval_freq=1", "--save_epoch_freq=1")
    assert run(f"--eval_metric={metric}", "--keep_checkpoints=6") == 0
    best = {name.removeprefix("best"): w for name, w in weights(run.folder, "best").items()}
    for epoch in range(1, 7):
        same = {name.removeprefix(str(epoch)): w for name, w in weights(run.folder, str(epoch)).items()}
        assert (first_difference(best, same) is None) == (epoch == BEST[metric]), epoch
    assert best.keys() == {f"_net_{name}.pth" for name in ("G", "F", "D", "N", "F_")}


@pytest.mark.slow
def test_by_default_the_first_score_decides_and_the_last_epoch_is_evaluated(scripted, new_run):
    run = new_run("--n_epochs=5", "--n_epochs_decay=0", "--eval_freq=2")
    assert run() == 0
    assert [row["epoch"] for row in rows(run)] == [2, 4, 5]
    assert [row["scores"]["FID"] for row in rows(run)] == [50, 30, 40]
    assert [row["total_images"] for row in rows(run)] == [8, 16, 20]


@pytest.mark.slow
def test_a_resumed_run_knows_what_was_best(scripted, new_run):
    """FID 50, 30, then interrupted in epoch 3; 40, 31, 20, 20: the first 30 stands until epoch 5."""
    run = new_run("--n_epochs=4", "--n_epochs_decay=0", "--eval_freq=1")
    assert run(after={9: "SIGTERM"}) == 75
    best = weights(run.folder, "best")
    assert run.resume() == 0
    assert [row["scores"]["FID"] for row in rows(run)] == [50, 30, 40, 31]
    assert first_difference(best, weights(run.folder, "best")) is None


@pytest.mark.slow
def test_scores_of_another_size_are_not_compared_and_that_is_told(scripted, new_run, monkeypatch, capsys):
    """A record of before, whose real images were as large as their files, holds FID 30 at best."""
    run = new_run("--n_epochs=4", "--n_epochs_decay=0", "--eval_freq=1", "--eval_metric=FID")
    assert run(after={9: "SIGTERM"}) == 75
    renamed = {"FID-16px": [None, None, 60.0, 50.0]} | {name: SCORES[name] for name in SCORES if name != "FID"}
    monkeypatch.setattr(sys.modules[__name__], "SCORES", renamed)
    capsys.readouterr()
    assert run.resume() == 0
    assert capsys.readouterr().out.count("best begins anew with FID-16px") == 1
    same = {"best" + name.removeprefix("latest"): w for name, w in weights(run.folder, "latest").items()}
    assert first_difference(weights(run.folder, "best"), same) is None  # epoch 4


@pytest.mark.filterwarnings("ignore:FD-effnet_lite0 of")
def test_a_metric_that_is_not_among_the_scores_is_refused_before_the_first_step(new_run):
    run = new_run("--eval_metric=self_similarity", "--ema_decay=1")
    names = [f"{kind}-effnet_lite0-16px{ending}" for ending in ("", "_ema") for kind in ("FD", "KD")]
    with pytest.raises(UserError, match=f"--eval_metric self_similarity is not among the scores: {', '.join(names)}$"):
        run(after={1: lambda: pytest.fail("a step was trained")})


def make_validation(images, folder, *flags: str):
    argv = ["--dataroot", str(images), "--gpu_ids", "-1", "--checkpoints_dir", str(folder), "--name", "run"]
    argv += ["--crop_size", "24"]
    opt = options.parse([*argv, "--netG", "resnet_4blocks", "--ngf", "1", "--feature_space", "effnet_lite0", *flags])
    opt.rank, opt.world_size = 0, 1
    return opt, create_validation(opt, create_dataset, options.for_testing(opt), torch.device("cpu"))


def test_no_evaluation(images, tmp_path, capsys):
    assert make_validation(images, tmp_path, "--eval_freq", "0")[1] is None
    assert capsys.readouterr().out == ""
    draw_images(tmp_path / "no_test")
    assert make_validation(tmp_path / "no_test", tmp_path)[1] is None
    printed = capsys.readouterr().out
    assert printed.startswith("no scores during training: ") and "testA" in printed and printed.count("\n") == 1


@pytest.mark.parametrize("paired", [False, True])
def test_without_a_test_folder_the_one_named_val_is_scored_as_test_py_takes_it(paired, images, tmp_path):
    for split in ("testA", "testB"):
        target = tmp_path / "set" / ("val" if paired else split.replace("test", "val"))
        shutil.copytree(images / split, target, dirs_exist_ok=True)
    mode = "aligned" if paired else "unaligned"
    validation = make_validation(tmp_path / "set", tmp_path, "--dataset_mode", mode, "--preprocess", "resize")[1]
    assert validation.count == 5


def test_one_image_has_no_scores(images, tmp_path):
    with pytest.raises(UserError, match="--eval_freq needs at least 2 images in testA and in testB; 0 trains without"):
        make_validation(images, tmp_path, "--eval_num", "1")


@pytest.mark.filterwarnings("ignore:FD-effnet_lite0 of")
def test_pictures_and_number_of_images(images, tmp_path):
    opt, validation = make_validation(images, tmp_path, "--eval_num", "3")
    with torch.random.fork_rng():
        model = create_model(opt)
    training = [net.training for net in model.networks().values()]
    scores, samples = validation.run(model)
    assert (scores["images"], scores["references"]) == (3, 4)
    assert list(samples) == ["0", "1", "2"]
    assert all(pictures.keys() == {"input", "output"} for pictures in samples.values())
    assert samples["0"]["output"].shape == (24, 24, 3) and samples["0"]["output"].dtype == np.uint8
    again, same = validation.run(model)
    assert again == scores and np.array_equal(same["1"]["output"], samples["1"]["output"])
    assert [net.training for net in model.networks().values()] == training


@pytest.mark.filterwarnings("ignore:FD-effnet_lite0 of")
def test_models_of_others(images, tmp_path, capsys):
    opt, validation = make_validation(images, tmp_path, "--eval_num", "2")
    with torch.random.fork_rng():
        model = create_model(opt)
    model.netG_A, model.model_names = model.netG, ["G_A"]  # CycleGAN's
    del model.netG
    assert validation.run(model)[0]["images"] == 2
    model.netG_A.forward = lambda x: (x, x)  # F-LSeSim's
    assert validation.run(model) is None and validation.run(model) is None
    warning = "no scores: the generator of --model cut alone makes no pictures (the network gives a tuple"
    assert capsys.readouterr().err.count(warning) == 1
