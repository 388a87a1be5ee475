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
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import repository  # noqa: F401

from util.errors import UserError, run
from util.files import write_atomic
from util.flag_types import ScriptParser
from util.npm import archive, archive_name, matches, members

LOCK = Path(__file__).with_name("visdom_files.json")  # packages and files with their published hashes


def pinned_packages() -> dict[str, dict]:
    """npm package -> its hash, and of its files that the installed version's page loads: hash and place in static/."""
    from visdom import __version__  # type: ignore[attr-defined]

    pinned = json.loads(LOCK.read_text())
    return pinned["any version"] | pinned["0.2" if __version__.startswith("0.2") else "0.3"]


def static_folder() -> Path:
    from visdom.utils.shared_utils import get_visdom_path

    return Path(get_visdom_path("static"))


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

    def wanted() -> tuple[list[Path], list[Path]]:
        """Files that are missing, and files that are there but other than published."""
        paths = [static / file["static"] for lock in wanted_files(static).values() for file in lock["files"].values()]
        return [path for path in paths if not path.exists()], [path for path in paths if path.exists()]

    missing, others = wanted()
    if missing:
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
    try:
        subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=180)
    except subprocess.TimeoutExpired:
        pass
    missing, others = wanted()
    for path in others:
        path.unlink()
    if missing or others:
        refused = f"; {len(others)} came other than published and were removed" if others else ""
        first = (missing + others)[0].relative_to(static)
        raise UserError(
            f"the page's files can't be had here ({len(missing + others)} missing, {first} first{refused}): "
            "run `python scripts/start_visdom.py --fetch_assets DIR` where there is network and npm, "
            "copy DIR here and start with --assets DIR"
        )


def fetch_assets(folder: Path) -> None:
    """Put the packages' archives into ``folder``, to carry to a machine without network."""
    folder.mkdir(parents=True, exist_ok=True)
    for package, lock in pinned_packages().items():
        write_atomic(folder / archive_name(package), archive(package, lock["integrity"]))


def serve(port: int, hostname: str, env_path: Path) -> None:
    from tornado.ioloop import IOLoop
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
    with socket.socket(socket.AF_INET6 if ":" in hostname else socket.AF_INET) as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind((hostname, port))
        except OSError as error:
            raise UserError(
                f"can't listen on {hostname}:{port} ({error.strerror}): if a server runs there already, "
                "just open it; else choose another --port and give train.py the same --display_port"
            ) from error
    server = app.Application(port=port, base_url="", env_path=f"{env_path}/")
    server.listen(port, address=hostname, max_buffer_size=1024**3)
    shown = "localhost" if hostname == "127.0.0.1" else hostname
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
    """A server for the moment, on a free port, which is yielded."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as envs:
        command = [sys.executable, __file__, "--port", str(port), "--env_path", envs]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            if not any("Visdom runs" in line for line in server.stdout):
                raise UserError("the Visdom server did not start: see its message above")
            yield port
        finally:
            server.terminate()
            server.wait()


def main() -> None:
    parser = ScriptParser(__doc__)
    parser.add_argument("--port", type=int, default=8097, help="default: 8097, as train.py's --display_port")
    parser.add_argument(
        "--hostname",
        default="127.0.0.1",
        help="address to listen on; default: the loopback address, so that nobody else reaches it. "
        "0.0.0.0 opens it to the network: Visdom asks for no password",
    )
    parser.add_argument("--assets", type=Path, metavar="DIR", help="take the packages of the page's files from here")
    parser.add_argument(
        "--fetch_assets", type=Path, metavar="DIR", help="put the packages of the page's files here and end"
    )
    kept = Path.home() / ".visdom"
    parser.add_argument("--env_path", type=Path, default=kept, help="of saved pages; default: ~/.visdom")
    args = parser.parse_args()
    try:
        import visdom  # noqa: F401
    except ImportError as error:
        raise UserError(f"Visdom isn't installed ({error}): see the README's set-up") from error
    if args.fetch_assets:
        fetch_assets(args.fetch_assets)
        print(f"complete; where there is no network start with --assets {args.fetch_assets}")
        return
    try:
        complete(static_folder(), args.assets)
    except PermissionError as error:
        raise UserError(
            f"Visdom's package folder can't be written ({error.filename}): install it in a .venv of your own"
        ) from error
    serve(args.port, args.hostname, args.env_path)


if __name__ == "__main__":
    run(main)
