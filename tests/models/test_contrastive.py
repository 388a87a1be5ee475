"""CUT and NEGCUT step by step: which phase changes what, what the flags do, and what happens at their limits."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from drawn_family import options_of, pair_batch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import create_model
from util.errors import UserError

TINY = "--netG resnet_4blocks --ngf 4 --ndf 4 --netD n_layers --n_layers_D 1 --netF_nc 8 --num_patches 12 --lr 0.001"
SIZE = 20  # pixels; the deepest features are 5 x 5


def make(folder, *flags: str, model: str = "negcut"):
    opt = options_of(folder, *TINY.split(), "--model", model, *flags)
    made = create_model(opt)
    made.setup(opt)
    return made


def batch_of(*seeds: int) -> dict:
    return pair_batch(seeds or [1], SIZE)


def step(model, *seeds: int) -> dict[str, float]:
    model.set_input(batch_of(*seeds))
    model.optimize_parameters()
    return model.get_current_losses()


def copied(model) -> dict:
    return {name: copy.deepcopy(net.state_dict()) for name, net in model.networks().items()}


def changed(model, before: dict) -> set[str]:
    """Names of the networks with another weight than ``before``."""
    now = {name: net.state_dict() for name, net in model.networks().items()}
    return {name for name in now if any(not torch.equal(v, before[name][k]) for k, v in now[name].items())}


def all_finite(losses: dict[str, float]) -> bool:
    return bool(np.isfinite(list(losses.values())).all())


# Numbers of patches


@pytest.mark.parametrize("model", ["cut", "negcut"])
@pytest.mark.parametrize("patches", [1, 2, 5, 25, 26, 700])
def test_any_number_of_patches(model, patches, tmp_path):
    if (model, patches) == ("negcut", 1):
        with pytest.raises(UserError, match="--num_patches 1: N makes as many negatives, so it must be at least 2"):
            make(tmp_path, "--num_patches", "1")
        return
    made = make(tmp_path, "--num_patches", str(patches), "--batch_size", "2", model=model)
    losses = step(made, 1, 2)
    assert all_finite(losses) and not any(bad for *_, bad in made.updates.read())
    assert losses["NCE"] > 0 or patches == 1  # with one patch alone CUT has no negatives


def test_no_number_of_patches_means_all_positions(tmp_path):
    made = make(tmp_path, "--num_patches", "0", model="cut")
    taken = []
    draw = made.draw_patch_ids
    made.draw_patch_ids = lambda *key: taken.append((key[-1], draw(*key))) or taken[-1][1]
    step(made)
    assert len(taken) == 2 * 5  # two branches, five layers
    for positions, ids in taken:
        assert sorted(ids.tolist()) == list(range(positions))
    with pytest.raises(UserError, match="--num_patches 0"):
        make(tmp_path, "--num_patches", "0")


def test_negatives_stay_num_patches_where_a_layer_has_fewer_positions(tmp_path):
    made = make(tmp_path, "--num_patches", "40", "--netF_nc", "64")
    made.set_input(batch_of())
    step = made.forward()
    made.summarize(step.branches)
    for negatives in made.negatives("G", 0, step.branches[0]):
        assert negatives.shape == (1, 40, 64)
        assert torch.allclose(negatives.norm(dim=-1), torch.ones(1, 40), atol=1e-2)


@settings(max_examples=40)
@given(positions=st.integers(1, 3000), num_patches=st.integers(0, 500))
def test_positions_are_distinct_and_in_range(positions, num_patches, cut_model):
    cut_model.opt.num_patches = num_patches
    ids = cut_model.draw_patch_ids("G", 0, 0, positions)
    assert ids.dtype == torch.int64
    assert len(ids) == len(set(ids.tolist())) == (min(num_patches, positions) if num_patches else positions)
    assert 0 <= ids.min() and ids.max() < positions


@pytest.fixture(scope="module")
def cut_model(tmp_path_factory):
    made = make(tmp_path_factory.mktemp("cut"), model="cut")
    made.opt = copy.copy(made.opt)
    return made


@pytest.mark.parametrize("positions, num_patches", [(50, 10), (400, 13), (50, 49)])
def test_positions_are_uniform(positions, num_patches, cut_model):
    """Pearson's chi-square of how often each position is drawn, by the normal approximation within 4 standard
    deviations; and of pairs of neighbours, which catches runs of positions."""
    cut_model.opt.num_patches, cut_model.rng = num_patches, np.random.default_rng(7)
    draws = 2000
    counts, neighbours = np.zeros(positions), 0
    for _ in range(draws):
        drawn = np.zeros(positions, bool)
        drawn[cut_model.draw_patch_ids("G", 0, 0, positions).numpy()] = True
        counts += drawn
        neighbours += int((drawn[1:] & drawn[:-1]).sum())
    share = num_patches / positions
    chi_square = ((counts - draws * share) ** 2).sum() / (
        draws * share * (1 - share)
    )  # of sampling without putting back
    assert abs(chi_square - positions) < 4 * np.sqrt(2 * positions)
    both = share * (num_patches - 1) / (positions - 1)
    expected = draws * (positions - 1) * both
    assert abs(neighbours - expected) < 5 * np.sqrt(expected)


def test_noise_is_standard_normal_and_fresh(tmp_path):
    made = make(tmp_path, "--num_patches", "500")
    first, second = made.draw_noise("N", 0, 0, 3), made.draw_noise("N", 0, 0, 3)
    assert first.shape == (3, 500, 64)
    assert not torch.equal(first, second)
    count = first.numel()
    assert abs(first.mean()) < 4 / count**0.5 and abs(first.var() - 1) < 4 * (2 / count) ** 0.5
    again = make(tmp_path, "--num_patches", "500")
    assert torch.equal(again.draw_noise("N", 0, 0, 3), first)


# Layers


def test_a_layer_in_front_of_a_relu_has_its_true_value(tmp_path):
    """Layer 2 is a norm; the published code's in-place ReLU overwrites it."""
    made = make(tmp_path, "--nce_layers", "2,5,9", model="cut")
    made.set_input(batch_of())
    step = made.forward()
    for layer, feature in zip((2, 5, 9), step.branches[0].source, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(feature, made.netG.model[: layer + 1](made.real_A))
        assert feature.min() < -0.5
    made.optimize_parameters()
    assert all_finite(made.get_current_losses())


@pytest.mark.parametrize("model", ["cut", "negcut"])
def test_the_last_layer_is_minus_one(model, tmp_path):
    made = make(tmp_path, "--nce_layers", "0,-1", model=model)
    losses = step(made)
    assert made.nce_layers == [0, -1]
    assert made.netF.channels == [3, 3]
    assert all_finite(losses)
    step(made)
    assert made.nce_layers == [0, -1]  # the published list grows
    made.set_input(batch_of())
    (source, *_) = made.forward().branches
    assert torch.equal(source.source[1], made.fake_B)


@pytest.mark.parametrize("model", ["cut", "negcut"])
@pytest.mark.parametrize("layer", [27, 99])
def test_a_layer_that_is_not_there(model, layer, tmp_path):
    with pytest.raises(UserError) as error:
        make(tmp_path, "--nce_layers", f"0,{layer}", model=model)
    assert str(error.value) == f"--nce_layers has {layer}, but this generator has the layers 0 to 26"


@pytest.mark.parametrize("netG", ["unet_128", "unet_256"])
def test_a_unet_has_no_layers(netG, tmp_path):
    with pytest.raises(UserError, match=r"^a U-Net \(--netG\) has no layers for --nce_layers[^\n]*$"):
        make(tmp_path, "--netG", netG, "--ngf", "1")


# Weights of the losses


@pytest.mark.parametrize("model", ["cut", "negcut"])
def test_without_contrastive_loss(model, tmp_path):
    made = make(tmp_path, "--lambda_NCE", "0", model=model)
    before = copied(made)
    losses = step(made)
    assert losses["NCE"] == losses["NCE_Y"] == losses.get("N", 0) == 0
    assert losses["G"] == losses["G_GAN"] > 0
    assert changed(made, before) - {"F_"} == {"G", "D"}


@pytest.mark.parametrize("model", ["cut", "negcut"])
def test_without_adversarial_loss(model, tmp_path):
    made = make(tmp_path, "--lambda_GAN", "0", model=model)
    before = copied(made)
    losses = step(made)
    assert losses["G_GAN"] == losses["D_real"] == losses["D_fake"] == 0
    assert losses["G"] == pytest.approx((losses["NCE"] + losses["NCE_Y"]) / 2)
    assert changed(made, before) == {"G", "F"} | ({"N", "F_"} if model == "negcut" else set())


def test_with_neither_nothing_changes(tmp_path):
    made = make(tmp_path, "--lambda_GAN", "0", "--lambda_NCE", "0")
    before = copied(made)
    assert set(step(made).values()) == {0.0}
    assert changed(made, before) == {"F_"}  # which goes on towards F


def test_the_fast_preset_has_no_identity_branch(tmp_path):
    made = make(tmp_path, "--NEGCUT_mode", "FastNEGCUT")
    assert "NCE_Y" not in step(made)
    assert not hasattr(made, "idt_B")


# Batches


@pytest.mark.parametrize("netN", ["neg_gen_momentum", "neg_gen", "neg_gen_al", "neg_param"])
def test_a_last_smaller_batch(netN, tmp_path):
    """--batch_size says nothing about the batch that comes: the same step as with the right one."""
    one, three = (make(tmp_path, "--netN", netN, "--batch_size", size) for size in ("1", "3"))
    assert step(one, 4) == step(three, 4)
    assert changed(one, copied(three)) == set()
    assert all_finite(step(three, 5, 6)) and all_finite(step(three, 7, 8, 9))


@pytest.mark.parametrize("mirrored", [False, True])
def test_images_of_another_size_go_through_G_by_themselves(mirrored, tmp_path):
    """As --preprocess none leaves them; otherwise all in one pass, which gives the same."""
    model = make(tmp_path)
    batch = batch_of(1, 2)
    together = model.encode([batch["A"], batch["B"]], mirrored)
    apart = [model.encode([images], mirrored) for images in (batch["A"], batch["B"])]
    apart = [one for (one,), _ in apart], [branch for _, (branch,) in apart]
    torch.testing.assert_close(together[0], apart[0])
    torch.testing.assert_close([vars(branch) for branch in together[1]], [vars(branch) for branch in apart[1]])

    batch["B"] = batch["B"][..., :12]
    model.set_input(batch)
    model.optimize_parameters()
    assert model.fake_B.shape == batch["A"].shape and model.idt_B.shape == batch["B"].shape
    assert all_finite(model.get_current_losses())


def test_training_needs_the_target_side(tmp_path):
    model = make(tmp_path)
    with pytest.raises(UserError, match="no images of the target side"):
        model.set_input({"A": batch_of()["A"], "A_paths": ["a.png"]})


def test_negatives_of_the_whole_batch(tmp_path):
    """Two images that are the same one: the other's negatives double the number, 24 instead of 12."""
    alone, together = (
        make(tmp_path, "--nce_includes_all_negatives_from_minibatch", value, "--batch_size", "2", model="cut")
        for value in ("false", "true")
    )
    same = [step(made, 3, 3)["NCE"] for made in (alone, together)]
    assert same[1] > same[0]  # among its negatives now is its own positive, from the other image


# Phases


def at_phase(made, phase: str):
    """A call of ``phase``, after everything up to it."""
    made.set_input(batch_of())
    step = made.forward()
    made.summarize(step.branches)
    calls = {f.__name__: lambda f=f: f(step) for f in (made.update_D, made.update_N, made.update_G_and_F)}
    calls["update_F_"] = made.update_F_
    for name, call in calls.items():
        if name == phase:
            return call
        call()


@pytest.mark.parametrize(
    "phase, changes", [("update_D", {"D"}), ("update_N", {"N"}), ("update_G_and_F", {"G", "F"}), ("update_F_", {"F_"})]
)
@pytest.mark.parametrize("netN", ["neg_gen_momentum", "neg_gen", "neg_gen_al", "neg_param"])
def test_a_phase_changes_only_its_networks(phase, changes, netN, tmp_path):
    made = make(tmp_path, "--netN", netN)
    if phase == "update_F_" and made.netF_ is None:
        return
    update = at_phase(made, phase)
    for net in made.networks().values():
        net.zero_grad()
    before = copied(made)
    update()
    assert changed(made, before) == changes
    with_gradient = {n for n, net in made.networks().items() if any(p.grad is not None for p in net.parameters())}
    assert with_gradient == changes - {"F_"}  # and no other backward pass is paid for


def test_the_average_of_F_after_some_steps(tmp_path):
    made = make(tmp_path)
    average = {k: v.clone() for k, v in made.netF_.state_dict().items()}
    for seed in range(4):
        step(made, seed)
        for key, weight in made.netF.state_dict().items():
            average[key] = 0.9 * average[key] + 0.1 * weight
    for key, weight in made.netF_.state_dict().items():
        torch.testing.assert_close(weight, average[key], rtol=1e-5, atol=1e-8)
    assert not any(p.requires_grad for p in made.netF_.parameters())


def test_momentum_init(tmp_path):
    drawn, copied_ = make(tmp_path, "--momentum_init", "random"), make(tmp_path, "--momentum_init", "copy")
    for key, weight in copied_.netF.state_dict().items():
        assert torch.equal(copied_.netF_.state_dict()[key], weight)
        assert weight is not copied_.netF_.state_dict()[key]
        if key.endswith("weight"):
            assert not torch.equal(drawn.netF_.state_dict()[key], drawn.netF.state_dict()[key])
    step(copied_)
    assert changed(copied_, copied(make(tmp_path, "--momentum_init", "copy"))) >= {"F", "F_"}


def gradient_of_G(made) -> torch.Tensor:
    """In the G phase of the first step."""
    update = at_phase(made, "update_G_and_F")
    made.netG.zero_grad()
    made.apply_gradients = lambda *_: None
    update()
    return torch.cat([p.grad.flatten() for p in made.netG.parameters()])


@pytest.mark.parametrize("netN", ["neg_gen_momentum", "neg_gen", "neg_gen_al", "neg_param"])
@pytest.mark.parametrize("mode", ["NEGCUT", "FastNEGCUT"])
def test_gradient_through_the_negatives(netN, mode, tmp_path):
    """Published: it reaches G. --detach_negatives is what negatives without a graph give, nothing else changes."""
    flags = ["--netN", netN, "--NEGCUT_mode", mode, "--init_gain", "1"]
    through, detached, constant = (
        make(tmp_path, *flags),
        make(tmp_path, *flags, "--detach_negatives"),
        make(tmp_path, *flags),
    )
    for made in (through, detached, constant):
        made.draw_flip = lambda: True
    negatives = constant.negatives
    constant.negatives = lambda phase, *of: [n.detach() if phase == "G" else n for n in negatives(phase, *of)]
    through, detached, constant = map(gradient_of_G, (through, detached, constant))
    torch.testing.assert_close(detached, constant)
    difference = (through - detached).norm() / detached.norm()
    assert difference == 0 if netN == "neg_param" else difference > 1e-3  # a table knows no image


def watch_negatives(made) -> list:
    """What ``made.negatives`` returns from now on."""
    seen, make_negatives = [], made.negatives
    made.negatives = lambda *of: seen.append(make_negatives(*of)) or seen[-1]
    return seen


def test_diversity_of_the_last_or_of_both_branches(tmp_path):
    """Published: only the identity branch's negatives are spread."""
    losses = {}
    for both in (False, True):
        made, without = (make(tmp_path, "--lambda_MS_neg", w, *["--diversity_both"] * both) for w in ("1", "0"))
        of_branches = watch_negatives(made)
        loss = at_phase(made, "update_N")()["N"]
        spread = [
            torch.stack([(n[:, :6] - n[:, 6:]).abs().mean() for n in layers]).mean().item() for layers in of_branches
        ]
        losses[both] = (at_phase(without, "update_N")()["N"] - loss).item()
        assert losses[both] == pytest.approx(sum(spread) / 2 if both else spread[-1], rel=1e-4)
        assert made.get_current_statistics()["diversity"] == pytest.approx(losses[both], rel=1e-4)  # what is recorded
    assert losses[False] != losses[True]


def test_lr_N_acts(tmp_path):
    """Adam's first step moves a weight by the learning rate."""
    made = make(tmp_path, "--lr_N", "0.03", "--lambda_MS_neg", "10")
    before = copied(made)
    step(made)
    moved = {
        name: max((v - before[name][k]).abs().max().item() for k, v in net.state_dict().items())
        for name, net in made.networks().items()
        if name != "F_"
    }
    assert moved == pytest.approx({"G": 0.001, "F": 0.001, "D": 0.001, "N": 0.03}, rel=0.02)
    assert made.learning_rates() == {"G": 0.001, "F": 0.001, "D": 0.001, "N": 0.03}


# What a step reports and leaves behind


def test_steps_without_contrast(tmp_path):
    made = make(tmp_path, "--lambda_NCE", "3")
    values, seen = [0.1, 0.0029, 0.0, 1e-9, 0.0031, 0.002], []
    made.update_N = lambda step: {}
    for value in values:
        nce = iter((value, 5.0))  # of the two branches
        made.nce = lambda queries, *_, nce=nce: queries[0].sum() * 0 + next(nce)
        step(made)
        seen.append(made.get_current_statistics()["steps_without_contrast"])
    assert seen == [0, 1, 2, 3, 0, 1]  # below 0.001 per unit of lambda_NCE


@pytest.mark.parametrize("model", ["cut", "negcut"])
def test_similarities_are_those_of_a_plain_loop(model, tmp_path):
    made = make(tmp_path, "--batch_size", "2", "--nce_layers", "0,4,12", model=model)
    ids, negatives = {}, []
    draw, make_negatives = made.draw_patch_ids, made.negatives

    def draw_patch_ids(phase, branch, layer, positions):
        found = draw(phase, branch, layer, positions)
        if phase == "G" and branch == 0:
            ids[layer] = found
        return found

    def watched_negatives(phase, index, branch):
        found = make_negatives(phase, index, branch)
        if phase == "G" and index == 0:
            negatives.append(found)
        return found

    made.draw_patch_ids, made.negatives = draw_patch_ids, watched_negatives
    update = made.update_G_and_F
    wanted = {}

    def watched_update(step):
        source, translation, F = step.branches[0].source, step.branches[0].translation, copy.deepcopy(made.netF)
        losses = update(step)
        for layer, number in enumerate(made.nce_layers):
            positive, negative = [], []
            for image in range(2):
                key, query = (f[layer][image].detach().flatten(1).t()[ids[layer]] for f in (source, translation))
                key, query = F.embed(layer, key).detach(), F.embed(layer, query).detach()
                for i in range(len(ids[layer])):
                    positive.append(query[i] @ key[i])
                    others = [key[j] for j in range(len(key)) if j != i]
                    negative += [
                        query[i] @ n for n in (others if negatives[0][layer] is None else negatives[0][layer][image])
                    ]
            wanted[f"similarity_positive_{number}"] = torch.stack(positive).mean().item()
            wanted[f"similarity_negative_{number}"] = torch.stack(negative).mean().item()
        return losses

    made.update_G_and_F = watched_update
    step(made, 1, 2)
    found = made.get_current_statistics()
    assert {key: found[key] for key in wanted} == pytest.approx(wanted, abs=1e-4)
    rest = {"steps_without_contrast"} | ({"diversity"} if model == "negcut" else set())
    assert found.keys() - wanted.keys() == rest


@pytest.mark.parametrize("flags", ["--model cut", "--model negcut", "--model negcut --NEGCUT_mode FastNEGCUT"])
def test_a_step_leaves_no_graph_behind(flags, tmp_path):
    made = make(tmp_path, *flags.split())
    alive = []
    project = made.netF.project

    def watched_project(features, patch_ids):
        alive.extend(weakref.ref(f) for f in features)
        return project(features, patch_ids)

    made.netF.project = watched_project
    step(made, 1)
    gc.collect()
    assert len(alive) >= 10 and not any(reference() is not None for reference in alive)
    assert not any(getattr(made, f"loss_{name}").requires_grad for name in made.loss_names)
    assert not any(value.requires_grad for value in made.statistics.values())

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    step(made, 2)
    before = tensors()
    for seed in range(3):
        step(made, seed)
    made.updates.read()
    assert tensors() <= before


@pytest.mark.parametrize("flags", ["--model cut", "--model negcut", "--model negcut --netN neg_gen --batch_size 2"])
def test_a_step_never_waits_for_the_device(flags, tmp_path, monkeypatch):
    """Nothing in it reads a number: on a GPU the host runs ahead."""
    made = make(tmp_path, *flags.split(), "--ema_decay", "0.9")
    batches = [batch_of(1), batch_of(2)]

    def refuse(name):
        def read(*_, **__):
            raise AssertionError(f"Tensor.{name} waits for the device")

        return read

    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "numpy", "cpu", "nonzero", "__bool__", "__float__", "__int__", "__index__"):
            patch.setattr(torch.Tensor, name, refuse(name))
        with pytest.raises(AssertionError):  # the patch works
            bool(torch.zeros(1))
        for batch in batches:
            made.set_input(batch)
            made.optimize_parameters()
            made.update_ema()
    assert all_finite(made.get_current_losses())


def test_translating_needs_the_generator_alone(tmp_path):
    opt = options_of(tmp_path, *TINY.split()[:4], "--model", "negcut", is_train=False)
    made = create_model(opt)
    assert list(made.networks()) == ["G"]
    made.set_input({"A": batch_of()["A"], "A_paths": ["1.png"]})
    made.test()
    assert list(made.get_current_visuals()) == ["real_A", "fake_B"]
    assert made.fake_B.shape == (1, 3, SIZE, SIZE) and made.fake_B.abs().max() <= 1
