"""metrics.jsonl: what is appended can be read, and a run's last and best stand side by side."""

import json
from argparse import Namespace

import pytest

from util.json_lines import read
from util.loggers.jsonl import JsonlLogger
from util.metrics.names import at_this_size, higher_is_better, size_suffix, without_size
from util.metrics.records import append_scores, format_score, summary, summary_line
from util.run.progress import Progress


def scores(value: float, images: int = 120, name: str = "FID") -> dict:
    return {name: value, "images": images, "references": 140, "feature_space": "inception"}


def test_lines_are_those_of_training(tmp_path):
    logger = JsonlLogger(Namespace(checkpoints_dir=tmp_path, name="run"))
    logger.log_scores(Progress(epoch=1, epoch_images=50, total_images=50), scores(80.0))
    logger.close()
    path = tmp_path / "run" / "metrics.jsonl"
    append_scores(path, scores(70.0), epoch=2, total_images=100)
    trained, appended = read(path)
    assert trained.keys() == appended.keys()
    assert (appended["epoch"], appended["total_images"], appended["scores"]) == (2, 100, scores(70.0))
    assert appended["time"] >= trained["time"]


def test_a_torn_line_costs_itself_alone(tmp_path):
    path = tmp_path / "new" / "metrics.jsonl"
    append_scores(path, scores(80.0), epoch=1)
    with open(path, "a") as file:
        file.write('{"epoch": 2, "total_im')
    append_scores(path, scores(60.0), epoch=3)
    append_scores(path, {"FID": float("nan")}, epoch=4)
    assert [row["epoch"] for row in read(path)] == [1, 3, 4]
    for line in path.read_text().splitlines():
        if not line.startswith('{"epoch": 2'):
            json.loads(line, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    found = summary(path, "FID")
    assert (found["last"], found["last_epoch"], found["evaluations"]) == (60.0, 3, 2)
    assert summary_line(found | {"evaluations": 1}).endswith(" of 1 evaluation")


def test_last_and_best(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for epoch, value in ((1, 90.0), (2, 45.5), (3, 61.25)):
        append_scores(path, scores(value) | {"class_340": value / 100}, epoch)
    append_scores(path, scores(47.0), epoch=2)  # an older epoch evaluated afterwards is not the last
    found = summary(path, "FID")
    assert found.pop("not_compared") == 0
    assert found == {"metric": "FID", "last": 61.25, "last_epoch": 3, "best": 45.5, "best_epoch": 2, "evaluations": 4}
    assert summary_line(found) == "FID: last 61.25 (epoch 3), best 45.50 (epoch 2) of 4 evaluations"
    assert summary(path, "class_340")["best_epoch"] == 1
    assert summary(path, "KID") is None
    assert summary(tmp_path / "nowhere.jsonl", "FID") is None


def test_only_equal_counts_are_compared(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_scores(path, scores(20.0, images=2000), epoch=1)
    append_scores(path, scores(50.0), epoch=2)
    append_scores(path, scores(55.0), epoch=3)
    assert summary(path, "FID")["best"] == 50.0


def test_only_equal_sizes_are_compared(tmp_path):
    """Records of before told no size: their distances were taken from real images at the size of their files."""
    path = tmp_path / "metrics.jsonl"
    append_scores(path, scores(20.0), epoch=1)
    append_scores(path, scores(30.0, name="FID-96px") | {"size": "96x96"}, epoch=2)
    found = summary(path, "FID-96px")
    assert (found["best"], found["evaluations"], found["not_compared"]) == (30.0, 1, 1)
    append_scores(path, scores(40.0) | {"size": "256x256"}, epoch=3)
    found = summary(path, "FID")
    assert (found["best"], found["evaluations"], found["not_compared"]) == (40.0, 1, 2)


@pytest.mark.parametrize(
    "sizes, suffix",
    [([(256, 256)], ""), ([(96, 96)], "-96px"), ([(256, 512)], "-512x256px"), ([(96, 96), (256, 256)], "-mixed")],
)
def test_the_size_is_part_of_the_name(sizes, suffix):
    assert size_suffix(sizes) == suffix
    for name in ("FID", "FD-effnet_lite0-clean", "KD-dinov2-vit-s-14"):
        for ending in ("", "_ema", "_se", "_se_ema"):
            assert without_size(f"{name}{suffix}{ending}") == name + ending


def test_a_name_without_size_means_the_runs():
    found = ["FD-effnet_lite0-96px", "KD-effnet_lite0-96px", "class_340", "FD-effnet_lite0-96px_ema"]
    assert at_this_size("FD-effnet_lite0", found) == "FD-effnet_lite0-96px"
    assert at_this_size("FD-effnet_lite0_ema", found) == "FD-effnet_lite0-96px_ema"
    assert at_this_size("class_340", found) == "class_340"
    assert at_this_size("FID", found) == "FID"  # which then is told not to be among the scores


@pytest.mark.parametrize(
    "metric, expected",
    [("FID", False), ("KD-effnet_lite0", False), ("change_outside", False), ("class_340", True), ("mean_iou", True)],
)
def test_direction(metric, expected):
    assert higher_is_better(metric) is expected


def test_format():
    assert [format_score(v) for v in (217.234, 0.01234, -0.0003, float("nan"))] == [
        "217.23",
        "0.0123",
        "-0.0003",
        "nan",
    ]
