"""The contrastive term in numbers: when it is practically zero, how hard negatives are, what they are near to."""

import math
from dataclasses import dataclass

import numpy as np

COLLAPSED = 1e-3  # a contrastive loss below it, per unit of lambda_NCE, is practically zero
HARD = 0.01  # weight of a hard negative in the loss, in units of the positive's

Place = tuple[float, float]  # pixel (x, y)


@dataclass
class Layer:
    """The contrastive loss; cosines of one layer's n queries with their positives (n,), the model's negatives (n, m)
    and the other patches of the image (n, P - 1), which are CUT's negatives."""

    loss: float
    positive: np.ndarray
    negative: np.ndarray
    other: np.ndarray

    def hard_share(self, temperature: float, kind: str = "negative") -> float:
        """Of the negatives (or ``other``), those with exp(q.n / T) >= HARD exp(q.k / T)."""
        return float((getattr(self, kind) >= self.positive[:, None] + temperature * math.log(HARD)).mean())


@dataclass
class Query:
    """A query at a layer: its place, and its hardest negatives: the cosine with the query, the source image and place
    of the key nearest to the negative, and the cosine of these two."""

    place: Place
    cosine: list[float]
    image: list[int]
    region: list[Place]
    nearness: list[float]
