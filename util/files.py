"""Writing files so that a crash never leaves half of one, and where to keep what is needed again."""

import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

from util.errors import UserError

BESIDE = ".writing-"  # how the names of unfinished files begin
MODE = 0o666 & ~(_umask := os.umask(0o077))  # of a new file: read once, since reading it sets it for all threads
os.umask(_umask)


@contextmanager
def replacing(path: str | Path):
    """Yield a path beside ``path`` to write to; on success flush it to disk and rename it over ``path``."""
    path = Path(path)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=BESIDE, suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(beside)
        with open(beside, "rb+") as file:  # Windows flushes only what may be written to
            os.fsync(file.fileno())
        os.chmod(beside, MODE)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write ``content`` to ``path``: the old file or the whole new one is there at any moment."""
    with replacing(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def writing_to(flag: str, path: str | Path):
    """What the disk refuses in here is a mistake in ``flag``, which names ``path``."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{flag} {path} cannot be written to ({error})") from error


@contextmanager
def new_folder(flag: str, path: Path):
    """``writing_to``; yield where to make a folder that becomes ``path`` on success, in place of one that is there."""
    with writing_to(flag, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=BESIDE) as beside:
            yield Path(beside, "new")
            if path.exists():
                os.replace(path, Path(beside, "old"))
            os.replace(Path(beside, "new"), path)


def free_name(path: Path, is_taken: Callable[[Path], bool]) -> Path:
    """``path``; where that is taken the first of NAME_2, NAME_3, ... that is not."""
    numbered = (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(2))
    return next(name for name in itertools.chain([path], numbered) if not is_taken(name))


def keep_inputs(flag: str, inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """``UserError`` where something that is read would be overwritten."""
    known = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in known:
            raise UserError(f"{flag}: {path} is an input and would be overwritten; choose another folder")


def set_aside(folder: Path, paths: Iterable[Path]) -> Path | None:
    """Move ``paths``, below ``folder``, to a new ``previous_N`` in it, where they lie as before. The new folder; None
    where there was nothing to move."""
    paths = list(paths)
    if not paths:
        return None
    aside = next(path for n in itertools.count(1) if not (path := folder / f"previous_{n}").exists())
    for path in paths:
        target = aside / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    return aside


def user_cache() -> Path:
    """``negcut`` in the user's cache folder: what can be had again but takes time or network."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "negcut"
