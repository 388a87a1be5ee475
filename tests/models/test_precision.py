"""--precision bf16 and --channels_last beside fp32, on the CPU, which computes bf16 too."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_family import options_of, pair_batch
from recordings import watch_gradients

from models import create_model
from models.losses import info_nce
from util import precision
from util.errors import UserError
from util.run import run_summary

TINY = "--netG resnet_4blocks --ngf 8 --ndf 8 --netD n_layers --n_layers_D 2"
CONTRASTIVE = "--netF_nc 16 --num_patches 32"


def make(folder, *flags: str):
    contrastive = [] if {"cycle_gan", "pix2pix"} & set(flags) else CONTRASTIVE.split()
    opt = options_of(folder, *TINY.split(), *contrastive, *flags)
    model = create_model(opt)
    model.setup(opt)
    return model


def step(model, seed: int) -> dict[str, float]:
    model.step({k: v.contiguous() if k in "AB" else v for k, v in pair_batch([seed], 32).items()})
    return model.get_current_losses()


def flat(gradients: dict, net: str) -> torch.Tensor:
    return torch.cat([g.flatten() for key, g in gradients.items() if key.startswith(f"{net}/")])


@pytest.mark.slow
@pytest.mark.parametrize("flags", ["--model cut", "--model negcut", "--model negcut --NEGCUT_mode FastNEGCUT"])
def test_bf16_beside_fp32(flags, tmp_path):
    """Measured over the three models and seeds 0, 1, 2, with the bounds of the test behind them:

    first translation  mean difference / standard deviation  0.009 to 0.012  (0.03)
    first losses       largest relative difference           0.001 to 0.007  (0.03)
    first gradients    relative norm of the difference        D 0.007, N 0.013, F 0.03 (0.1); G 0.16 to 0.27 (0.5)
    NCE of steps 31-50 of CUT, mean: ratio to fp32            0.97 to 1.04    (0.8 to 1.25)

    NEGCUT's own NCE depends on when N catches up and differs between any two runs; it must be finite.
    """
    full, half = (make(tmp_path, *flags.split(), "--precision", p) for p in ("fp32", "bf16"))
    gradients, half_gradients = watch_gradients(full), watch_gradients(half)
    losses, half_losses = [step(full, 0)], [step(half, 0)]

    difference = (full.fake_B - half.fake_B.float()).abs().mean() / full.fake_B.std()
    assert 0 < difference < 0.03
    for name, loss in losses[0].items():
        assert half_losses[0][name] == pytest.approx(loss, rel=0.03, abs=0.003), name
    for net in {key.split("/")[0] for key in gradients}:
        ours, theirs = flat(half_gradients, net), flat(gradients, net)
        assert (ours - theirs).norm() / theirs.norm() < (0.5 if net == "G" else 0.1), net

    for seed in range(1, 50):
        half_losses.append(step(half, seed))
        if "cut" in flags.split():
            losses.append(step(full, seed))
    assert all(np.isfinite(list(row.values())).all() for row in half_losses)
    assert not any(bad for *_, bad in half.updates.read())
    if "cut" in flags.split():
        late, late_half = (np.mean([row["NCE"] for row in rows[30:]]) for rows in (losses, half_losses))
        assert 0.8 < late_half / late < 1.25


def test_in_bf16_weights_optimizers_and_losses_stay_fp32(tmp_path):
    model = make(tmp_path, "--model", "negcut", "--precision", "bf16")
    gradients = watch_gradients(model)
    step(model, 0)
    assert model.fake_B.dtype == torch.float32
    assert torch.equal(model.fake_B, model.fake_B.bfloat16().float())  # it came from the last layer in bf16
    weights = [p for net in model.networks().values() for p in net.parameters()]
    states = [v for o in model.optimizers for s in o.state.values() for v in s.values() if v.dim()]
    losses = [getattr(model, f"loss_{name}") for name in model.loss_names]
    assert {t.dtype for t in [*weights, *states, *losses, *gradients.values()]} == {torch.float32}
    assert all(t.dtype == torch.float32 for t in model.statistics.values())


@pytest.mark.parametrize("name", ["cut", "negcut", "sincut", "cycle_gan", "pix2pix"])
def test_no_backward_pass_runs_in_autocast(name, tmp_path):
    """torch advises against it: gradients of losses would be computed in bf16 as well."""
    model = make(tmp_path, "--model", name, "--precision", "bf16")
    seen, apply = [], model.apply_gradients
    for net in model.networks().values():
        for weight in net.parameters():
            if weight.requires_grad:
                weight.register_hook(lambda grad: seen.append(torch.is_autocast_enabled("cpu")))
    model.apply_gradients = lambda phase, *optimizers: (seen.append(phase), apply(phase, *optimizers))
    step(model, 0)
    phases = [entry for entry in seen if isinstance(entry, str)]
    assert {"G", "D"} <= set(phases) and False in seen and True not in seen


def test_in_bf16_the_gradient_of_the_contrastive_loss_is_that_of_fp32(tmp_path):
    """With respect to the queries; with a backward pass in autocast it was 2.8e-3 off."""
    model = make(tmp_path, "--model", "cut", "--nce_idt", "false", "--precision", "bf16")
    model.optimizer_G.step = model.optimizer_F.step = lambda: None
    projections, project = [], model.netF.project

    def projected(features, patch_ids):
        projections.append(project(features, patch_ids))
        for query in projections[-1]:
            if query.requires_grad:
                query.retain_grad()
        return projections[-1]

    model.netF.project = projected
    step(model, 0)
    queries, keys = projections
    for query, key in zip(queries, keys, strict=True):
        exact = query.detach().double().requires_grad_()
        info_nce(exact, key.double(), None, 0.07).backward()
        expected = exact.grad / len(queries)
        assert (query.grad - expected).norm() / expected.norm() < 1e-5


def test_in_bf16_the_updated_discriminator_judges(tmp_path):
    """Not a bf16 copy of the weights from before D's update."""
    model = make(tmp_path, "--model", "cut", "--precision", "bf16", "--lr", "0.02")
    step(model, 0)
    with torch.no_grad():
        judged = model.criterionGAN(model.netD(model.fake_B), True)
    assert model.loss_G_GAN.item() == pytest.approx(judged.item(), rel=1e-3)


def test_translating_in_bf16(tmp_path):
    batch = pair_batch([1], 32)
    translated = []
    for arithmetic in ("fp32", "bf16"):
        opt = options_of(tmp_path, *TINY.split()[:4], "--model", "cut", "--precision", arithmetic, is_train=False)
        model = create_model(opt)
        if not translated:
            model.save_networks("latest")
        model.setup(opt)
        model.set_input({"A": batch["A"], "A_paths": ["1.png"]})
        model.test()
        translated.append(model.fake_B)
    full, half = translated
    assert 0 < (full - half).abs().max() < 0.01  # 256 levels lie 0.008 apart


@pytest.mark.parametrize(
    "flags", ["cut", "negcut", "negcut --netN neg_gen --netF sample", "cycle_gan", "pix2pix --no_dropout"]
)
def test_channels_last_is_the_same_step(flags, tmp_path):
    """In float64 to rounding, over two steps; in fp32 a first translation was measured 6e-5 off (256 levels lie 8e-3
    apart), through the norms' division by the small deviation of flat images."""
    models = []
    for layout in ([], ["--channels_last"]):
        torch.manual_seed(0)
        model = make(tmp_path, "--model", *flags.split(), "--init_type", "xavier", "--init_gain", "1", *layout)
        assert model.generator().model[1].weight.is_contiguous(memory_format=torch.channels_last) == bool(layout)
        model.set_input({k: v.contiguous() if k in "AB" else v for k, v in pair_batch([0], 32).items()})
        model.forward()
        first = model.fake_B
        assert first.is_contiguous(memory_format=torch.channels_last) == bool(layout)
        for net in model.networks().values():
            net.double()
        for seed in range(2):
            batch = pair_batch([seed], 32)
            model.set_input({k: v.double().contiguous() if k in "AB" else v for k, v in batch.items()})
            model.optimize_parameters()
        models.append((first, model))
    (first, model), (other_first, other) = models
    torch.testing.assert_close(first, other_first, rtol=0, atol=5e-4)
    for name, net in model.networks().items():
        theirs = other.networks()[name].state_dict()
        for key, value in net.state_dict().items():
            # Of a bias before a norm Adam divides the rounding of a gradient that is zero.
            torch.testing.assert_close(theirs[key], value, rtol=1e-9, atol=1e-9 if value.ndim > 1 else 1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="--compile needs a C++ compiler here")
def test_compiled_is_the_same_step(tmp_path):
    """In float64, over three steps. In fp32 the first losses are 6e-6 apart and the third step's up to 3e-3: of a
    bias before a norm Adam divides the rounding of a gradient that is zero."""
    plain, compiled = (make(tmp_path, "--model", "negcut", *flags) for flags in ([], ["--compile"]))
    assert compiled.netG._compiled_call_impl is not None and plain.netG._compiled_call_impl is None
    for model in (plain, compiled):
        for net in model.networks().values():
            net.double()
    for seed in range(3):
        batch = pair_batch([seed], 32)
        batch = {k: v.double().contiguous() if k in "AB" else v for k, v in batch.items()}
        for model in (plain, compiled):
            model.step(batch)
        assert compiled.get_current_losses() == pytest.approx(plain.get_current_losses(), rel=1e-7, abs=1e-7)


def test_tf32_needs_a_gpu():
    with pytest.raises(UserError, match="--precision tf32 is a mode of NVIDIA GPUs"):
        precision.usable("tf32", torch.device("cpu"))


def test_fast_chooses_for_the_machine_and_given_flags_win(tmp_path, monkeypatch):
    model = SimpleNamespace(device=torch.device("cpu"), layout=torch.preserve_format)
    for has_bf16, model.precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(precision, "has_fast_bf16", lambda device, has=has_bf16: has)
        opt = options_of(tmp_path, "--fast")
        assert (opt.precision, opt.channels_last, opt.compile) == (model.precision, has_bf16, False)
        assert ("--fast changes nothing" in run_summary.device(opt, model)) == (not has_bf16)
    assert options_of(tmp_path, "--fast", "--precision", "bf16").precision == "bf16"
    plain = options_of(tmp_path)
    assert (plain.precision, plain.channels_last, plain.compile) == ("fp32", False, False)


def test_processors_with_bf16(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)
    for flag, has in (("avx512_bf16", True), ("none", False)):
        monkeypatch.setattr(precision, "_has_cpu_flag", lambda *names, flag=flag: flag in names)
        assert precision.has_fast_bf16(torch.device("cpu")) is has
