"""Try a trained model in the browser: drop a photo, paste one or take one with the camera.

    python scripts/demo.py                              # the weights that the repository holds
    python scripts/demo.py --name h2z
    python scripts/demo.py --weights latest_net_G.pth

Needs gradio: pip install gradio. The page is served to this machine alone, without network. Uploads are deleted when
the program ends. Pictures are read and keep their size as in translate.py; large ones go in tiles.
"""

import argparse
import importlib.util
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from functools import lru_cache
from pathlib import Path

import repository  # noqa: F401

from models.inference import trained
from models.inference.files import translate_files
from models.inference.tiling import Tick
from models.inference.translator import Translator, add_flags, with_flags
from util.errors import UserError, run
from util.flag_types import ScriptParser, port_number
from util.run.checkpoints import numbered_epochs
from util.run.saved_options import readers_of_run

HOST = "127.0.0.1"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    trained.add_flags(add)
    add("--port", type=port_number, default=7860, help="of the page")
    add_flags(add)
    return parser.parse_args(argv)


def main() -> None:
    args = arguments()
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the page needs gradio: pip install gradio")
    models = Models(args)
    models.translator(models.choices[0], args.ema)  # what can't be loaded is said before the page opens
    check_port(args.port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that uploads are deleted then, too
    uploads = tempfile.mkdtemp(prefix="negcut-demo-")
    try:
        serve(models, args.port, uploads)
    finally:
        shutil.rmtree(uploads, ignore_errors=True)


def serve(models: "Models", port: int, uploads: str) -> None:
    """Until the program is told to end."""
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": uploads, "HF_HUB_OFFLINE": "1"}
    for name in ("no_proxy", "NO_PROXY"):  # gradio asks its own page whether it is there
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), HOST]))
    from util.pages.demo_page import build, theme  # gradio reads the environment when it is imported

    logging.getLogger("httpx").setLevel(logging.WARNING)
    page = build(models)
    try:
        page.queue().launch(
            server_name=HOST, server_port=port, share=False, quiet=True, prevent_thread_lock=True, ssr_mode=False,
            theme=theme(), footer_links=[], inbrowser=False, show_error=True,
        )  # fmt: skip
        print(f"open http://{HOST}:{port}  (Ctrl-C ends it)", flush=True)
        while True:
            threading.Event().wait(3600)
    finally:
        page.close(verbose=False)


def check_port(port: int) -> None:
    with socket.socket() as wanted:
        if os.name != "nt":  # where the flag would let two programs listen
            wanted.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            wanted.bind((HOST, port))
        except OSError:
            other = port + 1 if port < 65535 else 7860
            raise UserError(f"--port {port} is taken or not allowed; choose another, such as {other}") from None


class Models:
    """The networks that the page offers, loaded when they are first asked for.

    choices: what can be chosen, the first at the start: names of the repository's weights, or epochs. label: what they
    are. averages: whether averaged weights were saved.
    """

    def __init__(self, args: argparse.Namespace):
        self.args = args
        shipped = trained.shipped() if args.name is None and args.weights is None else []
        if shipped:
            args.weights = shipped[0]
        self.source, epoch, _ = trained.chosen(args)
        self.label, self.choices = ("Weights", shipped) if shipped else ("Epoch", saved_epochs(self.source, epoch))
        self.averages = self.source.is_dir() and any(self.source.glob("*_net_G*_ema.pth"))
        self.title, self.about = args.name or trained.heading(self.source), trained.sentences(self.source, "photos")
        if self.about:
            self.about += " Your own model: `--name`."
        self.reader, _ = readers_of_run(self.source, args.value_range, args.max_pixels)
        self.translator = lru_cache(maxsize=2)(self._load)

    def translate(self, path: Path, target: Path, choice: str, average: bool, tick: Tick) -> list[str]:
        """Write ``target``, as translate.py does it; what is used in part of the picture. ``UserError`` for one that
        can't be read."""
        good, bad = self.reader.check_each([path])
        if bad:
            raise bad[path]
        said = list(self.reader.remarks(good, path.name))
        bad = translate_files(self.translator(choice, average), {target: path}, tick=tick)
        if bad:
            raise UserError(bad[path])
        return said

    def _load(self, choice: str, average: bool) -> Translator:
        net = f"{self.args.net or 'G'}_ema" if average else self.args.net
        source, epoch = (trained.find(choice), "latest") if self.label == "Weights" else (self.source, choice)
        return with_flags(self.args, source, epoch, net)


def saved_epochs(source: Path, first: str) -> list[str]:
    """Those of an experiment's generator: ``first``, then latest and best, then the newest; of a file that alone."""
    if source.is_file():
        return [first]
    names = [name for name in ("latest", "best") if any(source.glob(f"{name}_net_G*.pth"))]
    return list(dict.fromkeys([first, *names, *map(str, reversed(numbered_epochs(source, "G*")))]))


if __name__ == "__main__":
    run(main)
