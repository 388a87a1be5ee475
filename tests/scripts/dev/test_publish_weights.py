"""A run's generator becomes a pair of files that --weights NAME finds."""

import json
import sys

import pytest
import torch
from tiny_run import CONTRASTIVE, Run, draw_images

from models.inference import trained
from models.inference.translator import Translator
from scripts.dev import publish_weights
from scripts.inspect_checkpoint import describe
from util.errors import UserError
from util.metrics.records import append_scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of 3 epochs, and scores as evaluations record them: the second epoch's averaged weights were the best."""
    root = tmp_path_factory.mktemp("runs")
    dataroot = str(draw_images(root / "data"))
    with pytest.MonkeyPatch.context() as patch:
        run = Run(root / "h2z", patch, "--dataroot", dataroot, "--model", "negcut", *CONTRASTIVE, "--seed", "3")
        run("--ema_decay", "10", "--eval_freq", "0", "--save_epoch_freq", "1")
    for epoch, value in ((1, 90.5), (2, 40.5), (3, 60.5)):
        scores = {"FD": value, "images": 3, "feature_space": "lite", "FD_ema": value - 1}
        append_scores(root / "h2z" / "metrics.jsonl", scores, epoch, total_images=4 * epoch)
    for path in (root / "h2z").glob("2_net_G*.pth"):
        path.with_name(path.name.replace("2_", "best_")).write_bytes(path.read_bytes())
    return root / "h2z"


@pytest.fixture
def publish(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "FOLDER", tmp_path / "weights")

    def call(*flags, out="stripes"):
        words = ["--about", "noise to noise", "--licence", "drawn, free to use", "--out", out]
        argv = ["publish_weights.py", "h2z", "--checkpoints_dir", str(folder.parent), *words, *flags]
        monkeypatch.setattr(sys, "argv", argv)
        publish_weights.main()
        return json.loads((tmp_path / "weights" / f"{out}.json").read_text())

    return call


@pytest.mark.slow
def test_the_pair(publish, folder, tmp_path):
    note = publish("--epoch", "best", "--ema")
    assert note["command"].startswith("python train.py --name h2z --seed 3 --model negcut --netG resnet_4blocks")
    assert "--ema_decay 10" in note["command"] and "--gpu_ids" not in note["command"]
    del note["command"]
    assert note == {
        "about": "noise to noise", "seed": 3, "epoch": 2, "images": 8, "steps": 8,
        "scores": {"images": 3, "feature_space": "lite", "FD": 39.5}, "licence": "drawn, free to use",
    }  # fmt: skip
    held = torch.load(tmp_path / "weights/stripes.pth", weights_only=True)
    trained_ones = torch.load(folder / "2_net_G_ema.pth", weights_only=True)
    assert held.keys() == trained_ones.keys()
    assert all(torch.equal(held[key], value.half()) for key, value in trained_ones.items())
    Translator("stripes", device="cpu")
    said = "\n".join(describe(tmp_path / "weights/stripes.pth"))
    assert "noise to noise" in said and "float16" in said and "drawn, free to use" in said


@pytest.mark.slow
def test_of_the_latest_and_a_numbered_epoch(publish):
    latest, first = publish(), publish("--epoch", "1")
    assert (latest["epoch"], latest["steps"], latest["scores"]["FD"]) == (3, 12, 60.5)
    assert (first["epoch"], first["steps"], first["scores"]["FD"]) == (1, 4, 90.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags, out, named",
    [
        (["--epoch", "7"], "stripes", "--epoch 7: the records"),
        ([], "a/b", "--out a/b"),
        ([], "x" * 8, "the repository takes 0 at most"),
    ],
)
def test_what_cannot_be_published(publish, tmp_path, monkeypatch, flags, out, named):
    if out == "x" * 8:
        monkeypatch.setattr(publish_weights, "LIMIT", 100)
    with pytest.raises(UserError, match=named):
        publish(*flags, out=out)
    assert not (tmp_path / "weights").exists()


def test_weights_that_float16_cannot_hold():
    with pytest.raises(UserError, match="model.1.weight are too large"):
        publish_weights.to_half("model.1.weight", torch.tensor([1e6]))


def test_the_command_of_a_resumed_run_must_be_told():
    with pytest.raises(UserError, match="give --command"):
        publish_weights.command({"seed": 3, "sources": {"seed": "saved"}})
