"""Batch norm over the images of all processes of a run (``--normG syncbatch``)."""

import functools

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from util import distributed


class SyncBatchNorm(nn.SyncBatchNorm):
    """torch's on GPUs; on a CPU, which that refuses, the same mean and variance. Its weights go by the names of batch
    norm's. In one process, and for what is only translated (inference mode), where each rank has images of its own and
    not equally many, it is batch norm.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        keep_from_the_compiler()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        if not (self.training and distributed.is_distributed()) or torch.is_inference_mode_enabled():
            return _BatchNorm.forward(self, x)
        return super().forward(x) if x.device.type != "cpu" else self.normalize(x)

    def normalize(self, x: Tensor) -> Tensor:
        """(x - mean) / sqrt(variance + eps) * weight + bias over all ranks' (B, H, W), which may differ in number."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = SumOverRanks.apply(wide.new_tensor(x.numel() // x.shape[1], dtype=torch.float64)).to(wide)
        mean = SumOverRanks.apply(wide.sum(dim=(0, 2, 3))) / count
        centered = wide - mean.view(1, -1, 1, 1)
        variance = SumOverRanks.apply(centered.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centered * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)


@functools.cache
def keep_from_the_compiler() -> None:
    """Above the method it would import torch's compiler, a third of every program's start."""
    SyncBatchNorm.normalize = torch.compiler.disable(SyncBatchNorm.normalize)


class SumOverRanks(torch.autograd.Function):
    """Every rank's loss depends on every rank's part, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, part: Tensor) -> Tensor:
        return distributed.total(part)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return distributed.total(gradient)


def normalizes_alone(net: nn.Module) -> bool:
    """Whether a norm of ``net`` takes its statistics from one process's images where there are several."""
    return any(isinstance(m, _BatchNorm) and not isinstance(m, nn.SyncBatchNorm) for m in net.modules())
