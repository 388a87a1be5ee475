"""Visdom's page gets its files from pinned packages: what isn't the published content is refused or replaced."""

import base64
import hashlib
import io
import json
import os
import socket
import sys
import tarfile

import pytest

pytest.importorskip("visdom")

from scripts import start_visdom  # noqa: E402
from util.errors import UserError  # noqa: E402

CONTENT = {"js/a.js": b"a", "js/b.js": b"b", "css/c.css": b"c"}  # of the page


def integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder of archives that an npm of our own, first on PATH, packs; it notes what was asked for in ``asked``."""
    folder = tmp_path / "registry"
    folder.mkdir()
    strange = {"../../escaped": b"x", "/tmp/escaped": b"x", "package/install.js": b"x"}
    one = packed({"package/dist/a.js": b"a", "package/dist/b.js": b"b"} | strange)
    two = packed({"package/c.css": b"c"})
    (folder / "one-1.0.0.tgz").write_bytes(one)
    (folder / "scope-two-2.1.0.tgz").write_bytes(two)
    lock = {
        "one@1.0.0": {
            "integrity": integrity(one),
            "files": {f"dist/{x}.js": {"static": f"js/{x}.js", "integrity": integrity(x.encode())} for x in "ab"},
        },
        "@scope/two@2.1.0": {
            "integrity": integrity(two),
            "files": {"c.css": {"static": "css/c.css", "integrity": integrity(b"c")}},
        },
    }
    (tmp_path / "lock.json").write_text(json.dumps({"any version": lock, "0.2": {}, "0.3": {}}))
    script = f"""#!{sys.executable}
import os, pathlib, shutil, sys
folder = pathlib.Path({str(folder)!r})
open(folder / "asked", "a").write(sys.argv[-1] + "\\n")
name = sys.argv[-1].lstrip("@").replace("/", "-").replace("@", "-") + ".tgz"
if not (folder / name).exists():
    sys.exit(os.environ["SAID"])
shutil.copy(folder / name, name)
"""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/npm").write_text(script)
    (tmp_path / "bin/npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(start_visdom, "LOCK", tmp_path / "lock.json")
    monkeypatch.setattr(
        start_visdom.sys, "executable", "/bin/false"
    )  # stands for Visdom's own download without network
    return folder


def files(static) -> dict[str, bytes]:
    return {path.relative_to(static).as_posix(): path.read_bytes() for path in static.rglob("*") if path.is_file()}


def test_the_page_is_made_whole_once_and_nothing_else_is_unpacked(registry, tmp_path, capsys):
    start_visdom.complete(tmp_path / "static")
    assert files(tmp_path / "static") == CONTENT
    assert "lacks 3 of its files" in capsys.readouterr().out
    start_visdom.complete(tmp_path / "static")
    start_visdom.complete(tmp_path / "another")  # out of the user's cache
    assert files(tmp_path / "another") == CONTENT
    assert (registry / "asked").read_text().split() == ["one@1.0.0", "@scope/two@2.1.0"]
    assert not (tmp_path / "escaped").exists()


def test_a_package_other_than_published_is_not_used(registry, tmp_path):
    (registry / "one-1.0.0.tgz").write_bytes(packed({"package/dist/a.js": b"evil", "package/dist/b.js": b"evil"}))
    with pytest.raises(UserError, match="missing"):
        start_visdom.complete(tmp_path / "static")
    assert b"evil" not in files(tmp_path / "static").values()
    with pytest.raises(UserError, match=r"one@1\.0\.0 is not the published one"):
        start_visdom.fetch_assets(tmp_path / "assets")
    assert not (tmp_path / "assets/one-1.0.0.tgz").exists() and not (tmp_path / "cache").exists()


def test_a_damaged_cache_is_fetched_again(registry, tmp_path):
    start_visdom.complete(tmp_path / "static")
    (tmp_path / "cache/negcut/npm/one-1.0.0.tgz").write_bytes(b"torn")
    start_visdom.complete(tmp_path / "another")
    assert files(tmp_path / "another") == CONTENT


def test_what_lies_in_the_page_is_compared_too(registry, tmp_path, capsys):
    start_visdom.complete(tmp_path / "static")
    (tmp_path / "static/js/b.js").write_bytes(b"of somebody else")
    capsys.readouterr()
    start_visdom.complete(tmp_path / "static")
    assert files(tmp_path / "static") == CONTENT
    said = capsys.readouterr().out
    assert "not those published" in said and str(tmp_path / "static/js/b.js") in said and "lacks" not in said


def test_what_visdoms_own_download_left_is_compared_too(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    static = tmp_path / "static"

    def own_download(a: bytes):
        def run(*command, **how):
            for name, content in (CONTENT | {"js/a.js": a}).items():
                (static / name).parent.mkdir(parents=True, exist_ok=True)
                (static / name).write_bytes(content)

        monkeypatch.setattr(start_visdom.subprocess, "run", run)

    own_download(a=b"evil")
    with pytest.raises(UserError, match=r"js/a\.js first; 1 came other than published"):
        start_visdom.complete(static)
    assert files(static).keys() == CONTENT.keys() - {"js/a.js"}
    own_download(a=b"a")
    start_visdom.complete(static)
    assert files(static) == CONTENT


def test_without_network_from_a_folder(registry, tmp_path):
    start_visdom.fetch_assets(tmp_path / "assets")
    for archive in registry.glob("*.tgz"):
        archive.unlink()
    (tmp_path / "cache").rename(tmp_path / "gone")
    start_visdom.complete(tmp_path / "static", tmp_path / "assets")
    assert files(tmp_path / "static") == CONTENT
    (tmp_path / "assets/scope-two-2.1.0.tgz").write_bytes(b"torn")
    with pytest.raises(UserError, match="is not the published @scope/two"):
        start_visdom.complete(tmp_path / "another", tmp_path / "assets")
    (tmp_path / "assets/scope-two-2.1.0.tgz").unlink()
    with pytest.raises(UserError, match="--assets .* lacks scope-two-2.1.0.tgz"):
        start_visdom.complete(tmp_path / "another", tmp_path / "assets")


def test_without_npm_or_network_the_message_says_what_to_do(registry, tmp_path, monkeypatch, capsys):
    for archive in registry.glob("*.tgz"):
        archive.unlink()
    told = {
        "": "npm could not fetch one@1.0.0 from the npm registry: it cannot be reached or refuses; ",
        "npm error code E9\nnpm error errno 2\nnpm error request failed\nnpm error at x": "registry: request failed; ",
        "without npm": "npm isn't installed",
    }
    for said, says in told.items():
        if said == "without npm":
            monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("SAID", said)
        with pytest.raises(UserError, match="--fetch_assets DIR.*--assets DIR"):
            start_visdom.complete(tmp_path / "static")
        assert says in capsys.readouterr().out


def test_the_lock_file_names_what_both_versions_need():
    lock = json.loads((start_visdom.LOCK).read_text())
    assert lock.keys() == {"any version", "0.2", "0.3"}
    for packages in lock.values():
        for package, pinned in packages.items():
            hashes = [pinned["integrity"], *(file["integrity"] for file in pinned["files"].values())]
            assert all(each.startswith("sha512-") and len(each) == 95 for each in hashes), package


def test_the_newest_run_is_the_one_saved_last(tmp_path):
    assert start_visdom.newest_run(tmp_path / "none yet") is None
    for age, name in enumerate(("main", "newest run", "older")):
        (tmp_path / f"{name}.json").write_text("{}")
        os.utime(tmp_path / f"{name}.json", (1e9 - age, 1e9 - age))
    assert start_visdom.newest_run(tmp_path) == "newest run"


def test_a_port_that_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["start_visdom.py", "--port", "70000"])
    monkeypatch.setattr(start_visdom, "complete", lambda *_: None)
    with pytest.raises(UserError, match="--port: must be a port's number from 1 to 65535, not '70000'"):
        start_visdom.main()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"can't listen on 127.0.0.1:{port} .*choose another --port"):
            start_visdom.serve(port, "127.0.0.1", tmp_path)
    assert not list(tmp_path.iterdir())
