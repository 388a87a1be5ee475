"""Pages that open from the file system: templates filled in, and escaping for each place."""

import html
import os
import re
from pathlib import Path
from urllib.parse import quote

from util import strict_json
from util.files import write_atomic

TEMPLATES = Path(__file__).parent / "pages"


def render(name: str, **parts: str) -> str:
    """``pages/NAME.html`` with each ``{{part}}`` replaced; ``{{css}}`` and ``{{js}}`` by NAME's files.

    The parts are put in as they are: escape with ``text`` or ``script_json`` first.
    """
    parts["css"] = _template("base.css") + _template(f"{name}.css")
    parts["js"] = _template("base.js") + _template(f"{name}.js")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _template(f"{name}.html"))


def text(value) -> str:
    """Any value as HTML text or attribute."""
    return html.escape(_unicode(str(value)))


def url(path: str | Path) -> str:
    """A relative file path as a link, whatever its characters."""
    return quote(os.fsencode(Path(path).as_posix()))


def script_json(value) -> str:
    """JSON that may stand inside a <script>: nothing in it can end the element."""
    dumped = _unicode(strict_json.dumps(value, separators=(",", ":")))
    for character in "<>&\u2028\u2029":
        dumped = dumped.replace(character, f"\\u{ord(character):04x}")
    return dumped


def header(values: dict) -> str:
    """Plain values as one line of terms, each dict among them as a table that folds out."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    line = "".join(f"<span><b>{text(key)}</b> {text(value)}</span>" for key, value in plain.items())
    tables = (
        f"<details><summary>{text(key)}</summary>{_terms(value)}</details>"
        for key, value in values.items()
        if isinstance(value, dict)
    )
    return f'<p class="terms">{line}</p>' + "".join(tables)


def _terms(values: dict) -> str:
    rows = "".join(f"<div><dt>{text(key)}</dt><dd>{text(value)}</dd></div>" for key, value in values.items())
    return f'<dl class="options">{rows}</dl>'


def _unicode(value: str) -> str:
    """Bytes of file names that are no Unicode become "?"."""
    return value.encode("utf-8", "replace").decode()


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


class HTML:
    """The official page of headers and rows of images, for testing scripts of others; images lie in ``images``."""

    def __init__(self, web_dir: str | Path, title: str, refresh: int = 0):
        self.web_dir, self.title = Path(web_dir), title
        self.img_dir = self.web_dir / "images"
        self.img_dir.mkdir(parents=True, exist_ok=True)
        self.names: set[str] = set()  # of the pictures that ``save_images`` wrote
        self.body = ""
        self.refresh = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""

    def get_image_dir(self) -> str:
        return str(self.img_dir)

    def add_header(self, words: str) -> None:
        self.body += f"<h3>{text(words)}</h3>\n"

    def add_images(self, ims: list[str], txts: list[str], links: list[str], width: int = 400) -> None:
        """A row of pictures in ``images`` with words below; a click opens the link."""
        cells = (
            f'<td><a href="images/{url(link)}"><img src="images/{url(im)}" width="{width}"></a><br>{text(words)}</td>'
            for im, words, link in zip(ims, txts, links, strict=True)
        )
        self.body += f"<table><tr>{''.join(cells)}</tr></table>\n"

    def save(self) -> None:
        head = f'<!doctype html><meta charset="utf-8">{self.refresh}<title>{text(self.title)}</title>\n'
        write_atomic(self.web_dir / "index.html", f"{head}<h1>{text(self.title)}</h1>\n{self.body}")
