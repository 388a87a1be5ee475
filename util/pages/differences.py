"""Whether experiments differ: scores of the same seeds, compared pair by pair, at equal images and at equal time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from util.pages.comparison import Run, names, spread
from util.pages.plots import markdown

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
    is_apart: bool = False

    def __str__(self) -> str:
        text = f"{self.mean:+.4g} ({self.low:+.4g} to {self.high:+.4g})"
        return f"**{text}**" if self.is_apart else text


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """values - baseline, the i-th of both from the same seed. Of fewer than two pairs the interval is NaN."""
    change = np.subtract(values, baseline)
    if len(change) < 2:
        return Difference(float(change.mean()), math.nan, math.nan, 1.0)
    found = stats.ttest_rel(values, baseline)
    low, high = found.confidence_interval(CONFIDENCE)
    p = 1.0 if math.isnan(found.pvalue) else float(found.pvalue)  # equal values
    return Difference(float(change.mean()), float(low), float(high), p)


def tell_apart(differences: list[Difference]) -> None:
    """Holm: the smallest p below 0.05 / n, the next below 0.05 / (n - 1) and so on, up to the first that is not."""
    for rank, difference in enumerate(sorted(differences, key=lambda d: d.p)):
        if difference.p > (1 - CONFIDENCE) / (len(differences) - rank):
            break
        difference.is_apart = True


def difference_tables(experiments: dict[str, list[Run]], against: str | None, rates: dict[str, float]) -> str:
    """Markdown: the last epochs' differences to the experiment ``against``; with ``rates``, seconds an image, all
    scores and their differences at the time when the first experiment has ended."""
    text = ""
    if against:
        last = values_at(experiments, dict.fromkeys(experiments, math.inf))
        text += f"\nLast epoch, difference to {against}:\n\n{difference_table(last, against)}"
    ends = {name: max((at for run in runs for at, *_ in run.scores), default=0) for name, runs in experiments.items()}
    if rates and any(ends.values()):
        time = min(images * rates[name] for name, images in ends.items() if images)
        images = {name: time / rates[name] for name in experiments}
        values = values_at(experiments, images)
        text += f"\nAfter {time:.0f} seconds of each, at the given seconds an image:\n\n{value_table(values, images)}"
        if against:
            text += f"\nThen, difference to {against}:\n\n{difference_table(values, against)}"
    return text


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


def value_table(values: Values, images: dict[str, float]) -> str:
    columns, rows = names(values.values()), []
    for experiment, found in values.items():
        shown = ["{:.4g} ± {:.2g}".format(*spread(found[name])) if found.get(name) else "–" for name in columns]
        rows.append([experiment, f"{images[experiment]:.0f}", *shown])
    return markdown(["experiment", "images", *columns], rows)


def difference_table(values: Values, baseline: str) -> str:
    """Each against ``baseline``'s; those that differ after Holm's correction over the whole table stand in bold. Where
    one has more seeds, the first ones of both count."""
    columns, found = names(values.values()), {}
    for experiment in values.keys() - {baseline}:
        for name in columns:
            pairs = list(zip(values[experiment].get(name, []), values[baseline].get(name, []), strict=False))
            if pairs:
                found[experiment, name] = paired_difference(*zip(*pairs, strict=True))
    tell_apart(list(found.values()))
    others = [experiment for experiment in values if experiment != baseline]
    rows = [[other, *(str(found.get((other, name), "–")) for name in columns)] for other in others]
    return markdown(["experiment", *columns], rows)
