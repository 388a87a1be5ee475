"""Start the Visdom server that train.py shows its curves and images on, with or without network.

    python scripts/start_visdom.py                      # then open http://localhost:8097
    python scripts/start_visdom.py --fetch_assets DIR   # with network: the page's files, to carry over
    python scripts/start_visdom.py --assets DIR         # without

Visdom's package lacks the scripts and styles of its own page. Those that are missing, or other than published, are put
into the installed package: from --assets, with the npm client, or by Visdom's own download. Whatever the way, each is
compared with its hash in visdom_files.json. Packages fetched with npm are kept in the user's cache folder.
"""

import json
import logging
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

from repository import ROOT

from util.errors import UserError, run
from util.files import write_atomic
from util.flag_types import ScriptParser, port_number
from util.npm import archive, archive_name, matches, members

LOCK = Path(__file__).with_name("visdom_files.json")  # packages and files with their published hashes


def installed() -> ModuleType:
    try:
        import visdom
    except ImportError as error:
        raise UserError(f"Visdom isn't installed ({error}): see the README's set-up") from error
    return visdom


def pinned_packages() -> dict[str, dict]:
    """npm package -> its hash, and of its files that the installed version's page loads: hash and place in static/."""
    pinned = json.loads(LOCK.read_text())
    return pinned["any version"] | pinned["0.2" if installed().__version__.startswith("0.2") else "0.3"]


def complete_installed(assets: Path | None = None) -> None:
    try:
        complete(Path(installed().__file__).with_name("static"), assets)
    except PermissionError as error:
        raise UserError(
            f"Visdom's package folder can't be written ({error.filename}): install it in a .venv of your own"
        ) from error


def wanted_files(static: Path) -> dict[str, dict]:
    """The packages, with those of their files alone that ``static`` lacks or has other than published."""

    def is_good(file: dict) -> bool:
        path = static / file["static"]
        return path.is_file() and matches(path.read_bytes(), file["integrity"])

    wanted = {
        package: lock | {"files": {name: file for name, file in lock["files"].items() if not is_good(file)}}
        for package, lock in pinned_packages().items()
    }
    return {package: lock for package, lock in wanted.items() if lock["files"]}


def install(static: Path, assets: Path | None) -> None:
    """Put what ``static`` lacks into it."""
    for package, lock in wanted_files(static).items():
        for name, content in members(package, lock["integrity"], lock["files"], assets).items():
            path = static / lock["files"][name]["static"]
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)


def complete(static: Path, assets: Path | None = None) -> None:
    """Make the page whole, from ``assets``, else with npm or Visdom's own download, or say what is missing."""

    def wanted(there: bool) -> list[Path]:
        """Files that are missing, or those that are there but other than published."""
        paths = [static / file["static"] for lock in wanted_files(static).values() for file in lock["files"].values()]
        return [path for path in paths if path.exists() == there]

    others = wanted(there=True)
    if missing := wanted(there=False):
        print(f"Visdom's page lacks {len(missing)} of its files; they are needed once.")
    if others:
        print(f"{len(others)} files of Visdom's page are not those published, {others[0]} first: they are replaced.")
    try:
        return install(static, assets)
    except UserError as error:
        if assets:
            raise
        print(f"{error}; trying Visdom's own download")
    for path in others:
        path.unlink()
    code = "from visdom.server.build import download_scripts; download_scripts()"
    with suppress(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=180)
    others = wanted(there=True)
    for path in others:
        path.unlink()
    if missing := wanted(there=False):
        refused = f"; {len(others)} came other than published and were removed" if others else ""
        raise UserError(
            f"the page's files can't be had here ({len(missing)} missing, {missing[0].relative_to(static)} first"
            f"{refused}): run `python scripts/start_visdom.py --fetch_assets DIR` where there is network and npm, "
            "copy DIR here and start with --assets DIR"
        )


def fetch_assets(folder: Path) -> None:
    """Put the packages' archives into ``folder``, to carry to a machine without network."""
    packages = pinned_packages()
    folder.mkdir(parents=True, exist_ok=True)
    for package, lock in packages.items():
        write_atomic(folder / archive_name(package), archive(package, lock["integrity"]))


def serve(port: int, hostname: str, env_path: Path) -> None:
    from tornado.httpserver import HTTPServer
    from tornado.ioloop import IOLoop
    from tornado.netutil import bind_sockets
    from tornado.web import StaticFileHandler
    from visdom.server import app

    class StaticFiles(StaticFileHandler):
        """Visdom's page links to ../user/style.css through static_url, which tornado 6.6 answers with 403."""

        @classmethod
        def make_static_url(cls, settings, path, include_version=True):
            return super().make_static_url(settings, path, include_version and not path.startswith(".."))

    app.tornado_settings["static_handler_class"] = StaticFiles
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    app.tornado_settings["autoreload"] = False  # else editing a file here restarts the server, empty
    env_path.mkdir(parents=True, exist_ok=True)
    try:
        sockets = bind_sockets(port, hostname)
    except OSError as error:
        raise UserError(
            f"can't listen on {hostname}:{port} ({error.strerror}): if a server runs there already, "
            "just open it; else choose another --port and give train.py the same --display_port"
        ) from error
    application = app.Application(port=port, base_url="", env_path=f"{env_path}/")
    HTTPServer(application, max_buffer_size=1024**3).add_sockets(sockets)
    shown = "localhost" if hostname == "127.0.0.1" else f"[{hostname}]" if ":" in hostname else hostname
    print(f"Visdom runs: open http://{shown}:{port}  (Ctrl-C ends it)", flush=True)
    if newest := newest_run(env_path):
        print(f"newest run: http://{shown}:{port}/env/{quote(newest)}", flush=True)
    try:
        IOLoop.current().start()
    except KeyboardInterrupt:
        print()


def newest_run(env_path: Path) -> str | None:
    """The run that was saved last, if any is."""
    runs = [path for path in env_path.glob("*.json") if path.stem != "main"]
    return max(runs, key=lambda path: path.stat().st_mtime).stem if runs else None


@contextmanager
def own_server() -> Iterator[int]:
    """A server for the moment, on a free port, which is yielded; the page's files are of no concern to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as envs:
        code = f"import start_visdom as s; s.serve({port}, '127.0.0.1', s.Path({envs!r}))"
        server = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT / "scripts", stdout=subprocess.PIPE, text=True)
        try:
            if not any("Visdom runs" in line for line in server.stdout):
                raise UserError("the Visdom server did not start: see its message above")
            yield port
        finally:
            server.terminate()
            server.wait()


def main() -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("--port", type=port_number, default=8097, help="as train.py's --display_port")
    add("--hostname", default="127.0.0.1", help="address to listen on; default: the loopback address, so that nobody "
        "else reaches it. 0.0.0.0 opens it to the network: Visdom asks for no password")  # fmt: skip
    add("--assets", type=Path, metavar="DIR", help="take the packages of the page's files from here")
    add("--fetch_assets", type=Path, metavar="DIR", help="put the packages of the page's files here and end")
    add("--env_path", type=Path, default=Path.home() / ".visdom", help="of saved pages; default: ~/.visdom")
    args = parser.parse_args()
    if args.fetch_assets:
        fetch_assets(args.fetch_assets)
        print(f"complete; where there is no network start with --assets {args.fetch_assets}")
        return
    complete_installed(args.assets)
    serve(args.port, args.hostname, args.env_path)


if __name__ == "__main__":
    run(main)
