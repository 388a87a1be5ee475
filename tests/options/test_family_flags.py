"""Flags of CycleGAN's code, and of older code of the family, mean what they meant there."""

import argparse
import shlex

import pytest

import options
from options.family_flags import HELP, RENAMED
from options.option_parser import OptionParser
from util.errors import UserError
from util.loggers import create_loggers

# What the READMEs and scripts of CUT, NEGCUT and CycleGAN (2018, 2021, 2025) call, and the scripts that try them.
COMMANDS = """
train.py --dataroot ./datasets/grumpifycat --name grumpycat_CUT --CUT_mode CUT
train.py --dataroot ./datasets/grumpifycat --name grumpycat_FastCUT --CUT_mode FastCUT
test.py --dataroot ./datasets/grumpifycat --name grumpycat_CUT --CUT_mode CUT --phase train
train.py --model sincut --name singleimage_monet_etretat --dataroot ./datasets/single_image_monet_etretat
test.py --model sincut --name singleimage_monet_etretat --dataroot ./datasets/single_image_monet_etretat
test.py --dataroot datasets/cityscapes/cityscapes_val/ --direction BtoA --phase val --name cut --CUT_mode CUT \
--num_test 500
train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan
train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --use_wandb
train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --pool_size 50 --no_dropout --use_wandb
train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --pool_size 50 --no_dropout
test.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan
test.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --phase test --no_dropout
train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --direction BtoA --use_wandb
train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --netG unet_256 --direction BtoA \
--lambda_L1 100 --dataset_mode aligned --no_lsgan --norm batch --pool_size 0
train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --netG unet_256 --direction BtoA \
--lambda_L1 100 --dataset_mode aligned --norm batch --pool_size 0 --use_wandb
test.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --direction BtoA
test.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --netG unet_256 --direction BtoA \
--dataset_mode aligned --norm batch
test.py --dataroot ./datasets/facades/testB/ --name facades_pix2pix --model test --netG unet_256 --direction BtoA \
--dataset_mode single --norm batch
test.py --dataroot datasets/horse2zebra/testA --name horse2zebra_pretrained --model test --no_dropout
test.py --dataroot ./datasets/facades/ --direction BtoA --model pix2pix --name facades_label2photo_pretrained
train.py --dataroot ./datasets/colorization --name color_pix2pix --model colorization --use_wandb
test.py --dataroot ./datasets/colorization --name color_pix2pix --model colorization
test.py --model test --dataroot ./datasets/mini --name horse2zebra_pretrained --no_dropout --num_test 1 --no_dropout
train.py --name temp --dataroot ./datasets/mini --niter 1 --niter_decay 0 --save_latest_freq 10 --print_freq 1 \
--display_id -1
test.py --name temp --dataroot ./datasets/mini --num_test 1 --model_suffix "_A"
train.py --model cycle_gan --name temp_cyclegan --dataroot ./datasets/mini --n_epochs 1 --n_epochs_decay 0 \
--save_latest_freq 10 --print_freq 1 --display_id -1
test.py --model test --name temp_cyclegan --dataroot ./datasets/mini --num_test 1 --model_suffix "_A" --no_dropout
train.py --model pix2pix --name temp_pix2pix --dataroot ./datasets/mini_pix2pix --n_epochs 1 --n_epochs_decay 5 \
--save_latest_freq 10 --display_id -1
train.py --model template --name temp2 --dataroot ./datasets/mini_pix2pix --n_epochs 1 --n_epochs_decay 0 \
--save_latest_freq 10 --display_id -1
test.py --model template --name temp2 --dataroot ./datasets/mini_pix2pix --num_test 1
test.py --model pix2pix --name temp_pix2pix --dataroot ./datasets/mini_pix2pix --num_test 1
test.py --dataroot ./datasets/facades/ --direction BtoA --model pix2pix --name facades_label2photo_pretrained \
--num_test 1
train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --direction BtoA
train.py --model pix2pix --name temp --dataroot ./datasets/mini_pix2pix --niter 1 --niter_decay 0 \
--save_latest_freq 10 --display_id -1
test.py --model pix2pix --name temp --dataroot ./datasets/mini_pix2pix --num_test 1 --direction BtoA
test.py --dataroot ./datasets/facades/testB/ --name your_trained_model_name --model test
train.py --dataroot ./datasets/colorization --name color_pix2pix --model colorization
train.py --model colorization --name temp_color --dataroot ./datasets/mini_colorization --n_epochs 1 \
--n_epochs_decay 0 --save_latest_freq 5 --display_id -1
test.py --model colorization --name temp_color --dataroot ./datasets/mini_colorization --num_test 1
train.py --dataroot ./datasets/horse2zebra --name CITY_NEGCUT --NEGCUT_mode NEGCUT --model negcut
test.py --dataroot ./datasets/cityscapes --name CITY_NEGCUT --NEGCUT_mode NEGCUT --model negcut --phase test
"""
NEEDED = ["--dataroot", "none", "--gpu_ids", "-1"]


@pytest.mark.parametrize("command", [c for c in COMMANDS.replace("\\\n", "").splitlines() if c])
def test_every_command_of_the_official_repositories_parses(command, tmp_path):
    script, *argv = shlex.split(command)
    (tmp_path / argv[argv.index("--name") + 1]).mkdir()
    argv += [
        "--gpu_ids",
        "-1",
        "--checkpoints_dir",
        str(tmp_path),
        *(["--results_dir", str(tmp_path)] * (script[1] == "e")),
    ]
    opt = options.parse(argv, is_train=script == "train.py")
    assert opt.dataroot in command and opt.name in command


def train(*argv: str) -> argparse.Namespace:
    return options.parse([*NEEDED, *argv])


def test_norm_sets_both_and_the_own_flag_wins():
    opt = train("--normD", "none", "--norm", "batch")
    assert (opt.norm, opt.normG, opt.normD) == ("batch", "batch", "none")
    opt = train("--model", "pix2pix", "--norm=instance")
    assert (opt.norm, opt.normG, opt.normD) == ("instance", "instance", "instance")


def test_load_iter_is_an_epoch():
    opt = train("--load_iter", "1200")
    assert (opt.epoch, opt.load_iter) == ("iter_1200", 1200)
    opt = train("--load_iter", "0", "--epoch", "3")
    assert (opt.epoch, opt.load_iter) == ("3", 0)
    with pytest.raises(UserError, match="--load_iter five"):
        train("--load_iter", "five")


def test_no_lsgan_and_epochs():
    opt = train("--no_lsgan", "--niter", "7", "--niter_decay=0", "--which_epoch", "5", "--which_direction", "BtoA")
    assert (opt.gan_mode, opt.n_epochs, opt.n_epochs_decay, opt.epoch) == ("vanilla", 7, 0, "5")
    assert opt.direction == "BtoA"
    assert opt.sources["n_epochs"] == "typed"


def test_todays_flag_wins_over_the_old_one():
    assert train("--n_epochs", "3", "--niter", "7").n_epochs == 3


def test_every_old_name_has_a_flag_of_today_and_stands_in_the_help():
    flags = set()
    for is_train in (True, False):
        parser = OptionParser([])
        options.add_base_options(parser)
        (options.add_train_options if is_train else options.add_test_options)(parser)
        flags |= set(parser._option_string_actions)
    assert {f"--{new}" for new in RENAMED.values()} - flags == {"--lambda_identity"}  # cycle_gan's own
    assert all(f"--{old} " in HELP for old in RENAMED)


def test_a_flag_without_its_value_is_named():
    with pytest.raises(UserError, match="--norm needs a value"):
        train("--norm")


def test_a_model_file_may_have_such_a_flag_of_its_own():
    parser = OptionParser(["--niter", "4", "--norm", "batch"])
    parser.add_argument("--n_epochs", type=int, default=1)
    parser.add_argument("--niter", type=int, default=2)
    parser.add_argument("--norm", default="instance")
    opt = parser.parse_args(parser.argv)
    assert (opt.niter, opt.n_epochs, opt.norm) == (4, 1, "batch")
    assert parser.typed() == {"niter", "norm"}


@pytest.mark.parametrize("display_id", ["0", "-1"])
def test_visdom_is_off(display_id, tmp_path):
    opt = train("--display_id", display_id, "--checkpoints_dir", str(tmp_path), "--quiet", "--no_html")
    with create_loggers(opt) as loggers:
        assert not [logger for logger in loggers.loggers if "Visdom" in type(logger).__name__]
