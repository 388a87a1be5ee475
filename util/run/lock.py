"""One training at a time in a run's folder."""

import json
import os
import platform
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from util.errors import UserError, warn
from util.files import write_atomic, writing_to

PATIENCE = 10  # seconds: loader processes of a killed training hold its lock until they notice


@contextmanager
def locked(opt):
    """Hold the run's ``.lock``, rank 0 for all ranks; ``UserError`` where another training holds it.

    The lock is the operating system's: it ends with its process, however that ends, so no stale one can block.
    ``.lock.json`` beside it tells others who has it.
    """
    if opt.rank > 0:
        yield
        return
    folder = Path(opt.checkpoints_dir) / opt.name
    with writing_to("--checkpoints_dir", opt.checkpoints_dir):
        folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / ".lock"), folder / ".lock.json"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # it would go on with a lock that outlives its process
            lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise UserError(
            f"--name {opt.name}: another training{_who(holder)} is writing to {folder}; wait for it, end it, or choose "
            "another --name"
        ) from None
    except (OSError, NotImplementedError, UserWarning) as error:
        warn(f"{folder} cannot be locked ({error}): nothing keeps a second training of this --name out")
        yield
        return
    try:
        who = {"host": platform.node(), "process": os.getpid(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
        write_atomic(holder, json.dumps(who))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
        if [path.name for path in folder.iterdir()] == [".lock"]:  # refused before anything was written
            (folder / ".lock").unlink()
            folder.rmdir()


def _who(holder: Path) -> str:
    """`` (process 12 on node3, since 2026-01-31 12:00:00)``; "" where that can't be read."""
    try:
        who = json.loads(holder.read_text())
        return f" (process {who['process']} on {who['host']}, since {who['started']})"
    except (OSError, ValueError, LookupError, TypeError):
        return ""
