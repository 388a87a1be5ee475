"""A memory of earlier translations, so that D does not forget them (Shrivastava et al., CVPR 2017)."""

import random

import torch
from torch import Tensor


class ImagePool:
    """Holds up to ``pool_size`` images; 0 switches it off."""

    def __init__(self, pool_size: int):
        self.pool_size = pool_size
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> as many images, each either new or, with probability 1/2 once the pool is full, an old one
        whose place the new one takes."""
        if self.pool_size == 0:
            return images
        returned = []
        for image in images.detach():
            image = image.nan_to_num()  # a bad step must not come back out of the pool
            if len(self.images) < self.pool_size:
                self.images.append(image)
            elif random.random() < 0.5:
                place = random.randrange(self.pool_size)
                image, self.images[place] = self.images[place], image
            returned.append(image)
        return torch.stack(returned)
