"""Records of one JSON object a line: ``losses.jsonl``, ``metrics.jsonl``, ``starts.jsonl``, ``web/images.jsonl``."""

import json
from pathlib import Path

from util import strict_json

STARTS = "starts.jsonl"


def to_line(row: dict) -> str:
    return strict_json.dumps(row) + "\n"


def read(path: str | Path) -> list[dict]:
    """All whole rows of a record; [] where there is none. A line torn by a kill is left out."""
    rows = []
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return rows
    for line in text.split("\n"):  # splitlines would also split inside some strings
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("total_images"), int):
            rows.append(row)
    return rows
