"""models/negative_analysis.py on untrained networks."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_run import CONTRASTIVE, FLAGS

import options
from models import create_model
from models.losses import patch_nce_loss
from models.negative_analysis import candidate_keys, center, grid, measure, nearest_regions, translate
from util.metrics.contrast import Layer

SIZE = 16


@pytest.fixture
def images():
    torch.manual_seed(0)
    return [torch.rand(1, 3, SIZE, SIZE) * 2 - 1 for _ in range(3)]


def model_of(tmp_path, *flags: str):
    where = [f"--checkpoints_dir={tmp_path}", "--name=a", f"--dataroot={tmp_path}"]
    return create_model(options.parse([*where, *FLAGS, *CONTRASTIVE, "--init_gain=1", "--netF_nc=32", *flags]))


def test_hard_share_against_a_loop():
    rng = np.random.default_rng(0)
    positive, negative = rng.uniform(-1, 1, 7), rng.uniform(-1, 1, (7, 5))
    T = 0.07
    pairs = [(p, n) for p, row in zip(positive, negative, strict=True) for n in row]
    share = sum(math.exp(n / T) >= 0.01 * math.exp(p / T) for p, n in pairs) / len(pairs)
    assert Layer(0.0, positive, negative, negative).hard_share(T) == pytest.approx(share)


@pytest.mark.parametrize("flags", [("--model=cut",), ("--model=negcut",), ("--model=cut", "--netF=reshape")])
def test_cosines_give_back_the_loss(tmp_path, images, flags):
    model = model_of(tmp_path, *flags)
    for layer in measure(model, images):
        assert len(layer.positive) == len(images) * 4 and layer.other.shape == (len(images) * 4, 3)
        assert np.abs(layer.negative).max() <= 1 + 1e-5
        if "cut" == model.opt.model:
            assert np.array_equal(layer.negative, layer.other)
        positive, negative = torch.from_numpy(layer.positive)[:, None], torch.from_numpy(layer.negative)
        assert layer.loss == pytest.approx(patch_nce_loss(positive, negative, 0.07).item(), abs=1e-4)


def test_a_negative_that_is_a_regions_key_is_found_there(tmp_path, images):
    model = model_of(tmp_path, "--model=negcut")
    candidates = candidate_keys(model, images)

    def inner(owners, places):  # a place of the last image: near the border, padding mirrors others
        return next(i for i, owner in enumerate(owners) if owner == 2 and min(places[i]) > 7)

    wanted = [inner(owners, places) for _, owners, places in candidates]
    negatives = [keys[i][None, None] for (keys, *_), i in zip(candidates, wanted, strict=True)]
    translated = replace(translate(model, images[0]), negatives=negatives)
    for query, (_, owners, places), i in zip(
        nearest_regions(model, translated, 0, (0.5, 0.5), candidates, 6), candidates, wanted, strict=True
    ):
        assert query.nearness == [pytest.approx(1, abs=1e-5)]
        assert (query.image, query.region) == ([owners[i]], [places[i]])


def test_cuts_negatives_are_other_places_of_the_same_image(tmp_path, images):
    model = model_of(tmp_path, "--model=cut")
    candidates = candidate_keys(model, images)
    queries = nearest_regions(model, translate(model, images[1]), 1, (0.3, 0.6), candidates, count=10**6)
    for query, (_, owners, _) in zip(queries, candidates, strict=True):
        assert len(query.cosine) == owners.count(1) - 1 and query.cosine == sorted(query.cosine, reverse=True)
        assert np.allclose(query.nearness, 1, atol=1e-3)
        assert not any(
            owner == 1 and place == query.place for owner, place in zip(query.image, query.region, strict=True)
        )


def test_places_are_pixels_of_the_image(tmp_path, images):
    model = model_of(tmp_path, "--model=cut")
    features = translate(model, images[0]).branch.source
    padded, *_, deepest = features
    assert grid(model, padded) == (SIZE + 6, SIZE + 6)  # padded by 3
    assert center(3, 4, grid(model, padded), (SIZE, SIZE)) == (1.5, 0.5)
    rows, columns = grid(model, deepest)
    assert center(0, columns - 1, (rows, columns), (SIZE, SIZE)) == (SIZE - SIZE / columns / 2, SIZE / rows / 2)
