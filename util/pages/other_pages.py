"""Links between the pages of a run: its training page lists the others in ``web/data/pages.js``."""

import json
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

from dominate import tags

from util import html
from util.errors import warn
from util.files import write_atomic

PAGES, START, END = "data/pages.js", "pages(", ");\n"  # a script: a page from the file system may not read other files


def write(web: Path, links: dict[str, str]) -> None:
    """``links``: title -> link from the folder of the training page."""
    write_atomic(web / PAGES, f"{START}{html.script_json(links)}{END}")


def add(run: Path, title: str, page: Path) -> None:
    """Let the training page of the run in this folder, where it has one, link to ``page``; links to pages that are
    gone are taken away."""
    web = run / "web"
    if not (web / PAGES).is_file():
        return
    try:
        new = _link(web, page)
        there = {each: link for each, link in _listed(web).items() if link != new and _target(web, link).is_file()}
        write(web, there | {title: new})
    except (OSError, ValueError) as error:  # ValueError: on another drive
        warn(f"{web} gets no link to {page}: {error}")


def nav(run: Path | None, page: Path) -> list:
    """Links from ``page`` to the others that there are; none where it belongs to no run."""
    if run is None or not (run / "web" / PAGES).is_file():
        return []
    web = run / "web"
    others = {"training page": web / "index.html"} | {title: _target(web, link) for title, link in _listed(web).items()}
    others = {title: other for title, other in others.items() if other.is_file() and other.resolve() != page.resolve()}
    links = (tags.a(title, href=_link(page.parent, other)) for title, other in others.items())
    return [tags.nav(links, cls="terms", aria_label="pages of this run")]


def _listed(web: Path) -> dict[str, str]:
    return json.loads((web / PAGES).read_text(encoding="utf-8").removeprefix(START).removesuffix(END))


def _link(folder: Path, page: Path) -> str:
    return html.url(os.path.relpath(page, folder))


def _target(web: Path, link: str) -> Path:
    return Path(os.path.normpath(web / os.fsdecode(unquote_to_bytes(link))))
