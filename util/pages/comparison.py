"""What several runs of several experiments have in common: curves and scores over seeds, read from their records."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from util.json_lines import read
from util.metrics.contrast import COLLAPSED
from util.metrics.names import higher_is_better, plotted_scores
from util.run.saved_options import read_options

EARLY = 200  # images in which N has to catch up
BINS = 60  # points of a curve
EMA = "_ema"  # ending of the scores of the averaged generator


@dataclass
class Run:
    """One run's record. ``losses``: (images seen, losses) a row; ``seconds``: training time at each of these rows;
    ``scores``: (images seen, epoch, scores) an evaluation."""

    folder: Path
    options: dict
    losses: list[tuple[int, dict[str, float]]]
    seconds: np.ndarray
    scores: list[tuple[int, int, dict[str, float]]]

    def seconds_at(self, images: float) -> float:
        return float(np.interp(images, [at for at, _ in self.losses], self.seconds))


def read_run(folder: Path, *records: str) -> Run:
    """``losses.jsonl``, and the scores of ``records`` (``metrics.jsonl`` and others of its form)."""
    rows = read(folder / "losses.jsonl")
    scores = [
        (row["total_images"], row["epoch"], plotted_scores(row["scores"]))
        for name in records
        for row in read(folder / name)
    ]
    return Run(
        folder,
        read_options(folder, "leave this run out") or {},
        [(row["total_images"], row["losses"]) for row in rows],
        training_seconds(rows),
        sorted(scores, key=lambda score: score[:2]),
    )


def training_seconds(rows: list[dict]) -> np.ndarray:
    """Cumulated time of the training steps, without evaluations, saving and interruptions."""
    images = np.diff([0, *(row["total_images"] for row in rows)])
    speed = np.array([row["images_per_second"] or np.nan for row in rows], float)
    if not np.isfinite(speed).any():
        return np.zeros(len(rows))
    speed[~np.isfinite(speed)] = speed[np.isfinite(speed)][0]  # the first step's is not measured
    return np.cumsum(images / speed)


def names(rows: Iterable[dict]) -> list[str]:
    """Of all losses or scores that occur, in the order in which they do."""
    return list(dict.fromkeys(chain.from_iterable(rows)))


def last_and_best(run: Run, score: str) -> tuple[float, float, int] | None:
    """The last value, the best one and its epoch; None where the run has no such score."""
    rows = [(scores[score], epoch) for _, epoch, scores in run.scores if score in scores]
    if not rows:
        return None
    best = (max if higher_is_better(score) else min)(rows)
    return rows[-1][0], *best


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) over the seeds; NaN as the deviation of one."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def loss_curve(runs: list[Run], name: str, over_time: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, mean, standard deviation over runs): x are images or seconds up to where the shortest run ends. A short
    record of one run is returned as it is; else a point is the mean of the records in its bin, in x as well, and of
    runs that recorded elsewhere the value between theirs. One that has recorded nothing up to there doesn't count."""
    tracks = []
    for run in runs:
        pairs = [(t if over_time else at, row[name]) for t, (at, row) in zip(run.seconds, run.losses, strict=True)
                 if row.get(name) is not None]  # fmt: skip
        if pairs:
            tracks.append(np.array(pairs, float).T)
    if not tracks:
        return (np.zeros(0),) * 3
    bins = min(BINS, *(track.shape[1] for track in tracks))
    if len(tracks) == 1 and bins == tracks[0].shape[1]:
        return _over_runs(*tracks)
    edges = np.linspace(0, min(x[-1] for x, _ in tracks), bins + 1)
    binned = [points for track in tracks if (points := _bin_means(edges, track)).size]
    x = _bin_means(edges, np.concatenate(tracks, axis=1))[0]
    return _over_runs(*((x, np.interp(x, *points)) for points in binned))


def _bin_means(edges: np.ndarray, track: np.ndarray) -> np.ndarray:
    """Means (2, filled bins) of the x and y (2, N) in each bin (low, high]; the first has ``edges[0]`` too."""
    place = np.maximum(np.searchsorted(edges, track[0], side="left") - 1, 0)
    inside = place < len(edges) - 1
    counts = np.bincount(place[inside], minlength=len(edges) - 1)
    sums = np.array([np.bincount(place[inside], values[inside], len(edges) - 1) for values in track])
    return sums[:, counts > 0] / counts[counts > 0]


def score_curve(runs: list[Run], score: str, over_time: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for a score, at the evaluations that all runs have (by their order)."""
    tracks = [[(run.seconds_at(at) if over_time else at, row[score]) for at, _, row in run.scores if score in row]
              for run in runs]  # fmt: skip
    count = min(map(len, tracks))
    return _over_runs(*(np.reshape(track[:count], (count, 2)).T for track in tracks))


def _over_runs(*tracks: Sequence[np.ndarray] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean x, mean y, standard deviation of y) of tracks (x, y) of as many points."""
    x, y = np.mean(tracks, axis=0)
    return x, y, np.std(tracks, axis=0, ddof=1)[1] if len(tracks) > 1 else np.zeros(len(y))


def contrastive_term(run: Run) -> dict[str, float]:
    """How the contrastive term fared: the share of recorded steps in which it was practically zero, among the first
    200 images and later; over the last tenth of the record, the cosines of each layer."""
    quiet = COLLAPSED * float(run.options.get("lambda_NCE", 1.0))
    rows = [(at, row) for at, row in run.losses if row.get("NCE") is not None]
    early, later = ([row["NCE"] < quiet for at, row in rows if (at <= EARLY) == first] for first in (True, False))
    found = {f"quiet, first {EARLY}": early, "quiet, later": later}
    decoupled = run.options.get("nce_loss") in ("dce", "hdce")  # their gradient stays where their value is zero
    found = {name: float(np.mean(flags)) for name, flags in found.items() if flags and not decoupled}
    tail = [row for _, row in rows[-max(1, len(rows) // 10) :]]
    for name in names(tail):
        values = [row[name] for row in tail if row.get(name) is not None]
        if name.startswith("similarity_") and values:
            found[name.removeprefix("similarity_").replace("_", " ")] = float(np.mean(values))
    return found
