"""Live curves and pictures on a Visdom server. It may be absent, die and come back: training never waits."""

import functools
import logging
import queue
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import requests
import visdom
from PIL import Image

from util import json_lines
from util.errors import UserError, warn
from util.images import save_image
from util.loggers.base import Images, Logger
from util.loggers.grid import sheet
from util.loggers.visdom_page import IMAGES, WHOLE_WIDTH, VisdomPage
from util.loggers.visdom_runs import list_run
from util.run.progress import Position, Progress
from util.run.run_summary import which_run

RETRY_SECONDS = 5.0  # between looks for an absent server
TIMEOUT_SECONDS = 10.0  # of one request
PICTURE = "last_images.png"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class VisdomLogger(Logger):
    """Hands what it is given to a thread of its own, which holds the page and the connection.

    Whenever the server is new (first connection, resumed run, restarted server) the whole page is drawn,
    from the record's beginning; in between points are appended. Nothing is lost and nothing drawn twice.
    """

    def __init__(self, opt, resume: Position | None = None):
        """``resume``: None for a new run; else what the record holds, cut already, is shown too."""
        self.opt, self.folder = opt, Path(opt.checkpoints_dir) / opt.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.page = VisdomPage(
            environment(opt),
            prefix=f"{opt.display_id} " if opt.display_id else "",
            columns=opt.display_ncols,
            size=opt.display_winsize,
        )
        if resume is not None:
            load_record(self.page, self.folder)
        self.watch = address(opt)
        self.client, self.warned = None, False
        self.error: Exception | None = None
        self.started = time.time()
        self.clear = resume is None and opt.display_env == "main" and not self.page.prefix
        self.events: queue.SimpleQueue = queue.SimpleQueue()
        self.images: tuple[str, Images] | None = None  # the newest alone: a backlog of pictures helps nobody
        if not answers(opt):
            self.watch += ", once a server runs"
            self._warn("there is no Visdom server")
        self.thread = threading.Thread(target=self._run, name="visdom", daemon=True)
        self.thread.start()

    def log_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        self._tell(self.page.add_losses, progress.as_dict() | {"losses": losses})

    show_losses = log_losses  # drawn like the others; a page drawn anew has those of the record

    def log_scores(self, progress: Progress, scores: dict) -> None:
        self._tell(self.page.add_scores, progress.as_dict() | {"scores": scores})

    def log_images(self, progress: Progress, images: Images) -> None:
        if progress.due(self.opt.display_freq):
            self.images = f"epoch {progress.epoch}, image {progress.total_images}", images
            self._tell(self._take_images)

    def close(self) -> None:
        self.events.put(None)
        self.thread.join(timeout=2 * TIMEOUT_SECONDS)

    def _tell(self, *event) -> None:
        if self.error is not None:
            raise self.error  # so that the fan-out drops this logger
        self.events.put(event)

    # From here on: the thread.

    def _run(self) -> None:
        try:
            going_on = True
            while going_on:
                self._draw()
                going_on = self._take_events()
            self._draw()
            if self.client is not None:
                self.client.save([self.page.env])
        except Exception as error:
            self.error = error

    def _take_events(self) -> bool:
        """Wait for one event and take all there are; False once the end is among them."""
        try:
            events = [self.events.get(timeout=None if self.client else RETRY_SECONDS)]
        except queue.Empty:
            return True
        while not self.events.empty():
            events.append(self.events.get())
        for event in events:
            if event is not None:
                act, *arguments = event
                act(*arguments)
        return None not in events

    def _take_images(self) -> None:
        if self.images is not None:
            (title, images), self.images = self.images, None
            self.page.set_images(title, images)
            try:
                save_image(sheet(images, 4, WHOLE_WIDTH), self.folder / PICTURE)
            except OSError as error:  # the server has it; what is lost is the picture of a page drawn anew
                warn(f"{self.folder / PICTURE} cannot be written: {error}")

    def _draw(self) -> None:
        if not answers(self.opt):  # much cheaper than a request that fails
            self._lost()
            return
        try:
            new = self.client is None
            if new:
                self.client = connect(self.opt)
                self.page.forget()
            self.page.draw(self.client)
            if self.clear and self.page.plots:
                self.page.close_others(self.client)  # of an earlier run of this name
                self.clear = False
            if new:
                list_run(self.client, self.page.env, self.started)
        except OSError:  # what the requests raise
            self._lost()

    def _lost(self) -> None:
        if self.client is not None:
            self.client = None
            self._warn("the Visdom server is gone")

    def _warn(self, what: str) -> None:
        if not self.warned:
            self.warned = True
            opt = self.opt
            port = f" --port {opt.display_port}" if opt.display_port != 8097 else ""
            warn(
                f"{what} at {opt.display_server}:{opt.display_port}; training goes on.\n"
                f"  to see this run from its beginning, at any time: python scripts/start_visdom.py{port}\n"
                f"  or when it has ended: python scripts/replay_visdom.py {which_run(opt)}"
            )


def environment(opt) -> str:
    """One per run, unless --display_env names another, as Visdom calls it."""
    return (opt.name if opt.display_env == "main" else opt.display_env).replace("/", "_")


def address(opt) -> str:
    """Where to watch the run."""
    return f"{opt.display_server}:{opt.display_port}/env/{environment(opt)}"


def load_record(page: VisdomPage, folder: Path) -> None:
    """Fill a page with what a run has recorded."""
    for row in json_lines.read(folder / "losses.jsonl"):
        page.add_losses(row)
    for row in json_lines.read(folder / "metrics.jsonl"):
        page.add_scores(row)
    if (folder / PICTURE).exists():
        with Image.open(folder / PICTURE) as picture:
            page.pictures = {IMAGES: (IMAGES, np.asarray(picture.convert("RGB")))}


def answers(opt) -> bool:
    """Whether anybody listens at the server's address."""
    try:
        socket.create_connection((_host(opt), opt.display_port), timeout=1).close()
    except OSError:
        return False
    return True


def connect(opt):
    """A client of the run's environment. It gives up on a hanging server; all its troubles are OSErrors."""
    logging.getLogger("visdom").setLevel(logging.ERROR)  # it warns at every connection

    class Client(visdom.Visdom):
        @functools.cached_property
        def session(self):
            session = requests.Session()
            session.trust_env = _host(opt) not in LOOPBACK  # a proxy can't reach this machine's ports
            session.post = functools.partial(session.post, timeout=TIMEOUT_SECONDS)
            return session

    return Client(
        server=opt.display_server,
        port=opt.display_port,
        env=environment(opt),
        raise_exceptions=True,
        use_incoming_socket=False,
    )


def _host(opt) -> str:
    server = opt.display_server
    try:
        return urlparse(server if "//" in server else f"http://{server}").hostname
    except ValueError:
        raise UserError(f"--display_server {server!r} is no address; it looks like http://localhost") from None
