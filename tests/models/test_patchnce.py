"""The official patch loss: one value a query, equal to ours, and right in the last, smaller batch."""

from argparse import Namespace

import pytest
import torch
from torch.nn import functional as F

from models.losses import contrastive_loss, info_nce
from models.patchnce import PatchNCELoss


def features(images, patches=8, channels=5):
    return F.normalize(torch.randn(images, patches, channels), dim=-1)


def options(**changes):
    return Namespace(
        **dict(batch_size=3, num_patches=8, nce_T=0.07, nce_includes_all_negatives_from_minibatch=False) | changes
    )


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("images", [3, 2, 1])
@pytest.mark.parametrize("with_negatives", [False, True])
def test_it_is_our_loss(across, images, with_negatives):
    torch.manual_seed(0)
    query, key = features(images).requires_grad_(), features(images).requires_grad_()
    negatives = features(images, patches=4) if with_negatives else None
    crit = PatchNCELoss(options(nce_includes_all_negatives_from_minibatch=across))
    loss = crit(query.flatten(0, 1), key.flatten(0, 1), None if negatives is None else negatives.flatten(0, 1))
    assert loss.shape == (images * 8,)
    wanted = contrastive_loss([query], [key.detach()], [negatives], 0.07, across)
    assert torch.allclose(loss.mean(), wanted)
    loss.mean().backward()
    assert key.grad is None and query.grad is not None


def test_layers_with_fewer_positions_than_patches():
    """9 positions, all of them taken: the full batch of 3 has 27 rows."""
    torch.manual_seed(0)
    query, key = features(3, patches=9), features(3, patches=9)
    loss = PatchNCELoss(options(num_patches=256))(query.flatten(0, 1), key.flatten(0, 1))
    assert torch.allclose(loss.mean(), info_nce(query, key, None, 0.07))
