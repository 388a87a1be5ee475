"""Presets, options read back from a run, the printed table, the help."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import data
import models
import options
from util.errors import UserError

NEEDED = ["--dataroot", "none", "--gpu_ids", "-1"]
PRESETS = {("cut", "CUT_mode"): ("CUT", "FastCUT"), ("negcut", "NEGCUT_mode"): ("NEGCUT", "FastNEGCUT")}
PLAIN = dict(nce_idt=True, lambda_NCE=1.0, flip_equivariance=False, n_epochs=200, n_epochs_decay=200, pool_size=0)
FAST = PLAIN | dict(nce_idt=False, lambda_NCE=10.0, flip_equivariance=True, n_epochs=150, n_epochs_decay=50)
VALUES = dict(
    nce_idt=st.booleans(), lambda_NCE=st.sampled_from([0.0, 1.0, 2.5, 10.0]), flip_equivariance=st.booleans(),
    n_epochs=st.integers(1, 500), n_epochs_decay=st.integers(0, 500), pool_size=st.integers(0, 60),
)  # fmt: skip


def as_flags(values: dict) -> list[str]:
    return [part for key, value in values.items() for part in (f"--{key}", str(value))]


@settings(max_examples=60)
@given(
    preset=st.sampled_from(list(PRESETS)),
    fast=st.booleans(),
    lower=st.booleans(),
    explicit=st.fixed_dictionaries({}, optional=VALUES),
    before=st.booleans(),
)
def test_presets_change_only_defaults(preset, fast, lower, explicit, before):
    model, flag = preset
    mode = PRESETS[preset][fast]
    mode = ["--model", model, f"--{flag}", mode.lower() if lower else mode]
    flags = [*as_flags(explicit), *mode] if before else [*mode, *as_flags(explicit)]
    opt = vars(options.parse([*NEEDED, *flags]))
    assert {key: opt[key] for key in PLAIN} == (FAST if fast else PLAIN) | explicit


@pytest.mark.parametrize("flag", ["--CUT_mode", "--NEGCUT_mode"])
@pytest.mark.parametrize("value", ["Fast", "CU", "", "(CUT"])
def test_a_preset_must_be_a_whole_name(flag, value):
    with pytest.raises(UserError, match=flag):
        options.parse([*NEEDED, "--model", flag[2:].split("_")[0].lower(), flag, value])


@given(lr=st.none() | st.floats(1e-6, 1), lr_N=st.none() | st.floats(1e-6, 1))
@settings(max_examples=20)
def test_lr_N_follows_lr_unless_given(lr, lr_N):
    given_ones = {k: v for k, v in (("lr", lr), ("lr_N", lr_N)) if v is not None}
    opt = options.parse([*NEEDED, "--model", "negcut", *as_flags(given_ones)])
    assert opt.lr == (0.0002 if lr is None else lr)
    assert opt.lr_N == (opt.lr if lr_N is None else lr_N)


def test_flags_with_an_equals_sign_and_after_negative_numbers():
    opt = options.parse(["--dataroot=none", "--gpu_ids=-1", "--nce_layers=-1,4", "--lambda_NCE=2"])
    assert (opt.gpu_ids, opt.nce_layers, opt.lambda_NCE) == ([], "-1,4", 2.0)


@pytest.fixture
def trained(tmp_path):
    """``trained(*flags)`` saves the options of a run called "run"; ``tmp_path`` is its checkpoints_dir."""

    def save(*flags: str):
        opt = options.parse([*NEEDED, "--checkpoints_dir", str(tmp_path), "--name", "run", *flags])
        (tmp_path / "run").mkdir(exist_ok=True)
        options.save_options(opt, tmp_path / "run")
        return opt

    return save


def again(folder, *flags: str, is_train: bool):
    continued = ["--continue_train"] if is_train else []
    where = ["--checkpoints_dir", str(folder), "--name", "run", "--gpu_ids", "-1"]
    return options.parse([*where, *continued, *flags], is_train)


TRAINED = ["--model", "negcut", "--NEGCUT_mode", "FastNEGCUT", "--netG", "resnet_4blocks", "--ngf", "8", "--seed", "3"]
TRAINED += ["--crop_size", "64", "--load_size", "72", "--direction", "BtoA", "--max_dataset_size", "9", "--lr", "0.01"]
TRAINED += ["--batch_size", "2", "--num_patches", "32", "--nce_idt", "true", "--no_flip", "--preprocess", "crop"]


def test_continue_train_needs_no_other_flag(trained, tmp_path):
    first = vars(trained(*TRAINED))
    opt = vars(again(tmp_path, is_train=True))
    own = {"continue_train", "message", "sources"}
    assert {k: v for k, v in opt.items() if k not in own} == {k: v for k, v in first.items() if k not in own}


def test_a_test_takes_the_networks_and_images_of_the_run(trained, tmp_path):
    trained(*TRAINED)
    opt = again(tmp_path, is_train=False)
    assert (opt.model, opt.netG, opt.ngf, opt.crop_size, opt.direction) == ("negcut", "resnet_4blocks", 8, 64, "BtoA")
    assert (opt.preprocess, opt.dataroot) == ("crop", "none")
    # but not how it was trained: test images come one by one, whole, and all of them
    assert (opt.batch_size, opt.load_size, opt.max_dataset_size, opt.num_test) == (1, 64, math.inf, math.inf)
    assert (opt.phase, opt.isTrain) == ("test", False)


SAVED = dict(ngf=8, lr=0.01, crop_size=64, nce_layers="0,4", lambda_NCE=3.0, num_patches=32)
OTHER = dict(ngf=16, lr=0.5, crop_size=32, nce_layers="0,8", lambda_NCE=4.0, num_patches=16)


@settings(max_examples=30)
@given(override=st.sets(st.sampled_from(list(SAVED))), is_train=st.booleans())
def test_flags_override_the_options_of_the_run(override, is_train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / "run").mkdir()
    saved = options.parse([*NEEDED, "--checkpoints_dir", str(folder), "--model", "negcut", *as_flags(SAVED)])
    options.save_options(saved, folder / "run")
    flags = {key: OTHER[key] for key in override if is_train or key != "lr"}
    opt = vars(again(folder, *as_flags(flags), is_train=is_train))
    wanted = SAVED | flags
    assert {key: opt[key] for key in wanted if key in opt} == {k: v for k, v in wanted.items() if is_train or k != "lr"}


@pytest.mark.parametrize("trained_way, other", [("AtoB", "BtoA"), ("BtoA", "AtoB")])
def test_a_test_in_the_other_direction_is_refused_with_the_way_that_works(trained_way, other, trained, tmp_path):
    """A generator would get images of the domain that it makes."""
    trained("--model", "cycle_gan", "--direction", trained_way)
    with pytest.raises(UserError) as error:
        again(tmp_path, "--direction", other, is_train=False)
    folder = Path("none") / ("testB" if trained_way == "AtoB" else "testA")
    assert str(error.value).startswith(
        f"--direction {other}: the run was trained {trained_way} and translates that way"
    )
    way = f"--model test --model_suffix _B --dataroot {folder}"
    assert str(error.value).endswith(way)
    assert again(tmp_path, *way.split(), is_train=False).model_suffix == "_B"
    assert again(tmp_path, "--direction", trained_way, is_train=False).direction == trained_way
    trained("--model", "negcut", "--direction", trained_way)
    with pytest.raises(UserError, match=f"leave the flag out, or train a run with --direction {other}"):
        again(tmp_path, "--direction", other, is_train=False)


def test_lr_N_follows_an_lr_changed_on_the_way(trained, tmp_path):
    trained("--model", "negcut", "--lr", "0.01")
    assert again(tmp_path, "--lr", "0.001", is_train=True).lr_N == 0.001
    trained("--model", "negcut", "--lr", "0.01", "--lr_N", "0.02")
    assert again(tmp_path, "--lr", "0.001", is_train=True).lr_N == 0.02


def test_a_run_of_the_official_code_has_no_json(tmp_path):
    (tmp_path / "run").mkdir()
    opt = again(tmp_path, "--dataroot", "none", "--model", "negcut", is_train=False)
    assert (opt.model, opt.netG) == ("negcut", "resnet_9blocks")


@pytest.mark.parametrize("is_train", [True, False])
def test_a_run_that_is_not_there(is_train, tmp_path):
    with pytest.raises(UserError, match="--name run: there is no folder"):
        again(tmp_path, is_train=is_train)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--name=runn"], "--name runn: there is no folder {0}/runn; .* \\(did you mean run\\?\\)$"),
        (["--nam=run"], "unrecognized arguments: --nam=run \\(did you mean --name\\?\\)$"),
        (["--naem", "run", "--continue_train"], "unrecognized arguments: --naem \\(did you mean --name\\?\\)$"),
    ],
)
def test_what_is_misspelt_where_no_run_is_found(argv, says, trained, tmp_path):
    trained()
    with pytest.raises(UserError, match=says.format(tmp_path)):
        options.look_ahead([f"--checkpoints_dir={tmp_path}", *argv], is_train="--continue_train" in argv)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "3", '"text"'])
def test_a_damaged_record(text, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "train_opt.json").write_text(text)
    with pytest.raises(UserError, match=r"train_opt.json is not a readable JSON file"):
        again(tmp_path, is_train=False)


def test_unknown_saved_options_are_left_out(trained, tmp_path):
    trained()
    path = tmp_path / "run" / "train_opt.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"of_a_later_version": 1}))
    assert not hasattr(again(tmp_path, is_train=False), "of_a_later_version")


def test_the_record_is_strict_json_and_comes_back_equal(trained, tmp_path):
    opt = trained(*TRAINED, "--max_dataset_size", "inf", "--save_latest_every", "10m", "--target_class", "340")
    text = (tmp_path / "run" / "train_opt.json").read_text()

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    values = json.loads(text, parse_constant=refuse)
    assert values["max_dataset_size"] == values["eval_num"] == "inf"
    assert values.keys() == vars(opt).keys() - {"message", "device"}
    back = again(tmp_path, is_train=True)
    assert (back.max_dataset_size, back.eval_num, back.save_latest_every) == (math.inf, math.inf, 600.0)
    assert (tmp_path / "run" / "train_opt.txt").read_text() == opt.message + "\n"


def test_the_options_of_a_test_do_not_replace_those_of_the_training(trained, tmp_path):
    trained()
    before = (tmp_path / "run" / "train_opt.json").read_text()
    options.save_options(again(tmp_path, is_train=False), tmp_path / "run")
    assert (tmp_path / "run" / "train_opt.json").read_text() == before
    assert (tmp_path / "run" / "test_opt.json").exists()


def test_the_table_marks_what_differs_from_the_default():
    opt = options.parse([*NEEDED, "--model", "negcut", "--ngf", "32", "--ndf", "64", "--lr", "0.01"])
    rows = {line.split(":")[0].strip(): line for line in opt.message.splitlines()[1:-1]}
    assert rows.keys() == vars(opt).keys() - {"message", "sources"}
    assert list(rows) == sorted(rows)
    marked = {key for key, line in rows.items() if "[default: " in line}
    assert marked == {"dataroot", "model", "ngf", "lr"}
    assert rows["ngf"].split() == ["ngf:", "32", "[default:", "64]"]
    assert rows["ndf"].split() == ["ndf:", "64"]


def test_the_table_of_a_resumed_run_says_where_values_come_from(trained, tmp_path):
    trained("--model", "negcut", "--ngf", "32", "--NEGCUT_mode", "FastNEGCUT", "--lambda_NCE", "3")
    opt = again(tmp_path, "--ndf", "8", is_train=True)
    rows = {line.split(":")[0].strip(): " ".join(line.split()) for line in opt.message.splitlines()[1:-1]}
    assert rows["ngf"] == "ngf: 32 [default: 64, saved]" and rows["ndf"] == "ndf: 8 [default: 64]"
    assert rows["lambda_NCE"] == "lambda_NCE: 3.0 [default: 10.0, saved]"
    assert rows["nce_idt"] == "nce_idt: False"


def test_the_table_marks_what_a_preset_changes_only_where_a_flag_differs_from_it():
    fast = options.parse([*NEEDED, "--CUT_mode", "FastCUT", "--lambda_NCE", "1"])
    assert "[default: 10.0]" in next(line for line in fast.message.splitlines() if " lambda_NCE:" in line)
    assert "[default" not in next(line for line in fast.message.splitlines() if " nce_idt:" in line)


def test_suffix(tmp_path):
    flags = [*NEEDED, "--checkpoints_dir", str(tmp_path), "--name", "a", "--model", "negcut", "--lr", "0.01"]
    flags += ["--suffix", "{model}_{netN}_size{load_size}"]
    opt = options.parse(flags)
    assert opt.name == "a_negcut_neg_gen_momentum_size286"
    (tmp_path / opt.name).mkdir()
    options.save_options(opt, tmp_path / opt.name)
    whole_name = options.parse(["--checkpoints_dir", str(tmp_path), "--name", opt.name, "--continue_train"])
    assert (whole_name.name, whole_name.lr) == (opt.name, 0.01)


@pytest.mark.parametrize("suffix", ["{nothing}", "{", "{}", "{0}", "{ngf.x}", "{ngf[0]}", "{name:d}"])
def test_a_suffix_that_names_no_option(suffix):
    with pytest.raises(UserError, match="--suffix"):
        options.parse([*NEEDED, "--suffix", suffix])


def all_of(package, ending: str) -> list[str]:
    files = Path(package.__file__).parent.glob(f"*{ending}.py")
    return sorted(path.stem.removesuffix(ending) for path in files if not path.stem.startswith("base"))


@pytest.mark.parametrize("is_train", [True, False])
@pytest.mark.parametrize("model", all_of(models, "_model"))
def test_help_of_every_model(model, is_train, capsys, tmp_path):
    """test.py's too where nothing has been trained."""
    if model == "test" and is_train:
        pytest.skip("translates only")
    with pytest.raises(SystemExit) as end:
        options.parse(["--help-all", "--model", model, "--checkpoints_dir", str(tmp_path)], is_train)
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "(default: None)" not in text
    own = ["optimization:", "checkpoints:", "scores:", "monitoring:"] if is_train else ["test:"]
    for group in ["experiment:", "model:", "data:", *own]:
        assert f"\n{group}\n" in text
    if is_train or "cut" in model:
        assert f"\nmodel {model}:\n" in text
    assert "(default: " in text


@pytest.mark.parametrize("is_train", [True, False])
def test_help_begins_with_what_most_need_and_names_the_rest(is_train, capsys):
    for resolve in (options.look_ahead, options.parse):
        with pytest.raises(SystemExit) as end:
            resolve(["--help"], is_train)
        assert end.value.code == 0
        usage, _, essentials, *lines = capsys.readouterr().out.splitlines()
        script = "train.py --dataroot FOLDER" if is_train else "test.py"
        assert usage == f"usage: python {script} --name NAME [--model MODEL] [flags]" and essentials == "essentials:"
        assert len(lines) < 120 and lines[0].startswith("  --dataroot FOLDER")
        assert any("--help-all explains every flag" in line for line in lines)
        assert all(flag in " ".join(lines) for flag in ("--epoch EPOCH", "--ndf", "--num_threads"))
    with pytest.raises(SystemExit):
        options.parse(["--help", "--model", "negcut"])
    assert "--lambda_MS_neg X" in capsys.readouterr().out


LOOK = "import sys, runpy; sys.argv = {argv}\ntry: runpy.run_path({script!r}, run_name='__main__')\n"
LOOK += "except SystemExit as end: print(end.code, 'torch' in sys.modules)"


@pytest.mark.slow
@pytest.mark.parametrize("flags, code", [
    (["--help"], 0), (["--batch_size", "many"], 2), (["--netG=resnet"], 2),
    (["--model=negcat"], 2), (["--name=nobody", "--continue_train"], 2),
])  # fmt: skip
@pytest.mark.parametrize("script", ["train.py", "test.py"])
def test_help_and_wrong_values_do_not_wait_for_torch(script, flags, code):
    root = Path(options.__file__).parents[1]
    code_of_script = LOOK.format(argv=["x", *flags], script=str(root / script))
    done = subprocess.run([sys.executable, "-c", code_of_script], cwd=root, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == f"{code} False", done.stderr
    assert done.stderr.count("\n") == (code == 2)


@pytest.mark.parametrize("mode", all_of(data, "_dataset"))
def test_help_of_every_dataset(mode, capsys):
    with pytest.raises(SystemExit) as end:
        options.parse(["-h", "--dataset_mode", mode])
    assert end.value.code == 0 and "--dataroot" in capsys.readouterr().out


def test_every_flag_has_a_group_and_a_help_text():
    parser = options.OptionParser([])
    options.add_base_options(parser)
    options.add_train_options(parser)
    with parser.group("model negcut"):
        models.get_option_setter("negcut")(parser, True)
    grouped = {action.dest for group in parser._action_groups[2:] for action in group._group_actions}
    assert grouped == {action.dest for action in parser._actions}
    assert all(action.help for action in parser._actions)


def test_for_testing_leaves_the_options_of_training_as_they_are():
    opt = options.parse([*NEEDED, "--batch_size", "4", "--load_size", "300", "--max_dataset_size", "3"])
    before = dict(vars(opt))
    test = options.for_testing(opt)
    assert vars(opt) == before
    assert (test.phase, test.isTrain, test.batch_size, test.load_size) == ("test", False, 1, 256)
    assert test.max_dataset_size == math.inf  # that many training images are not that many test images


def test_typed_flags():
    parser = options.OptionParser(["--name=x", "--ngf", "3", "--no_flip", "--nce_idt", "no", "-1"])
    options.add_base_options(parser)
    assert parser.typed() == {"name", "ngf", "no_flip"}
