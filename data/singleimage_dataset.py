"""One image in ``trainA`` and one in ``trainB`` (SinCUT, SinNEGCUT): patches of them at random zooms."""

import functools
import os
import random

import numpy as np
import torch
from PIL import Image

from data.base_dataset import BaseDataset, get_transform, to_tensor
from data.domain import channels_of, find_images
from util.errors import UserError
from util.pictures import reader_for, source_side

EPOCH = 100_000  # patches in an epoch of training


class SingleImageDataset(BaseDataset):
    """In training a patch of A and one of B, independently; in testing one item, the whole images.

    A batch (over all ranks) has one zoom a side, between 1 / ``random_scale_max`` and 1 in width and height
    each. The numbers of the patches are shuffled without repetition: those of a batch serve as each other's
    negatives, so they shall not come from one place.
    """

    shuffle = False

    def __init__(self, opt):
        super().__init__(opt)
        self.paths, self.images = {}, {}
        for side, channels in channels_of(opt).items():
            folder = os.path.join(opt.dataroot, "train" + side)  # in testing too: there is no other image
            if not opt.isTrain and side != source_side(opt) and not os.path.isdir(folder):
                continue
            reader = reader_for(opt, side)
            paths = find_images(opt, folder, reader)
            if len(paths) != 1:
                raise UserError(f"--dataset_mode singleimage needs one image in {folder!r}, not {len(paths)}")
            self.paths[side] = paths[0]
            self.images[side] = reader.open(paths[0], channels)

    def __getitem__(self, index: int) -> dict:
        item = {}
        for side, image in self.images.items():
            item[side] = self._patch(side, image, index) if self.opt.isTrain else to_tensor(image)
            item[side + "_paths"] = self.paths[side]
        return item

    def __len__(self) -> int:
        return EPOCH if self.opt.isTrain else 1

    def _patch(self, side: str, image: Image.Image, index: int) -> torch.Tensor:
        opt, key = self.opt, (self.opt.seed, self.current_epoch, "AB".index(side))
        # The last number of a seed keeps these streams apart from each other and from the items' own.
        batch = index // (opt.batch_size * opt.world_size)
        zoom = np.random.default_rng((*key, batch, 2)).uniform(1 / opt.random_scale_max, 1, size=2)
        params = {"scale_factor": zoom, "patch_index": int(_patch_indices(*key)[index]), "flip": random.random() > 0.5}
        return get_transform(opt, params, method=Image.BILINEAR)(image)


@functools.lru_cache(maxsize=4)
def _patch_indices(seed: int, epoch: int, side: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch, side, 0, 3)).permutation(EPOCH)
