"""The patch contrastive loss under its official name and interface, for model files written for CUT."""

import torch
from torch import Tensor, nn

from models.losses import as_one_image, patch_similarities


class PatchNCELoss(nn.Module):
    """InfoNCE of each query. ``opt``: batch_size, nce_T, and where the options of the file's own repository have them
    num_patches and nce_includes_all_negatives_from_minibatch."""

    def __init__(self, opt):
        super().__init__()
        self.opt = opt
        # What subclasses in the official style use.
        self.cross_entropy_loss = nn.CrossEntropyLoss(reduction="none")
        self.mask_dtype = torch.bool

    def forward(self, feat_q: Tensor, feat_k: Tensor, feat_neg: Tensor | None = None) -> Tensor:
        """Queries and keys (B * P, C) of unit length, negatives (B * n, C), or None for the other positions' keys ->
        (B * P,). The keys get no gradient."""
        images = self.images(feat_q.shape[0])
        query, key = (f.reshape(images, -1, f.shape[-1]) for f in (feat_q, feat_k.detach()))
        negatives = None if feat_neg is None else feat_neg.reshape(images, -1, feat_neg.shape[-1])
        if getattr(self.opt, "nce_includes_all_negatives_from_minibatch", False):
            query, key, negatives = map(as_one_image, (query, key, negatives))
        positive, negative = patch_similarities(query, key, negatives)
        positive, negative = positive / self.opt.nce_T, negative / self.opt.nce_T
        return (positive.logaddexp(negative.logsumexp(dim=-1, keepdim=True)) - positive).flatten()

    def images(self, rows: int) -> int:
        """B, which the rows do not tell: ``batch_size``, or in the last, smaller batch rows / ``num_patches``."""
        patches = getattr(self.opt, "num_patches", 0)
        if patches and rows % patches == 0 and rows // patches < self.opt.batch_size:
            return rows // patches
        return self.opt.batch_size if rows % self.opt.batch_size == 0 else 1
