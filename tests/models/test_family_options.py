"""Flags and defaults of the model family."""

import json

import pytest
from drawn_family import options_of

from models import create_model
from util.errors import UserError

SIN = dict(lambda_R1=1, lambda_identity=1, netG="stylegan2", netD="stylegan2", gan_mode="nonsaturating", num_patches=1)
SIN |= dict(nce_layers="0,2,4", lambda_NCE=4, nce_includes_all_negatives_from_minibatch=True, ngf=10, ndf=8, lr=0.002)
SIN |= dict(beta1=0, beta2=0.99, load_size=1024, crop_size=64, preprocess="zoom_and_patch", batch_size=16, n_epochs=8)
SIN |= dict(n_epochs_decay=8, save_epoch_freq=1, save_latest_freq=20000, dataset_mode="singleimage", nce_idt=True)
SIN |= dict(stylegan2_G_num_downsampling=1, lambda_GAN=1, flip_equivariance=False)
PIX2PIX = dict(dataset_mode="aligned", netG="unet_256", normG="batch", normD="batch", gan_mode="vanilla", lambda_L1=100)
PIX2PIX |= dict(pool_size=0, no_dropout=False, n_epochs=100, n_epochs_decay=100, init_type="normal")
CYCLE_GAN = dict(lambda_A=10, lambda_B=10, lambda_identity=0.5, pool_size=50, gan_mode="lsgan", netG="resnet_9blocks")
CYCLE_GAN |= dict(no_dropout=True, dataset_mode="unaligned")
DEFAULTS = {
    "sincut": SIN,
    "sinnegcut": SIN | dict(num_patches=16, lr_N=0.002, netN="neg_gen_momentum", lambda_MS_neg=1),
    "pix2pix": PIX2PIX,
    "colorization": PIX2PIX | dict(dataset_mode="colorization", input_nc=1, output_nc=2),
    "cycle_gan": CYCLE_GAN,
    "template": dict(dataset_mode="aligned", lambda_regression=1),
}


@pytest.mark.parametrize("model", DEFAULTS)
def test_defaults_in_training(model, tmp_path):
    opt = vars(options_of(tmp_path, "--model", model))
    assert {key: opt[key] for key in DEFAULTS[model]} == DEFAULTS[model]


def test_a_cyclegan_user_is_told_of_the_other_defaults_until_they_are_given(tmp_path):
    own = "--n_epochs 50 --n_epochs_decay 50 --init_type normal --no_antialias".split()

    def notes(*flags):
        return create_model(options_of(tmp_path, "--model", "cycle_gan", "--ngf", "1", "--ndf", "1", *flags)).notes()

    (line,) = notes()
    assert "--n_epochs 100 --n_epochs_decay 100 --init_type normal --no_antialias --no_antialias_up" in line
    assert "scripts/experiments/horse2zebra_cyclegan.txt" in line
    assert "own code has --no_antialias_up," in notes(*own)[0]
    assert notes(*own, "--no_antialias_up") == []


def test_an_explicit_flag_wins(tmp_path):
    opt = options_of(tmp_path, "--model", "sinnegcut", "--lr", "0.1", "--num_patches", "8", "--netD", "basic")
    assert (opt.lr, opt.lr_N, opt.num_patches, opt.netD) == (0.1, 0.1, 8, "basic")


@pytest.mark.parametrize("model", ["sincut", "sinnegcut"])
def test_single_image_models_translate_the_whole_image(model, tmp_path):
    opt = options_of(tmp_path, "--model", model, is_train=False)
    assert (opt.preprocess, opt.batch_size, opt.num_test, opt.load_size) == ("none", 1, 1, 64)


def saved_run(folder, **values):
    (folder / "run").mkdir(parents=True)
    (folder / "run" / "train_opt.json").write_text(json.dumps(values))


def test_model_test_keeps_the_networks_and_takes_single_images(tmp_path):
    saved_run(tmp_path, model="cut", dataset_mode="unaligned", ngf=7, netG="resnet_4blocks", nce_idt=False)
    opt = options_of(tmp_path, "--name", "run", "--model", "test", is_train=False)
    assert (opt.dataset_mode, opt.ngf, opt.netG, opt.model_suffix) == ("single", 7, "resnet_4blocks", "")


def test_model_test_on_a_single_image_run(tmp_path):
    saved_run(tmp_path, model="sincut", dataset_mode="singleimage", preprocess="zoom_and_patch", netG="stylegan2")
    opt = options_of(tmp_path, "--name", "run", "--model", "test", is_train=False)
    assert (opt.preprocess, opt.netG) == ("none", "stylegan2")


def test_the_trained_model_keeps_its_saved_options(tmp_path):
    saved_run(tmp_path, model="cut", dataset_mode="unaligned", nce_idt=False, input_nc=1, preprocess="crop")
    opt = options_of(tmp_path, "--name", "run", is_train=False)
    assert (opt.nce_idt, opt.preprocess) == (False, "crop")


def test_model_test_of_a_run_whose_network_is_its_models_own(tmp_path):
    saved_run(tmp_path, model="cut", netG="two_layers")
    with pytest.raises(UserError, match="'two_layers'.*; it may be --model cut's own: leave out --model test"):
        options_of(tmp_path, "--name", "run", "--model", "test", is_train=False)


def test_model_test_refuses_to_train(tmp_path):
    with pytest.raises(UserError, match="translates only"):
        options_of(tmp_path, "--model", "test")


@pytest.mark.parametrize(
    "flags, named",
    [
        (["--model", "sincut", "--CUT_mode", "FastCUT"], "--lambda_identity"),
        (["--model", "sincut", "--nce_idt", "false"], "--lambda_identity"),
        (["--model", "sinnegcut", "--num_patches", "1"], "--num_patches"),
        (["--model", "cycle_gan", "--input_nc", "1"], "--lambda_identity"),
        (["--model", "template", "--netG", "resnet_cat"], "resnet_cat"),
    ],
)
def test_what_cannot_work_is_refused(flags, named, tmp_path):
    from models import create_model

    with pytest.raises(UserError, match=named):
        create_model(options_of(tmp_path, *flags, "--ngf", "1", "--ndf", "1", "--gpu_ids", "-1"))
