"""What a CPU computes faster than torch's own kernel does, to the same values."""

import torch
import torch.nn.functional as F


def is_channels_last(x: torch.Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


class Halve(torch.autograd.Function):
    """The usual ``Downsample``, its gradient by shifted additions (the depthwise one is far slower on a CPU)."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, filt: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(filt)
        ctx.size = x.shape[2:]
        return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), filt, stride=2, groups=x.shape[1])

    @staticmethod
    def backward(ctx, grad: torch.Tensor):
        return HalveTransposed.apply(grad, *ctx.saved_tensors, ctx.size), None


class HalveTransposed(torch.autograd.Function):
    """The gradient of ``Halve``, itself differentiable (gradient penalties)."""

    @staticmethod
    def forward(ctx, grad: torch.Tensor, filt: torch.Tensor, size: torch.Size) -> torch.Tensor:
        ctx.save_for_backward(filt)
        return spread(spread(grad / 16, 3, size[1]), 2, size[0])

    @staticmethod
    def backward(ctx, grad: torch.Tensor):
        return Halve.apply(grad, *ctx.saved_tensors), None, None


def spread(grad: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    """Gradient of y[i] = x[2i-1] + 2 x[2i] + x[2i+1] along ``dim`` for ``size`` pixels x, reflected."""
    shape = [*grad.shape[:dim], size, *grad.shape[dim + 1 :]]
    layout = torch.channels_last if is_channels_last(grad) else torch.contiguous_format
    out = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=layout)
    even, odd = (out[:, :, k::2] if dim == 2 else out[..., k::2] for k in (0, 1))
    n = grad.shape[dim]
    torch.add(grad, grad, out=even)
    torch.add(grad.narrow(dim, 0, n - 1), grad.narrow(dim, 1, n - 1), out=odd.narrow(dim, 0, n - 1))
    end, odd_end = grad.narrow(dim, n - 1, 1), odd.narrow(dim, odd.shape[dim] - 1, 1)
    if size % 2:  # the pixel before the last stands for the one after it, too
        odd_end.add_(end)
    else:
        odd_end.copy_(end)
    odd.narrow(dim, 0, 1).add_(grad.narrow(dim, 0, 1))
    return out
