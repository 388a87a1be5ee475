"""How close a translation comes to the answer, where the data set has one: PSNR and SSIM."""

from collections.abc import Iterable

import numpy as np
from scipy.ndimage import gaussian_filter

from util.errors import UserError

SIGMA, RADIUS = 1.5, 5  # of SSIM's window: 11 x 11 pixels
K1, K2, RANGE = 0.01, 0.03, 255


def psnr(answer: np.ndarray, translation: np.ndarray) -> float:
    """10 log10(255^2 / mean squared error) in decibels of two uint8 arrays (H, W, 3); infinite where they are equal."""
    error = np.square(answer.astype(np.float64) - translation).mean()
    return float(10 * np.log10(RANGE**2 / error)) if error else float("inf")


def ssim(answer: np.ndarray, translation: np.ndarray) -> float:
    """Structural similarity of two uint8 arrays (H, W, 3), at most 1: Wang et al. 2004, eq. 13, with its Gaussian
    window, averaged over the channels and the places where the window lies within the picture."""
    if min(answer.shape[:2]) <= 2 * RADIUS:
        raise UserError(f"SSIM needs pictures of at least {2 * RADIUS + 1} x {2 * RADIUS + 1} pixels")
    x, y = answer.astype(np.float64), translation.astype(np.float64)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (_window(z) for z in (x, y, x * x, y * y, x * y))
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * (mean_xy - mean_x * mean_y) + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (mean_xx - mean_x**2 + mean_yy - mean_y**2 + c2)
    return float(similarity[RADIUS:-RADIUS, RADIUS:-RADIUS].mean())


def _window(z: np.ndarray) -> np.ndarray:
    return gaussian_filter(z, (SIGMA, SIGMA, 0), radius=(RADIUS, RADIUS, 0))


def pair_scores(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> dict[str, list[float]]:
    """Of each pair (answer, translation): ``PSNR`` and ``SSIM``."""
    values = [(psnr(*pair), ssim(*pair)) for pair in pairs]
    return {name: [row[i] for row in values] for i, name in enumerate(("PSNR", "SSIM"))}
