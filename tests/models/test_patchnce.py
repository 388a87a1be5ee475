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


class WeightedNCELoss(PatchNCELoss):
    """In the style of the forks' own losses."""

    def forward(self, feat_q, feat_k, weight=None):
        dim = feat_q.shape[1]
        batch = 1 if self.opt.nce_over_all else self.opt.batch_size
        feat_q, feat_k = feat_q.view(batch, -1, dim), feat_k.detach().view(batch, -1, dim)
        patches = feat_q.shape[1]
        negatives = torch.bmm(feat_q, feat_k.transpose(2, 1))
        negatives.masked_fill_(torch.eye(patches, dtype=self.mask_dtype)[None], -10.0)
        positives = (feat_q * feat_k).sum(-1).flatten()[:, None]
        logits = torch.cat((positives, negatives.reshape(-1, patches)), dim=1) / self.opt.nce_T
        loss = self.cross_entropy_loss(logits, torch.zeros(len(logits), dtype=torch.long))
        return loss if weight is None else loss * weight


def test_a_subclass_of_a_fork_needs_no_options_of_cut():
    torch.manual_seed(0)
    opt = Namespace(batch_size=3, nce_T=0.07, nce_over_all=False)
    query, key = features(3).flatten(0, 1), features(3).flatten(0, 1)
    plain = PatchNCELoss(Namespace(batch_size=3, num_patches=8, nce_T=0.07))(query, key)
    assert torch.allclose(WeightedNCELoss(opt)(query, key), plain, atol=1e-5)
    assert torch.allclose(WeightedNCELoss(opt)(query, key, weight=2.0), 2 * plain, atol=1e-5)


def test_stylegan2_networks_under_their_official_name_and_called_as_forks_networks_files_do():
    from models import networks
    from models.stylegan_networks import StyleGAN2Discriminator, StyleGAN2Generator, TileStyleGAN2Discriminator

    opt = Namespace(load_size=32, crop_size=32, stylegan2_G_num_downsampling=1, netG="smallstylegan2", D_patch_size=16)
    theirs = [
        StyleGAN2Generator(3, 3, 4, use_dropout=True, n_blocks=2, opt=opt),
        StyleGAN2Discriminator(3, 4, 3, no_antialias=False, opt=opt),
        TileStyleGAN2Discriminator(3, 4, 3, no_antialias=False, opt=opt),
    ]
    ours = [networks.define_G(3, 3, 4, "smallstylegan2", opt=opt)]
    ours += [networks.define_D(3, 4, name, opt=opt) for name in ("stylegan2", "tilestylegan2")]
    for net, same in zip(theirs, ours, strict=True):
        net.load_state_dict(same.state_dict())
        x = torch.zeros(1, 3, 32, 32)
        assert torch.equal(net(x), same(x))
