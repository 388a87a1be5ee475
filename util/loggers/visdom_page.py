"""What a run looks like on Visdom: fixed windows in a fixed order, drawn whole once and appended to afterwards."""

import json
import math
import textwrap
from html import escape

import numpy as np

from util.loggers.base import GROUPS, HINTS, Images, loss_group
from util.loggers.grid import enlarge, sheet
from util.loggers.smoothing import Smoothing
from util.metrics.names import plotted_scores
from util.pages.plots import FEW

MAX_POINTS = 1000  # of a curve; beyond twice as many every second one is dropped from the page
RAW = " (raw)"
WIDTH, HEIGHT = 395, 300  # of a plot, in pixels: three lie beside each other in a window of 1400
WHOLE_WIDTH = 1360  # of the pictures, in a window of 1400
ANY_WIDTH = 10_000  # Visdom makes it that of the window
START, IMAGES, SCORES = "start", "images", "scores"
# Groups of windows from top to bottom: pictures stand above them, what is in none of them below.
ORDER = ("adversarial", "contrastive", SCORES, "similarity", "negatives", "other")
COLORS = (  # red, green, blue
    "31,119,180 255,127,14 44,160,44 214,39,40 148,103,189 140,86,75 227,119,194 23,190,207 188,189,34 127,127,127"
).split()


class Plot:
    """One window of curves over the images seen. It knows how many of its points the server has."""

    def __init__(self, title: str, group: str = "", smooth: bool = False):
        self.title, self.group, self.smooth = title, group, smooth
        self.points: list[tuple[int, dict[str, float]]] = []  # images seen, value of each curve
        self.averages: dict[str, Smoothing] = {}
        self.sent = 0
        self.sent_to = ""  # this window
        self.sent_looks: tuple = ()

    def add(self, images: int, values: dict[str, float | None]) -> None:
        """None and non-finite values make a gap."""
        values = {name: y for name, y in values.items() if y is not None and math.isfinite(y)}
        if self.smooth:
            for name, y in list(values.items()):
                values |= {raw(name): y, name: self.averages.setdefault(name, Smoothing()).add(y)}
        self.points.append((images, values))
        if len(self.points) > 2 * MAX_POINTS:
            self.points = self.points[::-2][::-1]
            self.sent = 0

    def draw(self, client, window: str) -> bool:
        """Send what is new. False if the server no longer has the window, as after its restart."""
        if window != self.sent_to:
            self.sent = 0
        new = self.points[self.sent :]
        names = tuple(dict.fromkeys(name for _, values in self.points for name in values))
        if self.sent and not client.win_exists(window):
            return False
        if not new or not names:
            return True
        looks = names, len(self.points) <= FEW
        append = self.sent and looks == self.sent_looks
        points = new if append else self.points
        x = np.array([[images] * len(names) for images, _ in points], dtype=float)
        y = np.array([[values.get(name, math.nan) for name in names] for _, values in points])
        # To what is appended the server adds colours as text, and gives the curves the names of the legend.
        opts = {"legend": [*map(self._in_legend, names)]} if append else self._options(*looks)
        client.line(y, x, win=window, update="append" if append else None, opts=opts)
        self.sent, self.sent_to, self.sent_looks = len(self.points), window, looks
        return True

    def _options(self, names: tuple[str, ...], few: bool) -> dict:
        curves = [name for name in names if not name.endswith(RAW)]
        legend = list(dict.fromkeys(map(self._in_legend, curves)))
        looks = {}
        for name in curves:
            color = COLORS[legend.index(self._in_legend(name)) % len(COLORS)]
            positive = self.group == "similarity" and name.startswith("positive")  # its negatives stand for the layer
            looks[name] = {
                "name": self._in_legend(name),
                "line": {"color": f"rgb({color})", "width": 2, "dash": "dash" if positive else "solid"},
                "mode": "lines+markers" if few else "lines",
                "marker": {"size": 5, "color": f"rgb({color})"},
                "showlegend": not positive and len(curves) > 1,
                "hovertemplate": f"{escape(name)}: %{{y:.4g}}<extra></extra>",
            }
            looks[raw(name)] = {
                "line": {"color": f"rgba({color}, 0.3)", "width": 1},
                "mode": "lines",
                "showlegend": False,
                "hoverinfo": "skip",
            }
        plotly: dict = {"title": None, "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"}}
        if self.group in HINTS:
            meaning = "<br>".join(textwrap.wrap(HINTS[self.group], 50))
            hint = {"text": " ? ", "hovertext": meaning, "showarrow": False, "bordercolor": "#999"}
            place = {"xref": "paper", "yref": "paper", "x": 1, "y": 1.02, "xanchor": "right", "yanchor": "bottom"}
            plotly["annotations"] = [hint | place]
        if not self.group:
            plotly["yaxis"] = {"rangemode": "tozero", "exponentformat": "e"}
        return {
            "title": self.title,
            "xlabel": "images",
            "legend": list(names),
            "width": WIDTH,
            "height": HEIGHT,
            "traceopts": {"plotly": looks},
            "layoutopts": {"plotly": plotly},
            "margintop": 70 if len(curves) > 1 else 40,
            "marginleft": 55,
            "marginbottom": 40,
            "marginright": 20,
        }

    def _in_legend(self, name: str) -> str:
        """The curve's name; of similarities ``layer 4`` for both curves of a layer, which share a colour."""
        layer = name.rsplit("_", 1)[-1]
        return f"layer {layer}" if self.group == "similarity" and layer.isdigit() else name


class VisdomPage:
    """All windows of a run, pictures first. ``draw`` brings the server up to date."""

    def __init__(self, env: str, prefix: str = "", columns: int = 4, size: int = 256):
        """``prefix``: of window ids; ``columns`` (0: a window each) and ``size`` (pixels): of pictures."""
        self.env, self.prefix, self.columns, self.size = env, prefix, columns, size
        self.plots: dict[str, Plot] = {}
        self.pictures: dict[str, tuple[str, np.ndarray]] = {}  # window -> title and pixels
        self.forget()

    def add_losses(self, row: dict) -> None:
        """A row of ``losses.jsonl``."""
        at = row["total_images"]
        for group, title in GROUPS.items():
            names = [name for name in row["losses"] if loss_group(name) == group]
            if names:
                values = {name.removeprefix("similarity_"): row["losses"][name] for name in names}
                self._plot(title, group=group, smooth=True).add(at, values)
        if row.get("learning_rates"):
            self._plot("learning rates").add(at, row["learning_rates"])
        self._plot("peak memory (GB)").add(at, {"GB": row.get("memory_gb")})
        if row.get("images_per_second"):  # not known at the first step: the last window, since it comes later
            self._plot("images per second").add(at, {"images/s": row["images_per_second"]})

    def add_scores(self, row: dict) -> None:
        """A row of ``metrics.jsonl``: one window per score, since their scales differ."""
        for name, value in plotted_scores(row["scores"]).items():
            self._plot(name, group=SCORES).add(row["total_images"], {name: value})

    def set_images(self, title: str, images: Images) -> None:
        if self.columns:
            self.pictures = {IMAGES: (title, sheet(images, self.columns, WHOLE_WIDTH, self.size))}
        else:
            self.pictures = {label: (f"{label}, {title}", enlarge(image, self.size)) for label, image in images.items()}
        self.pictures_sent = False

    def _plot(self, title: str, **how) -> Plot:
        return self.plots.setdefault(title, Plot(title, **how))

    def forget(self) -> None:
        """The server has nothing of this page: the next ``draw`` sends all of it."""
        for plot in self.plots.values():
            plot.sent = 0
        self.pictures_sent = False
        both = (self._id(plot, has_scores) for plot in self.plots.values() for has_scores in (False, True))
        self.windows = {self.prefix + START, *both}  # that it may have, of an earlier process

    def _pane(self, title: str, picture: np.ndarray) -> dict:
        """As wide as the window for the sheet of pictures, as high as it then is; for a single one its own size."""
        height, width = picture.shape[:2]
        if not self.columns:
            return {"title": title, "width": width - 1, "height": height}  # the page adds one pixel
        return {"title": title, "width": ANY_WIDTH, "height": round(height * min(1, WHOLE_WIDTH / width))}

    def draw(self, client) -> None:
        """Visdom shows windows in the order of their creation. The first scores come late: what stands below them is
        made anew then, under other ids, since an open page closes once more, by itself, what is closed."""
        in_order = sorted(self.plots.values(), key=lambda plot: rank(plot.group))
        has_scores = any(plot.group == SCORES for plot in in_order)
        plots = {self._id(plot, has_scores): plot for plot in in_order}
        windows = set(plots)
        if not (plots or self.pictures):  # an address that has no windows can't be opened
            windows = {self.prefix + START}
            client.text("The first pictures and losses come after the first step.", win=self.prefix + START)
        if not self.pictures_sent:
            for window, (title, picture) in self.pictures.items():
                client.image(picture.transpose(2, 0, 1), win=self.prefix + window, opts=self._pane(title, picture))
            self.pictures_sent = True
        if not all(plot.draw(client, window) for window, plot in plots.items()):
            self.forget()
            return self.draw(client)
        for window in self.windows - windows:
            client.close(window)
        self.windows = windows

    def close_others(self, client) -> None:
        """The windows of the environment that are not of this page."""
        ours = self.windows | {self.prefix + window for window in self.pictures}
        for window in json.loads(client.get_window_data()).keys() - ours:
            client.close(window)

    def _id(self, plot: Plot, has_scores: bool) -> str:
        below = has_scores and rank(plot.group) > rank(SCORES)
        return self.prefix + plot.title + (", below scores" if below else "")


def rank(group: str) -> int:
    """Of a group of windows, from top to bottom."""
    return ORDER.index(group) if group in ORDER else len(ORDER)


def raw(name: str) -> str:
    return name + RAW
