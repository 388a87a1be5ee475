"""Curves, pictures and tables inside a page: they need no script and no other file, so they also print."""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from dominate import svg, tags
from PIL import Image

COLORS = ("#4c8fd6", "#f0883e", "#3fa65a", "#d9534f", "#9a76c9", "#a0705f", "#d876b5", "#2bb3bd", "#bdb23a", "#999999")
WIDTH, HEIGHT = 480, 250
FEW = 30  # points: up to here each has a marker, since one point alone draws no line
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 40  # margins: ticks and the axes' names


Numbers = Sequence[float] | np.ndarray


@dataclass
class Curve:
    """Points (x, y); NaN leaves a gap. ``low``, ``high``: a band around them. ``filled``: the area down to 0, as of a
    distribution. ``color``: a CSS colour, by default the next of ``COLORS``."""

    name: str
    x: Numbers
    y: Numbers
    low: Numbers | None = None
    high: Numbers | None = None
    color: str | None = None
    filled: bool = False
    dashed: bool = False
    dots: bool = False


def plot(title: str, curves: list[Curve], x_label: str = "", y_label: str = "",
         x_range: tuple | None = None, y_range: tuple | None = None) -> tags.figure | None:  # fmt: skip
    """None where no curve has a finite point. Axes fit the curves and bands unless given."""
    curves = [curve for curve in curves if np.isfinite(np.asarray(curve.y, float)).any()]
    if not curves:
        return None
    colors = [curve.color or COLORS[i % len(COLORS)] for i, curve in enumerate(curves)]
    x_low, x_high = x_range or _extent([c.x for c in curves], pad=0)
    bands = [band for c in curves for band in (c.low, c.high) if band is not None]
    zero: list[Numbers] = [[0.0]] if any(c.filled for c in curves) else []
    y_low, y_high = y_range or _extent([c.y for c in curves] + bands + zero, pad=0.04)

    def x(value):
        return LEFT + (np.asarray(value, float) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def y(value):
        share = (np.clip(np.asarray(value, float), y_low, y_high) - y_low) / (y_high - y_low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def points(xs, ys) -> list[tuple[float, float]]:
        return list(zip(x(xs), y(ys), strict=True))

    image = svg.svg(
        _grid(x, y, (x_low, x_high), (y_low, y_high), x_label, y_label),
        xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=title,
    )  # fmt: skip
    for curve, color in zip(curves, colors, strict=True):
        line = points(curve.x, curve.y)
        if curve.low is not None:
            band = points(curve.x, curve.high) + points(curve.x, curve.low)[::-1]
            image.add(svg.path(d=f"{_path(band)}Z", fill=color, opacity=0.18))
        if curve.filled:
            area = [(line[0][0], y(0)), *line, (line[-1][0], y(0))]
            image.add(svg.path(d=f"{_path(area)}Z", fill=color, opacity=0.25))
        dashes = "5 3" if curve.dashed else None
        name = tags.title(curve.name)
        image.add(svg.path(name, d=_path(line), fill="none", stroke=color, stroke_width=1.8, stroke_dasharray=dashes))
        if curve.dots or len(line) == 1:
            shown = [point for point in line if np.isfinite(point).all()]
            image.add(svg.circle(name, cx=f"{a:.1f}", cy=f"{b:.1f}", r=3, fill=color) for a, b in shown)
    legend = (tags.span(tags.i(style=f"background:{color}"), c.name) for c, color in zip(curves, colors, strict=True))
    return tags.figure(tags.figcaption(tags.b(title), legend), image, cls="plot")


def plots(*figures: tags.figure | None) -> tags.div:
    """Those that there are, side by side."""
    return tags.div((figure for figure in figures if figure), cls="plots")


def picture(image: np.ndarray, name: str, width: int = 128) -> tags.img:
    """An (H, W, 3) uint8 image as an <img> that holds its own pixels, shown ``width`` CSS pixels wide."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    data = base64.b64encode(buffer.getvalue()).decode()
    return tags.img(src=f"data:image/png;base64,{data}", width=width, alt=name)


def table(head: Iterable, rows: Iterable[Iterable]) -> tags.div:
    """Cells are text, elements or lists of both."""
    body = (tags.tr(tags.td(cell) for cell in row) for row in rows)
    return tags.div(tags.table(tags.tr(map(tags.th, head)), body), cls="scroll", tabindex="0")


def markdown(head: list[str], rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, ["---"] * len(head), *rows])


def ticks(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round numbers from low to high: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _extent(values: Sequence[Numbers], pad: float) -> tuple[float, float]:
    joined = np.concatenate([np.asarray(v, float) for v in values])
    low, high = float(np.nanmin(joined)), float(np.nanmax(joined))
    if high - low < 1e-300:  # equal, or as good as
        low, high = low - (abs(low) / 2 or 1), high + (abs(high) / 2 or 1)
    return low - pad * (high - low), high + pad * (high - low)


def _grid(x, y, x_range: tuple[float, float], y_range: tuple[float, float], x_label: str, y_label: str) -> list:
    def words(text: str, **where):
        return svg.text(text, fill="var(--soft, #666)", font_size=11, **where)

    marks, centre = [], {"text_anchor": "middle"}
    for value in ticks(*y_range, 5):
        at = f"{y(value):.1f}"
        marks.append(svg.line(x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, stroke="var(--line, #ddd)"))
        marks.append(words(_short(value), x=LEFT - 6, y=f"{y(value) + 4:.1f}", text_anchor="end"))
    for value in ticks(*x_range, 6):
        marks.append(words(_short(value), x=f"{x(value):.1f}", y=HEIGHT - BOTTOM + 15, **centre))
    marks.append(words(x_label, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 8, **centre))
    turned = f"translate(12 {(HEIGHT - BOTTOM + TOP) / 2}) rotate(-90)"
    return [*marks, words(y_label, transform=turned, **centre)]


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
