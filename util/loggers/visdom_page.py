"""What a run looks like on Visdom: fixed windows that are drawn whole once and appended to afterwards."""

import math

import numpy as np

from util.loggers.base import GROUPS, Images, loss_group, plotted_scores
from util.loggers.grid import enlarge, grid

SMOOTHING = 0.9  # weight of the past in the bold curves
MAX_POINTS = 1000  # of a curve; beyond twice as many every second one is dropped from the page
RAW = " (raw)"
COLORS = (  # red, green, blue
    "31,119,180",
    "255,127,14",
    "44,160,44",
    "214,39,40",
    "148,103,189",
    "140,86,75",
    "227,119,194",
    "23,190,207",
    "188,189,34",
    "127,127,127",
)


class Plot:
    """One window of curves over the images seen. It knows how many of its points the server has."""

    def __init__(self, title: str, smooth: bool = False, markers: bool = False):
        self.title, self.smooth, self.markers = title, smooth, markers
        self.points: list[tuple[int, dict[str, float]]] = []  # images seen, value of each curve
        self.averages: dict[str, float] = {}
        self.sent, self.sent_names = 0, ()

    def add(self, images: int, values: dict[str, float | None]) -> None:
        """None and non-finite values make a gap."""
        values = {name: y for name, y in values.items() if y is not None and math.isfinite(y)}
        if self.smooth:
            for name, y in list(values.items()):
                self.averages[name] = y + SMOOTHING * (self.averages.get(name, y) - y)
                values |= {raw(name): y, name: self.averages[name]}
        self.points.append((images, values))
        if len(self.points) > 2 * MAX_POINTS:
            self.points = self.points[::-2][::-1]
            self.sent = 0

    def draw(self, client, window: str) -> bool:
        """Send what is new. False if the server no longer has the window, as after its restart."""
        new = self.points[self.sent :]
        names = tuple(dict.fromkeys(name for _, values in self.points for name in values))
        if self.sent and not client.win_exists(window):
            return False
        if not new or not names:
            return True
        append = self.sent and names == self.sent_names
        points = new if append else self.points
        x = np.array([[images] * len(names) for images, _ in points], dtype=float)
        y = np.array([[values.get(name, math.nan) for name in names] for _, values in points])
        client.line(y, x, win=window, update="append" if append else None, opts=self._options(names))
        self.sent, self.sent_names = len(self.points), names
        return True

    def _options(self, names: tuple[str, ...]) -> dict:
        looks = {}
        for i, name in enumerate(name for name in names if not name.endswith(RAW)):
            color = COLORS[i % len(COLORS)]
            looks[name] = {"line": {"color": f"rgb({color})", "width": 2}}
            looks[raw(name)] = {"line": {"color": f"rgba({color}, 0.3)", "width": 1}, "showlegend": False}
        many = len(names) > (8 if self.smooth else 4)
        legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "font": {"size": 9 if many else 12}}
        plotly = {"title": None, "legend": legend}
        if not self.smooth and not self.markers:
            plotly["yaxis"] = {"rangemode": "tozero", "exponentformat": "e"}
        return {
            "title": self.title,
            "xlabel": "images",
            "legend": list(names),
            "markers": self.markers,
            "width": 395,
            "height": 300,
            "traceopts": {"plotly": looks},
            "layoutopts": {"plotly": plotly},
            "margintop": 115 if many else 70,
            "marginleft": 55,
            "marginbottom": 40,
            "marginright": 20,
        }


class VisdomPage:
    """All windows of a run. ``draw`` brings the server up to date."""

    def __init__(self, env: str, prefix: str = "", columns: int = 4, size: int = 256):
        """``prefix``: of window ids; ``columns`` (0: a window each) and ``size`` (pixels): of pictures."""
        self.env, self.prefix, self.columns, self.size = env, prefix, columns, size
        self.plots: dict[str, Plot] = {}
        self.pictures: dict[str, tuple[str, np.ndarray]] = {}  # window -> title and pixels
        self.pictures_sent = False

    def add_losses(self, row: dict) -> None:
        """A row of ``losses.jsonl``."""
        at = row["total_images"]
        for group, title in GROUPS.items():
            names = [name for name in row["losses"] if loss_group(name) == group]
            if names:
                values = {name.removeprefix("similarity_"): row["losses"][name] for name in names}
                self._plot(title, smooth=True).add(at, values)
        if row.get("learning_rates"):
            self._plot("learning rates").add(at, row["learning_rates"])
        self._plot("images per second").add(at, {"images/s": row.get("images_per_second")})
        self._plot("peak memory (GB)").add(at, {"GB": row.get("memory_gb")})

    def add_scores(self, row: dict) -> None:
        """A row of ``metrics.jsonl``: one window per score, since their scales differ."""
        for name, value in plotted_scores(row["scores"]).items():
            self._plot(name, markers=True).add(row["total_images"], {name: value})

    def set_images(self, title: str, images: Images) -> None:
        if self.columns:
            self.pictures = {"images": (title, grid(images, self.columns, self.size))}
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

    def draw(self, client) -> None:
        if not self.pictures_sent:
            for window, (title, picture) in self.pictures.items():
                height, width = picture.shape[:2]
                options = {"title": title, "width": width - 1, "height": height}  # the page adds one pixel
                client.image(picture.transpose(2, 0, 1), win=self.prefix + window, opts=options)
            self.pictures_sent = True
        if not all(plot.draw(client, self.prefix + title) for title, plot in self.plots.items()):
            self.forget()
            self.draw(client)


def raw(name: str) -> str:
    return name + RAW
