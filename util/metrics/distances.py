"""Distances between two sets of features: Fréchet and kernel."""

import torch

ROWS = 2048  # of a kernel matrix at once, so that large sets fit in memory


def frechet_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """Fréchet distance of the Gaussians that fit the features x (n, d) and y (m, d).

    |mean x - mean y|^2 + tr(S_x) + tr(S_y) - 2 tr((S_x S_y)^(1/2))     (Heusel et al. 2017, eq. 6)

    For centred x and y the last trace is the nuclear norm of x y^T / sqrt((n-1)(m-1)): exact and real for
    any number of images, where the square root of the product of two singular d x d covariances is neither.
    Each matrix is first brought to at most d rows, which leaves its covariance as it is.
    """
    x, y = x.cpu().double(), y.cpu().double()
    (mean_x, root_x), (mean_y, root_y) = _gaussian(x), _gaussian(y)
    cross = torch.linalg.svdvals(root_x @ root_y.T).sum()
    distance = (mean_x - mean_y).square().sum() + root_x.square().sum() + root_y.square().sum() - 2 * cross
    return max(distance.item(), 0.0)


def _gaussian(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, d) -> mean (d,) and R (min(n, d), d) with R^T R = covariance."""
    mean = x.mean(0)
    root = (x - mean) / (len(x) - 1) ** 0.5
    return mean, torch.linalg.qr(root, mode="r").R if len(x) > x.shape[1] else root


def kernel_distance(x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    """Squared maximum mean discrepancy of x (n, d) and y (m, d) and its standard error.

    The kernel is KID's, k(a, b) = (a.b / d + 1)^3 (Binkowski et al. 2018). All pairs but those of an image with
    itself are used once (a U-statistic): unbiased for any count, so it can be below 0, and with less spread than the
    usual mean over random subsets, which estimates the same number. The error is the jackknife's: how much the value
    moves when images of either set are left out one at a time. Between equal distributions, where the value's first
    order vanishes, it overstates the spread (about 1.5 times).
    """
    x, y = x.cpu().double(), y.cpu().double()
    n, m = len(x), len(y)
    within_x, within_y = _kernel_sums(x, x) - _kernel_diagonal(x), _kernel_sums(y, y) - _kernel_diagonal(y)
    across_x, across_y = _kernel_sums(x, y), _kernel_sums(y, x)
    sum_xx, sum_yy, sum_xy = within_x.sum(), within_y.sum(), across_x.sum()

    mean_xx, mean_yy, mean_xy = sum_xx / (n * (n - 1)), sum_yy / (m * (m - 1)), sum_xy / (n * m)
    value = (mean_xx + mean_yy - 2 * mean_xy).item()
    if min(n, m) < 3:
        return value, float("nan")
    without_x = (sum_xx - 2 * within_x) / ((n - 1) * (n - 2)) + mean_yy - 2 * (sum_xy - across_x) / ((n - 1) * m)
    without_y = (sum_yy - 2 * within_y) / ((m - 1) * (m - 2)) + mean_xx - 2 * (sum_xy - across_y) / (n * (m - 1))
    variance = sum((len(w) - 1) * w.var(correction=0) for w in (without_x, without_y))
    return value, variance.sqrt().item()


def _kernel_sums(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """sum_j k(x_i, y_j) for each i."""
    return torch.cat([((block @ y.T) / x.shape[1] + 1).pow(3).sum(1) for block in x.split(ROWS)])


def _kernel_diagonal(x: torch.Tensor) -> torch.Tensor:
    return (x.square().sum(1) / x.shape[1] + 1).pow(3)
