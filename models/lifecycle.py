"""What train.py, test.py and loops of others do with a model, whatever it is that it learns."""

import copy
import inspect
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.inference.architecture import load_weights
from models.networks.blocks import make_channels_last
from models.networks.sync_norm import normalizes_alone
from models.schedulers import get_scheduler, step_schedules
from util import precision
from util.devices import keep_memory, lacks_for_compiling, wide
from util.errors import UserError, warn
from util.flag_types import sizes_repeat
from util.images import im2tensor
from util.run import checkpoints
from util.run.averages import ema_factor, update_average


class Lifecycle:
    """The half of ``BaseModel`` that a model's author need not read: first batch, set-up, averages, schedules, what the
    loggers ask for, weights to files and back."""

    metric: float | None  # a score that the plateau schedule has not seen yet

    def step(self, batch: dict) -> None:
        """One training step on a batch of the loader."""
        self.set_input(batch)
        self.run_step()

    def run_step(self) -> None:
        of_epoch = [name for name in inspect.signature(self.optimize_parameters).parameters if "epoch" in name]
        self.optimize_parameters(**dict.fromkeys(of_epoch, self.current_epoch))

    def data_dependent_initialize(self, data: dict | None = None) -> None:
        """For models written for the official code, which make networks in their first forward pass."""

    def see_first_batch(self, dataset) -> None:
        """Call ``data_dependent_initialize`` where the model has one; to be done before ``setup``."""
        if type(self).data_dependent_initialize is Lifecycle.data_dependent_initialize:
            return
        batch = next(iter(dataset))
        takes = inspect.signature(self.data_dependent_initialize)
        wanted = [p for p in takes.parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
        if len(wanted) > 1:
            raise UserError(
                f"--model {self.opt.model}: its data_dependent_initialize{takes} wants {len(wanted)} batches, and "
                "there is one loader; let it take one (docs/extending.md)"
            )
        self.set_epoch(self.current_epoch)  # a curriculum of Hneg_SRC's asks for it there already
        if takes.parameters:
            self.data_dependent_initialize(batch)
        else:  # CUT's own cycle_gan, and files after it
            self.set_input(batch)
            self.data_dependent_initialize()  # type: ignore[call-arg]

    def setup(self, opt) -> None:
        """Set how the networks run; make the schedules; load weights when testing, and with --continue_train in a
        training loop of others, which calls nothing else for it."""
        for net in self.networks().values():
            net.to(self.device)  # CycleGAN's files of 2025 leave that to this method
        self.set_up_networks()
        if self.isTrain and opt.ema_decay:
            self.netG_ema = copy.deepcopy(self.generator()).requires_grad_(False)
            self.model_names.append("G_ema")
        alone = [name for name, net in self.networks().items() if normalizes_alone(net)]
        if self.isTrain and alone and opt.world_size > 1 and opt.rank == 0:
            warn(
                f"batch norm in {', '.join(alone)}: each of {opt.world_size} processes goes by its own images, and "
                "the running statistics of the first are saved; --normG syncbatch --normD syncbatch share them"
            )
        if self.isTrain:
            self.schedulers = [get_scheduler(optimizer, opt) for optimizer in self.optimizers]
        if not self.isTrain or (opt.continue_train and others_loop(opt)):
            self.load_networks(opt.epoch)

    def set_up_networks(self) -> None:
        """The options' precision, memory layout and compilation."""
        opt, networks = self.opt, list(self.networks().values())
        precision.configure(self.precision, sizes_repeat(opt.preprocess))
        if self.isTrain:
            keep_memory(self.device)
        precision.run_networks_in(self.precision, self.device, *networks)
        for net in networks if self.layout is torch.channels_last else ():
            make_channels_last(net)
        if opt.compile:
            self.compile_networks()

    def compile_networks(self) -> None:
        """Each network's ``entries``, but for those of ``not_compiled``, which is said."""
        lacks = lacks_for_compiling(self.device)
        if lacks:
            return warn(f"--compile is left out: it needs {lacks}")
        left_out = self.not_compiled()
        for name, net in self.networks().items():
            if name not in left_out:
                net.compile()
                for method in precision.entries(net)[1:]:  # which net.compile, made for net(...), would pass by
                    setattr(net, method, torch.compile(getattr(net, method)))
        for name, reason in left_out.items() if self.opt.rank == 0 else ():
            warn(f"--compile leaves {name} out: {reason}")

    def parallelize(self) -> None:
        """For official training loops; one process uses one device."""

    def networks(self) -> dict[str, nn.Module]:
        """The networks by name, in the order of ``model_names``."""
        return {name: getattr(self, "net" + name) for name in self.model_names}

    def update_ema(self) -> None:
        """With ``--ema_decay``: move the average of the generator's weights towards those of this step."""
        if self.netG_ema is None:
            return
        images = len(self.image_paths) * self.opt.world_size
        update_average(self.netG_ema, self.generator(), ema_factor(self.opt.ema_decay, images))

    def eval(self) -> None:
        for net in self.networks().values():
            net.eval()

    def train(self) -> None:
        for net in self.networks().values():
            net.train()

    def test(self) -> None:
        """Translate without gradients."""
        with torch.inference_mode():
            self.forward()
            self.compute_visuals()

    def update_learning_rate(self) -> None:
        """Step the schedules; called at the end of every epoch, by CycleGAN's loop of 2021 at the beginning."""
        step_schedules(self.schedulers, self.metric)
        self.metric = None
        if others_loop(self.opt) and self.image_paths:  # which tells no epoch
            self.set_epoch(self.current_epoch + 1)

    def learning_rates(self) -> dict[str, float]:
        """By network: G, D, ..."""
        optimizers = {k: v for k, v in vars(self).items() if isinstance(v, torch.optim.Optimizer)}
        return {name.removeprefix("optimizer_"): o.param_groups[0]["lr"] for name, o in optimizers.items()}

    def get_image_paths(self) -> list[str]:
        return self.image_paths

    def get_current_visuals(self) -> dict[str, Tensor]:
        """The pictures of ``visual_names``; arrays, as CycleGAN's colorization_model.py makes, become tensors."""
        visuals = {name: getattr(self, name) for name in self.visual_names if hasattr(self, name)}
        return {name: im2tensor(x) if isinstance(x, np.ndarray) else x for name, x in visuals.items()}

    def get_current_losses(self) -> dict[str, float]:
        """The losses of the last step as numbers. This waits for the device, so it is called only to read them."""
        if others_loop(self.opt):
            for phase, paths, left_out in self.updates.read():  # train.py reads them itself
                if left_out:
                    warn(f"the {phase} step had a NaN or Inf and was left out; images: {', '.join(map(repr, paths))}")
        values = {name: getattr(self, "loss_" + name) for name in self.loss_names if hasattr(self, "loss_" + name)}
        kind = {"dtype": wide(self.device), "device": self.device}
        tensors = [torch.as_tensor(value, **kind).detach().mean() for value in values.values()]
        return dict(zip(values, torch.stack(tensors).tolist(), strict=True)) if tensors else {}

    def print_networks(self, verbose: bool) -> None:
        """How many parameters each network has, or all its layers."""
        for name, net in self.networks().items():
            print(f"network {name}:", net if verbose else f"{sum(p.numel() for p in net.parameters()) / 1e6:.2f} M")

    def save_networks(self, epoch: str | int) -> None:
        """Write ``EPOCH_net_NAME.pth`` for every network."""
        self.save_dir.mkdir(parents=True, exist_ok=True)
        for name, net in self.networks().items():
            state = {key: value.detach().cpu() for key, value in net.state_dict().items()}
            checkpoints.save(state, self.save_dir / f"{epoch}_net_{name}.pth")

    def load_networks(self, epoch: str | int, folder: Path | None = None, may_miss: bool = False) -> list[str]:
        """Read ``EPOCH_net_NAME.pth`` for every network. ``may_miss``: those without a file keep their weights, but one
        must be there; returns their names."""
        paths = {name: (folder or self.save_dir) / f"{epoch}_net_{name}.pth" for name in self.networks()}
        missing = [name for name, path in paths.items() if not path.exists()]
        may_miss = may_miss and len(missing) < len(paths)
        for name, net in self.networks().items():
            if net is self.netG_ema and name in missing:
                net.load_state_dict(self.generator().state_dict())  # the average starts here
            elif not (may_miss and name in missing):
                load_weights(net, paths[name], self.architecture_flags)
        return missing


def others_loop(opt) -> bool:
    """Whether a script of the official repositories is at work, not train.py or test.py."""
    return getattr(opt, "others_loop", False)  # set by options.parse_for_others alone
