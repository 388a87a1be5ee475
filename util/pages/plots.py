"""Curves, pictures and tables inside a page: they need no script and no other file, so they also print."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from util import html

COLORS = ("#4c8fd6", "#f0883e", "#3fa65a", "#d9534f", "#9a76c9", "#a0705f", "#d876b5", "#2bb3bd", "#bdb23a", "#999999")
WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 40  # margins: ticks and the axes' names


@dataclass
class Curve:
    """Points (x, y); NaN leaves a gap. ``low``, ``high``: a band around them. ``filled``: the area down to 0, as of a
    distribution. ``color``: a CSS colour, by default the next of ``COLORS``."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    color: str | None = None
    filled: bool = False
    dashed: bool = False
    dots: bool = False


def plot(title: str, curves: list[Curve], x_label: str = "", y_label: str = "",
         x_range: tuple | None = None, y_range: tuple | None = None) -> str:  # fmt: skip
    """One <figure>; ``""`` where no curve has a finite point. Axes fit the curves and bands unless given."""
    curves = [curve for curve in curves if np.isfinite(np.asarray(curve.y, float)).any()]
    if not curves:
        return ""
    colors = [curve.color or COLORS[i % len(COLORS)] for i, curve in enumerate(curves)]
    x_low, x_high = x_range or _extent([c.x for c in curves], pad=0)
    bands = [band for c in curves for band in (c.low, c.high) if band is not None]
    zero = [[0.0]] if any(c.filled for c in curves) else []
    y_low, y_high = y_range or _extent([c.y for c in curves] + bands + zero, pad=0.04)

    def x(value):
        return LEFT + (np.asarray(value, float) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def y(value):
        share = (np.clip(np.asarray(value, float), y_low, y_high) - y_low) / (y_high - y_low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    marks = [_grid(x, y, (x_low, x_high), (y_low, y_high), x_label, y_label)]
    for curve, color in zip(curves, colors, strict=True):
        if curve.low is not None:
            area = [
                *zip(x(curve.x), y(curve.high), strict=True),
                *list(zip(x(curve.x), y(curve.low), strict=True))[::-1],
            ]
            marks.append(f'<path d="{_path(area)}Z" fill="{color}" opacity=".18"/>')
        points = list(zip(x(curve.x), y(curve.y), strict=True))
        if curve.filled:
            area = [(points[0][0], y(0)), *points, (points[-1][0], y(0))]
            marks.append(f'<path d="{_path(area)}Z" fill="{color}" opacity=".25"/>')
        dash = ' stroke-dasharray="5 3"' if curve.dashed else ""
        name = f"<title>{html.text(curve.name)}</title>"
        marks.append(f'<path d="{_path(points)}" fill="none" stroke="{color}" stroke-width="1.8"{dash}>{name}</path>')
        if curve.dots or len(points) == 1:
            shown = [point for point in points if np.isfinite(point).all()]
            marks += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{color}">{name}</circle>' for a, b in shown]
    legend = "".join(
        f'<span><i style="background:{color}"></i>{html.text(curve.name)}</span>'
        for curve, color in zip(curves, colors, strict=True)
    )
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(marks)}</svg>'
    return f'<figure class="plot"><figcaption><b>{html.text(title)}</b>{legend}</figcaption>{svg}</figure>'


def picture(image: np.ndarray, width: int = 128) -> str:
    """An (H, W, 3) uint8 image as an <img> that holds its own pixels, shown ``width`` CSS pixels wide."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" width="{width}" alt="">'


def table(head: list[str], rows: list[list[str]], markdown: bool = False) -> str:
    """Cells of plain text, as HTML or as Markdown."""
    if markdown:
        lines = [head, ["---"] * len(head), *rows]
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    body = "".join(f"<tr>{''.join(f'<td>{html.text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    titles = "".join(f"<th>{html.text(cell)}</th>" for cell in head)
    return f'<div class="scroll"><table><tr>{titles}</tr>{body}</table></div>'


def ticks(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round numbers from low to high: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _extent(values: list[Sequence[float]], pad: float) -> tuple[float, float]:
    joined = np.concatenate([np.asarray(v, float) for v in values])
    low, high = float(np.nanmin(joined)), float(np.nanmax(joined))
    if low == high:
        low, high = low - (abs(low) / 2 or 1), high + (abs(high) / 2 or 1)
    return low - pad * (high - low), high + pad * (high - low)


def _grid(x, y, x_range: tuple, y_range: tuple, x_label: str, y_label: str) -> str:
    ink = 'fill="var(--soft, #666)" font-size="11"'
    marks = []
    for value in ticks(*y_range, 5):
        line = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"'
        marks.append(f'<line {line} stroke="var(--line, #ddd)"/>')
        marks.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end" {ink}>{_short(value)}</text>')
    for value in ticks(*x_range, 6):
        place = f'x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle"'
        marks.append(f"<text {place} {ink}>{_short(value)}</text>")
    middle = (LEFT + WIDTH - RIGHT) / 2
    marks.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle" {ink}>{html.text(x_label)}</text>')
    turned = f'transform="translate(12 {(HEIGHT - BOTTOM + TOP) / 2}) rotate(-90)" text-anchor="middle"'
    marks.append(f"<text {turned} {ink}>{html.text(y_label)}</text>")
    return "".join(marks)


def _path(points) -> str:
    """``M`` starts anew after a gap."""
    parts, command = [], "M"
    for a, b in points:
        if not (math.isfinite(a) and math.isfinite(b)):
            command = "M"
            continue
        parts.append(f"{command}{a:.1f},{b:.1f}")
        command = "L"
    return "".join(parts)


def _short(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g}M"
    return f"{value / 1e3:.4g}k" if abs(value) >= 1e4 else f"{value:.4g}"
