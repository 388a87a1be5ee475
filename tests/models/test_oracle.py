"""The fast step against a slow one written from the equations (scripts/dev/plain_step.py), in float64.

Both draw the same positions, noise and flips. Losses and gradients of the first step and the weights after two steps
must agree to rounding; gradients too, because Adam's steps hardly show how large they were.
"""

import zlib

import pytest
import torch
from drawn_family import options_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from recordings import watch_gradients
from torch.testing import assert_close as assert_tensors_close

from models import create_model
from scripts.dev.plain_step import PlainStep

TINY = "--netG resnet_4blocks --ngf 4 --ndf 4 --netD n_layers --n_layers_D 2 --netF_nc 16 --num_patches 24"


def double_model(folder, *flags: str):
    opt = options_of(folder, "--gan_mode", "lsgan", *TINY.split(), *flags)
    model = create_model(opt)
    for net in model.networks().values():
        net.double()
        for weight in net.parameters():  # not the usual tiny ones, with which gradients are of any size
            fan_in = weight[0].numel() if weight.dim() > 1 else 10
            torch.nn.init.normal_(weight, std=fan_in**-0.5)
    if getattr(opt, "momentum_init", "") == "copy" and model.netF_:
        model.netF_.load_state_dict(model.netF.state_dict())
    model.setup(opt)
    return model


def draw_alike(model, step: int) -> None:
    """Whoever asks for a draw of this step, in whatever order, gets the same one."""

    def generator(*key):
        return torch.Generator().manual_seed(zlib.crc32(repr((step, *key)).encode()))

    def draw_patch_ids(phase, branch, layer, positions):
        count = min(model.opt.num_patches or positions, positions)
        return torch.randperm(positions, generator=generator(phase, branch, layer))[:count]

    def draw_noise(phase, branch, layer, images):
        shape = (images, model.opt.num_patches, model.netN.noise_nc)
        return torch.randn(shape, generator=generator("z", phase, branch, layer), dtype=torch.float64)

    model.draw_patch_ids, model.draw_noise = draw_patch_ids, draw_noise
    model.draw_flip = lambda: step % 2 == 0


def draw_batch(step: int, images: int, height: int, width: int) -> dict:
    """Smooth random images, so that neighbouring patches resemble each other."""
    rng = torch.Generator().manual_seed(100 + step)
    coarse = torch.rand(2, images, 3, 5, 5, generator=rng, dtype=torch.float64) * 2 - 1
    A, B = (torch.nn.functional.interpolate(x, (height, width), mode="bicubic").clamp(-1, 1) for x in coarse)
    return {"A": A, "B": B, "A_paths": ["a"] * images, "B_paths": ["b"] * images}


def watch_plain_gradients(plain: PlainStep) -> dict:
    seen = {}
    for name, optimizer in plain.optimizers.items():

        def step_and_watch(name=name, step=optimizer.step):
            for key, weight in plain.nets[name].named_parameters():
                if weight.grad is not None:
                    seen.setdefault(f"{name}/{key}", weight.grad.clone())
            step()

        optimizer.step = step_and_watch
    return seen


def assert_close(ours: dict, theirs: dict, atol: float) -> None:
    """To the rounding of values of the order of 1, measured as 2e-14 in gradients and 2e-10 in weights: Adam divides
    the rounding of a gradient that is zero (of a bias in front of a norm) by little more than its eps."""
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert_tensors_close(ours[key], value, rtol=1e-10, atol=atol, msg=lambda text, key=key: f"{key}: {text}")


def assert_equal(folder, *flags: str, images: int = 1, height: int = 24, width: int = 36, steps: int = 2) -> None:
    torch.manual_seed(0)
    model = double_model(folder, *flags)
    plain = PlainStep(model)
    ours, theirs = watch_gradients(model), watch_plain_gradients(plain)
    for step in range(steps):
        draw_alike(model, step)
        batch = draw_batch(step, images, height, width)
        model.set_input(batch)
        model.optimize_parameters()
        losses = {name: loss.item() for name, loss in plain.optimize_parameters(batch).items()}
        assert model.get_current_losses() == pytest.approx(losses, rel=1e-11, abs=1e-12)
    assert_close(ours, theirs, 1e-12)
    for name, net in model.networks().items():
        assert_close(net.state_dict(), dict(plain.nets[name].state_dict()), 1e-9)


NEGCUT = [
    "",
    "--netN neg_gen",
    "--netN neg_gen_al",
    "--netN neg_param",
    "--NEGCUT_mode FastNEGCUT",
    "--NEGCUT_mode FastNEGCUT --netN neg_gen_al --detach_negatives",
    "--nce_idt false",
    "--flip_equivariance true",
    "--detach_negatives",
    "--detach_negatives --netN neg_gen",
    "--diversity_both --lambda_MS_neg 3",
    "--momentum_init copy --lr_N 0.01",
    "--nce_includes_all_negatives_from_minibatch true --batch_size 2",
    "--direction BtoA",
    "--netF sample",
    "--netF reshape --num_patches 9",
    "--num_patches 7",
    "--num_patches 100",  # more than the deepest layers have
    "--nce_layers 8,2,0 --nce_T 0.2",
    "--lambda_NCE 2.5 --lambda_GAN 0.5 --lambda_MS_neg 0",
    "--gan_mode vanilla",
    "--gan_mode wgangp --normD none",
    "--gan_mode nonsaturating --batch_size 2",
    "--normG none --no_antialias --no_antialias_up",
]
CUT = ["", "--CUT_mode FastCUT", "--num_patches 0", "--batch_size 2 --nce_includes_all_negatives_from_minibatch true"]
CUT += ["--netF sample --num_patches 0 --direction BtoA", "--netF reshape", "--num_patches 1000 --flip_equivariance"]


@pytest.mark.parametrize("model", ["cut", "negcut"])
def test_a_step_of_the_defaults_equals_the_slow_one(model, tmp_path):
    assert_equal(tmp_path, "--model", model)


@pytest.mark.slow
@pytest.mark.parametrize("model, flags", [("negcut", f) for f in NEGCUT[1:]] + [("cut", f) for f in CUT[1:]])
def test_a_step_equals_the_slow_one(model, flags, tmp_path):
    flags = flags.split()
    images = int(flags[flags.index("--batch_size") + 1]) if "--batch_size" in flags else 1
    assert_equal(tmp_path, "--model", model, *flags, images=images)


SWITCHES = ["--nce_idt", "--flip_equivariance", "--nce_includes_all_negatives_from_minibatch", "--detach_negatives"]
SWITCHES += ["--diversity_both", "--direction=BtoA", "--num_patches=11", "--momentum_init=copy"]


@pytest.mark.slow
@settings(
    max_examples=15, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    netN=st.sampled_from(["neg_gen_momentum", "neg_gen", "neg_gen_al", "neg_param"]),
    images=st.integers(1, 3),
    height=st.sampled_from([20, 24, 32]),
    width=st.sampled_from([20, 36, 40]),
    switches=st.sets(st.sampled_from(SWITCHES)),
    fast=st.booleans(),
)
def test_any_combination(netN, images, height, width, switches, fast, tmp_path):
    mode = "FastNEGCUT" if fast else "NEGCUT"
    flags = ["--model", "negcut", "--netN", netN, "--NEGCUT_mode", mode, *sorted(switches)]
    assert_equal(tmp_path, *flags, images=images, height=height, width=width)


@pytest.mark.slow
def test_the_oracle_sees_a_wrong_step(tmp_path):
    """A gradient of N that is off by one part in ten thousand, which Adam alone would hide."""
    original = PlainStep.update

    def slightly_wrong(self, loss, *names):
        original(self, loss * (1.0001 if names == ("N",) else 1), *names)

    PlainStep.update = slightly_wrong
    try:
        with pytest.raises(AssertionError, match="N/mlp"):
            assert_equal(tmp_path, "--model", "negcut", height=20, width=20, steps=1)
    finally:
        PlainStep.update = original
