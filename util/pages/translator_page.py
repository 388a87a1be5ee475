"""The page of export_onnx.py --page: one file that translates photos in the browser, without server or network."""

import base64
import gzip
from pathlib import Path

from dominate import tags

from util import html
from util.errors import UserError
from util.npm import members

RUNTIME = "onnxruntime-web@1.30.0"  # another version may need other files
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILES = {
    "script": "dist/ort.wasm.min.js",
    "module": "dist/ort-wasm-simd-threaded.mjs",
    "wasm": "dist/ort-wasm-simd-threaded.wasm",
}
LIMIT = 512  # pixels a side: what one thread of a browser does in a minute


def runtime(assets: Path | None) -> dict[str, bytes]:
    """onnxruntime-web's files, out of the folder ``assets``, the user's cache or the registry."""
    try:
        found = members(RUNTIME, INTEGRITY, FILES.values(), assets)
    except UserError as error:
        if assets:
            raise
        raise UserError(
            f"{error}; `npm pack {RUNTIME}` makes it where there is network, and --assets takes its folder"
        ) from error
    return {name: found[file] for name, file in FILES.items()}


def translator_page(model: bytes, runtime: dict[str, bytes], title: str, about: str, **image: int) -> str:
    """``model``: an ONNX file from ``image`` to ``translation``. ``channels`` of its image; its sides are multiples of
    ``stride`` and at least ``smallest``."""
    contents = {"script": runtime["script"], "wasm": runtime["wasm"], "model": model}
    files = {name: base64.b64encode(gzip.compress(content, mtime=0)).decode() for name, content in contents.items()}
    module = f"data:text/javascript;base64,{base64.b64encode(runtime['module']).decode()}"
    where = tags.section(
        tags.p("Drop a photo here, paste one, or"),
        _button("Choose a photo"),
        _button("Take a photo", id="camera", capture="environment"),
        id="where",
    )
    foot = tags.footer(
        f"Computed by {RUNTIME.replace('@', ' ')} (MIT licence, Microsoft Corporation), which this file holds. "
        f"Photos of more than {LIMIT} pixels a side are scaled down."
    )
    head = [tags.p(about) if about else "", tags.p("Photos stay on this device; the page works without network, too.")]
    body = [tags.main(where, tags.div(id="said"), tags.section(id="result")), foot]
    return html.page(
        ("pair", "translator_page"), title, head, body,
        image=image, limit=LIMIT, files=files, module=module,
    )  # fmt: skip


def _button(words: str, capture: str | None = None, **attributes):
    """A button that chooses a file; with ``capture`` a phone opens its camera."""
    chooser = tags.input_(type="file", accept="image/*", **({"capture": capture} if capture else {}))
    return tags.label(words, chooser, cls="button", **attributes)
