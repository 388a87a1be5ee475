"""Every model of the family: steps, losses and pictures, translating without a target, files, an exact resume."""

import numpy as np
import pytest
import torch
from drawn_family import options_of, pair_batch

from models import create_model
from util.errors import UserError
from util.run.state import load_rank_state, load_training_state, rank_state, training_state

TINY = ["--ngf", "2", "--ndf", "2", "--batch_size", "2"]
SIN = ["--crop_size", "32", "--load_size", "32", "--netF_nc", "8", "--num_patches", "4", "--ngf", "1", "--ndf", "1"]
FLAGS = {
    "cycle_gan": [*TINY, "--netG", "resnet_4blocks"],
    "pix2pix": [*TINY, "--netG", "unet_128"],
    "template": [*TINY, "--netG", "resnet_4blocks"],
    "sincut": ["--batch_size", "2", *SIN],
    "sinnegcut": ["--batch_size", "2", *SIN],
}
SIZE = {"pix2pix": 128}
LOSSES = {
    "cycle_gan": {"D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B"},
    "pix2pix": {"G_GAN", "G_L1", "D_real", "D_fake"},
    "template": {"G"},
    "sincut": {"G_GAN", "D_real", "D_fake", "G", "NCE", "NCE_Y", "D_R1", "idt"},
    "sinnegcut": {"G_GAN", "D_real", "D_fake", "G", "NCE", "NCE_Y", "D_R1", "idt", "N"},
}


def make(name: str, folder, *extra: str, is_train: bool = True):
    flags = ["--name", "run", "--model", name, *FLAGS[name], *extra]
    if name == "cycle_gan" and is_train:
        flags += ["--pool_size", "3"]  # full after two steps
    opt = options_of(folder, *flags, is_train=is_train)
    model = create_model(opt)
    model.setup(opt)
    return model


def steps(model, name: str, *seeds: int) -> None:
    for seed in seeds:
        model.set_input(pair_batch([seed, seed + 100], SIZE.get(name, 32)))
        model.optimize_parameters()


@pytest.mark.parametrize("name", FLAGS)
def test_a_step_changes_all_networks_and_reports_all_losses(name, tmp_path):
    model = make(name, tmp_path)
    before = {key: [p.clone() for p in net.parameters()] for key, net in model.networks().items()}
    steps(model, name, 0)
    losses = model.get_current_losses()
    assert losses.keys() == LOSSES[name]
    assert all(map(torch.isfinite, map(torch.tensor, losses.values())))
    assert not any(bad for *_, bad in model.updates.read())
    for key, net in model.networks().items():
        assert any(not torch.equal(a, b) for a, b in zip(before[key], net.parameters(), strict=True)), key
    for label, pictures in model.get_current_visuals().items():
        assert pictures.shape == (2, 3, SIZE.get(name, 32), SIZE.get(name, 32)), label


@pytest.mark.parametrize("name", FLAGS)
def test_a_resumed_model_takes_the_same_steps(name, tmp_path):
    model, other = make(name, tmp_path), make(name, tmp_path, "--seed", "5")
    steps(model, name, 0, 1)
    state, rank = training_state(model), rank_state(model)
    file = tmp_path / "state.pt"
    torch.save([state, rank], file)
    steps(model, name, 2, 3)
    state, rank = torch.load(file, weights_only=True)
    load_training_state(other, state, epoch=1)
    load_rank_state(other, rank)
    steps(other, name, 2, 3)
    assert other.get_current_losses() == model.get_current_losses()
    for net, same in zip(model.networks().values(), other.networks().values(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), same.parameters(), strict=True))


@pytest.mark.parametrize("name", FLAGS)
def test_saved_weights_translate_a_source_without_target(name, tmp_path):
    model = make(name, tmp_path)
    steps(model, name, 0)
    model.save_networks("latest")
    tester = make(name, tmp_path, is_train=False)
    size = SIZE.get(name, 32)
    A = pair_batch([7, 8], size)["A"]
    tester.set_input({"A": A, "A_paths": ["7.png", "8.png"]})
    tester.test()
    output = tester.output if name == "template" else tester.fake_B
    assert output.shape == (2, 3, size, size)
    assert tester.get_image_paths() == ["7.png", "8.png"]
    assert all(torch.is_tensor(pictures) for pictures in tester.get_current_visuals().values())
    assert torch.isfinite(output).all()


def test_cycle_gan_in_the_other_direction(tmp_path):
    model = make("cycle_gan", tmp_path, "--direction", "BtoA")
    batch = pair_batch([1, 2], 32)
    model.set_input(batch)
    assert torch.equal(model.real_A, batch["B"]) and torch.equal(model.real_B, batch["A"])
    assert model.image_paths == batch["B_paths"]


def test_cycle_gan_without_identity_loss(tmp_path):
    model = make("cycle_gan", tmp_path, "--lambda_identity", "0")
    steps(model, "cycle_gan", 0)
    assert model.get_current_losses().keys() == LOSSES["cycle_gan"] - {"idt_A", "idt_B"}
    assert "idt_A" not in model.get_current_visuals()


@pytest.mark.parametrize("suffix", ["", "_A", "_B"])
def test_one_generator_of_a_file_alone(suffix, tmp_path):
    trained = make("cycle_gan", tmp_path)
    trained.save_networks("latest")
    trained.netG = trained.netG_A
    trained.model_names = ["G"]
    trained.save_networks("latest")
    opt = options_of(
        tmp_path, "--model", "test", "--netG", "resnet_4blocks", "--ngf", "2", "--model_suffix", suffix, is_train=False
    )
    model = create_model(opt)
    model.setup(opt)
    A = pair_batch([3], 32)["A"]
    model.set_input({"A": A, "A_paths": ["3.png"]})
    model.test()
    net = trained.netG_B if suffix == "_B" else trained.netG_A
    assert torch.equal(model.fake, net(A).detach())
    assert model.get_current_visuals().keys() == {"real", "fake"}


def test_pix2pix_judges_the_output_beside_the_input(tmp_path):
    model = make("pix2pix", tmp_path)
    batch = pair_batch([1, 2], 128)
    model.set_input(batch)
    scores = model.judge(model.real_B)
    model.set_input(batch | {"A": -batch["A"]})
    assert not torch.allclose(scores, model.judge(model.real_B))


@pytest.mark.parametrize("flags", [["--lambda_R1", "0"], ["--lambda_identity", "0"], ["--netD", "basic", "--ndf", "2"]])
def test_parts_of_the_single_image_loss_can_be_left_out(flags, tmp_path):
    model = make("sincut", tmp_path, *flags)
    steps(model, "sincut", 0)
    left_out = {"--lambda_R1": {"D_R1"}, "--lambda_identity": {"idt"}, "--netD": set()}[flags[0]]
    assert model.get_current_losses().keys() == LOSSES["sincut"] - left_out


def test_colorization_shows_colours(tmp_path):
    from PIL import Image

    from data.colorization_dataset import rgb_to_lab
    from models.colorization_model import lab_to_rgb

    color = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    color[:16] //= 20  # where sRGB and Lab are linear
    lab = torch.from_numpy(rgb_to_lab(Image.fromarray(color))).permute(2, 0, 1)[None]
    back = (lab_to_rgb(lab[:, :1] / 50 - 1, lab[:, 1:] / 110)[0].permute(1, 2, 0) + 1) * 127.5
    assert (back.round() - torch.from_numpy(color).float()).abs().max() <= 1

    opt = options_of(tmp_path, "--model", "colorization", *TINY, "--netG", "unet_128")
    model = create_model(opt)
    model.set_input({"A": torch.zeros(2, 1, 128, 128), "B": torch.zeros(2, 2, 128, 128), "A_paths": ["", ""]})
    model.optimize_parameters()
    model.compute_visuals()
    shapes = {label: tuple(v.shape) for label, v in model.get_current_visuals().items()}
    assert shapes == {"real_A": (2, 1, 128, 128), "real_B_rgb": (2, 3, 128, 128), "fake_B_rgb": (2, 3, 128, 128)}


@pytest.mark.slow
def test_pix2pix_learns_a_drawn_paired_set(tmp_path):
    """Its error on new pairs against two baselines: the input itself, and the mean of the targets."""
    flags = ["--netG", "unet_128", "--ngf", "8", "--ndf", "4", "--lr", "0.002"]
    opt = options_of(tmp_path, "--model", "pix2pix", *flags)
    model = create_model(opt)
    model.setup(opt)
    train = pair_batch(range(40), 128)
    for step in range(120):
        pick = [step % 40]
        model.set_input({k: v[pick] if torch.is_tensor(v) else [v[pick[0]]] for k, v in train.items()})
        model.optimize_parameters()
    test = pair_batch(range(1000, 1010), 128)
    model.set_input(test)
    model.test()
    error = (model.fake_B - test["B"]).abs().mean()
    copied = (test["A"] - test["B"]).abs().mean()
    mean = (train["B"].mean(dim=0) - test["B"]).abs().mean()
    print(f"error {error:.3f}, input copied {copied:.3f}, mean target {mean:.3f}")
    assert error < 0.6 * min(copied, mean)


def test_a_flag_that_nothing_sets_is_named(tmp_path):
    """As of a fork's model file whose flags lie in its options/."""
    opt = options_of(tmp_path, "--model", "cut", *TINY)
    del opt.lambda_SRC
    with pytest.raises(UserError, match=r"--model cut asks for opt\.lambda_SRC, which no flag sets: add"):
        create_model(opt)
