"""One order for train, resume and test: typed > preset > --fast > saved > --fast of the run > default."""

import json
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import options
from util import precision

NEEDED = ["--dataroot", "none", "--gpu_ids", "-1"]


@pytest.fixture(autouse=True, scope="module")
def machine_with_bf16():
    with mock.patch.object(precision, "has_fast_bf16", lambda device: True):
        yield


class Experiment:
    """``train``, ``resume`` and ``test`` resolve flags as the scripts do; the first two save them with the run."""

    def __init__(self, folder):
        self.where = ["--checkpoints_dir", str(folder), "--name", "run", "--gpu_ids", "-1"]
        self.folder = folder / "run"
        self.folder.mkdir()

    def train(self, *flags):
        return self._saved(options.parse([*self.where, "--dataroot", "none", *flags]))

    def resume(self, *flags):
        return self._saved(options.parse([*self.where, "--continue_train", *flags]))

    def test(self, *flags):
        return options.parse([*self.where, *flags], is_train=False)

    def _saved(self, opt):
        options.save_options(opt, self.folder)
        return opt


@pytest.fixture
def experiment(tmp_path):
    return Experiment(tmp_path)


FLAGS = st.fixed_dictionaries({"fast": st.booleans(), "precision": st.none() | st.sampled_from(["fp32", "bf16"])})


def as_flags(now: dict) -> list[str]:
    return ["--fast"] * now["fast"] + (["--precision", now["precision"]] if now["precision"] else [])


def winner(calls: list[dict]) -> tuple[str, str]:
    """Precision and its source after these calls, the last one being today's."""
    *before, now = calls
    if now["precision"]:
        return now["precision"], "typed"
    if now["fast"]:
        return "bf16", "--fast"
    if not before:
        return "fp32", "default"
    value, source = winner(before)
    return value, source if source == options.RUNS_FAST else {"--fast": options.RUNS_FAST}.get(source, "saved")


@settings(max_examples=30)
@given(calls=st.lists(FLAGS, min_size=1, max_size=4), tests=st.booleans())
def test_the_order_for_what_fast_chooses(calls, tests, tmp_path_factory):
    """Trained, resumed, resumed again, and last resumed or tested."""
    experiment = Experiment(tmp_path_factory.mktemp("checkpoints"))
    for number, flags in enumerate(calls):
        is_last = number == len(calls) - 1
        call = experiment.train if not number else experiment.test if tests and is_last else experiment.resume
        opt = call(*as_flags(flags))
        value, source = winner(calls[: number + 1])
        assert (opt.precision, opt.sources["precision"]) == (value, source)
        assert opt.channels_last is any(f["fast"] for f in calls[: number + 1])


LAMBDA = st.none() | st.sampled_from([0.5, 2.0])


@settings(max_examples=30)
@given(then=LAMBDA, now=LAMBDA, preset=st.booleans(), way=st.sampled_from(["train", "resume", "test"]))
def test_the_order_for_what_a_preset_changes(then, now, preset, way, tmp_path_factory):
    experiment = Experiment(tmp_path_factory.mktemp("checkpoints"))
    typed_then, typed_now = ([] if x is None else ["--lambda_NCE", str(x)] for x in (then, now))
    mode = ["--model", "negcut"] + ["--NEGCUT_mode", "FastNEGCUT"] * preset
    default = (10.0 if preset else 1.0), "preset"
    first = experiment.train(*mode, *typed_then)
    assert (first.lambda_NCE, first.sources["lambda_NCE"]) == (default if then is None else (then, "typed"))
    if way != "train":
        opt = getattr(experiment, way)(*typed_now)
        assert (opt.lambda_NCE, opt.sources["lambda_NCE"]) == (
            (first.lambda_NCE, "saved") if now is None else (now, "typed")
        )


def test_the_preset_of_another_model_wins_over_what_was_saved(experiment):
    experiment.train("--model", "cycle_gan", "--dataset_mode", "aligned", "--preprocess", "crop")
    opt = experiment.test("--model", "test")
    assert (opt.dataset_mode, opt.sources["dataset_mode"]) == ("single", "preset")
    assert (opt.preprocess, opt.sources["preprocess"]) == ("crop", "saved")
    assert experiment.test("--model", "test", "--dataset_mode", "aligned").sources["dataset_mode"] == "typed"


def test_fast_chooses_anew_for_another_machine(experiment):
    assert experiment.train("--fast").precision == "bf16"
    with mock.patch.object(precision, "has_fast_bf16", lambda device: False):
        assert experiment.test().precision == experiment.resume().precision == "fp32"
    assert experiment.resume().precision == "bf16"


@pytest.mark.parametrize("flags, wanted", [([], "bf16"), (["--precision", "fp32"], "fp32")])
def test_runs_from_before_sources_were_saved(experiment, flags, wanted):
    experiment.train("--fast", *flags)
    path = experiment.folder / "train_opt.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "sources"}))
    assert experiment.test().precision == experiment.resume().precision == wanted


def test_a_learning_rate_of_N_that_was_typed_stays(experiment):
    experiment.train("--model", "negcut", "--lr_N", "0.0002")  # as large as --lr
    assert experiment.resume("--lr", "0.1").lr_N == 0.0002
