"""Fréchet and kernel distance against slow formulas and torch-fidelity's."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from util.metrics.distances import frechet_distance, kernel_distance


def draw(n: int, d: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    """Features with correlated columns."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(7)) / d**0.5
    return torch.randn(n, d, generator=g) @ mix + shift


def library_frechet(x: torch.Tensor, y: torch.Tensor) -> float:
    statistics = (fid_features_to_statistics(features.double()) for features in (x, y))
    return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


@pytest.mark.parametrize("n, m, d", [(300, 250, 20), (400, 30, 64), (12, 9, 64), (2, 3, 16)])
def test_frechet_equals_the_library(n, m, d):
    x, y = draw(n, d, 0), draw(m, d, 1, shift=0.3)
    # Below full rank the library takes roots of eigenvalues that are rounding errors.
    tolerance = 1e-9 if min(n, m) > d else 1e-5
    assert frechet_distance(x, y) == pytest.approx(library_frechet(x, y), rel=tolerance)


def test_frechet_in_one_dimension():
    """Two Gaussians on a line: (difference of means)^2 + (difference of standard deviations)^2."""
    x, y = draw(50, 1, 0).double() * 3 + 1, draw(40, 1, 1).double()
    expected = (x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected.item(), rel=1e-9)


@settings(max_examples=25)
@given(n=st.integers(2, 30), m=st.integers(2, 30), d=st.integers(1, 40), seed=st.integers(0, 1000))
def test_frechet_is_a_distance(n, m, d, seed):
    x, y = draw(n, d, seed), draw(m, d, seed + 1, 0.5)
    distance = frechet_distance(x, y)
    assert distance >= 0
    assert distance == pytest.approx(frechet_distance(y, x), rel=1e-9)
    assert distance == pytest.approx(frechet_distance(x.flip(0), y.flip(1).flip(1)), rel=1e-9)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9 * x.square().sum().item())


def slow_mmd(x: torch.Tensor, y: torch.Tensor) -> float:
    def kernel(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    xx = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(kernel(a, b) for a in x for b in y) / (n * m)


def test_kernel_distance_and_error_by_hand():
    x, y = draw(7, 5, 0).double(), draw(5, 5, 1, 0.4).double()
    value, error = kernel_distance(x, y)
    assert value == pytest.approx(slow_mmd(x, y), rel=1e-9)
    without_x = np.array([slow_mmd(torch.cat([x[:i], x[i + 1 :]]), y) for i in range(7)])
    without_y = np.array([slow_mmd(x, torch.cat([y[:i], y[i + 1 :]])) for i in range(5)])
    variance = 6 * without_x.var() + 4 * without_y.var()
    assert error == pytest.approx(math.sqrt(variance), rel=1e-6)


def test_kernel_distance_equals_the_library():
    """One subset that holds every image is the whole set; the library's subsets then agree with the
    U-statistic."""
    x, y = draw(40, 16, 0), draw(40, 16, 1, 0.2)
    library = kid_features_to_metric(x.double(), y.double(), kid_subsets=1, kid_subset_size=40, verbose=False)
    assert kernel_distance(x, y)[0] == pytest.approx(library["kernel_inception_distance_mean"], rel=1e-6)
    many = kid_features_to_metric(x, y, kid_subsets=400, kid_subset_size=20, verbose=False)
    error = many["kernel_inception_distance_std"] / 400**0.5
    assert kernel_distance(x, y)[0] == pytest.approx(many["kernel_inception_distance_mean"], abs=4 * error)


@pytest.mark.parametrize("shift, low, high", [(0.0, 0.9, 1.7), (0.6, 0.8, 1.25)])
def test_standard_error_is_the_spread_over_draws(shift, low, high):
    draws = [kernel_distance(draw(30, 8, 2 * s), draw(24, 8, 2 * s + 1, shift)) for s in range(300)]
    values, errors = np.array(draws).T
    assert low < errors.mean() / values.std() < high
    if not shift:  # unbiased: nothing but noise between sets of one distribution
        assert abs(values.mean()) < 3 * values.std() / len(values) ** 0.5


def test_blocks_of_rows_change_nothing(monkeypatch):
    from util.metrics import distances

    x, y = draw(25, 6, 0), draw(31, 6, 1)
    whole = kernel_distance(x, y)
    monkeypatch.setattr(distances, "ROWS", 4)
    assert kernel_distance(x, y) == pytest.approx(whole, rel=1e-12)


def test_two_images_have_no_standard_error():
    value, error = kernel_distance(draw(2, 4, 0), draw(2, 4, 1))
    assert math.isfinite(value) and math.isnan(error)
