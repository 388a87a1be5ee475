"""The mean of an image's projected patches, computed and differentiated without keeping a projected map.

For one layer, with patches x_i of an image, i = 1..n:

    h_i = relu(W1 x_i + b1),  y_i = W2 h_i + b2,  r_i = ||y_i||,  w_i = 1 / (r_i + eps),  m = mean_i w_i y_i

F_ is frozen, so only the patches receive gradient. With g = dL/dm and u = W2' g:

    dL/dh_i = 1/n ( w_i u  -  w_i^2 / r_i (y_i . g) W2' y_i ),   y_i . g = h_i . u + b2 . g
    dL/dx_i = W1' (dL/dh_i where h_i > 0),                       W2' y_i = (W2' W2) h_i + W2' b2

The backward pass therefore needs h_i, which is cheap to make again, and r_i, one number a patch, but never y_i.
"""

from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from util.devices import kind_of
from util.precision import autocast_dtype, no_autocast

EPS = 1e-7
CHUNK = 4096  # patches whose projections are in memory at a time, on a CPU: what its caches take
AT_ONCE = 2**26  # numbers of a projected map elsewhere, 256 MB in fp32: a layer of 256 x 256 at batch 4 is one chunk


def chunk_size(patches: Tensor, nc: int) -> int:
    """How many of (B, n, C) patches are projected to ``nc`` channels at a time."""
    if not kind_of(patches.device).launches:
        return CHUNK
    return max(CHUNK, AT_ONCE // (patches.shape[0] * nc))


class UnitMean(torch.autograd.Function):
    """(x (B, n, C), W1, b1, W2, b2) -> m (B, nc). Matrix products in autocast's type, all else in at least fp32."""

    @staticmethod
    def forward(ctx, x: Tensor, *weights: Tensor) -> Tensor:
        dtype = autocast_dtype(x.device) or x.dtype
        W1, b1, W2, b2 = (weight.to(dtype) for weight in weights)
        with no_autocast(x.device):
            sums, norms = [], []
            for chunk in x.split(chunk_size(x, len(W2)), dim=1):
                y = F.linear(F.linear(chunk.to(dtype), W1, b1).relu_(), W2, b2)
                norm = torch.linalg.vector_norm(y, dim=2, dtype=torch.promote_types(dtype, torch.float32))
                sums.append(torch.bmm((1 / (norm + EPS)).to(dtype).unsqueeze(1), y).squeeze(1).to(norm.dtype))
                norms.append(norm)
        ctx.save_for_backward(x, torch.cat(norms, dim=1), W1, b1, W2, b2)
        return reduce(torch.add, sums) / x.shape[1]

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple[Tensor | None, ...]:
        x, norms, W1, b1, W2, b2 = ctx.saved_tensors
        wide, dtype = norms.dtype, W1.dtype
        with no_autocast(x.device):
            u = (g @ W2.to(wide)).unsqueeze(1)  # (B, 1, nc)
            offset = (g @ b2.to(wide)).unsqueeze(1)  # (B, 1)
            gram = (W2.to(wide).T @ W2.to(wide)).to(dtype)
            shift = torch.mv(W2.to(wide).T, b2.to(wide)).to(dtype)
            gradient = torch.empty_like(x)
            parts = (whole.split(chunk_size(x, len(W2)), dim=1) for whole in (x, norms, gradient))
            for chunk, norm, part in zip(*parts, strict=True):
                w = 1 / (norm + EPS)
                h = F.linear(chunk.to(dtype), W1, b1).relu_()
                along = torch.bmm(h, u.transpose(1, 2).to(dtype)).squeeze(2).to(wide) + offset  # y_i . g
                pull = w.square() * along / norm.clamp_min(EPS)
                dh = F.linear(h, gram, shift).mul_(-pull.unsqueeze(2).to(dtype))
                dh = torch.baddbmm(dh, w.unsqueeze(2).to(dtype), u.to(dtype))  # + w_i u
                dh = torch.ops.aten.threshold_backward(dh, h, 0)  # where h_i > 0
                part.copy_((dh / x.shape[1]) @ W1)
        return gradient, None, None, None, None


def unit_mean(mlp: nn.Sequential, patches: Tensor) -> Tensor:
    """Mean over (B, n, C) patches of the unit-length projections by the frozen ``Linear-ReLU-Linear`` ``mlp``."""
    first, _, last = mlp
    return UnitMean.apply(patches, first.weight, first.bias, last.weight, last.bias)
