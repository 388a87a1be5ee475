"""test.py on folders of other code, which have no train_opt.json: what was not typed is read from the weights."""

from argparse import Namespace

import pytest
import torch

import options
from models import create_model, networks
from util.errors import UserError

CYCLEGAN = ("instance", False, "normal", 0.02, [])  # as CycleGAN's files call define_G: no anti-aliasing


def folder_of(tmp_path, file, net):
    folder = tmp_path / "checkpoints" / "pretrained"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), folder / file)
    return ["--dataroot=none", f"--checkpoints_dir={tmp_path / 'checkpoints'}", "--name=pretrained", "--gpu_ids=-1"]


def loaded(argv):
    """The model of test.py, its weights read."""
    opt = options.parse(argv, is_train=False)
    model = create_model(opt)
    model.setup(opt)
    return opt, model


def test_a_pretrained_cyclegan_folder(tmp_path, capsys):
    net = networks.define_G(3, 3, 8, "resnet_6blocks", *CYCLEGAN)
    argv = folder_of(tmp_path, "latest_net_G.pth", net)
    opt, model = loaded([*argv, "--model=test", "--no_dropout"])
    assert (opt.netG, opt.ngf, opt.no_antialias, opt.no_antialias_up) == ("resnet_6blocks", 8, True, True)
    assert torch.equal(model.netG.model[1].weight, net.model[1].weight)
    assert opt.crop_size == 256
    line = next(line for line in capsys.readouterr().out.splitlines() if "latest_net_G.pth" in line)
    assert "--netG resnet_6blocks --ngf 8" in line and "--no_antialias_up" in line


def test_both_ways_of_cyclegan(tmp_path):
    argv = folder_of(tmp_path, "latest_net_G_A.pth", networks.define_G(3, 1, 4, "resnet_9blocks", *CYCLEGAN))
    folder_of(tmp_path, "latest_net_G_B.pth", networks.define_G(1, 3, 4, "resnet_9blocks", *CYCLEGAN))
    opt, _ = loaded([*argv, "--model=cycle_gan"])
    assert (opt.input_nc, opt.output_nc, opt.ngf) == (3, 1, 4)
    opt, _ = loaded([*argv, "--model=test", "--model_suffix=_B"])
    assert (opt.input_nc, opt.output_nc) == (1, 3)


def test_one_way_of_cyclegan_is_for_model_test(tmp_path):
    argv = folder_of(tmp_path, "latest_net_G.pth", networks.define_G(3, 3, 2, "resnet_4blocks", *CYCLEGAN))
    with pytest.raises(UserError, match="there is latest_net_G.pth, which --model test takes"):
        loaded([*argv, "--model=cycle_gan"])


def test_weights_tell_more_than_a_models_preset_and_dropout_is_told(tmp_path, capsys):
    net = networks.define_G(3, 3, 2, "unet_128", "instance", True, "normal", 0.02, [])
    argv = folder_of(tmp_path, "latest_net_G.pth", net)
    opt, _ = loaded([*argv, "--model=pix2pix"])
    assert (opt.netG, opt.normG, opt.no_dropout) == ("unet_128", "instance", False)
    assert "whether it has dropout the weights do not tell" in capsys.readouterr().out


@pytest.mark.parametrize("ngf, size", [(10, 128), (8, 256), (3, 64)])
def test_stylegan2_at_the_size_of_the_test(ngf, size, tmp_path):
    opt = Namespace(load_size=size, crop_size=size, stylegan2_G_num_downsampling=1)
    argv = folder_of(tmp_path, "latest_net_G.pth", networks.define_G(3, 3, ngf, "smallstylegan2", opt=opt))
    opt, _ = loaded([*argv, "--model=test", f"--crop_size={size}"])
    assert (opt.netG, opt.ngf, opt.crop_size) == ("smallstylegan2", ngf, size)


def test_what_is_typed_wins(tmp_path):
    argv = folder_of(tmp_path, "latest_net_G.pth", networks.define_G(3, 3, 8, "resnet_6blocks", *CYCLEGAN))
    opt = options.parse([*argv, "--model=test", "--netG=resnet_9blocks", "--norm=batch"], is_train=False)
    assert (opt.netG, opt.normG, opt.ngf) == ("resnet_9blocks", "batch", 8)


def test_the_options_of_a_run_of_ours_are_not_guessed(tmp_path, capsys):
    argv = folder_of(tmp_path, "latest_net_G.pth", networks.define_G(3, 3, 8, "resnet_6blocks", *CYCLEGAN))
    run = tmp_path / "checkpoints" / "pretrained"
    options.save_options(options.parse([*argv, "--netG=resnet_4blocks"]), run)
    assert options.parse(argv, is_train=False).netG == "resnet_4blocks"
    assert "latest_net_G.pth" not in capsys.readouterr().out
