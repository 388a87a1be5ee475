"""Each model's step on a device against the same step in float64 on the CPU: losses and gradients, a row at a time.

    python scripts/dev/device_equality.py
    python scripts/dev/device_equality.py --models negcut cut --settings "default; --precision bf16 --channels_last"

Both start from the same weights and draw the same positions and noise. A row holds the largest relative difference of a
loss, and of a network's gradient (the norm of the difference against the norm), after one step; after five where the
step is recorded, whose replay starts with the fourth. Exit status 1 if one is above the limit of its arithmetic.

Gradients of untrained networks change much by rounding, since many activations lie near zero. Seen with the default
networks at 64 x 64 on a CPU: losses 7e-7 and gradients 0.003 in fp32, 7e-3 and 0.4 in bf16; SinCUT's G 0.06, since the
weights of StyleGAN2's noise have a gradient of other noise.
"""

import itertools
import sys
import tempfile
from unittest.mock import patch

import numpy as np
import repository  # noqa: F401
import torch

import options
from models import create_model
from models.negcut_model import NEGCUTModel
from util.device_kinds import KINDS
from util.devices import choose_device, describe, kind_of
from util.errors import run
from util.flag_types import ScriptParser
from util.run.step_graph import StepGraph

MODELS = {  # flags that leave nothing to chance
    "negcut": "--model negcut",
    "cut": "--model cut",
    "negcut fast": "--model negcut --NEGCUT_mode FastNEGCUT --netN neg_gen",
    "cycle_gan": "--model cycle_gan",
    "pix2pix": "--model pix2pix --netG resnet_9blocks --no_dropout",
    "sincut": "--model sincut --netG stylegan2 --netD stylegan2 --nce_layers 0,2,4 --batch_size 1",
}
SETTINGS = "default; --precision bf16 --channels_last; --cuda_graph; --precision tf32; --channels_last; --compile"
LIMITS = {"bf16": (0.05, 0.7), "tf32": (0.005, 0.3), "fp32": (1e-4, 0.1)}  # of losses, of gradients
IN_ORDER = "DNG"  # phases


def draw_noise(model, phase, branch, layer, images):
    shape = (images, model.opt.num_patches, model.netN.noise_nc)
    noise = np.random.default_rng((IN_ORDER.index(phase), branch, layer)).standard_normal(shape)
    return torch.from_numpy(noise).to(device=model.device, dtype=next(model.netN.parameters()).dtype)


def model_of(folder: str, flags: list[str], where: list[str]):
    opt = options.parse([*flags, "--quiet", "--dataroot", "none", "--checkpoints_dir", folder, *where])
    torch.manual_seed(0)
    model = create_model(opt)
    model.setup(opt)
    return model


def batch_of(opt, dtype: torch.dtype) -> dict:
    rng = np.random.default_rng(0)
    shape = (opt.batch_size, 3, opt.crop_size, opt.crop_size)
    images = {side: torch.from_numpy(rng.uniform(-1, 1, shape)).to(dtype) for side in "AB"}
    return images | {side + "_paths": [""] * opt.batch_size for side in "AB"}


def after(model, steps: int) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """(losses, each network's gradient as one vector on the CPU in float64)."""
    step = StepGraph(model) if model.opt.cuda_graph else model.step
    for _ in range(steps):
        step(batch_of(model.opt, next(model.generator().parameters()).dtype))
    gradients = {}
    for name, net in model.networks().items():
        parts = [p.grad.detach().cpu().double().flatten() for p in net.parameters() if p.grad is not None]
        if parts:
            gradients[name] = torch.cat(parts)
    return model.get_current_losses(), gradients


def oracle(folder: str, flags: list[str], steps: int):
    model = model_of(folder, flags, ["--device", "cpu"])
    for net in model.networks().values():
        net.double()
    return after(model, steps)


def compare(found: tuple[dict, dict], wanted: tuple[dict, dict]) -> tuple[float, str, float, str]:
    """(largest difference of a loss, its name, of a gradient, its network), relative."""
    losses = {k: abs(found[0][k] - v) / max(abs(v), 1e-3) for k, v in wanted[0].items()}
    gradients = {k: float((found[1][k] - v).norm() / v.norm().clamp_min(1e-12)) for k, v in wanted[1].items()}
    worst, net = max(losses, key=losses.get), max(gradients, key=gradients.get)
    return losses[worst], worst, gradients[net], net


def main() -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=list(MODELS), choices=list(MODELS), help="models (default: all)")
    add("--settings", default=SETTINGS, help=f"flags of train.py, separated by ; (default: {SETTINGS})")
    add("--size", type=int, default=64, help="pixels")
    add("--device", choices=list(KINDS), help="kind of device; without the flag an accelerator if there is one")
    args, extra = parser.parse_known_args()
    device = choose_device(None, args.device)
    print(f"{describe(device)} against float64 on the CPU, torch {torch.__version__}", flush=True)
    settings = [setting.strip() for setting in args.settings.split(";")]
    kind = kind_of(device)
    lacks = {"tf32": not kind.tf32, "bf16": not kind.bf16, "graph": not kind.graphs, "compile": not kind.compiles}
    settings = [text for text in settings if not any(word in text and lacking for word, lacking in lacks.items())]
    bad = 0
    wanted: dict[tuple[str, int], tuple] = {}
    with tempfile.TemporaryDirectory() as folder, patch.object(NEGCUTModel, "draw_noise", draw_noise):
        for text, name in itertools.product(settings, args.models):
            flags = [*MODELS[name].split(), "--load_size", str(args.size), "--crop_size", str(args.size), *extra]
            steps = 5 if "graph" in text else 1
            if steps > 1:  # Adam makes whole steps of rounding
                flags += ["--lr", "1e-9"]
            if (name, steps) not in wanted:
                wanted[name, steps] = oracle(folder, flags, steps)
            more = [] if text == "default" else text.split()
            found = after(model_of(folder, [*flags, *more], ["--device", device.type]), steps)
            loss, which, gradient, net = compare(found, wanted[name, steps])
            limits = LIMITS[next((p for p in LIMITS if p in text), "fp32")]
            far = loss > limits[0] or gradient > limits[1]
            bad += far
            row = f"{name:12} {text:36} loss {loss:.1e} ({which})  gradient {gradient:.1e} ({net})"
            print(row + f"  above {limits[0]:g} or {limits[1]:g}" * far, flush=True)
    sys.exit(bool(bad))


if __name__ == "__main__":
    run(main)
