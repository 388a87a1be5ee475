"""Exported files give what the network gives, at sizes other than the exported one."""

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import networks
from models.inference.translator import Translator
from scripts import export_onnx
from util.errors import UserError

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
    ],
)
def test_what_cannot_work(flags, named, tmp_path, monkeypatch):
    save(tmp_path / "net.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["export_onnx.py", *flags])
    with pytest.raises(UserError, match=named):
        export_onnx.main()


@pytest.mark.slow
def test_the_command(tmp_path):
    save(tmp_path / "net.pth")
    command = [sys.executable, str(ROOT / "scripts/export_onnx.py"), "--weights", "net.pth", "--out", "net.pt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "multiples of 4" in done.stdout, done.stderr
    assert (tmp_path / "net.pt").exists()
