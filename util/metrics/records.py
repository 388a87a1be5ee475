"""``metrics.jsonl``: one line per evaluation, and what a run's last and best are."""

import math
import os
import time
from pathlib import Path

from util.json_lines import read, to_line
from util.metrics.names import higher_is_better, without_size
from util.words import plural

SAME = ("images", "references", "size")  # what evaluations must have in common to be compared


def append_scores(path: str | Path, scores: dict, epoch: int, total_images: int = 0) -> None:
    """Add a line as training does: ``{"epoch", "epoch_images", "total_images", "time", "scores": {...}}``.

    ``scores``: floats are scores, anything else (counts, feature space) a note. ``total_images``: training
    images that the weights have seen, the iteration of the official code.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    row = {
        "epoch": epoch,
        "epoch_images": 0,
        "total_images": total_images,
        "time": round(time.time(), 3),
        "scores": scores,
    }
    with open(path, "a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a line that a kill tore stays a line of its own
                file.write(b"\n")
        file.write(to_line(row).encode())
        file.flush()
        os.fsync(file.fileno())


def summary(path: str | Path, metric: str) -> dict | None:
    """The last and the best value of ``metric`` in a record, with their epochs; None where it has none.

    Only evaluations with the image counts and the size of the last one are compared: distances depend on them.
    Returns ``{"metric", "last", "last_epoch", "best", "best_epoch", "evaluations", "not_compared"}``; the last counts
    those of other sizes or counts.
    """
    all_sizes = [row for row in read(path) if without_size(metric) in map(without_size, row.get("scores", {}))]
    rows = [row for row in all_sizes if isinstance(row["scores"].get(metric), int | float)]
    rows.sort(key=lambda row: row["epoch"])  # stable: of one epoch, the evaluation made last
    rows = [row for row in rows if _notes(row) == _notes(rows[-1])]
    if not rows:
        return None
    last = rows[-1]
    best = (max if higher_is_better(metric) else min)(rows, key=lambda row: row["scores"][metric])
    return {
        "metric": metric,
        "last": last["scores"][metric],
        "last_epoch": last["epoch"],
        "best": best["scores"][metric],
        "best_epoch": best["epoch"],
        "evaluations": len(rows),
        "not_compared": len(all_sizes) - len(rows),
    }


def summary_line(found: dict) -> str:
    """``FID: last 61.20 (epoch 400), best 45.50 (epoch 360) of 80 evaluations``"""
    return (
        f"{found['metric']}: last {format_score(found['last'])} (epoch {found['last_epoch']}), "
        f"best {format_score(found['best'])} (epoch {found['best_epoch']}) "
        f"of {plural(found['evaluations'], 'evaluation')}"
    )


def format_score(value: float) -> str:
    """Four digits after the point for small values, two for large ones."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def _notes(row: dict) -> tuple:
    return tuple(row["scores"].get(name) for name in SAME)
