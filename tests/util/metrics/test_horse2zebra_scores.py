"""The feature space that needs no download, on real photographs: the order of distances, and known values."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from util.metrics.evaluator import Evaluator

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:FD-effnet_lite0")]


@pytest.fixture(scope="module")
def scores(data_dir) -> dict[str, dict]:
    """Against 200 zebras of trainB: other zebras, the same blurred with sigma 2, horses."""
    folder = data_dir / "horse2zebra"
    zebras, horses = (sorted((folder / name).iterdir()) for name in ("testB", "testA"))
    blurred = (np.asarray(Image.open(path).convert("RGB").filter(ImageFilter.GaussianBlur(2))) for path in zebras)
    evaluator = Evaluator(sorted((folder / "trainB").iterdir())[:200], "effnet_lite0", target_class=340, cache_dir=None)
    return {"zebras": evaluator.score(zebras), "blurred": evaluator.score(blurred), "horses": evaluator.score(horses)}


@pytest.mark.parametrize("images, expected", [("zebras", 47.6), ("horses", 217.2), ("blurred", 103.2)])
def test_frechet_distance(scores, images, expected):
    """Expected: measured once on the photographs before they were compressed again, with another 200
    references."""
    assert scores[images]["FD-effnet_lite0"] == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("images, expected", [("zebras", 0.95), ("horses", 0.0)])
def test_share_of_zebras(scores, images, expected):
    assert scores[images]["class_340"] == pytest.approx(expected, abs=0.025)


def test_kernel_distance_sees_no_difference_between_zebras(scores):
    zebras, horses = scores["zebras"], scores["horses"]
    assert abs(zebras["KD-effnet_lite0"]) < 3 * zebras["KD-effnet_lite0_se"]
    assert horses["KD-effnet_lite0"] > 10 * horses["KD-effnet_lite0_se"]
