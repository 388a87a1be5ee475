"""``checkpoints/NAME/web/index.html``: curves, scores, and pictures over training; opens from the file system."""

import time
import zlib
from pathlib import Path

from dominate import tags

from util import html, json_lines
from util.files import write_atomic
from util.images import save_image
from util.loggers import jsonl
from util.loggers.base import GROUPS, HINTS, Images, Logger, loss_group
from util.loggers.smoothing import SHARE, WIDEST
from util.metrics.names import higher_is_better, plotted_scores
from util.pages import other_pages
from util.pages.plots import COLORS, FEW
from util.pages.viewer import viewer
from util.run.checkpoints import plain_options
from util.run.progress import Position, Progress
from util.run.run_summary import to_go_on

CHUNK_ROWS = 250  # of a data file: only the last one is written again
FLUSH_SECONDS = 30  # at most between two looks of the page at new losses
AT = ("epoch", "last_epoch", "total_images", "share", "seconds_left", "images_per_second")  # of the progress, on top


class TrainingPage(Logger):
    """The page itself is written once. What it shows lies in ``data/NNNNN.js``, small files written atomically, so
    that the cost grows linearly and a killed run leaves a page that works. ``images.jsonl`` records the pictures.
    """

    def __init__(self, opt, resume: Position | None = None):
        self.opt, self.folder = opt, Path(opt.checkpoints_dir) / opt.name
        self.web = self.folder / "web"
        self.watch = str(self.web / "index.html")
        self.record = self.web / "images.jsonl"
        (self.web / "data").mkdir(parents=True, exist_ok=True)
        self.chunk, self.flushed = 0, 0.0
        self.rows: list[dict] = []
        self.progress: Progress | None = None
        self.state: dict = {"groups": {}, "scores": {}, "newest": None, "starts": []}
        if resume is not None:
            jsonl.cut(self.record, resume)
            self._load()
        self.pictures = open(self.record, "a", encoding="utf-8", buffering=1)
        if resume is None or not (self.web / other_pages.PAGES).exists():
            other_pages.write(self.web, {})
        self._write_page()
        self._flush()
        self.flushed = 0.0  # the first losses are seen at once

    def log_start(self, start: dict) -> None:
        self.state["starts"].append(start)

    def step(self, progress: Progress) -> None:
        self.progress = progress

    def log_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        self.state["newest"] = None
        self._add_losses(progress.as_dict() | {"losses": losses})
        if time.monotonic() > self.flushed + FLUSH_SECONDS:
            self._flush()

    def show_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        self.state["groups"] |= {name: loss_group(name) for name in losses}
        self.state["newest"] = progress.as_dict() | {"losses": losses}
        self._flush()

    def log_scores(self, progress: Progress, scores: dict) -> None:
        self._add_scores(progress.as_dict() | {"scores": scores})
        self._flush()

    def log_images(self, progress: Progress, images: Images) -> None:
        if progress.due(self.opt.update_html_freq):
            links = self._save(f"images/{_step(progress)}", images)
            self._add_pictures(progress, {"kind": "images", "images": links})

    def log_samples(self, progress: Progress, samples: dict[str, Images]) -> None:
        links = {
            name: self._save(f"samples/{_step(progress)}/{_file_name(name)}", images)
            for name, images in samples.items()
        }
        self._add_pictures(progress, {"kind": "samples", "samples": links})

    def close(self) -> None:
        if self.progress:  # which training loops of others don't tell
            self.state["ended"] = "finished" if self.progress.is_last else "interrupted"
        self._flush()
        self.pictures.close()

    def _load(self) -> None:
        self.state["starts"] = json_lines.read(self.folder / json_lines.STARTS)
        for row in json_lines.read(self.folder / "losses.jsonl"):
            self._add_losses(row)
        for row in json_lines.read(self.folder / "metrics.jsonl"):
            self._add_scores(row)
        for row in json_lines.read(self.record):
            self._add(row)

    def _add_losses(self, row: dict) -> None:
        self.state["groups"] |= {name: loss_group(name) for name in row["losses"]}
        self._add({"kind": "losses"} | row)

    def _add_scores(self, row: dict) -> None:
        for name in plotted_scores(row["scores"]):
            self.state["scores"][name] = "higher" if higher_is_better(name) else "lower"
        self._add({"kind": "scores"} | row)

    def _add_pictures(self, progress: Progress, row: dict) -> None:
        row = {"epoch": progress.epoch, "total_images": progress.total_images} | row
        self.pictures.write(json_lines.to_line(row))
        self._add(row)
        self._flush()

    def _save(self, folder: str, images: Images) -> dict[str, str]:
        (self.web / folder).mkdir(parents=True, exist_ok=True)
        links = {}
        for label, image in images.items():
            path = f"{folder}/{_file_name(label)}.png"
            save_image(image, self.web / path)
            links[label] = html.url(path)
        return links

    def _add(self, row: dict) -> None:
        self.rows.append(row)
        if len(self.rows) >= CHUNK_ROWS:  # more where the disk was full
            self._write_chunk()
            self.chunk, self.rows = self.chunk + 1, []

    def _write_chunk(self) -> None:
        path = self.web / "data" / f"{self.chunk:05}.js"
        write_atomic(path, f"add({html.script_json(self.rows)});\n")

    def _flush(self) -> None:
        """The rows first, then the state that names them: at any moment the page is whole."""
        if self.rows:
            self._write_chunk()
        checkpoints = sorted(self.folder.glob("*.pth"), key=lambda path: path.stat().st_mtime, reverse=True)
        state = self.state | {
            "chunks": self.chunk + bool(self.rows),
            "updated": time.strftime("%Y-%m-%d %H:%M:%S"),
            "at": self.progress and {name: getattr(self.progress, name) for name in AT},
            "checkpoints": [(path.name, f"../{html.url(path.name)}") for path in checkpoints],
        }
        write_atomic(self.web / "data" / "state.js", f"state({html.script_json(state)});\n")
        self.flushed = time.monotonic()

    def _write_page(self) -> None:
        opt = self.opt
        header = html.terms({"model": opt.model, "data": opt.dataroot, "options": plain_options(opt)})
        checkpoints = html.fold("checkpoints", tags.p(id="checkpoints", cls="terms"))
        others = tags.nav(id="pages", cls="terms", hidden=True, aria_label="pages of this run")
        go_on = tags.p("go on with ", tags.code(to_go_on(opt)), id="go_on", hidden=True)
        head = [tags.p(id="state", cls="terms"), go_on, others, *header, html.command(), checkpoints]
        constants = dict(groups=GROUPS, hints=HINTS, widest=WIDEST, few=FEW, colors=COLORS)
        write_atomic(
            self.web / "index.html",
            html.page(("pair", "viewer", "plots", "training_page"), opt.name, head, _body(), **constants),
        )


def _body() -> list:
    """What the script fills. (The number 0 would leave an attribute out.)"""
    play = tags.button("▶", id="play", title="play (space)", aria_label="play")
    slider = tags.input_(id="step", type="range", min="0", value="0", aria_label="moment of training")
    smoothing = tags.input_(id="smoothing", type="range", min="0", max=0.3, step=0.01, value=SHARE)
    folds = tags.button("open all", id="open"), " ", tags.button("close all", id="fold")

    def section(name: str, title: list, *content) -> tags.section:
        return tags.section(tags.h2(title), *content, id=name, hidden=True)

    plots = tags.div(cls="plots")
    return [
        tags.main(
            tags.noscript("This page draws its curves with JavaScript; the images lie in images/ and samples/."),
            section(
                "samples", ["The same images over training"],
                tags.nav(play, slider, tags.span(id="at")), tags.div(cls="rows"),
            ),
            section("scores", ["Scores"], tags.div(cls="cards"), plots),
            section("losses", ["Losses and speed ", tags.label("smoothing ", smoothing)], plots),
            section("epochs", ["Images of each epoch ", *folds], tags.div(cls="list")),
        ),
        tags.footer(id="starts", hidden=True),
        tags.button("new results: reload", id="reload", hidden=True),
        viewer(),
        tags.div(id="tip", hidden=True),
    ]  # fmt: skip


def _step(progress: Progress) -> str:
    return f"epoch{progress.epoch:04}_{progress.total_images:09}"


def _file_name(name: str) -> str:
    """A label or a sample's name as a name that every file system takes."""
    plain = "".join(c if c.isalnum() or c in "-_.+ " else "_" for c in name).strip(". ")[:80]
    return plain if plain == name else f"{plain}-{zlib.crc32(name.encode()):08x}"  # names stay different
