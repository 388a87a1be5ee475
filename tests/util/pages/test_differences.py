"""Differences between experiments, seed by seed: against textbook numbers, and where nothing may be said."""

import html
import math
import re
from pathlib import Path

import numpy as np
import pytest

from util.pages import comparison_page
from util.pages.comparison import Run
from util.pages.differences import Difference, paired_difference, tell_apart


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
    assert [str(one) for one in found] == ["+1 (–)", "+0 (+0 to +0)"]


def run(*curve: tuple[int, float]) -> Run:
    return Run(Path(), {}, [(1, {}), (100, {})], np.arange(2.0), [(at, 1, {"error": value}) for at, value in curve])


def written(folder: Path, experiments: dict, against: str | None = None, rates: dict | None = None) -> str:
    """What ``table.md`` says below its scores, as is printed too."""
    printed = comparison_page.write(folder, "x", {}, experiments, {}, against, rates)
    text = (folder / "table.md").read_text()
    assert (further := "\n".join(re.split(r"\n(?=Last|After)", text)[1:])) in printed
    return further


def test_differences_are_on_the_page_and_say_what_they_are(tmp_path):
    """Of seeds that both have: the third, which NEGCUT has not yet, is left out; 2 and 2 + 0.02 remain."""
    seeds = {"CUT": [3.0, 4.02, 90.0], "NEGCUT": [1.0, 2.0]}
    experiments = {name: [run((9, value)) for value in each] for name, each in seeds.items()} | {"late": [run()]}
    text = written(tmp_path, experiments, "NEGCUT")
    said = ("Mean difference, seed by seed, with its 95% t-interval; bold: differs from zero after Holm's correction; "
            "2 seeds.")  # fmt: skip
    lines = text.splitlines()
    assert lines[0] == f"Last epoch, difference to NEGCUT. {said}"
    assert lines[4].startswith("| CUT | **+2.01 (+1.883 to +2.137)** |") and lines[5] == "| late | – |"
    page = html.unescape((tmp_path / "index.html").read_text())
    assert f"<h2>Last epoch, difference to NEGCUT</h2><p>{said}</p>" in page
    assert "<td>CUT</td><td><b>+2.01 (+1.883 to +2.137)</b></td>" in page


def test_equal_time_reads_the_curves_where_the_first_has_ended(tmp_path):
    """NEGCUT takes twice as long, so that after the 100 images of CUT it has seen 50: between 20 and 60."""
    experiments = {"CUT": [run((50, 9.0), (100, 5.0))], "NEGCUT": [run((20, 8.0), (60, 4.0), (100, 1.0))]}
    text = written(tmp_path, experiments, None, {"CUT": 0.5, "NEGCUT": 1.0})
    assert "After 50 seconds" in text and "| CUT | 100 | 5 |" in text and "| NEGCUT | 50 | 5 |" in text
    text = written(tmp_path, experiments, "CUT")
    assert "1 seed. Intervals need two seeds.\n" in text and "| NEGCUT | -4 (–) |" in text


def test_an_experiment_without_scores_has_no_time_and_no_values(tmp_path):
    experiments = {"CUT": [run((50, 9.0), (100, 5.0))], "bare": [run()]}
    text = written(tmp_path, experiments, "CUT", {"CUT": 0.5, "bare": 0.1})
    assert "After 50 seconds" in text and "| bare | 500 | – |" in text and "| bare | – |" in text
    assert written(tmp_path, {"bare": [run()]}, None, {"bare": 0.1}) == ""
