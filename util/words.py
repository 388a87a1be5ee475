"""Words for messages, and tables for the terminal."""

import difflib


def plural(number: int, noun: str) -> str:
    """``1 image``, ``2 images``, ``0 images``; of regular nouns."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def did_you_mean(word: str, known: list[str]) -> str:
    """`` (did you mean --netG?)``: what of ``known`` is most like ``word``; "" where nothing is."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def aligned(rows: list[dict]) -> str:
    """Rows under the names of their columns, the first to the left, others to the right; a dash where a row has no
    value, floats with three digits."""
    columns = list(dict.fromkeys(key for row in rows for key, value in row.items() if value is not None))
    cells = [columns] + [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    align = ["<", *">" * len(widths)]
    lines = [[f"{cell:{a}{width}}" for cell, a, width in zip(line, align, widths, strict=False)] for line in cells]
    return "\n".join(map("  ".join, lines))


def _cell(value) -> str:
    if value is None:
        return "-"
    return f"{value:.{3 if value < 100 else 4}g}" if isinstance(value, float) else str(value)
