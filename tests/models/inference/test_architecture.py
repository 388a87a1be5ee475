"""The flags guessed from a checkpoint build a network with exactly its weights."""

import json
from argparse import Namespace

import pytest
import torch

from models import networks
from models.inference.architecture import guess_network

OPT = dict(load_size=64, crop_size=64, stylegan2_G_num_downsampling=1)
GENERATORS = [
    dict(netG=netG, norm=norm, no_antialias=down, no_antialias_up=up, use_dropout=dropout, input_nc=1, output_nc=2)
    for netG, norm, down, up, dropout in [
        ("resnet_9blocks", "instance", False, False, False),
        ("resnet_9blocks", "batch", True, True, True),
        ("resnet_6blocks", "none", True, False, False),
        ("resnet_4blocks", "instance", False, True, True),
        ("unet_128", "batch", False, False, False),
        ("unet_256", "instance", False, False, False),
        ("unet_128", "none", False, False, False),
        ("stylegan2", "instance", False, False, False),
        ("smallstylegan2", "instance", False, False, False),
    ]
]
DISCRIMINATORS = [
    dict(netD=netD, norm=norm, no_antialias=down, n_layers_D=layers, input_nc=4)
    for netD, norm, down, layers in [
        ("basic", "instance", False, 3),
        ("basic", "batch", True, 3),
        ("n_layers", "none", True, 2),
        ("n_layers", "instance", False, 5),
        ("pixel", "batch", False, 3),
        ("pixel", "none", False, 3),
        ("stylegan2", "instance", False, 3),
    ]
]


def shapes(state):
    return {key: value.shape for key, value in state.items()}


def build(flags: dict) -> torch.nn.Module:
    """The network of guessed flags, made as the models make it."""
    opt = Namespace(**OPT | flags)
    if "netG" in flags:
        return networks.define_G(
            opt.input_nc, opt.output_nc, opt.ngf, opt.netG, flags.get("normG", "instance"),
            not flags.get("no_dropout", True), no_antialias=flags.get("no_antialias", False),
            no_antialias_up=flags.get("no_antialias_up", False), opt=opt,
        )  # fmt: skip
    return networks.define_D(
        opt.input_nc, opt.ndf, opt.netD, flags.get("n_layers_D", 3), flags.get("normD", "instance"),
        no_antialias=flags.get("no_antialias", False), opt=opt,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", GENERATORS, ids=lambda a: f"{a['netG']}-{a['norm']}")
@pytest.mark.parametrize("ngf", [1, 6])
def test_generators(arguments, ngf):
    state = networks.define_G(ngf=ngf, opt=Namespace(**OPT), **arguments).state_dict()
    guess = guess_network(state)
    assert (guess.kind, guess.flags["netG"], guess.flags["ngf"]) == ("generator", arguments["netG"], ngf)
    assert shapes(build(guess.flags).state_dict()) == shapes(state)


@pytest.mark.parametrize("arguments", DISCRIMINATORS, ids=lambda a: f"{a['netD']}-{a['norm']}")
def test_discriminators(arguments):
    state = networks.define_D(ndf=4, opt=Namespace(**OPT), **arguments).state_dict()
    guess = guess_network(state)
    assert (guess.kind, guess.flags["netD"], guess.flags["ndf"]) == ("discriminator", arguments["netD"], 4)
    assert shapes(build(guess.flags).state_dict()) == shapes(state)


def test_what_published_code_saved(reference_dir):
    cases = json.loads((reference_dir / "networks" / "networks.json").read_text())
    for case in cases:
        state = {key: torch.empty(shape, device="meta") for key, shape in case["state_dict"]}
        flags = guess_network(state).flags
        for name in {"netG", "ngf", "netD", "ndf", "input_nc", "output_nc"} & case.keys():
            assert flags[name] == case[name], case["case"]
        if "stylegan2" not in (case.get("netG") or case.get("netD")):
            assert flags["normG" if case["network"] == "G" else "normD"] == case["norm"]
            same = build(flags).state_dict()
            assert shapes(same) == shapes(state)


def test_filters_may_be_missing():
    state = networks.define_G(3, 3, 2, "resnet_4blocks", "instance").state_dict()
    without = {key: value for key, value in state.items() if not key.endswith(".filt")}
    assert guess_network(without) == guess_network(state)


def test_projector_and_negative_generators():
    F = networks.define_F(3, "mlp_sample", opt=Namespace(netF_nc=16), channels=[3, 8])
    assert guess_network(F.state_dict()).command_line() == "--netF mlp_sample --netF_nc 16"
    assert guess_network(F.state_dict()).notes == ["2 layers in --nce_layers, of 3, 8 channels"]
    for netN in ("neg_gen_momentum", "neg_gen", "neg_param"):
        N = networks.SOURCES[netN]([3, 8], [16, 16], 16, 4)
        guess = guess_network(N.state_dict())
        assert (guess.kind, guess.flags["netN"], guess.flags["netF_nc"]) == ("negative generator (N)", netN, 16)


def test_the_command_line():
    state = networks.define_G(3, 1, 2, "resnet_4blocks", "batch", use_dropout=True, no_antialias=True).state_dict()
    words = "--netG resnet_4blocks --ngf 2 --input_nc 3 --output_nc 1 --normG batch --no_dropout false --no_antialias"
    assert guess_network(state).command_line() == words


@pytest.mark.parametrize("state", [{}, {"a": torch.zeros(1)}, {"model.1.weight": torch.zeros(3)}])
def test_unknown_weights(state):
    assert guess_network(state) is None
