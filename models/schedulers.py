"""Learning-rate schedules, stepped once an epoch."""

import warnings

from torch.optim import Optimizer, lr_scheduler

from util.errors import UserError
from util.metrics.names import higher_is_better


def get_scheduler(optimizer: Optimizer, opt):
    """The schedule ``opt.lr_policy`` for ``optimizer``.

    linear: constant for ``n_epochs``, then to zero over ``n_epochs_decay``; step: x 0.1 every ``lr_decay_iters``
    epochs; plateau: x 0.2 when ``--eval_metric`` has stalled for 5 evaluations; cosine: to zero over all epochs.
    """
    if opt.lr_policy == "linear":
        return lr_scheduler.LambdaLR(optimizer, LinearDecay(opt.epoch_count, opt.n_epochs, opt.n_epochs_decay))
    if opt.lr_policy == "step":
        return lr_scheduler.StepLR(optimizer, step_size=opt.lr_decay_iters, gamma=0.1)
    if opt.lr_policy == "plateau":
        mode = "max" if higher_is_better(opt.eval_metric or "") else "min"
        return lr_scheduler.ReduceLROnPlateau(optimizer, mode, factor=0.2, threshold=0.01, patience=5)
    if opt.lr_policy == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, opt.n_epochs + opt.n_epochs_decay), eta_min=0)
    raise UserError(f"--lr_policy {opt.lr_policy}: choose from linear, step, plateau, cosine")


def step_schedules(schedulers: list, metric: float | None) -> None:
    """The end of an epoch. ``metric``: its score, where it had one; plateau waits for one."""
    with warnings.catch_warnings():  # a run that was resumed at an epoch's end has made no step of its own yet
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        for scheduler in schedulers:
            if not isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
                scheduler.step()
            elif metric is not None:
                scheduler.step(metric)


class LinearDecay:
    """Factor of the learning rate in each epoch; a class, so that it can be pickled and saved."""

    def __init__(self, epoch_count: int, n_epochs: int, n_epochs_decay: int):
        self.epoch_count, self.n_epochs, self.n_epochs_decay = epoch_count, n_epochs, n_epochs_decay

    def __call__(self, epoch: int) -> float:
        return 1.0 - max(0, epoch + self.epoch_count - self.n_epochs) / (self.n_epochs_decay + 1)
