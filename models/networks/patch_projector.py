"""F: projects patches of encoder features to vectors on the unit sphere, one two-layer MLP per feature layer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from models.networks.init import init_net
from models.networks.unit_mean import EPS, chunk_size, unit_mean
from util.errors import UserError
from util.launches import each_layer


def l2_normalize(x: Tensor) -> Tensor:
    """``x / (||x|| + 1e-7)`` along the last axis, in at least fp32."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x / (torch.linalg.vector_norm(x, dim=-1, keepdim=True) + EPS)


def gather_patches(features: Tensor, patch_ids: Tensor) -> Tensor:
    """(B, C, H, W) at row-major positions (P,) -> (B, P, C)."""
    if features.is_contiguous():
        return features.flatten(2).index_select(2, patch_ids).transpose(1, 2)
    return features.permute(0, 2, 3, 1).flatten(1, 2).index_select(1, patch_ids)


class PatchProjector(nn.Module):
    """``Linear-ReLU-Linear`` to ``nc`` channels, then unit length, for each layer's patches.

    ``channels``: the encoder's widths at the chosen layers. Without them (files written for the official code) the
    MLPs are made in the first forward. ``use_mlp`` False (``--netF sample``): the features themselves, normalized.
    """

    entries = ("project", "spatial_mean")  # methods that models call, besides forward

    def __init__(self, channels: list[int] | None, nc: int = 256, use_mlp: bool = True, **init):
        super().__init__()
        self.nc, self.use_mlp, self.init = nc, use_mlp, init
        self.channels: list[int] | None = None
        if channels is not None:
            self.create_mlps(channels)

    def create_mlps(self, channels: list[int]) -> None:
        self.channels = list(channels)
        for layer, width in enumerate(self.channels if self.use_mlp else []):
            mlp = nn.Sequential(nn.Linear(width, self.nc), nn.ReLU(), nn.Linear(self.nc, self.nc))
            self.add_module(f"mlp_{layer}", mlp)
        init_net(self, **self.init)

    def out_channels(self) -> list[int]:
        return [self.nc] * len(self.channels) if self.use_mlp else self.channels

    def embed(self, layer: int, patches: Tensor) -> Tensor:
        """(..., C_layer) patches of one layer -> (..., nc) of unit length."""
        return l2_normalize(self.mapped(layer, patches))

    def mapped(self, layer: int, patches: Tensor) -> Tensor:
        return self.get_submodule(f"mlp_{layer}")(patches) if self.use_mlp else patches

    def project(self, features: list[Tensor], patch_ids: list[Tensor]) -> list[Tensor]:
        """Features (B, C, H, W) and positions (P,) of each layer -> (B, P, nc) of each layer."""
        gathered = (gather_patches(f, i) for f, i in zip(features, patch_ids, strict=True))
        return each_layer(l2_normalize, [self.mapped(layer, patches) for layer, patches in enumerate(gathered)])

    def positions(self, feature: Tensor) -> int:
        """How many positions of ``feature`` (B, C, H, W) there are to choose from."""
        return feature.shape[2] * feature.shape[3]

    def spatial_mean(self, features: list[Tensor]) -> list[Tensor]:
        """Mean projection of *all* positions, (B, nc) a layer: a whole map of layer 0 would take 70 MB at 256 x 256."""
        return [self._mean(layer, f.permute(0, 2, 3, 1).flatten(1, 2)) for layer, f in enumerate(features)]

    def _mean(self, layer: int, patches: Tensor) -> Tensor:
        mlp = self.get_submodule(f"mlp_{layer}") if self.use_mlp else None
        if mlp is not None and not mlp[0].weight.requires_grad:
            return unit_mean(mlp, patches)

        def total(chunk):
            return self.embed(layer, chunk).sum(dim=1)

        chunks = patches.split(chunk_size(patches, self.nc), dim=1)
        if torch.is_grad_enabled():  # F learns through its own mean: project again in the backward pass
            chunks = [checkpoint(total, c, use_reentrant=False, preserve_rng_state=False) for c in chunks]
        else:
            chunks = [total(c) for c in chunks]
        return sum(chunks) / patches.shape[1]

    def forward(self, feats: list[Tensor], num_patches: int = 64, patch_ids: list[Tensor] | None = None):
        """The official interface: ([(B * P, nc)] a layer, patch_ids); draws the positions if none are given."""
        if self.channels is None:
            self.create_mlps([f.shape[1] for f in feats])
        if patch_ids is None:
            counts = [self.positions(f) for f in feats]
            kept = [min(num_patches, n) if num_patches > 0 else n for n in counts]
            patch_ids = [torch.randperm(n, device=feats[0].device)[:k] for n, k in zip(counts, kept, strict=True)]
        return [p.flatten(0, 1) for p in self.project(feats, patch_ids)], patch_ids


class PooledProjector(PatchProjector):
    """``--netF reshape``: the 4 x 4 grid of pooled features, normalized; nothing is learned."""

    GRID = 4

    def __init__(self, channels: list[int] | None):
        super().__init__(channels, use_mlp=False)

    def positions(self, feature: Tensor) -> int:
        return self.GRID**2

    def project(self, features: list[Tensor], patch_ids: list[Tensor]) -> list[Tensor]:
        return super().project([functional.adaptive_avg_pool2d(f, self.GRID) for f in features], patch_ids)


def define_F(
    input_nc,
    netF: str,
    norm: str = "batch",
    use_dropout: bool = False,
    init_type: str = "normal",
    init_gain: float = 0.02,
    no_antialias: bool = False,
    gpu_ids: Sequence[int] = (),
    opt=None,
    channels: list[int] | None = None,
) -> PatchProjector:
    """F by name, with CUT's signature; ``channels`` (the encoder's widths) makes its MLPs at once."""
    if netF == "mlp_sample":
        return PatchProjector(channels, opt.netF_nc, init_type=init_type, init_gain=init_gain, gpu_ids=gpu_ids)
    if netF == "sample":
        return PatchProjector(channels, use_mlp=False)
    if netF == "reshape":
        return PooledProjector(channels)
    raise UserError(f"--netF {netF}: choose from mlp_sample, sample, reshape")
