"""Which processor the flags name, on machines with other accelerators than this one; what each kind lacks."""

import json
import platform
from types import SimpleNamespace

import pytest
import torch
from drawn_family import options_of, pair_batch

import options
from data.deferred_crop import Uncropped, crop
from models import create_model
from models.inference.translator import pixels_at_once
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

        def found():
            if not count:
                raise RuntimeError("Cannot access accelerator device when none is available.")  # as torch 2.6 does
            return torch.device(kind)

        monkeypatch.setattr(torch.accelerator, "current_accelerator", found)
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
def test_what_a_kind_lacks_is_chosen_away_and_said_once(kind, machine, monkeypatch, capsys):
    offers, device = KINDS[kind], torch.device(kind)
    machine(kind, 1)
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: offers.bf16)
    monkeypatch.setattr(precision, "lacks_for_compiling", lambda device: "")
    assert precision.usable("bf16", device) == ("bf16" if offers.bf16 else "fp32")
    assert capsys.readouterr().err.count("--precision bf16 is left out") == (not offers.bf16)
    if offers.tf32:
        assert precision.usable("tf32", device) == "tf32"
    else:
        with pytest.raises(UserError, match="--precision tf32"):
            precision.usable("tf32", device)
    assert devices.wide(device) == (torch.float32 if kind in ("mps", "xpu") else torch.float64)
    fast = precision.fast_settings(device)
    assert fast["compile"] == offers.compiles and (offers.bf16 or fast["precision"] != "bf16")
    assert fast["channels_last"] == (kind != "mps")
    last = precision.usable_layout(True, device) is torch.channels_last
    assert last == offers.channels_last != capsys.readouterr().err.count("--channels_last is left out")
    assert precision.usable_layout(False, device) is not torch.channels_last


def test_a_gpu_without_bf16_of_its_own_computes_in_fp32(monkeypatch, capsys):
    for native in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, own=native: own)
        assert precision.usable("bf16", torch.device("cuda")) == ("bf16" if native else "fp32")
    assert capsys.readouterr().err.count("--precision bf16 is left out") == 1
    monkeypatch.setattr(torch.xpu, "is_bf16_supported", lambda: True)  # before torch 2.8
    assert precision.has_fast_bf16(torch.device("xpu"))


@pytest.mark.parametrize(
    "missing, says",
    [
        ("triton", "Triton"),
        ("capability", "compute capability"),
        ("gcc", "a C compiler"),
        ("headers", "Python's headers"),
    ],
)
def test_what_compiling_lacks_is_told_and_left_out(missing, says, monkeypatch, tmp_path, capsys):
    device, missed = torch.device("cuda"), []
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if "triton" in missed else name)
    capability = {True: (6, 1), False: (7, 5)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability["capability" in missed])
    monkeypatch.setattr("shutil.which", lambda name: None if "gcc" in missed else name)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert not devices.lacks_for_compiling(device) and precision.fast_settings(device)["compile"]
    missed.append(missing)
    if missing == "headers":
        (tmp_path / "Python.h").unlink()
    assert says in devices.lacks_for_compiling(device) and not precision.fast_settings(device)["compile"]
    monkeypatch.setattr("models.lifecycle.lacks_for_compiling", lambda _: devices.lacks_for_compiling(device))
    model = made(tmp_path, "--model", "cut", "--compile")
    assert f"--compile is left out: it needs {devices.lacks_for_compiling(device)}" in capsys.readouterr().err
    assert not any(net._compiled_call_impl for net in model.networks().values())


def made(folder, *flags):
    small = "--netG resnet_4blocks --ngf 2 --ndf 2 --netF_nc 4 --num_patches 4 --netD pixel --nce_layers 0,4".split()
    model = create_model(opt := options_of(folder, *flags, *small))
    model.setup(opt)
    return model


def test_a_step_with_what_apples_devices_lack(tmp_path, monkeypatch, capsys):
    """By their row of the table, on the CPU: nothing is sent without waiting for it, nothing lies channels-last, and a
    step with NaN is left out although Adam takes no notice of ``found_inf``."""
    monkeypatch.setitem(KINDS, "cpu", KINDS["mps"])
    adam, to, sent = torch._fused_adam_, torch.Tensor.to, []
    monkeypatch.setattr(torch, "_fused_adam_", lambda *x, **settings: adam(*x, **settings | {"found_inf": None}))

    def noted(tensor, *where, non_blocking=False, **settings):
        sent.append(non_blocking)
        return to(tensor, *where, **settings)

    monkeypatch.setattr(torch.Tensor, "to", noted)
    model = made(tmp_path, "--model", "negcut", "--channels_last")
    crop(Uncropped(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), torch.tensor([[0, 0, 4, 0]])), model.device)
    model.step(pair_batch([0], 16))
    images = [model.real_A, *(p for net in model.networks().values() for p in net.parameters())]
    assert all(x.is_contiguous() for x in images)
    before = [p.clone() for net in model.networks().values() for p in net.parameters()]
    model.step({k: v * float("nan") if k in "AB" else v for k, v in pair_batch([0], 16).items()})
    after = [p for net in (model.netG, model.netD, model.netN) for p in net.parameters()]
    assert all(p.isfinite().all() for p in after) and torch.equal(before[0], after[0])
    assert len(sent) > 10 and not any(sent)
    assert "--channels_last is left out" in capsys.readouterr().err


def test_memory_that_a_device_does_not_tell(monkeypatch):
    def refuse(device):
        raise RuntimeError("The device doesn't support querying the available free memory.")

    monkeypatch.setattr(torch.xpu, "mem_get_info", refuse)
    assert devices.free_memory(torch.device("xpu")) is None and pixels_at_once(torch.device("xpu")) == 1024


def test_an_unknown_kind_offers_what_all_have():
    offers = kind_of("privateuseone")
    assert not (offers.tf32 or offers.graphs or offers.bf16 or offers.pins) and offers.untried


def test_the_summary_tells_what_has_not_been_tried(monkeypatch):
    opt = SimpleNamespace(compile=True, fast=True, world_size=1)
    model = SimpleNamespace(device=torch.device("mps:0"), precision="fp32", layout=torch.preserve_format)
    said = run_summary.device(opt, model)
    assert said == "mps:0, fp32, compile, mps has not been tried by this project yet, --device cpu has"
    model.device = torch.device("cpu")
    assert "tried" not in run_summary.device(opt, model)
    monkeypatch.setattr(devices, "lacks_for_compiling", lambda device: "Triton")
    model.layout = torch.channels_last
    said = run_summary.device(opt, model)
    assert "channels_last, not compiled, which needs Triton" in said and "compile," not in said


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
