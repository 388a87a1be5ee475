"""Whether experiments differ: scores of the same seeds, compared pair by pair, at equal images and at equal time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from util.pages.comparison import Run, names, spread
from util.words import plural

CONFIDENCE = 0.95
Values = dict[str, dict[str, list[float]]]  # experiment -> score -> its value by seed


@dataclass
class Difference:
    """Of paired values: their mean difference, its t-interval, and whether zero lies outside it after Holm's
    correction for the number of comparisons."""

    mean: float
    low: float
    high: float
    p: float
    seeds: int = 2
    is_apart: bool = False

    def __str__(self) -> str:
        return f"{self.mean:+.4g} ({f'{self.low:+.4g} to {self.high:+.4g}' if self.seeds > 1 else '–'})"


class Table(NamedTuple):
    title: str
    caption: str
    head: list[str]
    rows: list[list[str | Difference]]


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """values - baseline, the i-th of both from the same seed. Of fewer than two pairs the interval is NaN."""
    change, seeds = np.subtract(values, baseline), len(values)
    mean = float(change.mean())
    if seeds < 2:
        return Difference(mean, math.nan, math.nan, 1.0, seeds)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, seeds - 1) * stats.sem(change))
    p = float(stats.ttest_rel(values, baseline).pvalue)
    return Difference(mean, mean - half, mean + half, 1.0 if math.isnan(p) else p, seeds)  # NaN: equal values


def tell_apart(differences: list[Difference]) -> None:
    """Holm: the smallest p below 0.05 / n, the next below 0.05 / (n - 1) and so on, up to the first that is not."""
    for rank, difference in enumerate(sorted(differences, key=lambda d: d.p)):
        if difference.p > (1 - CONFIDENCE) / (len(differences) - rank):
            break
        difference.is_apart = True


def difference_tables(experiments: dict[str, list[Run]], against: str | None, rates: dict[str, float]) -> list[Table]:
    """The last epochs' differences to the experiment ``against``; with ``rates``, seconds an image, all scores and
    their differences at the time when the first experiment has ended."""
    tables = []
    if against:
        last = values_at(experiments, dict.fromkeys(experiments, math.inf))
        tables.append(difference_table(f"Last epoch, difference to {against}", last, against))
    ends = {name: max((at for run in runs for at, *_ in run.scores), default=0) for name, runs in experiments.items()}
    if rates and any(ends.values()):
        time = min(images * rates[name] for name, images in ends.items() if images)
        images = {name: time / rates[name] for name in experiments}
        values = values_at(experiments, images)
        after = f"After {time:.0f} seconds of each"
        tables.append(value_table(after, values, images))
        if against:
            tables.append(difference_table(f"{after}, difference to {against}", values, against))
    return tables


def values_at(experiments: dict[str, list[Run]], images: dict[str, float]) -> Values:
    """Scores after so many images, between evaluations in a line, those of the nearest outside."""
    found = {}
    for name, runs in experiments.items():
        scores = names(row for run in runs for *_, row in run.scores)
        curves = {s: [[(at, row[s]) for at, _, row in run.scores if s in row] for run in runs] for s in scores}
        found[name] = {
            s: [float(np.interp(images[name], *zip(*c, strict=True))) for c in each if c] for s, each in curves.items()
        }
    return found


def value_table(title: str, values: Values, images: dict[str, float]) -> Table:
    columns, rows = names(values.values()), []  # type: list[str], list[list[str | Difference]]
    for experiment, found in values.items():
        shown = [mean_and_deviation(found[name]) if found.get(name) else "–" for name in columns]
        rows.append([experiment, f"{images[experiment]:.0f}", *shown])
    caption = "Mean ± standard deviation over the runs, at the given seconds an image."
    return Table(title, caption, ["experiment", "images", *columns], rows)


def mean_and_deviation(values: Sequence[float]) -> str:
    mean, deviation = spread(values)
    return f"{mean:.4g}" + (f" ± {deviation:.2g}" if math.isfinite(deviation) else "")


def difference_table(title: str, values: Values, baseline: str) -> Table:
    """Each against ``baseline``'s; those that differ after Holm's correction are told apart over the whole table. Where
    one has more seeds, the first ones of both count."""
    columns, found = names(values.values()), {}
    others = [experiment for experiment in values if experiment != baseline]
    for experiment in others:
        for name in columns:
            pairs = list(zip(values[experiment].get(name, []), values[baseline].get(name, []), strict=False))
            if pairs:
                found[experiment, name] = paired_difference(*zip(*pairs, strict=True))
    tell_apart(list(found.values()))
    counts = sorted({difference.seeds for difference in found.values()}) or [0]
    seeds = plural(counts[-1], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    caption = (
        f"Mean difference, seed by seed, with its {CONFIDENCE:.0%} t-interval; bold: differs from zero after Holm's "
        f"correction; {seeds}." + (" Intervals need two seeds." if counts[0] == 1 else "")
    )
    return Table(title, caption, ["experiment", *columns],
                 [[other, *(found.get((other, name), "–") for name in columns)] for other in others])  # fmt: skip
