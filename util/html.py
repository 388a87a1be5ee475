"""Pages that open from the file system. dominate puts them together and escapes; CSS and scripts lie in ``pages/``."""

import os
import shlex
import sys
from pathlib import Path
from urllib.parse import quote

from dominate import document, tags
from dominate.util import raw

from util import strict_json
from util.files import write_atomic

PAGES = Path(__file__).parent / "pages"


def page(parts: tuple[str, ...], title: str, head: list, body: list, **data) -> str:
    """A whole page: a button for dark or light, the title and ``head`` in its header, then ``body``.

    ``pages/PART.css`` and ``.js`` are put in; the scripts find ``data`` as constants in capitals.
    """
    doc = _document(title)
    doc.head.add(tags.meta(name="viewport", content="width=device-width, initial-scale=1"))
    doc.head.add(tags.style(raw(_files(parts, "css"))))
    constants = "".join(f"const {key.upper()} = {script_json(value)};\n" for key, value in data.items())
    theme = tags.button("◐", cls="theme", title="dark or light", aria_label="dark or light")
    doc.add(tags.header(theme, tags.h1(title), *head), *body, tags.script(raw(f"\n{constants}{_files(parts, 'js')}")))
    return _text(doc)


def url(path: str | Path) -> str:
    """A relative file path as a link, whatever its characters."""
    return quote(os.fsencode(Path(path).as_posix()))


def script_json(value) -> str:
    """JSON that may stand inside a <script>: nothing in it can end the element."""
    dumped = _unicode(strict_json.dumps(value, separators=(",", ":")))
    for character in "<>&\u2028\u2029":
        dumped = dumped.replace(character, f"\\u{ord(character):04x}")
    return dumped


def terms(values: dict) -> list:
    """Plain values as one line of terms, each dict among them as a table that folds out."""
    plain = (tags.span(tags.b(k), f" {v}") for k, v in values.items() if not isinstance(v, dict))
    return [tags.p(plain, cls="terms"), *(fold(k, _table(v)) for k, v in values.items() if isinstance(v, dict))]


def fold(summary: str, *content) -> tags.details:
    return tags.details(tags.summary(summary), *content)


def command() -> tags.details:
    """What this process was started by."""
    return fold("command", tags.pre(shlex.join(["python", *sys.argv])))


def _table(values: dict):
    rows = (tags.div(tags.dt(key), tags.dd(str(value))) for key, value in values.items())
    return tags.dl(rows, cls="options")


def _document(title: str) -> document:
    doc = document(title, lang="en")
    doc.head.add(tags.meta(charset="utf-8"))
    return doc


def _text(doc: document) -> str:
    return _unicode(doc.render(pretty=False))


def _unicode(value: str) -> str:
    """Bytes of file names that are no Unicode become "?"."""
    return value.encode("utf-8", "replace").decode()


def _files(parts: tuple[str, ...], ending: str) -> str:
    paths = (PAGES / f"{part}.{ending}" for part in ("base", *parts))
    return "".join(path.read_text(encoding="utf-8") for path in paths if path.exists())


class HTML:
    """The official page of headers and rows of images, for testing scripts of others; images lie in ``images``."""

    def __init__(self, web_dir: str | Path, title: str, refresh: int = 0):
        self.web_dir, self.title = Path(web_dir), title
        self.img_dir = self.web_dir / "images"
        self.img_dir.mkdir(parents=True, exist_ok=True)
        self.names: set[str] = set()  # of the pictures that ``save_images`` wrote
        self.doc = _document(title)
        if refresh:
            self.doc.head.add(tags.meta(http_equiv="refresh", content=refresh))
        self.add_header(title, tags.h1)

    def get_image_dir(self) -> str:
        return str(self.img_dir)

    def add_header(self, words: str, tag=tags.h3) -> None:
        self.doc.add(tag(words))

    def add_images(self, ims: list[str], txts: list[str], links: list[str], width: int = 400) -> None:
        """A row of pictures in ``images`` with words below; a click opens the link."""
        cells = (
            tags.td(tags.a(tags.img(src=f"images/{url(im)}", width=width), href=f"images/{url(to)}"), tags.br(), words)
            for im, words, to in zip(ims, txts, links, strict=True)
        )
        self.doc.add(tags.table(tags.tr(cells)))

    def save(self) -> None:
        write_atomic(self.web_dir / "index.html", _text(self.doc))
