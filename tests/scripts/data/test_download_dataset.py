"""Downloads from a server of the test's own: resume, checksums, mirrors, archives that reach outside."""

import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts.data import download_dataset
from scripts.data.download_dataset import Dataset, main
from util.errors import UserError


class Server:
    """Serves ``files``; keeps the Range header of each request; ``cut`` ends answers after so many bytes; ``chunked``
    answers do not tell their length and end within a chunk."""

    def __init__(self):
        self.files, self.ranges, self.cut, self.ranged, self.chunked = {}, [], None, True, False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                content = server.files.get(self.path)
                if content is None:
                    return self.send_error(404)
                asked = self.headers.get("Range")
                server.ranges.append(asked)
                start = int(asked.split("=")[1][:-1]) if asked and server.ranged else 0
                if start and start >= len(content):
                    return self.send_error(416)
                self.send_response(206 if start else 200)
                if server.chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    return self.wfile.write(b"%x\r\n" % len(content) + content[:100])
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start:][: server.cut])

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def zipped(names, top="horse2zebra/"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(top + name, name * 1000)
    return buffer.getvalue()


def tarred(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for member in members:
            file.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


@pytest.fixture
def known(server, monkeypatch):
    """horse2zebra as the server has it."""
    content = zipped(["trainA/1.jpg", "trainA/2.jpg", "trainB/3.jpg"])
    server.files["/horse2zebra.zip"] = content
    url = f"{server.url}/horse2zebra.zip"
    dataset = Dataset((url,), len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(download_dataset.DATASETS, "horse2zebra", dataset)
    return content


def fetch(folder, *flags, name="horse2zebra"):
    main([name, "--out", str(folder), *flags])


def test_a_data_set(known, tmp_path, capsys):
    fetch(tmp_path / "datasets")
    root = tmp_path / "datasets" / "horse2zebra"
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*.jpg")) == [
        "trainA/1.jpg",
        "trainA/2.jpg",
        "trainB/3.jpg",
    ]
    assert [p.name for p in (tmp_path / "datasets").iterdir()] == ["horse2zebra"]
    assert "trainA: 2 files" in capsys.readouterr().out
    with pytest.raises(UserError, match="exists already"):
        fetch(tmp_path / "datasets")


def test_a_broken_download_goes_on(known, server, tmp_path):
    server.cut = 100
    with pytest.raises(UserError, match="ended early"):
        fetch(tmp_path)
    assert not (tmp_path / "horse2zebra").exists()
    server.cut = None
    fetch(tmp_path)
    assert server.ranges == [None, "bytes=100-"]
    assert (tmp_path / "horse2zebra" / "trainB" / "3.jpg").exists()


def test_an_answer_without_a_length_that_ends_early(known, server, tmp_path):
    server.chunked = True
    with pytest.raises(UserError, match="cannot be fetched from .*IncompleteRead"):
        fetch(tmp_path)
    server.chunked = False
    fetch(tmp_path)


def begun(server, tmp_path, content=None):
    """A first attempt that ended early; its part then holds ``content``."""
    server.cut = 100
    with pytest.raises(UserError, match="ended early"):
        fetch(tmp_path)
    server.cut, server.ranges = None, []
    (part,) = tmp_path.glob("*.part")
    assert len(part.read_bytes()) == 100
    if content:
        part.write_bytes(content)


def test_a_server_that_cannot_go_on_starts_anew(known, server, tmp_path):
    begun(server, tmp_path, b"something else")
    server.ranged = False
    fetch(tmp_path)
    assert (tmp_path / "horse2zebra" / "trainA" / "1.jpg").exists()


def test_everything_was_there_already(known, server, tmp_path):
    begun(server, tmp_path, known)
    fetch(tmp_path, "--keep_archive")
    assert server.ranges == [f"bytes={len(known)}-"]
    assert (tmp_path / "horse2zebra.zip").read_bytes() == known


def test_a_part_is_never_finished_from_another_address(known, server, tmp_path):
    """Whose file may be another: the two halves would make an archive that nobody published."""
    begun(server, tmp_path, b"of the first mirror")
    server.files["/mirror/horse2zebra.zip"] = known
    fetch(tmp_path, "--keep_archive", "--mirror", f"{server.url}/mirror")
    assert server.ranges == [None]
    assert (tmp_path / "horse2zebra.zip").read_bytes() == known
    assert not list(tmp_path.glob("*.part"))


def test_where_no_checksum_is_known_the_one_seen_is_kept(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(download_dataset.DATASETS, "facades", Dataset((f"{server.url}/facades.zip",)))
    server.files["/facades.zip"] = zipped(["train/1.jpg"], top="facades/")
    sha256 = hashlib.sha256(server.files["/facades.zip"]).hexdigest()
    fetch(tmp_path, name="facades")
    assert f"SHA-256 {sha256}: no published one is known" in capsys.readouterr().out
    assert (tmp_path / "facades.zip.sha256").read_text() == f"{sha256}  facades.zip\n"
    assert not (tmp_path / "facades.zip").exists()

    (tmp_path / "facades").rename(tmp_path / "earlier")
    fetch(tmp_path, name="facades")
    assert f"SHA-256 {sha256}, as last time" in capsys.readouterr().out
    (tmp_path / "facades").rename(tmp_path / "later")
    server.files["/facades.zip"] = zipped(["train/other.jpg"], top="facades/")
    with pytest.raises(UserError, match=f"not the file of last time.*{sha256}.*facades.zip.sha256"):
        fetch(tmp_path, name="facades")
    assert not (tmp_path / "facades").exists()
    fetch(tmp_path, "--sha256", hashlib.sha256(server.files["/facades.zip"]).hexdigest(), name="facades")


def test_a_broken_archives_checksum_is_not_kept(server, tmp_path, monkeypatch):
    monkeypatch.setitem(download_dataset.DATASETS, "facades", Dataset((f"{server.url}/facades.zip",)))
    server.files["/facades.zip"] = zipped(["train/1.jpg"], top="facades/")[:200]
    with pytest.raises(UserError, match="cannot be unpacked"):
        fetch(tmp_path, name="facades")
    assert not (tmp_path / "facades.zip.sha256").exists()


def test_addresses_are_encrypted():
    assert all(url.startswith("https://") for dataset in download_dataset.DATASETS.values() for url in dataset.urls)


def test_another_file_is_refused(known, server, tmp_path):
    server.files["/horse2zebra.zip"] = zipped(["trainA/other.jpg"])
    with pytest.raises(UserError, match="not the published file"):
        fetch(tmp_path)
    assert not (tmp_path / "horse2zebra").exists()
    with pytest.raises(UserError, match="not the published file"):
        fetch(tmp_path / "b", "--archive", str(tmp_path / "horse2zebra.zip"), "--sha256", "00")


def test_the_next_address_and_mirrors(known, server, tmp_path, monkeypatch):
    sha256 = hashlib.sha256(known).hexdigest()
    dataset = Dataset((f"{server.url}/gone/horse2zebra.zip", f"{server.url}/horse2zebra.zip"), sha256=sha256)
    monkeypatch.setitem(download_dataset.DATASETS, "horse2zebra", dataset)
    fetch(tmp_path / "a")
    server.files = {"/mirror/horse2zebra.zip": known}
    with pytest.raises(UserError, match="404|Not Found"):
        fetch(tmp_path / "b")
    with pytest.raises(UserError, match=r"cannot be fetched from http://\[::1/horse2zebra.zip"):
        fetch(tmp_path / "b", "--mirror", "http://[::1")
    fetch(tmp_path / "b", "--mirror", f"{server.url}/mirror/")
    assert (tmp_path / "b" / "horse2zebra" / "trainA").is_dir()


def test_without_network(known, server, tmp_path):
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(UserError, match="check the network.*--archive"):
        fetch(tmp_path)
    (tmp_path / "x.zip").write_bytes(known)
    fetch(tmp_path, "--archive", str(tmp_path / "x.zip"))
    assert (tmp_path / "x.zip").exists() and (tmp_path / "horse2zebra" / "trainA").is_dir()


def test_single_files(server, tmp_path, monkeypatch):
    server.files = {"/s/trainA/a.jpg": b"a", "/s/trainB/b.jpg": b"b"}
    monkeypatch.setitem(
        download_dataset.DATASETS, "single", Dataset((f"{server.url}/s",), files=("trainA/a.jpg", "trainB/b.jpg"))
    )
    fetch(tmp_path, name="single")
    assert (tmp_path / "single" / "trainB" / "b.jpg").read_bytes() == b"b"
    del server.files["/s/trainB/b.jpg"]
    with pytest.raises(UserError, match=r"trainB/b\.jpg"):
        fetch(tmp_path / "again", name="single")
    assert list((tmp_path / "again").iterdir()) == []


@pytest.mark.parametrize("name", ["../outside.jpg", "/tmp/outside_of_the_archive.jpg", "a/../../outside.jpg"])
def test_a_zip_that_reaches_outside(name, server, tmp_path, monkeypatch):
    archive = tmp_path / "bad.zip"
    archive.write_bytes(zipped([name], top=""))
    monkeypatch.setitem(download_dataset.DATASETS, "bad", Dataset(("http://127.0.0.1:9/bad.zip",)))
    with pytest.raises(UserError, match="outside"):
        fetch(tmp_path / "out", "--archive", str(archive), name="bad")
    assert list((tmp_path / "out").iterdir()) == [] and not (tmp_path / "outside.jpg").exists()


@pytest.mark.parametrize("kind", ["outside", "link", "device", "damaged"])
def test_a_tar_that_reaches_outside(kind, tmp_path, monkeypatch):
    member = tarfile.TarInfo("../outside.jpg" if kind == "outside" else "facades/x")
    member.size = 3
    if kind == "link":
        member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
    if kind == "device":
        member.type, member.size = tarfile.CHRTYPE, 0
    archive = tmp_path / "bad.tar.gz"
    archive.write_bytes(tarred(member) if kind != "damaged" else tarred(member)[:40])
    with pytest.raises(UserError, match="cannot be unpacked"):
        fetch(tmp_path / "out", "--archive", str(archive), name="facades")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_archive_without_a_folder(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped(["trainA/1.jpg", "trainB/2.jpg"], top=""))
    fetch(tmp_path, "--archive", str(tmp_path / "x.zip"), name="grumpifycat")
    assert sorted(p.name for p in (tmp_path / "grumpifycat").iterdir()) == ["trainA", "trainB"]


def test_names(capsys):
    main(["--list"])
    assert {"horse2zebra", "grumpifycat", "facades", "cityscapes"} <= set(capsys.readouterr().out.split())
    for name, said in (
        ("cityscapes", "prepare_cityscapes"),
        ("cat2dog", "prepare_cat2dog"),
        ("hors2zebra", "choose from .*did you mean horse2zebra"),
    ):
        with pytest.raises(UserError, match=said):
            main([name])
