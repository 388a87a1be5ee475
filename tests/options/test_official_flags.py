"""Every flag of the official CUT and NEGCUT code is there under its name and with its default.

Where we differ on purpose the table says so. CUT's are those of its base, train, test and model options.
"""

import math

import pytest

import options
from models import create_model
from models.cycle_gan_model import CYCLEGANS_CODE
from scripts.launch import read_experiment

BASE = dict(
    name="experiment_name", easy_label="", checkpoints_dir="./checkpoints", model="cut", input_nc=3, output_nc=3,
    ngf=64, ndf=64, netD="basic", netG="resnet_9blocks", n_layers_D=3, normG="instance", normD="instance",
    init_type="xavier", init_gain=0.02, no_dropout=True, no_antialias=False, no_antialias_up=False,
    dataset_mode="unaligned", direction="AtoB", serial_batches=False, num_threads=4, batch_size=1, load_size=286,
    crop_size=256, max_dataset_size=math.inf, preprocess="resize_and_crop", no_flip=False, display_winsize=256,
    random_scale_max=3.0, epoch="latest", verbose=False, suffix="", stylegan2_G_num_downsampling=1,
)  # fmt: skip
TRAIN = dict(
    display_freq=400, display_ncols=4, display_id=None, display_server="http://localhost", display_env="main",
    display_port=8097, update_html_freq=1000, print_freq=100, no_html=False, save_latest_freq=5000, save_epoch_freq=5,
    evaluation_freq=5000, save_by_iter=False, continue_train=False, epoch_count=1, phase="train", pretrained_name=None,
    n_epochs=200, n_epochs_decay=200, beta1=0.5, beta2=0.999, lr=0.0002, gan_mode="lsgan", pool_size=0,
    lr_policy="linear", lr_decay_iters=50,
)  # fmt: skip
TEST = dict(
    results_dir="./results/", phase="test", eval=False, aspect_ratio=1.0,
    num_test=math.inf,  # officially 50, a surprise to everybody
    load_size=256,  # officially too: the crop size
)  # fmt: skip
CONTRASTIVE = dict(
    lambda_GAN=1.0, lambda_NCE=1.0, nce_idt=True, nce_layers="0,4,8,12,16",
    nce_includes_all_negatives_from_minibatch=False, netF="mlp_sample", netF_nc=256, nce_T=0.07, num_patches=256,
    flip_equivariance=False,
)  # fmt: skip
FAST = dict(nce_idt=False, lambda_NCE=10.0, flip_equivariance=True, n_epochs=150, n_epochs_decay=50)
CUT = CONTRASTIVE | dict(CUT_mode="CUT")
NEGCUT = CONTRASTIVE | dict(NEGCUT_mode="NEGCUT", netN="neg_gen_momentum", lambda_MS_neg=1.0, lr_N=0.0002)
CYCLE_GAN = BASE | TRAIN | dict(  # of CycleGAN's code, 2021 and 2025; where it has the flag
    model="cycle_gan", pool_size=50, n_epochs=100, n_epochs_decay=100, init_type="normal", no_antialias=True,
    no_antialias_up=True, no_dropout=True, lambda_A=10.0, lambda_B=10.0, lambda_identity=0.5,
)  # fmt: skip
NEEDED = ["--dataroot", "none", "--gpu_ids", "-1"]

# What the official help texts offer.
CHOICES = dict(
    netD=["basic", "n_layers", "pixel", "patch", "tilestylegan2", "stylegan2"],
    netG=["resnet_9blocks", "resnet_6blocks", "resnet_4blocks", "unet_256", "unet_128", "stylegan2", "smallstylegan2"],
    normG=["instance", "batch", "none"], normD=["instance", "batch", "none"],
    init_type=["normal", "xavier", "kaiming", "orthogonal"], direction=["AtoB", "BtoA"],
    gan_mode=["vanilla", "lsgan", "wgangp", "nonsaturating"], lr_policy=["linear", "step", "plateau", "cosine"],
    netF=["sample", "reshape", "mlp_sample"], NEGCUT_mode=["NEGCUT", "negcut", "FastNEGCUT", "fastnegcut"],
    netN=["neg_gen_momentum", "neg_gen", "neg_gen_al", "neg_param"],
    preprocess=["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none", "scale_shortside",
                "scale_shortside_and_crop", "fixsize", "zoom_and_patch", "trim"],
)  # fmt: skip


def defaults(*argv: str, is_train: bool = True) -> dict:
    opt = vars(options.parse([*NEEDED, *argv], is_train))
    return {key: (type(value), value) for key, value in opt.items()}


def typed(values: dict) -> dict:
    return {key: (type(value), value) for key, value in values.items()}


@pytest.mark.parametrize(
    "argv, wanted",
    [
        ([], BASE | TRAIN | CUT),
        (["--model", "cut"], BASE | TRAIN | CUT),
        (["--model", "cut", "--CUT_mode", "FastCUT"], BASE | TRAIN | CUT | FAST | {"CUT_mode": "FastCUT"}),
        (["--model", "negcut"], BASE | TRAIN | NEGCUT | {"model": "negcut"}),
        (
            ["--model", "negcut", "--NEGCUT_mode", "FastNEGCUT"],
            BASE | TRAIN | NEGCUT | FAST | {"model": "negcut", "NEGCUT_mode": "FastNEGCUT"},
        ),
    ],
)
def test_training_defaults(argv, wanted):
    ours = defaults(*argv)
    assert {key: ours.get(key) for key in wanted} == typed(wanted)


def test_cyclegan_is_told_where_defaults_are_not_those_of_its_own_code():
    ours = defaults("--model", "cycle_gan")
    differ = {key: value for key, value in CYCLE_GAN.items() if ours.get(key) != (type(value), value)}
    assert differ == CYCLEGANS_CODE


def test_the_experiment_of_cyclegan_has_its_own_codes_defaults(tmp_path):
    """But for the identity loss, which the comparison that it repeats goes without."""
    flags = read_experiment("horse2zebra_cyclegan")
    ours = defaults(*flags["both"], *flags["train"])
    wanted = CYCLE_GAN | {"name": "horse2zebra_cyclegan", "lambda_identity": 0.0}
    assert {key: ours.get(key) for key in wanted} == typed(wanted)


@pytest.mark.parametrize("model, own", [("cut", CUT), ("negcut", NEGCUT)])
def test_testing_defaults(model, own, tmp_path):
    (tmp_path / "experiment_name").mkdir()
    ours = defaults("--model", model, "--checkpoints_dir", str(tmp_path), is_train=False)
    wanted = BASE | own | TEST | {"model": model, "checkpoints_dir": str(tmp_path)}
    assert {key: ours.get(key) for key in wanted} == typed(wanted)


def test_gpu_and_dataroot_have_their_official_defaults():
    """They are resolved, or refused, so ``opt`` does not show them."""
    parser = options.OptionParser([])
    options.add_base_options(parser)
    assert (parser.get_default("gpu_ids"), parser.get_default("dataroot")) == ("0", "placeholder")


@pytest.mark.parametrize("flag, value", [(flag, value) for flag, values in CHOICES.items() for value in values])
def test_every_official_value_is_accepted(flag, value):
    assert getattr(options.parse([*NEEDED, "--model", "negcut", f"--{flag}", value]), flag) == value


@pytest.mark.parametrize("value", ["yes", "true", "t", "y", "1", "True", "no", "false", "f", "n", "0", "False", None])
@pytest.mark.parametrize("flag", ["no_dropout", "nce_idt", "flip_equivariance"])
def test_flags_with_a_truth_value(flag, value):
    opt = options.parse([*NEEDED, f"--{flag}", *([] if value is None else [value])])
    assert getattr(opt, flag) is (value is None or value[0] in "ytT1")


def test_the_options_make_the_official_networks():
    """Parameters of the default networks as published (F, made by the first batch there, is not counted in either)."""
    model = create_model(options.parse([*NEEDED, "--model", "negcut"]))
    count = {name: sum(p.numel() for p in net.parameters()) for name, net in model.networks().items()}
    assert (count["G"], count["D"]) == (11_378_179, 2_764_737)
