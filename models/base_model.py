"""What a model is made of: what its author fills in, calls and may replace; the rest is in ``lifecycle.py``."""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.inference.translate import translate
from models.lifecycle import Lifecycle
from models.networks import init_net  # noqa: F401  (official model files expect it here)
from util import precision
from util.devices import to_device
from util.errors import UserError
from util.run.guarded_updates import GuardedUpdates


class BaseModel(Lifecycle, ABC):
    """A model owns its networks and optimizers. A subclass fills these lists in ``__init__``:

    loss_names: NAME for an attribute ``loss_NAME``; model_names: NAME for ``netNAME``, saved as ``EPOCH_net_NAME.pth``;
    visual_names: attributes that hold images (B, C, H, W) in [-1, 1]; optimizers.
    """

    # The flags that decide each network's architecture, for the message when a checkpoint does not fit.
    architecture_flags = (
        "--netG --ngf --normG --no_antialias --no_antialias_up --netD --ndf --n_layers_D --normD --netF"
    )

    # Whether a step does the same on every batch, but for what draw_patch_ids and draw_noise give it (--cuda_graph).
    # Not inherited: a subclass may decide something on the host, so it says this itself.
    repeatable = False

    netG: nn.Module  # where a model calls its generator otherwise, it has a ``generator`` of its own

    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        """Add the model's own flags and change defaults."""
        return parser

    def __init__(self, opt):
        self.opt = opt
        self.gpu_ids = opt.gpu_ids
        self.isTrain = opt.isTrain
        self.device = opt.device
        self.precision = precision.usable(opt.precision, self.device, opt.sources.get("precision") == "typed")
        self.layout = precision.usable_layout(opt.channels_last, self.device)
        self.save_dir = Path(opt.checkpoints_dir) / opt.name
        self.loss_names: list[str] = []
        self.model_names: list[str] = []
        self.visual_names: list[str] = []
        self.optimizers: list[torch.optim.Optimizer] = []
        self.schedulers: list = []
        self.image_paths: list[str] = []
        self.netG_ema: nn.Module | None = None  # made in setup
        self.updates = GuardedUpdates()
        self.current_epoch = getattr(opt, "epoch_count", 1)  # a flag of train.py alone
        self.metric = None  # the newest score, for --lr_policy plateau
        # All randomness of a step: positions are drawn on the host, noise where it is used; by each rank its own.
        seed = opt.seed + opt.rank
        self.rng = np.random.default_rng(seed)
        self.noise_rng = torch.Generator(self.device).manual_seed(seed)

    def set_input(self, input: dict) -> None:
        """Take a batch of the data loader: ``direction`` decides which side is the source, ``real_A``; the target,
        ``real_B``, may be missing at test."""
        A, B = ("A", "B") if self.opt.direction == "AtoB" else ("B", "A")
        self.real_A = self.on_device(input[A])
        self.image_paths = input[A + "_paths"]
        if B in input:
            self.real_B = self.on_device(input[B])
        elif self.isTrain:
            raise UserError(
                f"--dataset_mode {self.opt.dataset_mode} has no images of the target side for --model {self.opt.model} "
                "to learn from; choose unaligned or aligned"
            )

    @abstractmethod
    def forward(self) -> None:
        """Translate the batch."""

    @abstractmethod
    def optimize_parameters(self) -> None:
        """One training step; a file of others may take the epoch: ``optimize_parameters(self, epoch)``."""

    def set_epoch(self, epoch: int) -> None:
        """Called before the first batch of every epoch, counted from 1, and where a resumed run goes on within one; for
        what changes over a training, such as a curriculum."""
        self.current_epoch = epoch

    def not_compiled(self) -> dict[str, str]:
        """Networks that ``--compile`` has to leave as they are, and why: those whose gradient a loss differentiates."""
        return {}

    def apply_gradients(self, phase: str, *optimizers: torch.optim.Optimizer) -> None:
        """One step of each optimizer with the gradients' mean over all ranks, left out where one is NaN or Inf."""
        self.updates.apply(phase, self.image_paths, optimizers)

    def report(self, losses: dict[str, Tensor]) -> None:
        """Keep losses as ``loss_NAME``, without their graphs, for whoever reads them."""
        for name, loss in losses.items():
            setattr(self, "loss_" + name, loss.detach())

    def adam(self, net: nn.Module, lr: float | None = None) -> torch.optim.Adam:
        """Adam with the options' betas; fused, so that it leaves a step out on the device itself."""
        opt = self.opt
        betas = (opt.beta1, opt.beta2)
        return torch.optim.Adam(net.parameters(), lr=opt.lr if lr is None else lr, betas=betas, fused=True)

    def on_device(self, images: Tensor) -> Tensor:
        """Images of a batch, on the model's device and in its memory layout."""
        return to_device(images, self.device, self.layout)

    def generator(self) -> nn.Module:
        """The network that translates in ``--direction``; CycleGAN's and files after it call it ``netG_A``."""
        return getattr(self, "netG" if hasattr(self, "netG") else "netG_A")

    def translate(self, images: Tensor, net: nn.Module | None = None) -> Tensor:
        """Source images (B, C, H, W) in [-1, 1] through the generator, or another one, as test.py and the others do."""
        net = net or self.generator()
        return translate(net, images, net)

    def compute_visuals(self) -> None:
        """Make pictures that the step itself does not need."""

    def notes(self) -> list[str]:
        """Lines for the start of a training: what the user may not expect."""
        return []

    def get_current_statistics(self) -> dict[str, float]:
        """Further numbers about the last step, for the record and the plots."""
        return {}

    def set_requires_grad(self, nets, requires_grad: bool = False) -> None:
        """Freeze or unfreeze networks."""
        for net in nets if isinstance(nets, list) else [nets]:
            net.requires_grad_(requires_grad)
