"""The record of a run: ``losses.jsonl``, ``metrics.jsonl`` and ``starts.jsonl``, one JSON object a line."""

from pathlib import Path

from util.files import write_atomic
from util.json_lines import STARTS, read, to_line
from util.loggers.base import Logger
from util.run.progress import Position, Progress


class JsonlLogger(Logger):
    """Appends one line per event and flushes it, so that a killed run loses at most the line being written."""

    def __init__(self, opt, resume: Position | None = None):
        folder = Path(opt.checkpoints_dir) / opt.name
        folder.mkdir(parents=True, exist_ok=True)
        self.files = {}
        for kind in ("losses", "metrics"):
            path = folder / f"{kind}.jsonl"
            if resume is not None:
                cut(path, resume)
            self.files[kind] = open(path, "a", encoding="utf-8", buffering=1)
        self.starts = folder / STARTS

    def log_start(self, start: dict) -> None:
        with open(self.starts, "a", encoding="utf-8") as file:
            file.write(to_line(start))

    def log_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        self.files["losses"].write(to_line(progress.as_dict() | {"losses": losses}))

    def log_scores(self, progress: Progress, scores: dict) -> None:
        where = {name: progress.as_dict()[name] for name in ("epoch", "epoch_images", "total_images", "time")}
        self.files["metrics"].write(to_line(where | {"scores": scores}))

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def cut(path: str | Path, at: Position) -> None:
    """Drop the rows that a run resumed ``at`` a position writes again: those of later steps, and what the end of the
    epoch under way gave (scores, samples) before a kill. Atomic."""

    def is_past(row: dict) -> bool:
        at_its_end = ("scores" in row or "samples" in row) and row.get("epoch", 0) >= at.epoch
        return row["total_images"] < at.total_images or (row["total_images"] == at.total_images and not at_its_end)

    if Path(path).exists():
        write_atomic(path, "".join(to_line(row) for row in read(path) if is_past(row)))
