"""The mean of an image's projected patches, computed and differentiated without keeping a projected map.

For one layer, with patches x_i of an image, i = 1..n:

    h_i = relu(W1 x_i + b1),  y_i = W2 h_i + b2,  r_i = ||y_i||,  w_i = 1 / (r_i + eps),  m = mean_i w_i y_i

F_ is frozen, so only the patches receive gradient. With g = dL/dm and u = W2' g:

    dL/dh_i = 1/n ( w_i u  -  w_i^2 / r_i (y_i . g) W2' y_i ),   y_i . g = h_i . u + b2 . g
    dL/dx_i = W1' (dL/dh_i where h_i > 0),                       W2' y_i = (W2' W2) h_i + W2' b2

The backward pass therefore needs h_i, which is cheap to make again, and r_i, one number a patch, but never y_i.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from util.precision import autocast_dtype, no_autocast

EPS = 1e-7
CHUNK = 4096  # patches whose projections are in memory at a time


class UnitMean(torch.autograd.Function):
    """(x (B, n, C), W1, b1, W2, b2) -> m (B, nc). Matrix products in autocast's type, all else in at least fp32."""

    @staticmethod
    def forward(ctx, x: Tensor, *weights: Tensor) -> Tensor:
        dtype = autocast_dtype(x.device) or x.dtype
        W1, b1, W2, b2 = (weight.to(dtype) for weight in weights)
        with no_autocast(x.device):
            total, norms = 0, []
            for chunk in x.split(CHUNK, dim=1):
                y = F.linear(F.linear(chunk.to(dtype), W1, b1).relu_(), W2, b2)
                norm = torch.linalg.vector_norm(y, dim=2, dtype=torch.promote_types(dtype, torch.float32))
                total = total + torch.bmm((1 / (norm + EPS)).to(dtype).unsqueeze(1), y).squeeze(1).to(norm.dtype)
                norms.append(norm)
        ctx.save_for_backward(x, torch.cat(norms, dim=1), W1, b1, W2, b2)
        return total / x.shape[1]

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple[Tensor | None, ...]:
        x, norms, W1, b1, W2, b2 = ctx.saved_tensors
        wide, dtype = norms.dtype, W1.dtype
        with no_autocast(x.device):
            u = (g @ W2.to(wide)).unsqueeze(1)  # (B, 1, nc)
            offset = (g @ b2.to(wide)).unsqueeze(1)  # (B, 1)
            gram = (W2.to(wide).T @ W2.to(wide)).to(dtype)
            shift = (b2.to(wide) @ W2.to(wide)).to(dtype)
            gradient = torch.empty_like(x)
            start = 0
            for chunk in x.split(CHUNK, dim=1):
                stop = start + chunk.shape[1]
                norm = norms[:, start:stop]
                w = 1 / (norm + EPS)
                h = F.linear(chunk.to(dtype), W1, b1).relu_()
                along = torch.bmm(h, u.transpose(1, 2).to(dtype)).squeeze(2).to(wide) + offset  # y_i . g
                pull = w.square() * along / norm.clamp_min(EPS)
                dh = F.linear(h, gram, shift).mul_(-pull.unsqueeze(2).to(dtype))
                dh = torch.baddbmm(dh, w.unsqueeze(2).to(dtype), u.to(dtype))  # + w_i u
                dh = torch.ops.aten.threshold_backward(dh, h, 0)  # where h_i > 0
                gradient[:, start:stop] = (dh / x.shape[1]) @ W1
                start = stop
        return gradient, None, None, None, None


def unit_mean(mlp: nn.Sequential, patches: Tensor) -> Tensor:
    """Mean over (B, n, C) patches of the unit-length projections by the frozen ``Linear-ReLU-Linear`` ``mlp``."""
    first, _, last = mlp
    return UnitMean.apply(patches, first.weight, first.bias, last.weight, last.bias)
