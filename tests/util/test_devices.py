"""Which processor the flags name, on machines with other accelerators than this one; what each kind lacks."""

import json
import platform
from types import SimpleNamespace

import pytest
import torch
from drawn_family import options_of

import options
from models import create_model
from util import devices, precision
from util.device_kinds import KINDS
from util.devices import choose_device, kind_of
from util.errors import UserError
from util.run import run_summary


@pytest.fixture
def machine(monkeypatch):
    """``machine(kind, count)``: what torch finds; returns the devices that were made the current one."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)

    def has(kind, count):
        current = []
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind) if count else None)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        for name in ("set_device_index", "set_device_idx"):
            monkeypatch.setattr(torch.accelerator, name, current.append, raising=False)
        return current

    return has


@pytest.mark.parametrize(
    "kind, count, gpu_ids, device, found",
    [
        ("cuda", 0, None, None, "cpu"),
        ("cuda", 0, "-1", None, "cpu"),
        ("cuda", 2, "-1", None, "cpu"),
        ("cuda", 1, None, None, "cuda:0"),
        ("cuda", 1, "0", None, "cuda:0"),
        ("cuda", 4, "3", None, "cuda:3"),
        ("cuda", 4, " 2 ", None, "cuda:2"),
        ("cuda", 1, "-1,0", None, "cuda:0"),
        ("cuda", 2, None, "cuda", "cuda:0"),
        ("cuda", 2, "1", "cuda", "cuda:1"),
        ("cuda", 2, None, "cpu", "cpu"),
        ("cuda", 2, "-1", "cpu", "cpu"),
        ("cuda", 0, None, "cpu", "cpu"),
        ("mps", 1, None, None, "mps:0"),
        ("mps", 1, None, "mps", "mps:0"),
        ("mps", 1, "0", "mps", "mps:0"),
        ("mps", 1, "0", None, "mps:0"),
        ("xpu", 2, "1", None, "xpu:1"),
        ("xpu", 2, None, "xpu", "xpu:0"),
    ],
)
def test_what_the_flags_name_becomes_the_current_device(kind, count, gpu_ids, device, found, machine):
    current = machine(kind, count)
    assert choose_device(gpu_ids, device) == torch.device(found)
    assert current == ([] if found == "cpu" else [torch.device(found).index])


@pytest.mark.parametrize(
    "kind, count, gpu_ids, device, says",
    [
        ("cuda", 0, "0", None, "--gpu_ids 0: GPU 0 is not there (this machine has none); use -1 for the CPU"),
        ("cuda", 1, "1", None, "--gpu_ids 1: GPU 1 is not there (this machine has 1, numbered from 0)"),
        ("cuda", 2, "0,5", None, "--gpu_ids 0,5: GPU 5 is not there (this machine has 2, numbered from 0)"),
        ("cuda", 2, "0,1", None, "one process uses one GPU; for several start `torchrun --nproc_per_node=2 train.py"),
        ("cuda", 2, "", None, "--gpu_ids must be a GPU's number, or -1 for the CPU, not ''"),
        ("cuda", 2, "cpu", None, "--gpu_ids must be a GPU's number, or -1 for the CPU, not 'cpu'"),
        ("cuda", 2, "0,", None, "--gpu_ids must be a GPU's number"),
        ("cuda", 0, None, "cuda", "--device cuda is not there (torch finds none but the CPU here); use --device cpu"),
        ("cuda", 1, None, "mps", "--device mps is not there (torch finds cuda here); use --device cuda"),
        ("cuda", 1, "0", "cpu", "--device cpu and --gpu_ids 0 contradict each other"),
        ("mps", 1, "-1", "mps", "--device mps and --gpu_ids -1 contradict each other"),
    ],
)
def test_what_cannot_be_used(kind, count, gpu_ids, device, says, machine):
    current = machine(kind, count)
    with pytest.raises(UserError) as error:
        choose_device(gpu_ids, device)
    assert says in str(error.value) and "\n" not in str(error.value) and current == []


def test_options_hold_the_device_and_save_none(machine, tmp_path):
    current = machine("cuda", 2)
    flags = ["--dataroot=none", f"--checkpoints_dir={tmp_path}", "--name=run"]
    opt = options.parse([*flags, "--device=cuda", "--gpu_ids=1"])
    assert (opt.device, opt.gpu_ids, current) == (torch.device("cuda:1"), [1], [1])
    (tmp_path / "run").mkdir()
    options.save_options(opt, tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "train_opt.json").read_text())
    assert "device" not in saved and saved["gpu_ids"] == [1]
    assert options.parse([*flags, "--continue_train"]).device == torch.device("cuda:0")
    assert options.parse(flags, is_train=False).device == torch.device("cuda:0")
    machine("mps", 1)
    assert options.parse([*flags, "--continue_train"]).device == torch.device("mps:0")
    with pytest.raises(UserError, match="contradict each other"):
        options.parse([*flags, "--device=mps", "--gpu_ids=-1"])


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_kind_lacks_is_chosen_away_and_said_once(kind, machine, capsys):
    offers, device = KINDS[kind], torch.device(kind)
    machine(kind, 1)
    assert precision.usable("bf16", device) == ("bf16" if offers.bf16 else "fp32")
    assert capsys.readouterr().err.count("--precision bf16 is left out") == (not offers.bf16)
    if offers.tf32:
        assert precision.usable("tf32", device) == "tf32"
    else:
        with pytest.raises(UserError, match="--precision tf32"):
            precision.usable("tf32", device)
    assert devices.wide(device) == (torch.float64 if kind != "mps" else torch.float32)
    fast = precision.fast_settings(device)
    assert fast["compile"] == offers.compiles and (offers.bf16 or fast["precision"] != "bf16")


def test_an_unknown_kind_offers_what_all_have():
    offers = kind_of("privateuseone")
    assert not (offers.tf32 or offers.graphs or offers.bf16 or offers.pins) and offers.untried


def test_the_summary_tells_what_has_not_been_tried():
    opt = SimpleNamespace(channels_last=True, compile=False, fast=False, world_size=1)
    model = SimpleNamespace(device=torch.device("mps:0"), precision="fp32")
    said = run_summary.device(opt, model)
    assert said == "mps:0, fp32, channels_last, mps has not been tried by this project yet, --device cpu has"
    model.device = torch.device("cpu")
    assert "tried" not in run_summary.device(opt, model)


def test_losses_are_read_without_float64_where_there_is_none(tmp_path, monkeypatch):
    model = create_model(options_of(tmp_path, "--model", "cut", *"--netG resnet_4blocks --ngf 2 --ndf 2".split()))
    model.loss_names, model.loss_G = ["G"], torch.tensor(0.25)
    asked = []
    monkeypatch.setattr("models.lifecycle.wide", lambda device: asked.append(device) or torch.float32)
    assert model.get_current_losses() == {"G": 0.25} and asked == [model.device]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_of_large_tensors_is_used_again():
    """Each page that the system has to give anew is a fault."""
    import resource

    devices.keep_memory(torch.device("cpu"))
    for _ in range(16):  # until there is a place that fits
        torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(2**24)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 2**26 / resource.getpagesize()  # less than one of the eight takes
