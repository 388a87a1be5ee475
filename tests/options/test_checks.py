"""What cannot work is refused in one sentence, before anything is written."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import options
from util.errors import UserError
from util.flag_types import count_or_inf, layer_list, seconds

NEEDED = ["--dataroot", "none", "--gpu_ids", "-1"]


def parse(*argv: str, is_train: bool = True):
    return options.parse([*NEEDED, *argv], is_train)


@pytest.mark.parametrize(
    "flags, says",
    [
        ("--name ../up", "--name must be a folder's name below --checkpoints_dir"),
        ("--name /tmp/up", "--name must be a folder's name"),
        ("--name=", "--name must be a folder's name"),
        ("--load_size 200", "--crop_size 256 is larger than --load_size 200"),
        ("--crop_size 300", "--crop_size 300 is larger than --load_size 286"),
        ("--n_epochs 0 --n_epochs_decay 0", "there is nothing to train"),
        ("--beta1 1", "--beta1 and --beta2 must be below 1"),
        ("--beta2 1.5", "--beta1 and --beta2 must be below 1"),
        ("--beta1 -0.1", "--beta1: must be a number of at least 0"),
        ("--dataroot placeholder", "--dataroot must name the folder that holds the images"),
        (f"--checkpoints_dir {__file__}", f"--checkpoints_dir {__file__} cannot be written to"),
        (f"--checkpoints_dir {__file__}/deeper", "cannot be written to"),
        ("--gpu_ids x", "--gpu_ids must be a GPU's number, or -1 for the CPU, not 'x'"),
        ("--gpu_ids 977", "--gpu_ids 977: GPU 977 is not there"),
        ("--lr 0", "--lr: must be a number above 0, not '0'"),
        ("--lr nan", "--lr: must be a number above 0"),
        ("--lr inf", "--lr: must be a number above 0"),
        ("--batch_size 0", "--batch_size: must be a whole number of at least 1, not '0'"),
        ("--batch_size 1.5", "--batch_size: must be a whole number"),
        ("--num_patches -1", "--num_patches: must be a whole number of at least 0"),
        ("--max_dataset_size 0", "--max_dataset_size: must be a whole number of at least 1"),
        ("--nce_layers 0,4,4", "--nce_layers: must be different layer indices"),
        ("--nce_layers 0;4", "--nce_layers: must be different layer indices"),
        ("--nce_layers -2", "--nce_layers: must be different layer indices"),
        ("--nce_idt maybe", "--nce_idt: must be true or false, not 'maybe'"),
        ("--netG resnet_8blocks", "--netG: invalid choice: 'resnet_8blocks'"),
        ("--time_budget soon", "--time_budget"),
        ("--model cutt", "--model cutt: there is no models/cutt_model.py; choose from"),
        ("--model base", "--model base"),
        ("--model ../data/loader", "--model ../data/loader"),
        ("--dataset_mode pairs", "--dataset_mode pairs: there is no data/pairs_dataset.py; choose from aligned"),
        ("--netN neg_gen", "unrecognized arguments: --netN neg_gen; --netN belongs to --model negcut or"),
        ("--netGG resnet_9blocks", "unrecognized arguments: --netGG resnet_9blocks (did you mean --netG?)"),
        ("--learning-rate 1 --lrr=1", "unrecognized arguments: --learning-rate 1 --lrr=1"),
        ("--num_test 3", "; --num_test belongs to test.py"),
        ("--lambda_L1=3", "; --lambda_L1 belongs to --model colorization or --model pix2pix"),
        ("3", "unrecognized arguments: 3"),
        ("--model netcut", "(did you mean negcut?)"),
        ("--dataset_mode unalined", "(did you mean unaligned?)"),
        ("--n_epoch 3", "unrecognized arguments: --n_epoch 3"),  # no abbreviations
        ("--lr", "--lr: expected one argument"),
    ],
)
def test_one_sentence_that_names_the_flag(flags, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        parse(*flags.split())
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_sizes_matter_only_where_images_are_scaled_and_cropped():
    for preprocess in ("crop", "scale_width_and_crop", "none", "zoom_and_patch"):
        assert parse("--preprocess", preprocess, "--load_size", "64").load_size == 64
    assert parse("--load_size", "256").load_size == 256


def test_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)  # root may write everywhere
    with pytest.raises(UserError, match="--checkpoints_dir .* cannot be written to"):
        parse("--checkpoints_dir", str(tmp_path / "checkpoints"))


def test_a_test_is_checked_for_its_own_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "file").touch()
    flags = ["--name", "run", "--checkpoints_dir", str(tmp_path)]
    with pytest.raises(UserError, match="--results_dir .*file.* cannot be written to"):
        parse(*flags, "--results_dir", str(tmp_path / "file"), is_train=False)
    parse(*flags, "--results_dir", str(tmp_path / "new" / "deeper"), is_train=False)
    assert not (tmp_path / "new").exists()


def test_a_name_may_have_folders(tmp_path):
    assert parse("--name", "horses/first").name == "horses/first"


def test_a_gpu_that_nobody_asked_for_may_be_missing(monkeypatch):
    monkeypatch.setattr("util.devices.accelerator", lambda: ("cpu", 0))
    assert options.parse(["--dataroot", "none"]).gpu_ids == []
    with pytest.raises(UserError, match="this machine has none"):
        options.parse(["--dataroot", "none", "--gpu_ids", "0"])
    with pytest.raises(UserError, match="this machine has none"):
        options.parse(["--dataroot", "none", "--gpu_ids=0"])


@given(st.lists(st.integers(-1, 30), min_size=1, unique=True))
def test_layers_stay_text(layers):
    text = ",".join(map(str, layers))
    assert layer_list(text) == text


@pytest.mark.parametrize("text, value", [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_time_spans(text, value):
    assert seconds(text) == value


def test_counts():
    assert (count_or_inf("7"), count_or_inf("inf")) == (7, float("inf"))


def test_a_missing_folder_is_checked_by_its_nearest_parent(tmp_path):
    folder = tmp_path / "a" / "b" / "c"
    assert parse("--checkpoints_dir", str(folder)).checkpoints_dir == str(folder)
    assert not Path(tmp_path / "a").exists()


@pytest.mark.parametrize("is_train", [True, False])
def test_a_folder_that_is_a_link_to_what_is_gone(is_train, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    flag = "--checkpoints_dir" if is_train else "--results_dir"
    (tmp_path / "experiment_name").mkdir()
    where = [f"--checkpoints_dir={tmp_path}", f"{flag}={tmp_path}/link"]
    with pytest.raises(UserError, match=f"^{flag} {tmp_path}/link cannot be written to at {tmp_path}/link;"):
        parse(*where, is_train=is_train)
