"""The training step of the published CUT and NEGCUT code, straight from the equations and without any saving.

scripts/dev/benchmark.py compares speed and operations with it, the tests hold the fast step against it. Every branch
has its own encoder passes, in the N phase and again in the G phase; every backward pass goes through everything; F_
keeps its full maps; blurs are depthwise convolutions.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.losses import GANLoss
from models.networks import Downsample, InstanceNorm, Upsample


class PlainStep:
    """Copies a model's networks and trains the copies with the model's options and random draws.

    norm "exact": instance norm as a formula. "torch": ``F.instance_norm``, whose gradient on a CPU is wrong at batch 1
    where the incoming gradient is channels-last, as it is behind the projection of patches.
    """

    def __init__(self, model, norm: str = "exact"):
        self.opt, self.model, self.layers = model.opt, model, model.nce_layers
        self.nets = {name: copy.deepcopy(net) for name, net in model.networks().items()}
        for net in self.nets.values():
            make_plain(net.requires_grad_(True), norm)
        self.G, self.D, self.F = (self.nets[name] for name in "GDF")
        self.N, self.F_ = self.nets.get("N"), self.nets.get("F_")
        opt = self.opt
        self.criterion = GANLoss(opt.gan_mode).to(model.device)
        self.optimizers = {}
        for name in ("G", "D", "F", "N"):
            if name in self.nets and any(True for _ in self.nets[name].parameters()):
                lr = opt.lr_N if name == "N" else opt.lr
                self.optimizers[name] = torch.optim.Adam(self.nets[name].parameters(), lr, (opt.beta1, opt.beta2))

    def optimize_parameters(self, batch: dict) -> dict[str, Tensor]:
        """One step on ``{"A", "B"}``; returns the losses under their official names."""
        opt = self.opt
        A, B = (batch["A"], batch["B"]) if opt.direction == "AtoB" else (batch["B"], batch["A"])
        inputs = torch.cat((A, B)) if opt.nce_idt else A
        mirrored = opt.flip_equivariance and self.model.draw_flip()
        fakes = self.G(inputs.flip(3) if mirrored else inputs)
        pairs = list(zip((A, B), fakes.split(len(A)), strict=False))
        losses = {}

        losses["D_fake"] = self.criterion(self.D(pairs[0][1].detach()), False).mean()
        losses["D_real"] = self.criterion(self.D(B), True).mean()
        self.update((losses["D_fake"] + losses["D_real"]) / 2, "D")

        if self.N is not None:
            nce, negatives = self.contrastive("N", pairs, mirrored)
            half = opt.num_patches // 2
            distances = [[(n[:, :half] - n[:, half : 2 * half]).abs().mean() for n in layers] for layers in negatives]
            diversity = [-sum(layers) / len(layers) for layers in distances]
            diversity = sum(diversity) / len(diversity) if opt.diversity_both else diversity[-1]
            losses["N"] = -sum(nce) / len(nce) + opt.lambda_MS_neg * diversity
            self.update(losses["N"], "N")

        losses["G_GAN"] = self.criterion(self.D(pairs[0][1]), True).mean() * opt.lambda_GAN
        nce, _ = self.contrastive("G", pairs, mirrored)
        losses |= dict(zip(("NCE", "NCE_Y"), nce, strict=False))
        losses["G"] = losses["G_GAN"] + sum(nce) / len(nce)
        self.update(losses["G"], "G", "F")
        if self.F_ is not None:
            for average, weight in zip(self.F_.parameters(), self.F.parameters(), strict=True):
                average.data = 0.9 * average.data + 0.1 * weight.data
        return losses

    def update(self, loss: Tensor, *names: str) -> None:
        for net in self.nets.values():
            net.zero_grad()
        loss.backward()
        for name in names:
            if name in self.optimizers:
                self.optimizers[name].step()

    def contrastive(self, phase: str, pairs: list, mirrored: bool) -> tuple[list[Tensor], list[list[Tensor]]]:
        """NCE of each (source, translation), and the negatives (B, n, C) of each layer."""
        opt, losses, all_negatives = self.opt, [], []
        for branch, (source, translation) in enumerate(pairs):
            sources = self.G(source, self.layers, encode_only=True)
            with torch.set_grad_enabled(phase == "G"):
                translations = self.G(translation, self.layers, encode_only=True)
            if mirrored:
                translations = [f.flip(3) for f in translations]
            sizes = [16 if opt.netF == "reshape" else f.shape[2] * f.shape[3] for f in sources]
            patch_ids = [self.model.draw_patch_ids(phase, branch, layer, n) for layer, n in enumerate(sizes)]
            negatives = [None] * len(sources)
            if self.N is not None:
                noise = [self.model.draw_noise(phase, branch, layer, len(source)) for layer in range(len(sources))]
                negatives = [self.negatives(*x) for x in zip(range(len(sources)), sources, noise, strict=True)]
            total = 0
            for layer, (s, t) in enumerate(zip(sources, translations, strict=True)):
                if opt.netF == "reshape":
                    s, t = F.adaptive_avg_pool2d(s, 4), F.adaptive_avg_pool2d(t, 4)
                key = unit(self.mlp("F", layer, rows(s)[:, patch_ids[layer]])).detach()
                query = unit(self.mlp("F", layer, rows(t)[:, patch_ids[layer]]))
                query = query.detach() if phase == "N" else query
                total = total + info_nce(query, key, negatives[layer], opt).mean()
            losses.append(opt.lambda_NCE * total / len(sources))
            all_negatives.append(negatives)
        return losses, all_negatives

    def negatives(self, layer: int, source: Tensor, z: Tensor) -> Tensor:
        """n_j = unit(MLP([m, z_j])), m from what ``--netN`` says."""
        if self.opt.netN == "neg_param":
            return unit(self.N.neg_sample[layer]).expand(len(source), -1, -1)
        if self.opt.netN == "neg_gen":
            source = source.detach() if self.opt.detach_negatives else source
            m = getattr(self.N, f"conv_{layer}")(source).mean(dim=(2, 3))
        else:
            m = unit(self.mlp("F_" if self.opt.netN == "neg_gen_momentum" else "F", layer, rows(source))).mean(dim=1)
            m = m.detach() if self.opt.detach_negatives else m
        return unit(self.mlp("N", layer, torch.cat((m[:, None].expand(-1, z.shape[1], -1), z), dim=2)))

    def mlp(self, net: str, layer: int, x: Tensor) -> Tensor:
        return getattr(self.nets[net], f"mlp_{layer}", nn.Identity())(x)  # --netF sample and reshape have none


def make_plain(net: nn.Module, norm: str = "exact") -> None:
    """Give the instance norms and blurs in ``net`` the forward of the plain step."""
    for module in net.modules():
        if isinstance(module, InstanceNorm):
            module.forward = F.instance_norm if norm == "torch" else instance_norm
        elif isinstance(module, Downsample | Upsample):
            module.forward = Blur(module)


def rows(features: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C)."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def unit(x: Tensor) -> Tensor:
    return x / (x.pow(2).sum(dim=-1, keepdim=True).sqrt() + 1e-7)


def info_nce(query: Tensor, key: Tensor, negatives: Tensor | None, opt) -> Tensor:
    """Cross-entropy of picking the own key among it and the negatives, one value a query."""
    if opt.nce_includes_all_negatives_from_minibatch:
        query, key = query.flatten(0, 1)[None], key.flatten(0, 1)[None]
        negatives = None if negatives is None else negatives.flatten(0, 1)[None]
    others = query @ (key if negatives is None else negatives).transpose(1, 2)
    if negatives is None:
        others.diagonal(dim1=1, dim2=2).fill_(-10)
    logits = torch.cat(((query * key).sum(dim=2, keepdim=True), others), dim=2).flatten(0, 1) / opt.nce_T
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device), reduction="none")


def instance_norm(x: Tensor) -> Tensor:
    mean = x.mean(dim=(2, 3), keepdim=True)
    return (x - mean) / ((x - mean).pow(2).mean(dim=(2, 3), keepdim=True) + 1e-5).sqrt()


class Blur:
    """The anti-aliased resampling of ``module`` as a depthwise convolution."""

    def __init__(self, module: nn.Module):
        self.filt, self.up = module.filt, isinstance(module, Upsample)

    def __call__(self, x: Tensor) -> Tensor:
        if not self.up:
            return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=x.shape[1])
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv_transpose2d(x, self.filt, stride=2, padding=2, groups=x.shape[1])[:, :, 1:-1, 1:-1]
