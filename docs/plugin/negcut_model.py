"""NEGCUT (Wang et al., ICCV 2021) in one file, for a clone of taesungp/contrastive-unpaired-translation.

Copy this file into its models/ and train with

    python train.py --dataroot ./datasets/horse2zebra --name h2z --model negcut
    python train.py --dataroot ./datasets/horse2zebra --name h2z --model negcut --continue_train --epoch_count 6
    python test.py --dataroot ./datasets/horse2zebra --name h2z --model negcut

It needs nothing but that clone (base_model.py and networks.py). Checkpoints have the names and keys of the published
NEGCUT code: latest_net_G.pth, D, F, N and F_. Plain rather than fast; every term stands where it is computed.

    x' = G(x); a patch of x' is the query q, the patch of x at the same place its key k, both projected by F
    n_j = unit(N([m, z_j])): negatives made from noise z_j ~ N(0, I_64) and m, the mean projection of x by F_
    NCE = mean of -log( exp(q.k/T) / (exp(q.k/T) + sum_j exp(q.n_j/T)) )
    a step: D, then N (makes NCE large, and its negatives unlike each other), then G and F, then F_ <- 0.9 F_ + 0.1 F
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import util.util as util

from . import networks
from .base_model import BaseModel

NOISE_NC = 64
SOURCES = ["neg_gen_momentum", "neg_gen", "neg_gen_al", "neg_param"]


def unit(x):
    """x / (||x|| + 1e-7) along the last axis."""
    return x / (x.norm(dim=-1, keepdim=True) + 1e-7)


def patches(feature, patch_ids=None):
    """(B, C, H, W) -> the vectors (B, P, C) at the row-major positions ``patch_ids``, or at all of them.

    Taken so that the gradient comes back with the channels outermost: with the channels innermost the gradient of
    nn.InstanceNorm2d is wrong on a CPU at batch size 1, without a word.
    """
    vectors = feature.flatten(2)
    return (vectors if patch_ids is None else vectors[:, :, patch_ids]).transpose(1, 2)


def mlp(input_nc, nc):
    return nn.Sequential(nn.Linear(input_nc, nc), nn.ReLU(), nn.Linear(nc, nc))


class PatchProjector(nn.Module):
    """F, and its moving average F_: patches of each encoder layer -> vectors of length 1, by one MLP a layer."""

    def __init__(self, channels, nc):
        super().__init__()
        for layer, input_nc in enumerate(channels):
            self.add_module(f"mlp_{layer}", mlp(input_nc, nc))

    def forward(self, features, patch_ids=None):
        """Features (B, C, H, W) of each layer -> (B, P, nc) of each layer, at all positions if none are given."""
        vectors = map(patches, features, patch_ids or [None] * len(features))
        return [unit(getattr(self, f"mlp_{layer}")(x)) for layer, x in enumerate(vectors)]


class NegativeGenerator(nn.Module):
    """N: ``num_patches`` negatives for each image and layer, of length 1."""

    def __init__(self, netN, channels, nc, num_patches):
        super().__init__()
        self.netN = netN
        if netN == "neg_param":  # one table for all images
            self.neg_sample = nn.Parameter(torch.empty(len(channels), 1, num_patches, nc))
            nn.init.xavier_normal_(self.neg_sample)
            return
        for layer, input_nc in enumerate(channels):
            if netN == "neg_gen":  # a summary of its own, from the encoder's features
                conv = nn.Sequential(nn.Conv2d(input_nc, nc, 1), nn.ReLU(), nn.Conv2d(nc, nc, 1))
                self.add_module(f"conv_{layer}", conv)
            self.add_module(f"mlp_{layer}", mlp(nc + NOISE_NC, nc))

    def forward(self, context, noise):
        """What ``NEGCUTModel.context`` gives and noise (B, n, 64), of each layer -> negatives (B, n, nc)."""
        negatives = []
        for layer, (m, z) in enumerate(zip(context, noise)):
            if self.netN == "neg_param":
                negatives.append(unit(self.neg_sample[layer]).expand(len(m), -1, -1))
                continue
            if self.netN == "neg_gen":
                m = getattr(self, f"conv_{layer}")(m).mean(dim=(2, 3))
            m = m[:, None].expand(-1, z.shape[1], -1)
            negatives.append(unit(getattr(self, f"mlp_{layer}")(torch.cat((m, z), dim=2))))
        return negatives


class NEGCUTModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        add = parser.add_argument
        modes = ["NEGCUT", "negcut", "FastNEGCUT", "fastnegcut"]
        flag = dict(type=util.str2bool, nargs="?", const=True)
        add("--NEGCUT_mode", default="NEGCUT", choices=modes, help="preset; a flag that you give wins")
        add("--netN", default="neg_gen_momentum", choices=SOURCES, help="what the negatives are made from")
        add("--lambda_MS_neg", type=float, default=1.0, help="weight of the negatives' diversity")
        add("--lr_N", type=float, default=None, help="learning rate of N; that of --lr unless given")
        add("--lambda_GAN", type=float, default=1.0, help="weight of the adversarial loss")
        add("--lambda_NCE", type=float, default=1.0, help="weight of the contrastive loss")
        add("--nce_idt", default=True, help="also the contrastive loss of y and G(y)", **flag)
        add("--nce_layers", default="0,4,8,12,16", help="layers of G whose features are compared")
        add("--nce_includes_all_negatives_from_minibatch", default=False, help="negatives of all images", **flag)
        add("--netF", default="mlp_sample", choices=["mlp_sample"], help="how features are projected")
        add("--netF_nc", type=int, default=256, help="width of the projection")
        add("--nce_T", type=float, default=0.07, help="temperature of the contrastive loss")
        add("--num_patches", type=int, default=256, help="queries a layer (fewer where it has fewer), and negatives")
        add("--flip_equivariance", default=False, help="mirror G's input in half of the steps", **flag)
        parser.set_defaults(pool_size=0)
        opt, _ = parser.parse_known_args()
        if opt.NEGCUT_mode.lower() == "fastnegcut":
            parser.set_defaults(nce_idt=False, lambda_NCE=10.0, flip_equivariance=True, n_epochs=150, n_epochs_decay=50)
        return parser

    def __init__(self, opt):
        BaseModel.__init__(self, opt)
        self.nce_layers = [int(layer) for layer in opt.nce_layers.split(",")]
        init = (opt.init_type, opt.init_gain, opt.no_antialias)
        shape = (opt.input_nc, opt.output_nc, opt.ngf, opt.netG, opt.normG, not opt.no_dropout)
        self.netG = networks.define_G(*shape, *init, opt.no_antialias_up, self.gpu_ids, opt)
        self.model_names = ["G"]
        self.visual_names = ["real_A", "fake_B"]
        if not self.isTrain:
            return
        if opt.num_patches < 2:
            raise ValueError(f"--num_patches {opt.num_patches}: N makes as many negatives, so at least 2")
        self.model_names += ["F", "D", "N"]
        self.loss_names = ["G_GAN", "D_real", "D_fake", "G", "NCE", "N"] + (["NCE_Y"] if opt.nce_idt else [])
        self.visual_names += ["real_B"] + (["idt_B"] if opt.nce_idt else [])
        shape = (opt.output_nc, opt.ndf, opt.netD, opt.n_layers_D, opt.normD)
        self.netD = networks.define_D(*shape, *init, self.gpu_ids, opt)
        channels = self.encoder_channels()
        self.netF = self.initialize(PatchProjector(channels, opt.netF_nc))
        self.netN = self.initialize(NegativeGenerator(opt.netN, channels, opt.netF_nc, opt.num_patches))
        if opt.netN == "neg_gen_momentum":
            self.model_names += ["F_"]
            self.netF_ = self.initialize(PatchProjector(channels, opt.netF_nc))
            self.set_requires_grad(self.netF_, False)
        self.criterionGAN = networks.GANLoss(opt.gan_mode).to(self.device)
        self.optimizer_G, self.optimizer_D, self.optimizer_F = map(self.make_adam, (self.netG, self.netD, self.netF))
        self.optimizer_N = self.make_adam(self.netN, opt.lr_N)
        self.optimizers = [self.optimizer_G, self.optimizer_D, self.optimizer_F, self.optimizer_N]

    def encoder_channels(self):
        """The widths of G's features, from one empty image: F and N exist before the first step."""
        with torch.no_grad():
            image = torch.zeros(1, self.opt.input_nc, self.opt.crop_size, self.opt.crop_size, device=self.device)
            features = self.netG.eval()(image, self.nce_layers, encode_only=True)
        self.netG.train()
        if len(features) != len(self.nce_layers):
            raise ValueError(f"--nce_layers {self.opt.nce_layers}: --netG {self.opt.netG} has not all of them")
        return [feature.shape[1] for feature in features]

    def initialize(self, net):
        return networks.init_net(net, self.opt.init_type, self.opt.init_gain, self.gpu_ids)

    def make_adam(self, net, lr=None):
        return torch.optim.Adam(net.parameters(), lr=lr or self.opt.lr, betas=(self.opt.beta1, self.opt.beta2))

    def parallelize(self):
        """G and D on every GPU, the small networks on the first. On a CPU nothing is wrapped: CUT's own would save
        weights called ``module.``, which its test.py refuses."""
        if self.gpu_ids:
            for name in self.model_names:
                gpus = self.gpu_ids if name in ("G", "D") else self.gpu_ids[:1]
                setattr(self, "net" + name, nn.DataParallel(getattr(self, "net" + name), gpus))

    def set_input(self, input):
        A, B = ("A", "B") if self.opt.direction == "AtoB" else ("B", "A")
        self.real_A, self.image_paths = input[A].to(self.device), input[A + "_paths"]
        if B in input:  # a folder to be translated may stand alone
            self.real_B = input[B].to(self.device)

    def forward(self):
        """x' = G(x) and, with --nce_idt, y' = G(y), in one pass; mirrored or not."""
        self.flipped = self.isTrain and self.opt.flip_equivariance and self.draw_flip()
        identity = self.isTrain and self.opt.nce_idt
        real = torch.cat((self.real_A, self.real_B)) if identity else self.real_A
        fake = self.netG(real.flip(3) if self.flipped else real)
        self.fake_B = fake[: len(self.real_A)]
        if identity:
            self.idt_B = fake[len(self.real_A) :]

    def optimize_parameters(self):
        self.forward()
        self.update_D()
        pairs = []  # features of each source and of its translation
        if self.opt.lambda_NCE > 0:
            pairs.append(self.encode(self.real_A, self.fake_B))
            if self.opt.nce_idt:
                pairs.append(self.encode(self.real_B, self.idt_B))
        contexts = [self.context(source) for source, _ in pairs]
        self.update_N(pairs, contexts)
        self.update_G_and_F(pairs, contexts)
        if self.opt.netN == "neg_gen_momentum":
            with torch.no_grad():
                for average, weight in zip(self.netF_.parameters(), self.netF.parameters()):
                    average.mul_(0.9).add_(weight, alpha=0.1)

    def encode(self, source, translation):
        """Features of both, the translation's mirrored back to where the source's are."""
        features = self.netG(translation, self.nce_layers, encode_only=True)
        if self.flipped:
            features = [feature.flip(3) for feature in features]
        return self.netG(source, self.nce_layers, encode_only=True), features

    def context(self, source):
        """What N may know of the source: the mean projection of all its positions by F_ (neg_gen_momentum) or by F
        (neg_gen_al), or the features themselves. Gradient flows through it into G, as in the published code."""
        if self.opt.netN in ("neg_gen", "neg_param"):
            return source
        net = self.netF_ if self.opt.netN == "neg_gen_momentum" else self.netF
        return [projected.mean(dim=1) for projected in net(source)]

    def update_D(self):
        """(GAN(D(x'), fake) + GAN(D(y), real)) / 2."""
        self.loss_D_fake = self.loss_D_real = 0.0
        if self.opt.lambda_GAN > 0:
            self.set_requires_grad(self.netD, True)
            self.optimizer_D.zero_grad()
            loss_fake = self.criterionGAN(self.netD(self.fake_B.detach()), False).mean()
            loss_real = self.criterionGAN(self.netD(self.real_B), True).mean()
            ((loss_fake + loss_real) * 0.5).backward()
            self.optimizer_D.step()
            self.loss_D_fake, self.loss_D_real = loss_fake.detach(), loss_real.detach()

    def update_N(self, pairs, contexts):
        """-NCE + lambda_MS_neg * mean over layers of -|n[first half] - n[second half]|. Nothing but N learns. As in the
        published code the second term sees the negatives of the last pair alone: with --nce_idt those of y."""
        self.loss_N = 0.0
        if not pairs:
            return
        self.set_requires_grad(self.netN, True)
        self.optimizer_N.zero_grad()
        nce = 0.0
        for branch, (pair, context) in enumerate(zip(pairs, contexts)):
            loss, negatives = self.contrastive_loss("N", branch, *pair, [m.detach() for m in context])
            nce = nce + loss / len(pairs)
        half = self.opt.num_patches // 2
        distances = [(n[:, :half] - n[:, half : 2 * half]).abs().mean() for n in negatives]
        loss_N = -nce - self.opt.lambda_MS_neg * sum(distances) / len(distances)
        loss_N.backward()
        self.optimizer_N.step()
        self.loss_N = loss_N.detach()

    def update_G_and_F(self, pairs, contexts):
        """lambda_GAN * GAN(D(x'), real) + NCE, with the new D and N, which are frozen."""
        self.set_requires_grad([self.netD, self.netN], False)
        self.optimizer_G.zero_grad()
        self.optimizer_F.zero_grad()
        loss_GAN = torch.zeros((), device=self.device)
        if self.opt.lambda_GAN > 0:
            loss_GAN = self.criterionGAN(self.netD(self.fake_B), True).mean() * self.opt.lambda_GAN
        nce = [self.contrastive_loss("G", i, *pair, contexts[i])[0] for i, pair in enumerate(pairs)]
        loss_G = loss_GAN + sum(nce) / max(1, len(nce))
        if loss_G.requires_grad:
            loss_G.backward()
            self.optimizer_G.step()
            self.optimizer_F.step()  # without a contrastive loss F has no gradient and stays
        self.loss_G_GAN, self.loss_G = loss_GAN.detach(), loss_G.detach()
        self.loss_NCE, self.loss_NCE_Y = ([loss.detach() for loss in nce] + [0.0, 0.0])[:2]

    def contrastive_loss(self, phase, branch, source, translation, context):
        """lambda_NCE * mean over layers of InfoNCE at fresh positions; the negatives (B, n, nc) of each layer."""
        positions = [feature.shape[2] * feature.shape[3] for feature in source]
        patch_ids = [self.draw_patch_ids(phase, branch, layer, n) for layer, n in enumerate(positions)]
        noise = [self.draw_noise(phase, branch, layer, len(source[0])) for layer in range(len(source))]
        with torch.set_grad_enabled(phase == "G"):  # while N learns, F does not
            queries = self.netF(translation, patch_ids)
        with torch.no_grad():
            keys = self.netF(source, patch_ids)
        negatives = self.netN(context, noise)
        losses = [self.info_nce(*vectors) for vectors in zip(queries, keys, negatives)]
        return self.opt.lambda_NCE * sum(losses) / len(losses), negatives

    def info_nce(self, query, key, negatives):
        positive = (query * key).sum(dim=2, keepdim=True)
        if self.opt.nce_includes_all_negatives_from_minibatch:
            negatives = negatives.flatten(0, 1).expand(len(query), -1, -1)
        logits = torch.cat((positive, query @ negatives.transpose(1, 2)), dim=2).flatten(0, 1) / self.opt.nce_T
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))

    def draw_flip(self):
        return np.random.random() < 0.5

    def draw_patch_ids(self, phase, branch, layer, positions):
        """Different positions, the same for every image of the batch."""
        ids = np.random.permutation(positions)[: self.opt.num_patches]
        return torch.from_numpy(ids).to(self.device)

    def draw_noise(self, phase, branch, layer, images):
        return torch.randn(images, self.opt.num_patches, NOISE_NC, device=self.device)
