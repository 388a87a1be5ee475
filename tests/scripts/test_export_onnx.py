"""Exported files and pages give what the network gives, at sizes other than the exported one."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import networks
from models.inference.translator import Translator
from scripts import export_onnx
from util.errors import UserError, run
from util.pages.translator_page import LIMIT, runtime
from util.precision import to_half

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit")
ROOT = Path(__file__).parents[2]
OPT = Namespace(load_size=64, crop_size=64, stylegan2_G_num_downsampling=1)
GENERATORS = [
    ("resnet_4blocks", {}),
    ("resnet_4blocks", {"no_antialias": True, "no_antialias_up": True, "norm": "batch"}),
    ("unet_128", {"norm": "batch", "use_dropout": True}),
    ("stylegan2", {}),
]


def save(path, netG="resnet_4blocks", **arguments):
    torch.manual_seed(0)
    arguments = {"norm": "instance", "init_type": "kaiming", "opt": OPT} | arguments
    net = networks.define_G(3, 3, 4 if "resnet" in netG else 1, netG, **arguments)
    for name, value in net.named_buffers():
        if name.endswith("running_mean"):
            value.normal_()
    torch.save(net.state_dict(), path)
    return path


@pytest.mark.parametrize("netG, arguments", GENERATORS)
@pytest.mark.parametrize("ending", [".onnx", ".pt"])
def test_other_sizes_and_batches(netG, arguments, ending, tmp_path):
    if ending == ".onnx":
        pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    translator = Translator(save(tmp_path / "net.pth", netG, **arguments), device="cpu", evaluate=True)
    file = tmp_path / f"net{ending}"
    assert export_onnx.export(translator, file) < 1e-4
    call = export_onnx.onnx_runner(file) if ending == ".onnx" else export_onnx.torchscript_runner(file)
    x = torch.rand(2, 3, 2 * translator.stride, 3 * translator.stride) * 2 - 1
    if netG == "resnet_4blocks":
        x = torch.rand(5, 3, 92, 40) * 2 - 1
    wanted = translator.net(x).numpy()
    assert wanted.std() > 0.01
    assert np.abs(call(x) - wanted).max() < 1e-4


class WithFeatures(torch.nn.Conv2d):
    def forward(self, x):
        return super().forward(x), x


def test_a_network_that_gives_more_than_pictures(tmp_path):
    translator = Namespace(net=WithFeatures(3, 3, 1), input_nc=3, stride=4)
    with pytest.raises(UserError, match="the network gives a tuple instead of pictures"):
        export_onnx.export(translator, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    translator = Translator(save(tmp_path / "net.pth"), device="cpu", evaluate=True)
    monkeypatch.setattr(export_onnx, "torchscript_runner", lambda path: lambda x: x.numpy())
    with pytest.raises(UserError, match="differs from the network"):
        export_onnx.export(translator, tmp_path / "net.pt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.pth"]


@pytest.mark.parametrize(
    "flags, named",
    [
        (["--weights", "net.pth", "--out", "net.txt"], "must end in .onnx"),
        (["--weights", "net.pth", "--out", "missing/net.pt"], "missing/net.pt cannot be written"),
        (["--weights", "other.pth", "--out", "net.pt"], "other.pth"),
        (["--out", "net.pt"], "--name"),
        (["--weights", "net.pth"], "give --out, .* or --page"),
        (["--weights", "net.pth", "--page", "net.pt"], "--page net.pt must end in .html"),
    ],
)
def test_what_cannot_work(flags, named, tmp_path, monkeypatch):
    save(tmp_path / "net.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["export_onnx.py", *flags])
    with pytest.raises(UserError, match=named):
        export_onnx.main()


@pytest.fixture
def call(tmp_path, monkeypatch):
    """The command in a folder with a network."""

    def call(*flags: str):
        monkeypatch.setattr(sys, "argv", ["export_onnx.py", "--weights", "net.pth", *flags])
        return run(export_onnx.main)

    save(tmp_path / "net.pth")
    monkeypatch.chdir(tmp_path)
    return call


def test_rounded_weights_take_half_of_the_file(tmp_path):
    pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    translator = Translator(save(tmp_path / "net.pth"), device="cpu", evaluate=True)
    export_onnx.export(translator, tmp_path / "all.onnx", half=True)
    for name, values in translator.net.state_dict().items():
        values.copy_(to_half(name, values))
    assert export_onnx.export(translator, tmp_path / "half.onnx", half=True) < 1e-4
    whole, half = ((tmp_path / f"{name}.onnx").stat().st_size for name in ("all", "half"))
    assert half < 0.75 * whole


@pytest.mark.parametrize("flags", [(), ("--assets", "empty")])
def test_a_page_without_its_runtime_is_one_sentence(flags, call, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(SystemExit) as ended:
        call("--page", "net.html", *flags)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and "npm pack onnxruntime-web@1.30.0" in line and "--assets" in line
    assert not (tmp_path / "net.html").exists()


@pytest.mark.parametrize("lacking", ["onnx", "onnxruntime"])
@pytest.mark.parametrize("flag", ["--out=net.onnx", "--page=net.html"])
def test_packages_that_are_missing_are_named_first(lacking, flag, call, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(SystemExit) as ended:
        call(flag)
    assert ended.value.code == 2 and "pip install onnx onnxruntime" in capsys.readouterr().err


@pytest.fixture
def narrow(browser):
    """The browser as wide as a phone."""
    before = browser.viewport_size
    browser.set_viewport_size({"width": 390, "height": 800})
    yield browser
    browser.set_viewport_size(before)


def test_the_page_gives_what_the_network_gives(call, narrow, tmp_path):
    """Opened from the file system; a real picture of odd sides, with a corner cut out."""
    pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    try:
        runtime(None)
    except UserError as error:
        pytest.skip(str(error))
    painting = Image.open(ROOT / "docs/images/etretat.jpg")
    picture = painting.resize((75, 50), box=(20, 0, 470, 300))
    picture.putalpha(Image.new("L", picture.size, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 20, 10))
    picture.save(tmp_path / "cliff.png")
    painting.save(tmp_path / "large.png")
    (tmp_path / "holiday.png").write_bytes(b"no picture")
    about = {"about": "photos to cliffs", "photos": "people become stones", "licence": "free to use"}
    (tmp_path / "net.json").write_text(json.dumps(about))
    call("--page", "net.html")

    translator = Translator("net.pth", device="cpu", precision="fp32", evaluate=True)
    for name, values in translator.net.state_dict().items():
        values.copy_(to_half(name, values))
    wanted = np.asarray(translator(picture)).astype(int)

    asked, browser = [], narrow
    note = lambda request: asked.append(request.url)  # noqa: E731
    browser.on("request", note)
    browser.log.clear()
    browser.goto((tmp_path / "net.html").as_uri())

    def give(name: str, until: str) -> str:
        """What the page says by the time that it shows ``until``."""
        browser.set_input_files("#where input >> nth=0", tmp_path / name)
        browser.wait_for_selector(until)
        browser.wait_for_function("!document.querySelector('progress')")
        return browser.inner_text("#said")

    assert browser.inner_text("h1") == "Photos to cliffs"
    assert "People become stones. Free to use." in browser.inner_text("header")
    assert give("cliff.png", "#download") == ""
    with browser.expect_download() as download:
        browser.click("#download")
    assert download.value.suggested_filename == "cliff_translated.png"
    found = np.asarray(Image.open(download.value.path())).astype(int)
    opaque = wanted[..., 3] == 255
    assert found.shape == wanted.shape and (found[..., 3] == wanted[..., 3]).all() and not opaque.all()
    assert wanted[opaque].std() > 20 and np.abs(found - wanted)[opaque].max() <= 1
    scaled = f"large.png (968 × 780 pixels) was scaled down to {LIMIT} × 413:"
    assert give("large.png", "#said p:has-text('scaled')").startswith(scaled)
    assert "holiday.png is no picture" in give("holiday.png", ".error")
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for theme in ("light", "dark"):
        browser.evaluate(f"setTheme('{theme}')")
        assert axe.run(browser).response["violations"] == []
    browser.remove_listener("request", note)
    assert browser.log == [] and {url.split(":")[0] for url in asked} <= {"file", "blob", "data"}


@pytest.mark.slow
def test_the_command(tmp_path):
    save(tmp_path / "net.pth")
    command = [sys.executable, str(ROOT / "scripts/export_onnx.py"), "--weights", "net.pth", "--out", "net.pt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "multiples of 4" in done.stdout, done.stderr
    assert (tmp_path / "net.pt").exists()
