"""``results/NAME/PHASE_EPOCH/index.html``: the test images and their translations, to browse and compare."""

import json
import re
from pathlib import Path
from urllib.parse import unquote

from dominate import tags

from util import html
from util.files import set_aside, write_atomic
from util.json_lines import STARTS, read
from util.pages import other_pages
from util.pages.viewer import viewer

SCORES, SCORES_START = "scores.js", "scores = "  # a script: a page from the file system may not read other files


class ResultPage:
    """Collects rows with ``add``; ``save``, which may be called again, writes the page.

    The page needs nothing but what lies beside it, images and ``scores.js``: it opens from the file system.
    """

    def __init__(self, folder: str | Path, title: str, header: dict, run: Path | None = None):
        """``header``: plain values make a line; a dict among them (the options) a table that folds out; ``run``: the
        folder of the run that trained the model, for its starts and pages."""
        self.folder, self.title, self.header, self.run = Path(folder), title, header, run
        self.rows: list[tuple[str, dict[str, str]]] = []
        self.scores: dict[str, dict[str, float]] = {}  # score -> image name -> value

    def add(self, name: str, images: dict[str, str], scores: dict[str, float] | None = None) -> None:
        """One test image: ``{"real_A": "images/real_A/x.png", ...}``, paths relative to the folder."""
        self.rows.append((name, dict(images)))
        for score, value in (scores or {}).items():
            self.scores.setdefault(score, {})[name] = value

    def set_aside_others(self) -> Path | None:
        """Move the pictures of earlier calls that this one has not written to ``previous_N`` in the folder; None where
        there are none."""
        shown = {self.folder / path for _, images in self.rows for path in images.values()}
        others = [p for p in (self.folder / "images").rglob("*") if p.is_file() and p not in shown]
        aside = set_aside(self.folder, sorted(others))
        for left in {path.parent for path in others}:
            if not any(left.iterdir()):
                left.rmdir()
        return aside

    def save(self) -> Path:
        """Write ``index.html``; returns its path."""
        labels = list(dict.fromkeys(label for _, images in self.rows for label in images))
        data = {
            "labels": labels,
            "starts": read(self.run / STARTS) if self.run else [],
            "rows": [
                (name, [html.url(images[label]) if label in images else None for label in labels])
                for name, images in self.rows
            ],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "index.html"
        head = [*html.terms(self.header), *other_pages.nav(self.run, path)]
        page = html.page(("pair", "viewer", "result_page"), self.title, head, self._body(), page=data)
        _write_scores(self.folder, self.scores)
        write_atomic(path, page)
        if self.run:
            other_pages.add(self.run, f"result page: {self.folder.name}", path)
        return path

    def _body(self) -> list:
        """What the script fills."""
        return [
            tags.nav(
                tags.input_(id="filter", type="search", placeholder="filter names", aria_label="filter names"),
                tags.label("sort ", tags.select(id="sort")),
                tags.button("↑", id="order", title="turn the order round", aria_label="turn the order round"),
                tags.span(id="labels"),
                tags.label("size ", tags.input_(id="size", type="range", min=48, max=512, step=4)),
                tags.span(id="count"),
                tags.button("contact sheet", id="as_sheet", aria_pressed="false", title="as a table to print"),
                tags.button("print", id="print", hidden=True),
                id="bar",
            ),
            tags.main(
                tags.noscript("This page draws its grid with JavaScript; the images themselves lie in images/."),
                tags.div(id="grid"),
                tags.table(id="sheet", hidden=True),
            ),
            tags.footer(id="starts", hidden=True),
            viewer(),
            tags.script("let scores = {};"),
            tags.script(src=SCORES),
        ]


def add_scores(images: str | Path, scores: dict[str, dict[str, float]]) -> Path | None:
    """Show scores (score -> image name -> value) on the page that has the folder ``images`` of translations.

    Returns the page; None where the folder belongs to none."""
    folder = Path(images).absolute().parent.parent
    if not (folder / "index.html").is_file() or not (folder / SCORES).is_file():
        return None
    there = json.loads((folder / SCORES).read_text(encoding="utf-8").removeprefix(SCORES_START).rstrip(";\n"))
    _write_scores(folder, there | scores)
    return folder / "index.html"


def translations_within(folder: Path) -> list[Path]:
    """Of the folder of a result page, its ``images``, or a folder of such: where translations lie apart from inputs and
    from former results, fake_B or whatever the model has of the kind; of any other folder nothing."""
    pages = [folder.parent] if folder.name == "images" else [folder, *(p.parent for p in folder.glob("*/index.html"))]
    return [found for page in pages if (page / "index.html").is_file() for found in sorted(page.glob("images/fake*"))]


def disagreement(images: str | Path, files: list[Path]) -> str:
    """How ``files``, the pictures in a page's folder ``images``, differ from those that the page shows; "" where they
    don't, or where the folder belongs to no page."""
    folder = Path(images).absolute().parent.parent
    page = folder / "index.html"
    found = re.search(r"^const PAGE = (.*);$", page.read_text(encoding="utf-8"), re.M) if page.is_file() else None
    rows = json.loads(found[1]).get("rows", []) if found else []
    links = {link for _, row in rows for link in row if link}
    shown = {link for link in links if link.startswith(html.url(Path(images).absolute().relative_to(folder)) + "/")}
    if not shown:
        return ""
    there = {html.url(path.absolute().relative_to(folder)): path.name for path in files}
    extra, gone = sorted(there.keys() - shown), sorted(shown - there.keys())
    parts = [f"{len(extra)} of its {len(there)} are not on the page (first {there[extra[0]]})"] if extra else []
    parts += (
        [f"{len(gone)} of the page's {len(shown)} are not in it (first {unquote(Path(gone[0]).name)})"] if gone else []
    )
    return " and ".join(parts)


def _write_scores(folder: Path, scores: dict) -> None:
    write_atomic(folder / SCORES, f"{SCORES_START}{html.script_json(scores)};\n")
