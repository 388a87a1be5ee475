"""test.py, scores while training, compare.py, translate.py and the notebook class give the same bytes."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_family import draw_pair
from PIL import Image
from tiny_run import CONTRASTIVE

import options
import test as test_script
from data import create_dataset
from models import create_model, networks
from models.inference.translate import translate
from scripts import compare
from scripts import translate as translate_script
from util.precision import configure
from util.run.validation import create_validation
from util.translator import Translator

SIZE = 32
SHARED = f"--gpu_ids -1 --ngf 2 --ndf 2 --init_type kaiming --crop_size {SIZE} --load_size {SIZE} --quiet".split()
SHARED += ["--num_threads=0", "--feature_space=effnet_lite0", *CONTRASTIVE]
RESNET = ["--netG=resnet_4blocks"]
KINDS = {
    "instance norm": RESNET,
    "channels last": [*RESNET, "--channels_last"],
    "bf16": [*RESNET, "--precision=bf16"],
    "batch norm": [*RESNET, "--normG=batch"],
    "BtoA": [*RESNET, "--direction=BtoA"],
    "noise": ["--netG=stylegan2", "--nce_layers=0,2"],
    "colourless": [*RESNET, "--input_nc=1", "--output_nc=1"],
}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for number, side in enumerate("AABB"):
        (root / f"test{side}").mkdir(exist_ok=True)
        Image.fromarray(draw_pair(number, SIZE)[1]).save(root / f"test{side}" / f"{number % 2}.png")
    return root


@pytest.fixture(params=KINDS, ids=KINDS)
def run(request, tmp_path, images):
    """A run as training would leave it: (options, model, its folder)."""
    opt = options.parse(
        [f"--checkpoints_dir={tmp_path}", "--name=run", f"--dataroot={images}", *SHARED, *KINDS[request.param]]
    )
    model = create_model(opt)
    model.setup(opt)
    for name, weight in model.netG.named_parameters():
        if "noise" in name:
            torch.nn.init.constant_(weight, 0.5)
    model.save_networks("latest")
    options.save_options(opt, tmp_path / "run")
    return SimpleNamespace(opt=opt, model=model, folder=tmp_path / "run", inputs=images / f"test{opt.direction[0]}")


def main_of(script, monkeypatch, *argv) -> None:
    monkeypatch.setattr(sys, "argv", ["", *map(str, argv)])
    script.main()


def read(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))]


def by_test(run, monkeypatch, tmp_path, *flags) -> list[np.ndarray]:
    where = [f"--checkpoints_dir={tmp_path}", "--name=run", f"--results_dir={tmp_path / 'results'}"]
    main_of(test_script, monkeypatch, *where, "--gpu_ids=-1", "--num_threads=0", "--quiet", *flags)
    return read(tmp_path / "results/run/test_latest/images/fake_B")


@pytest.mark.filterwarnings("ignore:FD-effnet_lite0 of")
def test_five_ways_give_the_same_bytes(run, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ways = {"test.py": by_test(run, monkeypatch, tmp_path)}

    validation = create_validation(run.opt, create_dataset, options.for_testing(run.opt), run.model.device)
    ways["training"] = [pictures["output"] for pictures in validation.run(run.model)[1].values()]

    ways["compare.py"] = compare.score_and_show(SimpleNamespace(out=tmp_path, samples=2), run.folder, True)["output"]

    named = [f"--checkpoints_dir={tmp_path}", "--name=run", "--gpu_ids=-1", "--quiet", f"--out={tmp_path / 'out'}"]
    main_of(translate_script, monkeypatch, run.inputs, *named)
    ways["translate.py"] = read(tmp_path / "out")

    translator = Translator(run.folder, device="cpu")
    pictures = [Image.open(run.inputs / f"{number}.png") for number in range(2)]
    ways["notebook"] = [np.asarray(translator(picture).convert("RGB")) for picture in pictures]

    wanted = ways["test.py"]
    assert len(wanted) == 2 and wanted[0].std() > 5 and not np.array_equal(*wanted)
    for way, found in ways.items():
        assert len(found) == 2 and all(map(np.array_equal, found, wanted)), way


def test_batches_mix_nothing(run, monkeypatch, tmp_path):
    alone = by_test(run, monkeypatch, tmp_path)
    for one, other in zip(alone, by_test(run, monkeypatch, tmp_path, "--batch_size=2"), strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


def test_noise_comes_back_after_a_translation():
    net = networks.define_G(
        3, 3, 2, "stylegan2", opt=SimpleNamespace(load_size=32, crop_size=32, stylegan2_G_num_downsampling=1)
    )
    for name, weight in net.named_parameters():
        if "noise" in name:
            torch.nn.init.constant_(weight, 0.5)
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(translate(net, x, net), translate(net, x, net))
    with torch.no_grad():
        assert not torch.equal(net(x), net(x))


def settings() -> tuple:
    cudnn = torch.backends.cudnn
    return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic


@pytest.fixture
def restored():
    yield
    configure("fp32", sizes_repeat=False)


@pytest.mark.parametrize("benchmark, matmul", [(False, "high"), (True, "highest")])
def test_the_notebook_class_changes_no_global_setting(images, tmp_path, restored, benchmark, matmul):
    weights = tmp_path / "G.pth"
    torch.save(networks.define_G(3, 3, 2, "resnet_4blocks", "instance").state_dict(), weights)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = benchmark, not benchmark
    torch.set_float32_matmul_precision(matmul)
    before = settings()
    Translator(weights, device="cpu", precision="bf16")(Image.open(images / "testA/0.png"))
    assert settings() == before


@pytest.mark.parametrize(
    "preprocess, repeat",
    [("resize_and_crop", True), ("scale_width_and_crop", True), ("scale_width", False), ("none", False)],
)
def test_cudnn_tries_its_ways_only_where_sizes_repeat(images, tmp_path, restored, preprocess, repeat):
    flags = [f"--checkpoints_dir={tmp_path}", f"--dataroot={images}", *SHARED, *RESNET, f"--preprocess={preprocess}"]
    opt = options.parse(flags)
    torch.backends.cudnn.benchmark = not repeat
    create_model(opt).setup(opt)
    assert torch.backends.cudnn.benchmark == repeat
