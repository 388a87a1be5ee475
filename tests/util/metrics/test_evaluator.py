"""Evaluator: arrays and files score the same, references are kept by content, mistakes are told."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from util.errors import UserError
from util.files import user_cache
from util.metrics.distances import frechet_distance, kernel_distance
from util.metrics.evaluator import Evaluator
from util.metrics.features import FeatureSpace

pytestmark = pytest.mark.filterwarnings("ignore:FD-effnet_lite0")


def draw(count: int, seed: int, size: tuple[int, int] = (40, 40)) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 5, 5, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(c).resize(size[::-1], Image.Resampling.BICUBIC)) for c in coarse]


def save(images: list[np.ndarray], folder, prefix: str = ""):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{prefix}{i:03d}.png")
    return folder


@pytest.fixture
def real(tmp_path):
    return save(draw(6, 0), tmp_path / "real")


@pytest.mark.parametrize("size", [None, 32])
def test_arrays_of_training_equal_the_files(real, tmp_path, size):
    images = draw(11, 1)
    evaluator = Evaluator(real, "effnet_lite0", size=size, cache_dir=None, target_class=340)
    from_arrays = evaluator.score(iter(images))
    files = sorted(save(images, tmp_path / "made").iterdir())
    assert evaluator.score(files) == from_arrays


def test_scores_are_those_of_the_features(real):
    images = draw(5, 1)
    scores = Evaluator(str(real), "effnet_lite0", cache_dir=None, target_class=0).score(images)
    found = FeatureSpace("effnet_lite0", layers=("logits",))(images + draw(6, 0))
    x, y = found["1280"][:5], found["1280"][5:]
    kernel, error = kernel_distance(x, y)
    assert scores["FD-effnet_lite0-40px"] == pytest.approx(frechet_distance(x, y), rel=1e-4)
    assert scores["KD-effnet_lite0-40px"] == pytest.approx(kernel, rel=1e-3)
    assert scores["KD-effnet_lite0-40px_se"] == pytest.approx(error, rel=1e-3)
    assert {k: v for k, v in scores.items() if not isinstance(v, float)} == {
        "images": 5,
        "references": 6,
        "feature_space": "effnet_lite0",
        "resize": "pillow",
        "size": "40x40",
    }
    assert not {"FID", "KID"} & set(scores)


@pytest.mark.parametrize("resize", ["pillow", "clean"])
def test_class_share(real, resize):
    """The class of the most of drawn images, counted by hand, whatever the resize of the distances."""
    images = draw(9, 1)
    classes = FeatureSpace("effnet_lite0", layers=("logits",))(images + draw(6, 0))["logits"].argmax(1)
    target = classes.mode().values.item()
    evaluator = Evaluator(real, "effnet_lite0", cache_dir=None, target_class=target, resize=resize)
    scores = evaluator.score(images)
    assert scores[f"class_{target}"] == pytest.approx((classes[:9] == target).float().mean().item())
    assert scores[f"class_{target}_real"] == pytest.approx((classes[9:] == target).float().mean().item())
    assert evaluator.class_share(images[:1]) == float(classes[0] == target)


def test_references_are_kept_by_content(real, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    images = draw(4, 1)
    first = Evaluator(real, "effnet_lite0", cache_dir=cache).score(images)
    assert len(list(cache.rglob("*.npz"))) == 1

    calls = []
    extract = FeatureSpace.__call__
    monkeypatch.setattr(FeatureSpace, "__call__", lambda self, x: calls.append(len(x)) or extract(self, x))
    renamed = save(draw(6, 0), tmp_path / "elsewhere", prefix="other")
    again = Evaluator(renamed, "effnet_lite0", cache_dir=cache)
    assert calls == []
    assert again.score(images) == first

    calls.clear()
    Image.fromarray(draw(1, 9)[0]).save(renamed / "other000.png")
    changed = Evaluator(renamed, "effnet_lite0", cache_dir=cache)
    assert sum(calls) == 6
    assert changed.score(images) != first
    for options in ({"size": 24}, {"resize": "clean"}, {"target_class": 1}):
        calls.clear()
        Evaluator(real, "effnet_lite0", cache_dir=cache, **options)
        assert sum(calls) == 6, options


def test_a_damaged_cache_is_made_again(real, tmp_path):
    images = draw(4, 1)
    first = Evaluator(real, "effnet_lite0", cache_dir=tmp_path / "cache").score(images)
    (kept,) = (tmp_path / "cache").rglob("*.npz")
    whole = kept.read_bytes()
    for damaged in (b"", b"not a zip", whole[: len(whole) // 2]):
        kept.write_bytes(damaged)
        assert Evaluator(real, "effnet_lite0", cache_dir=tmp_path / "cache").score(images) == first
        assert len(kept.read_bytes()) == len(whole)


def test_a_cache_that_cannot_be_written_is_done_without(real, tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="could not be kept"):
        evaluator = Evaluator(real, "effnet_lite0", cache_dir=tmp_path / "file")
    assert evaluator.score(draw(2, 1))["images"] == 2


def test_default_cache_follows_the_user(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "negcut"


def test_few_images_are_warned_of_once_with_the_numbers(real):
    evaluator = Evaluator(real, "effnet_lite0", cache_dir=None)
    with pytest.warns(UserWarning, match="3 translations and 6 real images, fewer than its 1280 features"):
        evaluator.score(draw(3, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluator.score(draw(3, 2))


def test_mistakes_are_named(real, tmp_path):
    with pytest.raises(UserError, match="nowhere. is not there or no folder"):
        Evaluator(tmp_path / "nowhere", "effnet_lite0")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        Evaluator(tmp_path / "empty", "effnet_lite0")
    with pytest.raises(UserError, match="at least 2 real images, not 1"):
        Evaluator(sorted(real.iterdir())[:1], "effnet_lite0")
    with pytest.raises(UserError, match="--target_class 1000"):
        Evaluator(real, "effnet_lite0", target_class=1000)
    evaluator = Evaluator(real, "effnet_lite0", cache_dir=None)
    for images in ([], draw(1, 0)):
        with pytest.raises(UserError, match=f"at least 2 translations, not {len(images)}"):
            evaluator.score(images)


def test_scoring_leaves_the_run_alone(real):
    """Neither the random numbers nor the gradient mode of training change."""
    evaluator = Evaluator(real, "effnet_lite0", cache_dir=None)
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    evaluator.score(draw(2, 1))
    assert torch.equal(torch.rand(2), expected)
    assert torch.is_grad_enabled()
