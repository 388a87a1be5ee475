"""What the files of a folder were made with: a note in it, so that a call that goes on never mixes two kinds."""

import json
from pathlib import Path

from util.files import write_atomic

NAME = ".made_with.json"


def differences(folder: Path, settings: dict) -> list[str] | None:
    """The settings in which the note of ``folder`` differs; None without a note that can be read."""
    try:
        noted, settings = json.loads((folder / NAME).read_text()), _plain(settings)
        return sorted(key for key in noted.keys() | settings.keys() if noted.get(key) != settings.get(key))
    except (OSError, ValueError, AttributeError):
        return None


def keep(folder: Path, settings: dict) -> int:
    """Write the note, unless the same is there: since when the folder's files are of this kind, in ns. Older ones may
    not be."""
    if differences(folder, settings) != []:
        write_atomic(folder / NAME, json.dumps(_plain(settings), sort_keys=True))
    return (folder / NAME).stat().st_mtime_ns


def is_made(path: Path, since: int) -> bool:
    """Whether ``path`` is there, finished and of the note's kind."""
    try:
        return path.stat().st_mtime_ns >= since
    except FileNotFoundError:
        return False


def _plain(settings: dict) -> dict:
    return json.loads(json.dumps(settings, default=str))
