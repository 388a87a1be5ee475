"""The columns of the benchmark, at tiny sizes. No time is asserted."""

import json
import sys

import pytest
from tiny_run import draw_images

from scripts.dev import benchmark
from util.errors import UserError

TINY = (
    "--netG resnet_4blocks --ngf 4 --ndf 4 --netF_nc 8 --num_patches 16 --gpu_ids -1 --num_threads 0 --sizes 16".split()
)
TINY += ["--nce_layers", "0,4,8", "--netD", "pixel"]


def rows(monkeypatch, tmp_path, *argv: str) -> list[dict]:
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *TINY, "--json", str(tmp_path / "rows.json"), *argv])
    benchmark.main()
    return json.loads((tmp_path / "rows.json").read_text())["rows"]


def test_operations_by_phase(monkeypatch, tmp_path):
    plain, ours, detached = rows(monkeypatch, tmp_path, "--flops", "--settings", "plain; default; --detach_negatives")
    phases = [value for name, value in ours.items() if name.startswith("GFLOP ")]
    assert len(phases) == 6 and ours["GFLOP"] == pytest.approx(sum(phases))
    assert plain["GFLOP"] > ours["GFLOP"] > detached["GFLOP"] > 0


def test_operations_that_a_gpu_is_given(monkeypatch, tmp_path):
    """Of the default networks at 256 x 256, but for their widths, which change no count."""
    default = "--netG resnet_9blocks --netD basic --nce_layers 0,4,8,12,16 --sizes 256".split()
    plain, ours = rows(monkeypatch, tmp_path, "--ops", *default, "--settings", "plain; --ema_decay 0.999")
    phases = [value for name, value in ours.items() if name.startswith("operations ")]
    assert len(phases) == 6 and sum(phases) == ours["operations"] - 3  # the images' way to the device, the average
    assert ours["operations"] <= 1497 < plain["operations"]


def test_what_a_setting_says_of_the_machine_changes_no_arithmetic(monkeypatch, tmp_path):
    settings = "default; --fast; --device cpu; --fast --detach_negatives"
    default, fast, cpu, detached = rows(monkeypatch, tmp_path, "--flops", "--settings", settings)
    assert default["GFLOP"] == fast["GFLOP"] == cpu["GFLOP"] > detached["GFLOP"]


@pytest.mark.slow
def test_time_memory_and_waiting(monkeypatch, tmp_path):
    images = str(draw_images(tmp_path / "images"))
    plain, ours = rows(monkeypatch, tmp_path, "--rounds", "2", "--warmup", "1", "--memory", "--dataroot", images)
    assert plain["ratio"] == 1 and ours["images/s"] > 0 and ours["ratio"] > 0
    assert plain["waiting"] is None and 0 <= ours["waiting"] < 1
    assert ours["peak GB"] >= 0 and ours["ms G, F"] > 0


@pytest.mark.parametrize("kind", ["--loading", "--inference"])
def test_loading_and_inference(kind, monkeypatch, tmp_path):
    images = str(draw_images(tmp_path / "images"))
    settings = ["--settings", "default; --cache none", "--rounds", "2", "--dataroot", images]
    found = rows(monkeypatch, tmp_path, kind, *settings, "--batches", "1", "2")
    assert [row["setting"] for row in found] == ["default", "--cache none"] * 2
    assert [row["batch"] for row in found] == [1, 1, 2, 2] and all(row["images/s"] > 0 for row in found)


def test_a_file_whose_folder_is_not_there_is_refused_before_anything_is_measured(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="--json: .*none/rows.json: its folder does not exist"):
        rows(monkeypatch, tmp_path / "none", "--flops")


@pytest.mark.parametrize("flag", ["--rounds", "--sizes", "--batches"])
def test_nothing_cannot_be_measured(flag, monkeypatch, tmp_path):
    with pytest.raises(UserError, match=f"{flag}: must be a whole number of at least 1"):
        rows(monkeypatch, tmp_path, flag, "0")


@pytest.mark.parametrize("flag", ["--batch_size 4", "--crop_size=32"])
def test_what_the_script_decides_is_no_setting(flag, monkeypatch, tmp_path):
    """It was left out in silence."""
    with pytest.raises(UserError, match=f"--settings: .*{flag[:6]}.* own --models, --sizes, --batches and --dataroot"):
        rows(monkeypatch, tmp_path, "--flops", "--settings", f"default; {flag}")


def test_loading_needs_images(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="--loading needs --dataroot"):
        rows(monkeypatch, tmp_path, "--loading")
