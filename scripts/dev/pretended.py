"""A device that this machine lacks, pretended: every choice is made as for it, and on ``meta`` nothing is computed."""

import sys
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
import torch._dynamo  # noqa: F401  before the patches: its modules name torch.Generator in annotations

from models.negcut_model import NEGCUTModel
from util import devices


class HostGenerator(torch.Generator):
    """No generator without a device; what it would draw is not looked at here."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls)


def draw_noise(model, phase, branch, layer, images):
    return torch.randn(images, model.opt.num_patches, model.netN.noise_nc, device=model.device)


@contextmanager
def pretended(kind: str):
    """torch finds one device of this kind."""
    with ExitStack() as stack:
        for owner, name, value in (
            (devices, "accelerator", lambda: (kind, 1)),
            (devices, "make_current", lambda device: None),
            (torch, "Generator", HostGenerator),
            (NEGCUTModel, "draw_noise", draw_noise),
            (sys.modules["torch.optim.adam"], "_device_dtype_check_for_fused", lambda *args, **kwargs: None),
        ):
            stack.enter_context(patch.object(owner, name, value))
        yield
