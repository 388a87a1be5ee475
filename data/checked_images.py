"""Which pictures a run has checked, kept with it: a start, a resume too, looks again only at what has changed."""

import functools
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from util.errors import warn
from util.files import write_atomic
from util.pictures import Facts, Reader

FILE = "checked_images.json"
CHUNK = 500  # files that one thread asks the disk for at a time


class CheckedImages:
    """``files``: path below the data set's folder -> bytes, mtime_ns (time of change), width, height, notes (what is
    not used of it), deep (kind and span of values of more than 8 bits); those that were checked in this process."""

    def __init__(self, file: Path | None):
        self.file, self.files = file, {}
        try:
            self.before = dict(json.loads(file.read_text())["files"]) if file else {}
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or damaged: checked anew
            self.before = {}

    def check(self, root: str, paths: list[str], reader: Reader) -> list[Facts]:
        """``reader.check`` of the pictures that have changed, and the facts of all of them."""
        below = os.path.join(root, "")
        names = [path[len(below) :] if path.startswith(below) else os.path.relpath(path, root) for path in paths]
        stamps = _sizes_and_times(paths)  # before they are read: what changes later is seen the next time
        entries: list[dict | None] = []
        for name, (size, changed) in zip(names, stamps, strict=True):
            known = self.files.get(name) or self.before.get(name)
            entries.append(known if still_holds(known, size, changed, reader) else None)
        new = [i for i, entry in enumerate(entries) if entry is None]
        for i, facts in zip(new, reader.check([paths[i] for i in new], of=len(paths)), strict=True):
            (size, changed), (width, height) = stamps[i], facts.size
            entries[i] = {"bytes": size, "mtime_ns": changed, "width": width, "height": height}
            entries[i] |= {"notes": list(facts.notes)} if facts.notes else {}
            entries[i] |= {"deep": list(facts.deep)} if facts.deep else {}
        self.files |= zip(names, entries, strict=True)
        return [facts_of(entry) for entry in entries]

    def pairs_of_training(self) -> list[dict]:
        """The entries of --dataset_mode aligned's training files, which lie in train."""
        return [entry for name, entry in (self.before | self.files).items() if name.startswith("train/")]

    def save(self) -> None:
        """Beside the run's checkpoints; a full disk or a folder that cannot be written to ends no run."""
        if self.file is None or self.files == self.before:
            return
        try:
            lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in self.files.items())
            write_atomic(self.file, f'{{"files": {{\n{lines}\n}}}}\n')
            self.before = dict(self.files)
        except OSError as error:
            warn(f"{self.file} cannot be written ({error}): the next start checks all images anew")


def checked_images(opt) -> CheckedImages:
    """Those of the run that ``opt`` names, one object in a process."""
    if not hasattr(opt, "checkpoints_dir"):  # a dataset by itself
        return CheckedImages(None)
    return _of_run(Path(opt.checkpoints_dir, opt.name, FILE).absolute())


_of_run = functools.lru_cache(maxsize=8)(CheckedImages)


def splits(opt) -> dict[str, dict]:
    """``{"trainA": {"images": 939, "fingerprint": "0123456789abcdef"}, "testB": ...}``: what this process checked of
    the run that ``opt`` names, for the record of the run's starts. The fingerprint is one of names and sizes in bytes:
    copied or touched files keep it, others or more change it. Nothing is opened; call it once the datasets are made."""
    found: dict[str, list[str]] = {}
    for name, entry in sorted(checked_images(opt).files.items()):
        found.setdefault(name.partition("/")[0] if "/" in name else ".", []).append(f"{name}\0{entry['bytes']}\n")
    return {split: {"images": len(each), "fingerprint": _hash(each)} for split, each in found.items()}


def _hash(lines: list[str]) -> str:
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]


def still_holds(entry: dict | None, size: int, changed: int, reader: Reader) -> bool:
    """Whether the file is as it was, and ``reader`` would take it again."""
    if entry is None or (entry["bytes"], entry["mtime_ns"]) != (size, changed):
        return False
    needs_range = "deep" in entry and entry["deep"][0] != "16-bit" and reader.value_range is None
    return not needs_range and entry["width"] * entry["height"] <= reader.max_pixels


def facts_of(entry: dict) -> Facts:
    deep = entry.get("deep")
    return Facts((entry["width"], entry["height"]), tuple(entry.get("notes", ())), tuple(deep) if deep else None)


def _sizes_and_times(paths: list[str]) -> list[tuple[int, int]]:
    """(bytes, time of change) of each; (-1, 0) of what is not there."""

    def look(chunk: list[str]) -> list[tuple[int, int]]:
        found = []
        for path in chunk:
            try:
                status = os.stat(path)
                found.append((status.st_size, status.st_mtime_ns))
            except OSError:
                found.append((-1, 0))
        return found

    with ThreadPoolExecutor(8) as pool:  # on a network drive most of the time goes into waiting
        chunks = pool.map(look, (paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)))
        return [each for chunk in chunks for each in chunk]
