"""Unpaired images: ``trainA`` and ``trainB`` (or ``testA`` and ``testB``) below ``--dataroot``."""

import copy
import os
import random

from data.base_dataset import BaseDataset
from data.domain import Domain, channels_of, find_images
from util.pictures import list_images, phase_folder, reader_for, source_side


class UnalignedDataset(BaseDataset):
    """Each image of the translated side with a random one of the other (``--serial_batches``: of its number).

    In testing there is one item for each image of the translated side, in order, and the other side may be
    missing: its keys are then missing too.
    """

    def __init__(self, opt):
        super().__init__(opt)
        # After n_epochs, while the learning rate falls, images are scaled to the crop's size: no shifts.
        self.opt_without_jitter = copy.copy(opt)
        self.opt_without_jitter.load_size = opt.crop_size
        self.source = source_side(opt)
        source_folder = phase_folder(opt, self.source)
        self.domains = {}
        for side, channels in channels_of(opt).items():
            folder = source_folder.removesuffix(self.source) + side
            if opt.isTrain or side == self.source or (os.path.isdir(folder) and list_images(folder)):
                reader = reader_for(opt, side)
                self.domains[side] = Domain(opt, find_images(opt, folder, reader), channels, reader)

    def __getitem__(self, index: int) -> dict:
        jitter_stopped = self.opt.isTrain and self.current_epoch > self.opt.n_epochs
        opt = self.opt_without_jitter if jitter_stopped else self.opt
        item = {}
        for side, domain in self.domains.items():
            i = index % len(domain)
            if side != self.source and self.opt.isTrain and not self.opt.serial_batches:
                i = random.randrange(len(domain))
            item[side] = domain.tensor(i, opt)
            item[side + "_paths"] = domain.paths[i]
        return item

    def __len__(self) -> int:
        if not self.opt.isTrain:
            return len(self.domains[self.source])
        return max(map(len, self.domains.values()))
