"""sRGB and Lab: D65, 2 degree observer (IEC 61966-2-1, CIE 15)."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

# Linear sRGB to XYZ, and the white that Lab refers to.
RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = np.array([0.95047, 1.0, 1.08883])


def rgb_to_lab(image: Image.Image) -> np.ndarray:
    """8-bit sRGB -> (H, W, 3) float32: L in [0, 100], a and b about [-110, 110]."""
    rgb = np.asarray(image) / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ RGB_TO_XYZ.T / WHITE
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def lab_to_rgb(lightness: Tensor, color: Tensor) -> Tensor:
    """(B, 1, H, W) = L / 50 - 1 and (B, 2, H, W) = (a, b) / 110 -> sRGB (B, 3, H, W) in [-1, 1]."""
    y = (lightness.detach().float() * 50 + 66) / 116  # (L + 16) / 116
    a, b = (color.detach().float() * 110).split(1, dim=1)
    f = torch.cat((y + a / 500, y, y - b / 200), dim=1)
    xyz = torch.where(f > 0.206893, f**3, (f - 16 / 116) / 7.787) * f.new_tensor(WHITE).view(1, 3, 1, 1)
    rgb = torch.einsum("ij,bjhw->bihw", f.new_tensor(np.linalg.inv(RGB_TO_XYZ)), xyz).clamp(0, 1)
    rgb = torch.where(rgb > 0.0031308, 1.055 * rgb ** (1 / 2.4) - 0.055, 12.92 * rgb)
    return rgb * 2 - 1
