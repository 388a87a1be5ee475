"""The page of a comparison: scores and the contrastive term over seeds, curves, samples side by side; a table."""

import json
import math
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from dominate import tags

from util import html
from util.files import write_atomic
from util.metrics.names import higher_is_better
from util.pages.comparison import (
    EMA,
    Run,
    contrastive_term,
    last_and_best,
    loss_curve,
    names,
    score_curve,
    spread,
)  # fmt: skip
from util.pages.differences import Difference, difference_tables
from util.pages.plots import COLORS, Curve, markdown, picture, plot, plots, table

Experiments = dict[str, list[Run]]  # by title: the runs, one a seed


def write(out: Path, title: str, header: dict, experiments: Experiments, samples: dict, against: str | None = None,
          rates: dict[str, float] | None = None) -> str:  # fmt: skip
    """``index.html``, ``table.md`` and ``scores.json`` in ``out``; returns the scores and differences in Markdown.

    against, rates: see ``difference_tables``.
    samples: experiment -> label -> (H, W, 3) uint8 pictures, the same test images everywhere; labels that begin
    with "output" are its own, others (input, truth) common to all.
    """
    out.mkdir(parents=True, exist_ok=True)
    every_run = list(chain.from_iterable(experiments.values()))
    scores = names(row for run in every_run for *_, row in run.scores)
    losses = names(row for run in every_run for _, row in run.losses[:1] + run.losses[-1:])
    contrast = {title: [contrastive_term(run) for run in runs] for title, runs in experiments.items()}
    score_rows, contrast_rows = score_table(experiments, scores), contrast_table(contrast)
    further = difference_tables(experiments, against, rates or {})
    sections = [
        ("Scores", "Mean ± standard deviation over the runs. Last: where training ended; best: the best epoch of each "
         "run by the score itself (its epochs in brackets). An arrow says which way is better.", table(*score_rows)),
        *((each.title, each.caption, table(each.head, shown(each.rows, tags.b))) for each in further),
        ("The contrastive term", "Quiet: the share of recorded steps in which the contrastive loss of x was below "
         "0.001 lambda_NCE, that is practically zero. Positive, negative: mean cosine of a query with its positive and "
         "with its negatives at each layer, over the last tenth of the record.", table(*contrast_rows)),
        ("Samples", "The last weights of the first run of each experiment, on the first test images.",
         samples_table(samples)),
        *(
            (f"{what} over {x}", "", plots(*drawn))
            for what, make, which in (("Scores", score_curve, scores), ("Losses", loss_curve, losses))
            for x in ("images", "time")
            if any(drawn := [curves(experiments, make, name, x == "time", make is score_curve) for name in which])
        ),
    ]  # fmt: skip
    body = [(tags.h2(title), tags.p(text) if text else "", content) for title, text, content in sections]
    write_atomic(out / "index.html", html.page(("plots", "report"), title, html.terms(header), [tags.main(body)]))
    differences = "".join(
        f"\n{each.title}. {each.caption}\n\n{markdown(each.head, shown(each.rows, '**{}**'.format))}"
        for each in further
    )
    write_atomic(out / "table.md", f"{markdown(*score_rows)}\n{markdown(*contrast_rows)}{differences}")
    values = {title: [run.scores for run in runs] for title, runs in experiments.items()}
    write_atomic(out / "scores.json", json.dumps({"scores": values, "contrast": contrast}, indent=1) + "\n")
    return markdown(*score_rows) + differences


def shown(rows: list[list[str | Difference]], bold: Callable) -> list[list]:
    """As text; ``bold`` makes that of differences which are told apart."""
    return [[bold(str(c)) if isinstance(c, Difference) and c.is_apart else str(c) for c in cells] for cells in rows]


def score_table(experiments: Experiments, scores: list[str]) -> tuple[list[str], list[list[str]]]:
    """Last and best of every score, over the seeds; a row for G and one for its average."""
    plain = list(dict.fromkeys(name.removesuffix(EMA) for name in scores))
    head = ["experiment", "runs"]
    for name in plain:
        arrow = "↑" if higher_is_better(name) else "↓"
        head += [f"{name} {arrow} last", f"{name} {arrow} best (epochs)"]
    rows = []
    for title, runs in experiments.items():
        for ending in ("", EMA):
            cells = []
            for name in plain:
                values = [found for run in runs if (found := last_and_best(run, name + ending))]
                last, best, epochs = zip(*values, strict=True) if values else ((), (), ())
                cells += [number(last), f"{number(best)} ({', '.join(map(str, epochs))})" if values else "–"]
            if any(cell != "–" for cell in cells):
                rows.append([title + (", average of G" if ending else ""), str(len(runs)), *cells])
    return head, rows


def contrast_table(found: dict[str, list[dict[str, float]]]) -> tuple[list[str], list[list[str]]]:
    """What ``contrastive_term`` found of each run, over the seeds."""
    columns = names(chain.from_iterable(found.values()))
    rows = [[title, str(len(each)), *(number([r[c] for r in each if c in r]) for c in columns)]
            for title, each in found.items()]  # fmt: skip
    return ["experiment", "runs", *columns], rows


def number(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    if not len(values):
        return "–"
    mean, deviation = spread(values)
    digits = 1 if abs(mean) >= 10 else 3
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if math.isfinite(deviation) else "")


def curves(experiments: Experiments, make, name: str, over_time: bool, dots: bool = False):
    """One plot of a loss or a score: a line an experiment, the band one standard deviation over its runs."""
    drawn = []
    for i, (title, runs) in enumerate(experiments.items()):
        x, mean, deviation = make(runs, name, over_time)
        if len(x):
            color = COLORS[i % len(COLORS)]
            drawn.append(Curve(title, x, mean, mean - deviation, mean + deviation, color, dots=dots))
    return plot(name, drawn, "seconds of training" if over_time else "images")


def samples_table(samples: dict[str, dict[str, list[np.ndarray]]]) -> tags.div:
    """Rows are test images; columns the input, the truth, and the translation of each experiment's first run."""
    columns = {}
    for title, shown in samples.items():
        for label, images in shown.items():
            columns[label if not label.startswith("output") else f"{title}{label.removeprefix('output')}"] = images
    cells = ((picture(image, f"image {i}: {label}") for i, image in enumerate(images, 1))
             for label, images in columns.items())  # fmt: skip
    return table(columns, zip_longest(*cells, fillvalue=""))
