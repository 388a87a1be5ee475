"""The successors' losses: equal to the numbers recorded from the published code, and to their equations."""

import json

import numpy as np
import pytest
import torch
from drawn_family import options_of, pair_batch
from torch.nn import functional as F

from models import create_model, hard_negatives
from models.losses import info_nce, nonsaturating_loss, patch_similarities
from util.errors import UserError

T = 0.07


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=-1)


def loss_of(case: dict, query, key):
    temperature = case["temperature"]
    if case["loss"] == "monce":
        return hard_negatives.monce_loss(query, key, None, temperature, case["cost"], case["eps"], case["weight"])
    if case["loss"] == "dce":
        return hard_negatives.decoupled_loss(query, key, None, temperature)
    if case["loss"] == "hdce":
        return hard_negatives.hdce_loss(query, key, None, temperature, case["gamma"])
    return hard_negatives.semantic_relation_loss([query], [key])


def test_equal_to_the_published_numbers(reference_dir):
    """Loss and gradient; the published normalization adds 1e-7 to the norm, hence the tolerance."""
    recorded = np.load(reference_dir / "hard_negatives.npz")
    cases = json.loads((reference_dir / "hard_negatives.json").read_text())
    assert {case["loss"] for case in cases} == {"monce", "dce", "hdce", "src"}
    for case in cases:
        name = case["name"]
        query = torch.from_numpy(recorded[f"{name}/query"]).requires_grad_()
        loss = loss_of(case, query, torch.from_numpy(recorded[f"{name}/key"]))
        loss.backward()
        gradient = torch.from_numpy(recorded[f"{name}/grad_query"])
        assert loss.item() == pytest.approx(float(recorded[f"{name}/loss"]), rel=1e-6), name
        assert (query.grad - gradient).abs().max() <= 1e-6 * gradient.abs().max(), name


def test_transport_spreads_what_leaves_each_query():
    """Sinkhorn's rounds leave the columns of W at 1: with all keys equally far, every other key weighs the same, and
    the loss is InfoNCE with P - 1 equal negatives."""
    patches, channels = 6, 8
    key = torch.eye(channels, dtype=torch.float64)[:patches][None]
    query = key.clone()  # s_ii = 1, s_ij = 0
    loss = hard_negatives.monce_loss(query, key, None, T)
    wanted = np.log(np.exp(1 / T) + patches - 1) - 1 / T
    assert loss.item() == pytest.approx(wanted, rel=1e-4)


def test_hardness_is_one_for_the_nearest_and_nothing_for_the_own():
    key = unit(2, 5, 8)
    weights = hard_negatives.hardness(key, 0.1)
    similarity = (key @ key.transpose(1, 2)).masked_fill(torch.eye(5, dtype=torch.bool), -torch.inf)
    assert torch.equal(weights.argmax(dim=-1), similarity.argmax(dim=-1))
    assert torch.allclose(weights.amax(dim=-1), torch.ones(2, 5, dtype=torch.float64))
    assert not weights.diagonal(dim1=1, dim2=2).any()


def test_decoupled_gradient_does_not_vanish_with_easy_negatives():
    """InfoNCE's is exp(-14) where negatives are orthogonal; the decoupled one is as large as ever."""
    key = torch.eye(8, dtype=torch.float64)[:4][None]
    query = key.clone().requires_grad_()
    hard_negatives.decoupled_loss(query, key, None, T).backward()
    assert query.grad.norm() > 1


def test_relation_loss_is_nothing_for_equal_relations_and_symmetric():
    query, key = unit(1, 6, 8, seed=1), unit(1, 6, 8, seed=2)
    rotation = torch.linalg.qr(unit(8, 8, seed=3))[0]
    src = hard_negatives.semantic_relation_loss
    assert src([query], [query @ rotation]).item() == pytest.approx(0, abs=1e-12)
    there, back = src([query], [key]).item(), src([key], [query]).item()
    assert there == pytest.approx(back) and there > 0
    assert src([query, query], [key, query]).item() == pytest.approx(there / 2)  # the mean over layers


def test_nonsaturating_loss_is_log_of_one_minus_p():
    """-log(1 - p), and its gradient with respect to a negative's logit is -p times its share among the negatives."""
    query, key, negatives = unit(1, 3, 8), unit(1, 3, 8, seed=5), unit(1, 5, 8, seed=4)
    positive, negative = patch_similarities(query, key, negatives)
    logits = (torch.cat((positive, negative), dim=-1) / T).requires_grad_()
    p = logits.softmax(dim=-1)[..., :1]
    wanted = -(1 - p).log().mean()
    negatives.requires_grad_()
    loss = nonsaturating_loss(query, key, negatives, T)
    assert loss.item() == pytest.approx(wanted.item())
    loss.backward()
    among = logits[..., 1:].softmax(dim=-1)
    gradient = -(p * among).detach() / 3  # of each logit q.n_j / T; logsumexp of the negatives is to grow
    assert torch.allclose(negatives.grad, gradient.transpose(1, 2) @ query / T)


def test_nonsaturating_loss_teaches_where_minimax_does_not():
    """Negatives orthogonal to the queries: the gradient of -NCE is practically nothing."""
    axes = torch.eye(8)
    norms = []
    for loss in (info_nce, nonsaturating_loss):
        negatives = axes[4:8][None].clone().requires_grad_()
        loss(axes[:4][None], axes[:4][None], negatives, T).backward()
        norms.append(negatives.grad.norm().item())
    assert norms[0] < 1e-4 and norms[1] > 1


# Through the models


TINY = "--netG resnet_4blocks --ngf 4 --ndf 4 --netD n_layers --n_layers_D 1 --netF_nc 8 --num_patches 12 --lr 0.001"


def make(folder, flags: str):
    made = create_model(options_of(folder, *TINY.split(), *flags.split()))
    made.setup(made.opt)
    return made


def one_step(made) -> dict[str, list]:
    """One step; of the first branch, what each phase's loss was made of: queries, keys, negatives, by layer."""
    seen = {}
    queries_and_keys, negatives = made.queries_and_keys, made.negatives

    def watched_pair(phase, index, branch):
        found = queries_and_keys(phase, index, branch)
        if index == 0:
            for query in found[0] if phase == "G" else ():
                query.retain_grad()
            seen[phase] = [*found]
        return found

    def watched_negatives(phase, index, branch):
        found = negatives(phase, index, branch)
        if index == 0:
            for n in found if phase == "N" else ():
                n.retain_grad()
            seen[phase].append(found)
        return found

    made.queries_and_keys, made.negatives = watched_pair, watched_negatives
    made.set_input(pair_batch([1, 2], 20))
    made.optimize_parameters()
    return {phase: list(zip(*lists, strict=True)) for phase, lists in seen.items()}


def assert_learned(layers: list, loss: torch.Tensor) -> None:
    """The step's gradient with respect to the queries was that of ``loss``."""
    for query, *_ in layers:
        learned = query.grad.clone()  # the next line adds to it
        (gradient,) = torch.autograd.grad(loss, query, retain_graph=True)
        assert gradient.any() and torch.allclose(learned, gradient, rtol=1e-3, atol=1e-6)


def cosines(query, key, negatives) -> tuple[torch.Tensor, list[list[torch.Tensor]]]:
    """Of each image and query by plain loops: that with its key, those with its negatives, None for other patches."""
    positive, negative = [], []
    for q, k, n in zip(query, key, key if negatives is None else negatives, strict=True):
        for i in range(len(q)):
            positive.append(q[i] @ k[i])
            negative.append([q[i] @ other for j, other in enumerate(n) if negatives is not None or j != i])
    return torch.stack(positive), negative


def share_of_positive(positive, negatives: list) -> torch.Tensor:
    """p of each query."""
    others = [sum((s / T).exp() for s in row) for row in negatives]
    own = (positive / T).exp()
    return own / (own + torch.stack(others))


@pytest.mark.parametrize("flags", ["", "--lambda_NCE 3", "--batch_size 2 --nce_layers 0,4,12"])
def test_N_learns_from_the_nonsaturating_equation(tmp_path, flags):
    """The gradient that reaches each negative in N's phase is -lambda_NCE p share / T of its queries, over layers,
    branches and queries; --lambda_MS_neg 0 leaves it alone."""
    made = make(tmp_path, f"--model negcut --loss_N nonsaturating --negatives both --lambda_MS_neg 0 {flags}")
    layers = one_step(made)["N"]
    for query, key, negatives in layers:
        positive, negative = patch_similarities(query, key, negatives)
        share = (torch.cat((positive, negative), dim=-1) / T).softmax(dim=-1)
        among = (negative / T).softmax(dim=-1)
        weight = made.opt.lambda_NCE / len(layers) / 2 / query[..., 0].numel()
        gradient = -weight / T * (share[..., :1] * among).transpose(1, 2) @ query
        assert torch.allclose(negatives.grad, gradient.detach(), rtol=1e-3, atol=1e-8)


def test_N_learns_from_generated_negatives_alone(tmp_path):
    """And what it learns from is the equation's value: the mean over branches of lambda_NCE * -log(1 - p)."""
    made = make(tmp_path, "--model negcut --loss_N nonsaturating --negatives both --lambda_MS_neg 0 --nce_idt false")
    layers = one_step(made)["N"]
    losses = [-(1 - share_of_positive(*cosines(*layer))).log().mean() for layer in layers]
    assert made.get_current_losses()["N"] == pytest.approx(sum(losses).item() / len(losses), rel=1e-3)


def test_both_kinds_of_negatives_count_for_G_and_F(tmp_path):
    made = make(tmp_path, "--model negcut --negatives both --batch_size 2 --nce_layers 0,4,12")
    layers = one_step(made)["G"]
    losses = []
    for query, key, generated in layers:
        positive, negative = cosines(query, key, generated)
        patches = cosines(query, key, None)[1]
        losses.append(
            -share_of_positive(positive, [a + b for a, b in zip(negative, patches, strict=True)]).log().mean()
        )
    wanted = sum(losses) / len(losses)
    assert made.get_current_losses()["NCE"] == pytest.approx(wanted.item(), rel=1e-4)
    assert_learned(layers, wanted / 2)  # (NCE + NCE_Y) / 2


LOSSES = {
    "--nce_loss monce --eps 0.1": lambda q, k: hard_negatives.monce_loss(q, k, None, T, eps=0.1),
    "--nce_loss monce --cost_type easy --neg_term_weight 2": lambda q, k: hard_negatives.monce_loss(
        q, k, None, T, "easy", weight=2.0
    ),
    "--nce_loss dce": lambda q, k: hard_negatives.decoupled_loss(q, k, None, T),
    "--nce_loss hdce --HDCE_gamma 0.2": lambda q, k: hard_negatives.hdce_loss(q, k, None, T, 0.2),
}


@pytest.mark.parametrize("flags", LOSSES)
def test_the_named_loss_teaches(tmp_path, flags):
    made = make(tmp_path, f"--model cut --lambda_NCE 0.5 --batch_size 2 --lambda_SRC 0.3 {flags}")
    layers = one_step(made)["G"]
    nce = 0.5 * sum(LOSSES[flags](q, k) for q, k, _ in layers) / len(layers)
    src = 0.3 * hard_negatives.semantic_relation_loss(*map(list, list(zip(*layers, strict=True))[:2]))
    losses = made.get_current_losses()
    assert (losses["NCE"], losses["SRC"]) == pytest.approx((nce.item(), src.item()), rel=1e-4)
    assert losses["G"] == pytest.approx(losses["G_GAN"] + (losses["NCE"] + losses["NCE_Y"]) / 2 + losses["SRC"])
    assert_learned(layers, nce / 2 + src)
    assert ("steps_without_contrast" in made.get_current_statistics()) == ("monce" in flags)


def test_generated_negatives_take_the_decoupled_loss(tmp_path):
    made = make(tmp_path, "--model negcut --nce_loss dce --nce_idt false --lambda_SRC 1")
    layers = one_step(made)["G"]
    wanted = sum(-share_of_positive(*cosines(*layer)).log().mean() for layer in layers) / len(layers)
    assert made.get_current_losses()["NCE"] == pytest.approx(wanted.item(), rel=1e-4)  # the value is InfoNCE's
    assert made.get_current_losses()["SRC"] > 0


def test_gamma_by_epoch(tmp_path):
    schedule = "--n_epochs 3 --n_epochs_decay 2 --use_curriculum --HDCE_gamma 50 --HDCE_gamma_min 10"
    made = make(tmp_path, f"--model cut --nce_loss hdce {schedule} --step_gamma --step_gamma_epoch 4")
    found = []
    for epoch in range(1, 6):
        made.set_epoch(epoch)
        found.append(made.contrast.gamma.item())
    assert found == pytest.approx([42, 34, 26, 18, 1])
    assert make(tmp_path, f"--model cut --nce_loss hdce {schedule} --epoch_count 2").contrast.gamma.item() == 34


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--model negcut --nce_loss monce", "--nce_loss monce weighs an image's patches .* --model negcut takes"),
        ("--model negcut --nce_loss hdce", "--model negcut takes patchnce or dce"),
        ("--model cut --nce_loss hdce --nce_includes_all_negatives_from_minibatch", "--nce_loss hdce compares patches"),
        ("--model sincut --lambda_SRC 1", "--lambda_SRC compares patches of one image; it needs --nce_includes_all"),
        ("--model cut --lambda_SRC 1 --lambda_NCE 0", "--lambda_NCE 0 has none"),
        ("--model cut --nce_loss monce --num_patches 1", "--num_patches 1: the loss compares patches"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, flags, says):
    with pytest.raises(UserError, match=says):
        make(tmp_path, flags)


def test_flags_of_another_loss_are_told(tmp_path, capsys):
    make(tmp_path, "--model cut --nce_loss hdce --eps 0.1 --HDCE_gamma 2")
    assert "--eps has no effect without --nce_loss monce" in capsys.readouterr().err
