"""How much of an image's content a translation keeps: outside a mask, in edges, in its self-similarity."""

from collections.abc import Iterable

import numpy as np
import torch

from util.devices import wide
from util.metrics import effnet
from util.metrics.features import FeatureSpace
from util.metrics.images import read_image, resize_image
from util.pictures import Reader

Pair = tuple[np.ndarray, np.ndarray]


def read_pair(source, translation, reader: Reader | None = None) -> Pair:
    """Files or arrays -> two uint8 arrays (H, W, 3); the source is brought to the translation's size, Pillow
    bicubic."""
    translation = read_image(translation)
    return resize_image(read_image(source, reader), translation.shape[:2]), translation


def change_outside(source: np.ndarray, translation: np.ndarray, mask: np.ndarray) -> float:
    """Mean |translation - source| in grey levels (0..255) over the pixels outside the object.

    ``mask``: uint8 of any size, above 127 inside the object, resized to the nearest pixel. NaN where nothing
    is outside.
    """
    inside = resize_image(mask, source.shape[:2], "nearest")
    inside = (inside if inside.ndim == 2 else inside.max(2)) > 127
    if inside.all():
        return float("nan")
    return float(np.abs(translation.astype(np.int16) - source)[~inside].mean())


def edge_similarity(source: np.ndarray, translation: np.ndarray) -> float:
    """Correlation of the brightness gradients' magnitudes: 1 for the same edges, about 0 for unrelated
    images."""
    return _correlation(*(torch.from_numpy(_edges(image)) for image in (source, translation)))


def _edges(image: np.ndarray) -> np.ndarray:
    brightness = image.astype(np.float64) @ [0.299, 0.587, 0.114]
    dy, dx = np.gradient(brightness)
    return np.hypot(dy, dx).ravel()


class SelfSimilarity:
    """Correlation of two images' self-similarity: 1 for the same layout whatever the colours and textures.

    An image's self-similarity is the cosine between the features of any two of its 14 x 14 positions (as in
    LSeSim, with EfficientNet-Lite0's last layer at a 16th of the input). Unrelated photographs have a value
    above 0.
    """

    def __init__(self, device: str | torch.device = "cpu"):
        self.space = FeatureSpace(effnet.NAME, device, layers=("map",))

    def __call__(self, source: np.ndarray, translation: np.ndarray) -> float:
        return _correlation(*(_cosines(m) for m in self.space([source, translation])["map"]))


def _cosines(features: torch.Tensor) -> torch.Tensor:
    """(C, h, w) -> the cosines of all pairs of positions."""
    vectors = torch.nn.functional.normalize(features.to(wide(features.device)).flatten(1), dim=0)
    cosines = vectors.T @ vectors
    return cosines[tuple(torch.triu_indices(*cosines.shape, offset=1))]


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = (a.norm() * b.norm()).item()
    return (a @ b).item() / scale if scale > 0 else float(torch.equal(a, b))  # flat images: equal or unrelated


def structure_scores(pairs: Iterable[Pair], device: str | torch.device = "cpu") -> dict[str, list[float]]:
    """Of each pair (source, translation): ``self_similarity`` and ``edge_similarity``."""
    self_similarity = SelfSimilarity(device)
    values = [(self_similarity(*pair), edge_similarity(*pair)) for pair in pairs]
    return {name: [float(row[i]) for row in values] for i, name in enumerate(("self_similarity", "edge_similarity"))}


def outside_scores(triples: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, float | int]:
    """Mean over (source, translation, mask) of ``change_outside``, and the number of images that have an
    outside."""
    values = np.array([change_outside(*triple) for triple in triples])
    seen = ~np.isnan(values)
    return {
        "change_outside": float(values[seen].mean()) if seen.any() else float("nan"),
        "masked_images": int(seen.sum()),
    }
