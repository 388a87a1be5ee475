"""Differences between experiments, seed by seed: against textbook numbers, and where nothing may be said."""

import math
from pathlib import Path

import numpy as np
import pytest

from util.pages.comparison import Run
from util.pages.differences import Difference, difference_table, difference_tables, paired_difference, tell_apart


def test_the_interval_is_that_of_the_paired_t_test():
    values, baseline = [5.0, 7.0, 6.0, 9.0], [4.0, 5.0, 6.0, 5.0]
    found = paired_difference(values, baseline)
    change = np.array([1, 2, 0, 4])
    half = 3.182446 * change.std(ddof=1) / 2  # t of 3 degrees of freedom at 97.5%
    assert (found.mean, found.low, found.high) == pytest.approx((1.75, 1.75 - half, 1.75 + half), rel=1e-5)


@pytest.mark.parametrize(("p", "apart"), [
    ([0.01, 0.02, 0.04], [True, True, True]), ([0.01, 0.03, 0.04], [True, False, False]),
    ([0.04, 0.001, 0.6], [False, True, False]), ([0.02, 0.02, 0.02], [False, False, False]),
])  # fmt: skip
def test_holm(p, apart):
    found = [Difference(1, 0, 2, value) for value in p]
    tell_apart(found)
    assert [one.is_apart for one in found] == apart


def test_one_seed_and_equal_values_are_not_apart():
    assert math.isnan(paired_difference([2.0], [1.0]).low)
    found = [paired_difference([2.0], [1.0]), paired_difference([1.0, 2.0], [1.0, 2.0])]
    tell_apart(found)
    assert not any(one.is_apart for one in found)


def test_only_seeds_that_both_have_are_paired():
    """The third seed, which NEGCUT has not yet, is left out: 2 and 2 + 0.02 remain."""
    values = {"CUT": {"error": [3.0, 4.02, 90.0]}, "NEGCUT": {"error": [1.0, 2.0]}, "late": {}}
    lines = difference_table(values, "NEGCUT").splitlines()
    assert lines[2].startswith("| CUT | **+2.01 (") and lines[3] == "| late | – |"


def run(curve: list[tuple[int, float]]) -> Run:
    return Run(Path(), {}, [], np.zeros(0), [(at, 1, {"error": value}) for at, value in curve])


def test_equal_time_reads_the_curves_where_the_first_has_ended():
    """NEGCUT takes twice as long, so that after the 100 images of CUT it has seen 50: between 20 and 60."""
    experiments = {"CUT": [run([(50, 9.0), (100, 5.0)])], "NEGCUT": [run([(20, 8.0), (60, 4.0), (100, 1.0)])]}
    text = difference_tables(experiments, None, {"CUT": 0.5, "NEGCUT": 1.0})
    assert "After 50 seconds" in text and "| CUT | 100 | 5 ± nan |" in text and "| NEGCUT | 50 | 5 ± nan |" in text
    assert "| NEGCUT | -4 (+nan to +nan) |" in difference_tables(experiments, "CUT", {})


def test_an_experiment_without_scores_has_no_time_and_no_values():
    experiments = {"CUT": [run([(50, 9.0), (100, 5.0)])], "bare": [run([])]}
    text = difference_tables(experiments, "CUT", {"CUT": 0.5, "bare": 0.1})
    assert "After 50 seconds" in text and "| bare | 500 | – |" in text and "| bare | – |" in text
    assert difference_tables({"bare": [run([])]}, None, {"bare": 0.1}) == ""
