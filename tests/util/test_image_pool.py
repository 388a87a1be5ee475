"""The pool hands back new and old images, as many as it is given."""

import random

import torch

from util.image_pool import ImagePool


def batches(count):
    return [torch.full((2, 1, 1, 1), float(i)) + torch.tensor([0.0, 0.5]).view(2, 1, 1, 1) for i in range(count)]


def test_without_a_size_images_pass_through():
    images = batches(1)[0]
    assert ImagePool(0).query(images) is images


def test_a_filling_pool_returns_what_it_is_given():
    pool = ImagePool(4)
    for images in batches(2):
        assert torch.equal(pool.query(images), images)
    assert len(pool.images) == 4


def test_a_full_pool_swaps_about_half():
    random.seed(0)
    pool, old, seen = ImagePool(4), 0, []
    pool.query(torch.full((4, 1, 1, 1), -1.0))
    for images in batches(200):
        out = pool.query(images)
        assert out.shape == images.shape
        old += sum(a.item() != b.item() for a, b in zip(out, images, strict=True))
        seen += out.flatten().tolist()
    assert 150 < old < 250
    assert len(pool.images) == 4
    assert seen.count(-1) == 4  # what is handed back has left the pool
    assert len(set(seen)) == len(seen) - 3


def test_later_changes_of_a_batch_leave_the_pool_alone():
    pool, images = ImagePool(1), torch.zeros(1, 1, 1, 1)
    pool.query(images)
    images.fill_(9)
    assert pool.images[0].item() == 0
