"""Batches whose order and augmentation follow from (seed, epoch, index) alone.

The same values come with any number of worker processes, on any rank, and after a resume in the middle of an
epoch. Datasets need no code for it: ``random``, ``numpy.random`` and ``torch`` are seeded around each item.
"""

import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from data.checked_images import checked_images
from data.deferred_crop import Uncropped, crop
from util.devices import kind_of
from util.errors import UserError


@contextmanager
def seeded(*key: int):
    """The global generators seeded from ``key``, and put back: without workers they are the model's too."""
    saved = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    seeds = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(seeds[0]))
    np.random.seed(seeds[1])
    torch.default_generator.manual_seed(int(seeds[2]))  # torch.manual_seed would reseed the GPU as well
    try:
        yield
    finally:
        random.setstate(saved[0])
        np.random.set_state(saved[1])
        torch.set_rng_state(saved[2])


class SeededDataset(Dataset):
    """``dataset``, asked by (epoch, index): so the epoch reaches worker processes, persistent ones too."""

    def __init__(self, dataset: Dataset, seed: int):
        self.dataset = dataset
        self.seed = seed

    def __getitem__(self, key: tuple[int, int]) -> dict | UserError:
        epoch, index = key
        self.dataset.current_epoch = epoch
        with seeded(self.seed, epoch, index):
            try:
                return self.dataset[index]
            except UserError as error:  # raised in a worker it would reach the user wrapped in two tracebacks
                return error


class EpochSampler(Sampler):
    """(epoch, index) of the images of one rank: every ``world_size``-th of an order that all ranks share.

    Where ``world_size`` does not divide the images, the order goes on from its beginning: all ranks see
    equally many images, so equally many batches, and at most ``world_size - 1`` images are seen twice in an
    epoch.
    """

    def __init__(self, total: int, images: int, shuffle: bool, seed: int, rank: int, world_size: int):
        self.total, self.images, self.shuffle, self.seed = total, images, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = self.skip_images = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        if self.skip_images >= self.images:
            return iter(())
        order = np.arange(self.total)
        if self.shuffle:
            # The trailing 1 keeps it apart from item 0's generators: SeedSequence pads with zeros.
            order = np.random.default_rng((self.seed, self.epoch, 0, 1)).permutation(self.total)
        order = self._padded(self._padded(order[: self.images])[self.skip_images :])
        return ((self.epoch, int(index)) for index in order[self.rank :: self.world_size])

    def _padded(self, order: np.ndarray) -> np.ndarray:
        return np.resize(order, -(-len(order) // self.world_size) * self.world_size)


class Loader:
    """Iterates over the batches of the epoch that ``set_epoch`` chose; ``len`` counts an epoch's images.

    No image is dropped: the last batch is smaller where ``batch_size`` does not divide them.
    """

    def __init__(self, dataset: Dataset, opt):
        self.dataset, self.opt = dataset, opt
        self.device = opt.device
        self.images = int(min(len(dataset), opt.max_dataset_size))
        if not self.images:
            raise UserError(f"--dataset_mode {opt.dataset_mode} finds no images in --dataroot {opt.dataroot!r}")
        self.sampler = EpochSampler(
            total=len(dataset),
            images=self.images,
            shuffle=opt.isTrain and not opt.serial_batches and getattr(dataset, "shuffle", True),
            seed=opt.seed,
            rank=opt.rank,
            world_size=opt.world_size,
        )
        # More workers than processors or batches only take time to start; the values are the same with any number.
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        workers = min(opt.num_threads, processors, -(-self.images // opt.batch_size))
        self.batches = DataLoader(
            SeededDataset(dataset, opt.seed),
            batch_size=opt.batch_size,
            sampler=self.sampler,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=kind_of(self.device).pins,
            worker_init_fn=_leave_signals_to_parent,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # the default one is the model's: an epoch must not draw from it
        )

    def set_epoch(self, epoch: int, skip_images: int = 0) -> None:
        """Choose the epoch, and go on after its first ``skip_images`` images (counted over all ranks)."""
        self.dataset.current_epoch = self.sampler.epoch = epoch
        self.sampler.skip_images = skip_images

    def save_checks(self) -> None:
        """Keep with the run which images were checked, those of its test split too."""
        if self.opt.rank == 0:
            checked_images(self.opt).save()

    def __len__(self) -> int:
        return self.images

    def __iter__(self) -> Iterator[dict]:
        for batch in self.batches:
            if isinstance(batch, UserError):
                raise batch
            yield {k: crop(v, self.device) if isinstance(v, Uncropped) else v for k, v in batch.items()}
        if self.opt.isTrain:  # CycleGAN's loop of 2021 never calls set_epoch
            self.set_epoch(self.sampler.epoch + 1)


def collate(items: list) -> dict | UserError:
    """Stack the items of a batch; a ``UserError`` among them comes back instead."""
    for item in items:
        if isinstance(item, UserError):
            return item
    batch: dict = {}
    for key, value in items[0].items():
        values = [item[key] for item in items]
        if not isinstance(value, torch.Tensor):
            batch[key] = default_collate(values)
        elif len(values) == 1:
            batch[key] = value[None]  # stacking would copy, and fresh memory costs more than cropping an image
        elif len(shapes := {tuple(image.shape) for image in values}) == 1:
            batch[key] = default_collate(values)
        else:
            return UserError(
                f"--batch_size {len(items)} needs images of one size, but {key} has the shapes "
                f"{' and '.join(map(str, sorted(shapes)))}; use --batch_size 1 or --preprocess crop"
            )
    return batch


def _leave_signals_to_parent(worker: int) -> None:
    """Ctrl-C and a cluster's warnings are for the main process, which ends its workers when it is ready. Clusters send
    SIGTERM to every process of a job: a worker obeys it only when it comes from its parent."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # it tells who sent a signal; macOS lacks it
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_when_told_by, args=(multiprocessing.parent_process().pid,), daemon=True).start()


def _end_when_told_by(parent: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
