"""What a translation keeps: outside a mask, in its edges, in its self-similarity."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from util.metrics.features import FeatureSpace
from util.metrics.structure import (
    SelfSimilarity,
    change_outside,
    edge_similarity,
    outside_scores,
    read_pair,
    structure_scores,
)


def scene(seed: int, size: int = 96) -> np.ndarray:
    """A few coloured rectangles."""
    rng = np.random.default_rng(seed)
    image = np.full((size, size, 3), rng.integers(0, 256, 3), dtype=np.uint8)
    for _ in range(6):
        (y, x), (h, w) = rng.integers(0, size - 20, 2), rng.integers(12, 50, 2)
        image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return image


@settings(max_examples=30)
@given(
    arrays(np.uint8, (6, 5, 3)),
    arrays(np.uint8, (6, 5, 3)),
    arrays(np.uint8, (6, 5), elements=st.sampled_from([0, 100, 200, 255])),
)
def test_change_outside_by_hand(source, translation, mask):
    differences = [
        abs(int(translation[y, x, c]) - int(source[y, x, c]))
        for y in range(6)
        for x in range(5)
        for c in range(3)
        if mask[y, x] <= 127
    ]
    found = change_outside(source, translation, mask)
    if differences:
        assert found == pytest.approx(sum(differences) / len(differences))
    else:
        assert math.isnan(found)


def test_masks_of_other_sizes_and_kinds():
    source = scene(0)
    translation = source.copy()
    translation[:48] = 255 - translation[:48]
    half = np.zeros((24, 24), dtype=np.uint8)
    half[:12] = 255
    for mask in (half, np.stack([half] * 3, 2), np.stack([half, half * 0, half * 0], 2)):
        assert change_outside(source, translation, mask) == 0
        assert change_outside(source, translation, 255 - mask.max(-1) if mask.ndim == 3 else 255 - mask) > 20


def test_outside_scores_leave_out_images_without_an_outside():
    a, b = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 10, np.uint8)
    nothing, everything = np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    assert outside_scores([(a, b, nothing), (a, b, everything)]) == {"change_outside": 10.0, "masked_images": 1}
    assert math.isnan(outside_scores([(a, b, everything)])["change_outside"])


def test_similarities_know_same_recoloured_and_other():
    """1 for the same image; high when colours change; low between unrelated scenes; so on average."""
    self_similarity = SelfSimilarity()
    for measure in (self_similarity, edge_similarity):
        same, recoloured, other = [], [], []
        for seed in range(4):
            image = scene(seed)
            same.append(measure(image, image))
            recoloured.append(measure(image, 255 - image))
            other.append(measure(image, scene(seed + 10)))
        assert same == pytest.approx([1] * 4)
        assert min(recoloured) > 0.7
        assert np.mean(other) < 0.5


def test_self_similarity_by_hand():
    """Cosines of all pairs of the 14 x 14 places, and the correlation of the two lists of them."""
    images = [scene(0), scene(1)]
    maps = FeatureSpace("effnet_lite0", layers=("map",))(images)["map"].double().flatten(2).numpy()
    places = [m.T for m in maps]
    cosines = [[u @ v / np.sqrt(u @ u * (v @ v)) for i, u in enumerate(p) for v in p[i + 1 :]] for p in places]
    assert SelfSimilarity()(*images) == pytest.approx(np.corrcoef(*cosines)[0, 1], abs=1e-6)


def test_flat_images():
    flat, image = np.full((32, 32, 3), 9, np.uint8), scene(0, 32)
    assert edge_similarity(flat, flat) == 1
    assert edge_similarity(flat, image) == 0


def test_scores_of_each_pair(tmp_path):
    pairs = [(scene(0), scene(0)), (scene(1), scene(2))]
    found = structure_scores(pairs)
    self_similarity = SelfSimilarity()
    assert found["self_similarity"] == [self_similarity(*pair) for pair in pairs]
    assert found["edge_similarity"] == [edge_similarity(*pair) for pair in pairs]

    Image.fromarray(scene(0)).save(tmp_path / "large.png")
    source, translation = read_pair(tmp_path / "large.png", scene(1, 48))
    assert source.shape == translation.shape == (48, 48, 3)
