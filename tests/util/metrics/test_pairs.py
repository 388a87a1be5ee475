"""PSNR and SSIM of a translation and its answer."""

import math

import numpy as np
import pytest

from util.errors import UserError
from util.metrics.pairs import pair_scores, psnr, ssim


def drawn() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:20, :24]
    answer = np.stack([x * 10, y * 12, (x + y) * 5], 2).astype(np.uint8)
    return answer, np.stack([x * 10, y * 12, x * y % 256], 2).astype(np.uint8)


def test_they_are_those_of_scikit_image():
    """``structural_similarity(..., gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`` of 0.26."""
    assert psnr(*drawn()) == pytest.approx(17.744315029654622, rel=1e-12)
    assert ssim(*drawn()) == pytest.approx(0.8904505955117091, rel=1e-12)


def test_of_equal_pictures_and_of_many():
    answer, other = drawn()
    assert (psnr(answer, answer), ssim(answer, answer)) == (math.inf, 1)
    found = pair_scores([(answer, other), (other, answer)])
    assert {name: len(values) for name, values in found.items()} == {"PSNR": 2, "SSIM": 2}
    assert found["SSIM"][0] == pytest.approx(found["SSIM"][1])


def test_a_picture_smaller_than_the_window_is_refused():
    small = np.zeros((10, 30, 3), np.uint8)
    with pytest.raises(UserError, match="at least 11 x 11 pixels"):
        ssim(small, small)
