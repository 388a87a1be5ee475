"""The demo in a browser: real files dropped in, what comes out, what it says, and that nothing stays or leaves."""

import base64
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from argparse import Namespace
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from free_port import free_port
from PIL import Image

from models import networks
from scripts import demo, translate
from util.errors import UserError
from util.pictures import Reader

ROOT = Path(__file__).parents[2]
# Whatever would leave the machine ends in an error and in a file.
GUARD = """
import os, socket
connect = socket.socket.connect
def guarded(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "localhost", "::1"):
        open(os.environ["LEFT"], "a").write(f"{address}\\n")
        raise OSError("no network")
    return connect(self, address)
socket.socket.connect = guarded
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """An official-looking experiment: a generator of two epochs and its average."""
    folder = tmp_path_factory.mktemp("checkpoints") / "drawn"
    folder.mkdir()
    for seed, name in enumerate(("latest_net_G", "5_net_G", "latest_net_G_ema", "latest_net_D")):
        torch.manual_seed(seed)
        net = networks.define_G(3, 3, 2, "resnet_4blocks", "instance", init_type="kaiming")
        torch.save(net.state_dict(), folder / f"{name}.pth")
    return folder


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A JPEG on its side, as phones write them: 210 x 150 pixels upright."""
    path = tmp_path_factory.mktemp("photos") / "phone.jpg"
    y, x = np.mgrid[:210, :150]
    pixels = np.stack([x, y, (x * y) % 255], -1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.fixture(scope="module")
def served(experiment, tmp_path_factory):
    """(address, folder of temporary files, file of what tried to leave the machine, folder it was started in)."""
    pytest.importorskip("gradio", reason="gradio is not installed")
    place = tmp_path_factory.mktemp("demo")
    for name in ("temporary", "guard", "here"):
        (place / name).mkdir()
    (place / "guard/sitecustomize.py").write_text(GUARD)
    port = free_port()
    command = [sys.executable, ROOT / "scripts/demo.py", "--name", experiment.name, "--port", port]
    command += ["--checkpoints_dir", experiment.parent, "--gpu_ids", "-1", "--tile", "128"]
    environment = os.environ | {"TMPDIR": str(place / "temporary"), "PYTHONPATH": str(place / "guard")}
    environment |= {
        "LEFT": str(place / "left"),
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    process = subprocess.Popen(
        list(map(str, command)), cwd=place / "here", env=environment, stdout=subprocess.PIPE, text=True
    )
    said = process.stdout.readline()
    assert said == f"open http://127.0.0.1:{port}  (Ctrl-C ends it)\n", said
    yield f"http://127.0.0.1:{port}", place
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 0
    assert not list((place / "temporary").glob("negcut-demo-*")), "uploads stay"
    assert not list((place / "here").iterdir()), "files in the folder it was started in"
    assert not (place / "left").exists(), (place / "left").read_text()


@pytest.fixture
def page(served, browser):
    """The page, opened anew; everything that it loads comes from this machine."""
    asked = []
    note = lambda request: asked.append(request.url)  # noqa: E731
    browser.on("request", note)
    browser.goto(served[0])
    browser.wait_for_selector("#photo input[type=file]", state="attached")
    yield browser
    browser.remove_listener("request", note)
    assert [url for url in asked if not url.startswith((served[0], "data:", "blob:", "ws:"))] == []


def drop(page, path: Path, onto: str):
    """As a hand drops a file from its desktop."""
    content = base64.b64encode(path.read_bytes()).decode()
    transfer = page.evaluate_handle(
        """([content, name, type]) => {
            const transfer = new DataTransfer(), bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0));
            transfer.items.add(new File([bytes], name, {type}));
            return transfer;
        }""",
        [content, path.name, {".jpg": "image/jpeg", ".png": "image/png"}[path.suffix]],
    )
    page.dispatch_event(onto, "drop", {"dataTransfer": transfer})


def downloaded(page, button: str) -> bytes:
    with page.expect_download() as download:
        page.click(button)
    return download.value.path().read_bytes()


def by_command(monkeypatch, experiment: Path, photo: Path, out: Path, *flags: str) -> bytes:
    """What translate.py makes of it."""
    flags = ["--checkpoints_dir", experiment.parent, "--name", experiment.name, "--tile", "128", *flags]
    monkeypatch.setattr(sys, "argv", ["translate.py", *map(str, [photo, *flags]), "--gpu_ids=-1", f"--out={out}"])
    translate.main()
    (path,) = out.glob("*.png")  # beside it lies translate.py's note
    return path.read_bytes()


@pytest.mark.slow
def test_a_dropped_photo_and_other_weights(page, photo, experiment, tmp_path, monkeypatch):
    drop(page, photo, "#photo button")
    shown = "(all => all.length == 2 && all.every(image => image.naturalWidth))"
    shown += "([...document.querySelectorAll('#result img')])"
    page.wait_for_function(shown)
    sizes = page.eval_on_selector_all("#result img", "all => all.map(i => [i.naturalWidth, i.naturalHeight])")
    assert sizes == [[210, 150]] * 2
    assert downloaded(page, "#download") == by_command(monkeypatch, experiment, photo, tmp_path / "latest")

    def source() -> str:
        return page.eval_on_selector_all("#result img", "all => all.at(-1).src")

    before = source()
    page.get_by_label("Averaged weights").check()
    page.wait_for_function("before => document.querySelectorAll('#result img')[1]?.src != before", arg=before)
    page.wait_for_function(shown)
    averaged = downloaded(page, "#download")
    assert averaged == by_command(monkeypatch, experiment, photo, tmp_path / "ema", "--ema")
    page.get_by_label("Epoch").click()
    page.get_by_role("option", name="5").click()
    message = page.wait_for_selector(".toast-body").inner_text()  # of epoch 5 there is no average
    assert "5_net_G_ema.pth" in message


@pytest.mark.slow
def test_several_photos_and_one_that_is_none(page, photo, experiment, tmp_path, monkeypatch):
    broken = tmp_path / "holiday.png"
    broken.write_bytes(b"no picture")
    drop(page, broken, "#photo button")
    message = page.wait_for_selector(".toast-body").inner_text()
    assert "holiday.png is no picture" in message and "/" not in message, message
    page.click(".toast-close")
    page.wait_for_selector(".toast-body", state="detached")  # it fades out before the next one comes
    page.get_by_role("tab", name="Several").click()
    again = tmp_path / "other" / photo.name
    again.parent.mkdir()
    Image.open(photo).rotate(180).save(again)
    page.set_input_files("#photos input[type=file]", [photo, broken, again])
    page.wait_for_selector("#photos tr:nth-child(3)")
    page.click("#translate")
    message = page.wait_for_selector(".toast-body").inner_text()
    assert "holiday.png is no picture" in message and "Warning" in message, message
    page.wait_for_selector("#gallery img")
    with zipfile.ZipFile(io.BytesIO(downloaded(page, "#download_all"))) as archive:
        assert archive.namelist() == ["phone_translated.png", "phone_translated_2.png"]
        first = archive.read("phone_translated.png")
    assert first == by_command(monkeypatch, experiment, photo, tmp_path / "out")


@pytest.fixture
def served_here(tmp_path, monkeypatch):
    """``with served_here(translate) as address``: the page in this process, with a function in the network's place."""
    pytest.importorskip("gradio", reason="gradio is not installed")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    from util.pages.demo_page import build, theme

    @contextmanager
    def served_here(translate):
        models = Namespace(
            title="", about="", label="Epoch", choices=["latest"], averages=False, args=Namespace(ema=False),
            reader=Reader(), translate=translate,
        )  # fmt: skip
        page, how = build(models), {"quiet": True, "prevent_thread_lock": True, "ssr_mode": False, "theme": theme()}
        try:
            yield page.queue().launch(server_name=demo.HOST, **how)[1]
        finally:
            page.close(verbose=False)

    return served_here


@pytest.mark.slow
def test_progress_is_shown(served_here, browser, photo):
    seen = threading.Event()

    def translate(path, target, choice, average, tick) -> list[str]:
        tick(2, 4)
        assert seen.wait(180)
        Image.new("RGB", (8, 8)).save(target)
        return []

    with served_here(translate) as address:
        browser.goto(address)
        browser.wait_for_selector("#photo input[type=file]", state="attached")
        drop(browser, photo, "#photo button")
        browser.wait_for_selector("text=2/4 passes")
        seen.set()
        browser.wait_for_selector("#result img")


@pytest.mark.slow
def test_one_translation_at_a_time(served_here, photo):
    from gradio_client import Client, handle_file

    active, seen = [], []

    def translate(path, target, *_) -> list[str]:
        active.append(path)
        seen.append(len(active))
        time.sleep(0.2)  # in which the others could come in
        Image.new("RGB", (8, 8)).save(target)
        active.remove(path)
        return []

    with served_here(translate) as address:
        client, files = Client(address, verbose=False), handle_file(photo)
        jobs = [client.submit(files, "latest", False, api_name="/one") for _ in range(2)]
        jobs.append(client.submit([files], "latest", False, api_name="/several"))
        assert all(job.result(300) for job in jobs)
    assert seen == [1, 1, 1]


@pytest.fixture
def call(monkeypatch):
    def call(*flags: str) -> str:
        monkeypatch.setattr(sys, "argv", ["demo.py", "--gpu_ids", "-1", *flags])
        with pytest.raises(UserError) as error:
            demo.main()
        return str(error.value)

    return call


def test_what_cannot_work_is_said_before_a_page_opens(call, experiment, monkeypatch):
    monkeypatch.setattr(demo, "serve", lambda *_: pytest.fail("a page was opened"))
    folder = f"--checkpoints_dir={experiment.parent}"
    assert "there is no experiment" in call(folder, "--name", "nobody")
    assert "7_net_G.pth" in call(folder, f"--name={experiment.name}", "--epoch", "7")
    assert "65536" in call("--port", "65536")
    with socket.socket() as taken:
        taken.bind((demo.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert call("--port", str(port)).startswith(f"--port {port} is taken")
        assert "there is no experiment" in call("--port", str(port), folder, "--name", "nobody")
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None)
    assert call() == "the page needs gradio: pip install gradio"


def test_what_can_be_chosen(experiment):
    flags = ["--checkpoints_dir", str(experiment.parent), "--name", experiment.name]
    models = demo.Models(demo.arguments(flags))
    assert (models.label, models.choices, models.averages) == ("Epoch", ["latest", "5"], True)
    models = demo.Models(demo.arguments(["--weights", str(experiment / "5_net_G.pth")]))
    assert (models.choices, models.averages, models.about) == (["latest"], False, "")
    models = demo.Models(demo.arguments([]))
    assert models.label == "Weights" and models.choices[0] == "drawn_negcut"
    assert models.title == "Plain shapes to striped ones"
    assert models.about == "Trained on drawn shapes; photos come out abstract. Your own model: `--name`."
