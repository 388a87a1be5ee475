"""A file is there whole, as it was before, or not at all."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from util.errors import UserError
from util.files import new_folder, replacing, write_atomic, writing_to


def only(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@settings(max_examples=30)
@given(content=st.binary(max_size=200) | st.text(max_size=100))
def test_what_is_written_is_read(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "a.bin"
    write_atomic(path, content)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    write_atomic(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert only(path.parent) == ["a.bin"]


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), Stop()])
def test_the_old_file_survives_a_failure(error, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), replacing(path) as beside:
        beside.write_text("half of the n")
        raise error
    assert path.read_text() == "old" and only(tmp_path) == ["a.txt"]


def test_a_failure_leaves_no_new_file(tmp_path):
    with pytest.raises(Stop), replacing(tmp_path / "a.txt") as beside:
        beside.write_text("half")
        raise Stop
    assert only(tmp_path) == []


def test_the_disk_is_reached_before_the_name(tmp_path, monkeypatch):
    """Otherwise a power cut could leave the name with nothing behind it."""
    calls, fsync, replace = [], os.fsync, os.replace

    def sync(file):
        os.write(file, b"")  # Windows syncs only what may be written to
        calls.append("fsync")
        fsync(file)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", lambda *args: calls.append("replace") or replace(*args))
    write_atomic(tmp_path / "a", b"x")
    assert calls == ["fsync", "replace"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk(failing, tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomic(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and only(tmp_path) == ["a"]


def test_the_name_beside_keeps_the_ending(tmp_path):
    """Pillow chooses the format by it; and it is hidden, so that no loader takes it for an image."""
    with replacing(tmp_path / "a.png") as beside:
        assert beside.parent == tmp_path and beside.suffix == ".png" and beside.name.startswith(".")
        beside.write_bytes(b"x")


@pytest.mark.skipif(os.name == "nt", reason="no permission bits")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(mask, tmp_path):
    lines = f"import os; os.umask({mask})", "from util.files import write_atomic", "write_atomic('a', b'x')"
    lines += ("open('b', 'w').close()", f"assert os.umask(0) == {mask}")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, env=environment, check=True)
    assert len({stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"}) == 1


def test_writing_leaves_the_mask_of_the_process_alone(tmp_path, monkeypatch):
    """It holds for all threads: another one's file would be anybody's to write, or the mask stay 0."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("set while writing"))
    write_atomic(tmp_path / "a", b"x")


def test_two_writers_of_one_file(tmp_path):
    """Never a mixture."""
    path = tmp_path / "a"
    contents = [bytes([65 + i]) * 20_000 for i in range(4)]

    def write(content):
        for _ in range(20):
            write_atomic(path, content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert path.read_bytes() in contents
    assert only(tmp_path) == ["a"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "no" / "a", b"x")


def test_a_folder_is_there_whole_or_as_it_was(tmp_path):
    out = tmp_path / "deep" / "new"

    def fill(text: str, error: BaseException | None = None) -> None:
        with new_folder("--out", out) as folder:
            folder.mkdir()
            (folder / "a").write_text(text)
            if error:
                raise error

    with pytest.raises(Stop):
        fill("half", Stop())
    assert only(tmp_path / "deep") == []
    for text in ("one", "two"):
        fill(text)
    with pytest.raises(UserError, match="--out .*new cannot be written to .*No space left"):
        fill("half", OSError(28, "No space left on device"))
    assert (out / "a").read_text() == "two" and only(out.parent) == ["new"] and only(out) == ["a"]


def test_a_mistake_of_another_kind_is_told_as_it_is():
    with pytest.raises(UserError, match=r"^--size 0$"), writing_to("--out", "x"):
        raise UserError("--size 0")
