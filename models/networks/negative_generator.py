"""N: makes negatives for each image out of noise and a summary of the image's features (NEGCUT, section 3).

A negative source has two methods. ``summarize`` takes what it needs of the source image's features, once a step:
nothing in it depends on N's weights. ``forward(summary, noise)`` makes the negatives, once a phase.
``noise_nc`` says how wide the noise is, ``needs_average`` whether there has to be an F_.

It is made with the widths of the encoder's layers (``channels``), of F's projections of them (``out_channels``) and of
its own MLPs (``nc``), and with how many negatives an image gets.
"""

import torch
from torch import Tensor, nn

from models.networks.patch_projector import PatchProjector, l2_normalize
from util.errors import UserError
from util.launches import each_layer


class NegativeMLP(nn.Module):
    """n_j = normalize(MLP_l([m, z_j])): negatives from a summary m of layer l and noise z_j ~ N(0, I_64)."""

    noise_nc = 64
    needs_average = False

    def __init__(self, channels: list[int], out_channels: list[int], nc: int, num_patches: int):
        super().__init__()
        for layer, (width, out) in enumerate(zip(self.summary_channels(out_channels, nc), out_channels, strict=True)):
            mlp = nn.Sequential(nn.Linear(width + self.noise_nc, nc), nn.ReLU(), nn.Linear(nc, out))
            self.add_module(f"mlp_{layer}", mlp)

    def summary_channels(self, out_channels: list[int], nc: int) -> list[int]:
        return out_channels

    def forward(self, summary: list[Tensor], noise: list[Tensor]) -> list[Tensor]:
        """Summary m (B, width) and noise (B, n, 64) of each layer -> negatives (B, n, out) of unit length."""
        negatives = []
        for layer, (m, z) in enumerate(zip(self.means(summary), noise, strict=True)):
            m = m.unsqueeze(1).expand(-1, z.shape[1], -1)
            negatives.append(self.get_submodule(f"mlp_{layer}")(torch.cat((m, z.to(m.dtype)), dim=2)))
        return each_layer(l2_normalize, negatives)

    def means(self, summary: list[Tensor]) -> list[Tensor]:
        """m of each layer, (B, width)."""
        return summary


class MomentumNegatives(NegativeMLP):
    """``neg_gen_momentum``: m is the mean projection of the image by F_, the moving average of F."""

    needs_average = True

    def summarize(self, features: list[Tensor], netF: PatchProjector, netF_: PatchProjector | None) -> list[Tensor]:
        return netF_.spatial_mean(features)


class ProjectedNegatives(NegativeMLP):
    """``neg_gen_al``: m is the mean projection by F itself, which learns through it in the G step."""

    def summarize(self, features: list[Tensor], netF: PatchProjector, netF_: PatchProjector | None) -> list[Tensor]:
        return netF.spatial_mean(features)


class ConvNegatives(NegativeMLP):
    """``neg_gen``: m is the spatial mean of two 1x1 convolutions of N's own on the encoder's features."""

    def __init__(self, channels: list[int], out_channels: list[int], nc: int, num_patches: int):
        super().__init__(channels, out_channels, nc, num_patches)
        for layer, width in enumerate(channels):
            self.add_module(f"conv_{layer}", nn.Sequential(nn.Conv2d(width, nc, 1), nn.ReLU(), nn.Conv2d(nc, nc, 1)))

    def summary_channels(self, out_channels: list[int], nc: int) -> list[int]:
        return [nc] * len(out_channels)

    def summarize(self, features: list[Tensor], netF: PatchProjector, netF_: PatchProjector | None) -> list[Tensor]:
        return features

    def means(self, summary: list[Tensor]) -> list[Tensor]:
        return [self.get_submodule(f"conv_{layer}")(f).mean(dim=(2, 3)) for layer, f in enumerate(summary)]


class LearnedNegatives(nn.Module):
    """``neg_param``: one learned table of ``num_patches`` negatives a layer, shared by all images."""

    noise_nc = 0
    needs_average = False

    def __init__(self, channels: list[int], out_channels: list[int], nc: int, num_patches: int):
        super().__init__()
        if len(set(out_channels)) > 1:
            raise UserError("--netN neg_param needs --netF mlp_sample: its table has the same width at every layer")
        self.neg_sample = nn.Parameter(torch.empty(len(channels), 1, num_patches, out_channels[0]))
        nn.init.xavier_normal_(self.neg_sample)

    def summarize(self, features: list[Tensor], netF: PatchProjector, netF_: PatchProjector | None) -> list[Tensor]:
        return [f.new_empty(f.shape[0], 0) for f in features]  # only the number of images

    def forward(self, summary: list[Tensor], noise: list[Tensor]) -> list[Tensor]:
        tables = l2_normalize(self.neg_sample)
        return [table.expand(m.shape[0], -1, -1) for table, m in zip(tables, summary, strict=True)]


SOURCES = {
    "neg_gen_momentum": MomentumNegatives,
    "neg_gen": ConvNegatives,
    "neg_gen_al": ProjectedNegatives,
    "neg_param": LearnedNegatives,
}
