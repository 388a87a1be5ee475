"""Files of npm packages for our pages: a pinned version, compared with the hash that the registry publishes for it.

A package's archive is kept in the user's cache folder once it was fetched, and compared again whenever it is read.
"""

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from util.errors import UserError, warn
from util.files import user_cache, write_atomic

CODES = ("code", "errno", "syscall")  # how lines begin that are for programs


def matches(content: bytes, integrity: str) -> bool:
    """Whether ``integrity`` (``sha512-`` and base64, as npm and browsers write it) is that of ``content``."""
    algorithm, _, digest = integrity.partition("-")
    return base64.b64encode(hashlib.new(algorithm, content).digest()).decode() == digest


def archive_name(package: str) -> str:
    """``@scope/name@1.0`` -> ``scope-name-1.0.tgz``, the file that ``npm pack`` makes."""
    name, _, version = package.rpartition("@")
    return f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"


def archive(package: str, integrity: str, assets: Path | None = None) -> bytes:
    """The .tgz of ``package`` (``name@version``): out of the folder ``assets`` where one is given, else out of the
    user's cache, else fetched with the npm client. ``UserError`` where it can't be had or isn't the published one."""
    kept = (assets or user_cache() / "npm") / archive_name(package)
    if assets and not kept.is_file():
        raise UserError(f"--assets {assets} lacks {kept.name}; `npm pack {package}` makes it where there is network")
    content = kept.read_bytes() if kept.is_file() else None
    if content is not None and matches(content, integrity):
        return content
    if assets:
        raise UserError(f"{kept} is not the published {package}: its hash isn't {integrity}; fetch it again")
    content = _fetch(package)
    if not matches(content, integrity):
        raise UserError(f"the registry's {package} is not the published one: its hash isn't {integrity}; not used")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(kept, content)
    except OSError as error:
        warn(f"{package} could not be kept in {kept.parent} for next time: {error}")
    return content


def members(package: str, integrity: str, names: Iterable[str], assets: Path | None = None) -> dict[str, bytes]:
    """Contents of the files ``names`` of a package (``dist/x.js``). Nothing else is unpacked, and nothing runs."""
    with tarfile.open(fileobj=io.BytesIO(archive(package, integrity, assets))) as tar:
        return {name: tar.extractfile(tar.getmember(f"package/{name}")).read() for name in names}


def _fetch(package: str) -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"npm isn't installed, so {package} can't be fetched with it")
    print(f"fetching {package}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--loglevel=error", "--ignore-scripts", "--fetch-retries=1", package]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
        except (subprocess.SubprocessError, OSError) as error:
            raise UserError(f"npm could not fetch {package} from the npm registry: {_reason(error)}") from error
        (made,) = Path(folder).glob("*.tgz")
        return made.read_bytes()


def _reason(error: subprocess.SubprocessError | OSError) -> str:
    """The first of npm's own words that is no code, if it has said any."""
    if isinstance(error, OSError):
        return str(error)
    said = (getattr(error, "stderr", None) or b"").decode(errors="replace").splitlines()
    words = (line.removeprefix("npm error").removeprefix("npm ERR!").strip() for line in said)
    return next((text for text in words if text.split(" ")[0] not in ("", *CODES)), "it cannot be reached or refuses")
