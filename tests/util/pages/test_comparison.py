"""util/pages/comparison.py: what is read from records, against values worked out by hand."""

import json

import numpy as np
import pytest

from util.errors import UserError
from util.pages import comparison, comparison_page
from util.pages.comparison import Run, contrastive_term, last_and_best, loss_curve, read_run, score_curve, spread


def write(folder, losses: list[dict], metrics: list[dict] = (), **options):
    folder.mkdir()
    for name, rows in (("losses", losses), ("metrics", metrics)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "train_opt.json").write_text(json.dumps(options))
    return read_run(folder, "metrics.jsonl")


def row(images: int, speed: float = 2.0, **losses) -> dict:
    return {"epoch": 1, "total_images": images, "images_per_second": speed, "time": 1e9, "losses": losses}


def run_with(losses: list[tuple], scores: list[tuple] = ()) -> Run:
    return Run(None, {}, losses, np.arange(1.0, len(losses) + 1), list(scores))


def test_training_time_leaves_out_pauses_and_the_unmeasured_first_step(tmp_path):
    run = write(tmp_path / "a", [row(1, 0.0), row(2, 2.0), row(4, 4.0)])
    assert run.seconds.tolist() == [0.5, 1.0, 1.5]
    assert run.seconds_at(3) == 1.25


def test_scores_are_without_counts_names_and_standard_errors(tmp_path):
    scores = {"KD": 0.5, "KD_se": 0.1, "KD_se_ema": 0.1, "images": 24, "feature_space": "x", "KD_ema": 0.4}
    run = write(tmp_path / "a", [row(1)], [{"epoch": 3, "total_images": 1, "scores": scores}])
    assert run.scores == [(1, 3, {"KD": 0.5, "KD_ema": 0.4})]


@pytest.mark.parametrize("score, best", [("FID", (1.0, 2)), ("stripes", (3.0, 1)), ("stripes_ema", (3.0, 1))])
def test_best_follows_the_scores_direction(score, best):
    run = run_with([], [(10, 1, {score: 3.0}), (20, 2, {score: 1.0}), (30, 3, {score: 2.0})])
    assert last_and_best(run, score) == (2.0, *best)
    assert last_and_best(run, "other") is None


def test_spread_is_the_samples_deviation():
    assert spread([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))
    assert np.isnan(spread([1.0])[1])


def test_curves_average_bins_and_runs_up_to_the_shortest():
    long = run_with([(i, {"NCE": float(i)}) for i in range(1, 241)])
    short = run_with([(i, {"NCE": float(i) + 2}) for i in range(1, 121)])
    x, mean, deviation = loss_curve([long, short], "NCE")
    assert x[-1] < 120 and len(x) == comparison.BINS
    assert np.allclose(mean, x + 1) and x[0] == 1.5  # bins of two images: (0, 2] has the values 1 and 2 at 1 and 2
    assert np.allclose(deviation, 2**0.5)
    assert len(loss_curve([long], "absent")[0]) == 0


def test_records_at_different_times_still_give_a_curve():
    runs = [run_with([(i, {"NCE": float(i)}) for i in range(1, 5)]) for _ in range(2)]
    runs[0].seconds, runs[1].seconds = np.array([1.0, 2, 6, 8]), np.array([3.0, 4, 5, 9])
    x, mean, _ = loss_curve(runs, "NCE", over_time=True)
    assert x.tolist() == [1.5, 3.5, 5.5, 8]  # two records of the first, two of the second, one of each, one
    first, second = [1.5, 1.5 + 1.5 * 2 / 4.5, 1.5 + 1.5 * 4 / 4.5, 4], [1.5, 1.5, 3, 3]
    assert np.allclose(mean, np.mean([first, second], axis=0))


def test_a_run_that_begins_after_the_shortest_has_ended_does_not_count():
    runs = [run_with([(i, {"NCE": float(i)}) for i in range(1, 3)]) for _ in range(2)]
    runs[1].seconds = np.array([5.0, 6.0])
    x, mean, deviation = loss_curve(runs, "NCE", over_time=True)
    assert x.tolist() == mean.tolist() == [1, 2] and deviation.tolist() == [0, 0]


@pytest.mark.parametrize("over_time, where", [(False, [1, 100, 150]), (True, [1.0, 2.0, 3.0])])
def test_recorded_points_of_one_run_stand_at_their_image(over_time, where):
    x, values, _ = loss_curve([run_with([(at, {"NCE": float(at)}) for at in (1, 100, 150)])], "NCE", over_time)
    assert x.tolist() == where and values.tolist() == [1, 100, 150]


def test_a_run_too_short_for_a_measured_speed_still_gives_a_curve():
    run = run_with([(1, {"NCE": 1.0}), (2, {"NCE": 3.0})])
    run.seconds = np.zeros(2)
    assert loss_curve([run], "NCE", over_time=True)[1].tolist() == [1, 3]


def test_score_curves():
    runs = [run_with([(10, {})], [(10, 1, {"FID": v}), (20, 2, {"FID": 5.0})]) for v in (1.0, 3.0)]
    x, mean, deviation = score_curve(runs, "FID")
    assert x.tolist() == [10, 20] and mean.tolist() == [2, 5] and deviation.tolist() == [pytest.approx(2**0.5), 0]


def test_quiet_steps_are_counted_in_units_of_lambda_early_and_late(tmp_path):
    quiet, loud = 0.0099, 0.0101  # lambda_NCE 10: practically zero below 0.01
    early = [row(i, NCE=quiet if i <= 50 else loud, similarity_negative_4=0.0) for i in range(1, 201)]
    late = [row(i, NCE=quiet if i % 2 else loud, similarity_negative_4=0.5) for i in range(201, 301)]
    found = contrastive_term(write(tmp_path / "a", early + late, lambda_NCE=10.0))
    assert found == {"quiet, first 200": 0.25, "quiet, later": 0.5, "negative 4": 0.5}


def test_a_similarity_that_was_no_number_and_one_of_another_name_count_as_they_are(tmp_path):
    rows = [row(i, NCE=1.0, similarity_negative_4=i / 10, similarity_mine=2.0) for i in range(1, 31)]
    rows[-1]["losses"]["similarity_negative_4"] = None  # NaN, in the record
    found = contrastive_term(write(tmp_path / "a", rows))
    assert found["negative 4"] == pytest.approx(2.85) and found["mine"] == 2.0  # of 28 and 29; of all three


def test_samples_of_fewer_test_images_leave_their_places_empty():
    grey = np.full((4, 4, 3), 128, np.uint8)
    shown = comparison_page.samples_table({"a": {"output": [grey] * 2}, "b": {"output": [grey]}}).render()
    assert shown.count("<img") == 3 and shown.count("<td") == 4


def test_damaged_options_of_a_run_are_one_sentence(tmp_path):
    (tmp_path / "train_opt.json").write_text('{"model": "cut", ')
    with pytest.raises(UserError, match="train_opt.json is not a readable JSON file of options; .* leave this run out"):
        read_run(tmp_path)
