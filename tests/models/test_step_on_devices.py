"""Every model's whole step on devices that are not the CPU: on ``meta``, which knows no numbers, on a pretended
``cuda``, and on a made-up accelerator, with the CPU's numbers and a GPU's strictness."""

from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from drawn_family import pair_batch
from made_up_device import NAME, OnDevice, start
from ranks import run_ranks
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import options
from models import create_model
from scripts.dev.counts import operations
from scripts.dev.pretended import pretended
from util import devices, distributed
from util.run import votes

COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
TINY = "--netG resnet_4blocks --ngf 4 --ndf 4 --netD n_layers --n_layers_D 2 --load_size 32 --crop_size 32"
CONTRASTIVE = "--netF_nc 8 --num_patches 16"
STYLE = "--netG stylegan2 --netD stylegan2 --nce_layers 0,2,4"
SETTINGS = {
    "negcut": f"--model negcut {CONTRASTIVE}",
    "fast": f"--model negcut --NEGCUT_mode FastNEGCUT {CONTRASTIVE}",
    "cut": f"--model cut {CONTRASTIVE}",
    "neg_gen": f"--model negcut --netN neg_gen {CONTRASTIVE}",
    "neg_gen_al": f"--model negcut --netN neg_gen_al {CONTRASTIVE}",
    "neg_param": f"--model negcut --netN neg_param {CONTRASTIVE}",
    "bf16": f"--model negcut --precision bf16 --channels_last {CONTRASTIVE}",
    "ema": f"--model negcut --ema_decay 0.99 --batch_size 3 --channels_last {CONTRASTIVE}",
    "cycle_gan": "--model cycle_gan",
    "pix2pix": "--model pix2pix",
    "stylegan2": f"--model sincut --batch_size 1 {CONTRASTIVE} {STYLE}",
    "batch norm": f"--model cut --normG batch --normD batch {CONTRASTIVE}",
}


def make(folder, flags, gpu_ids):
    where = ["--dataroot=none", f"--checkpoints_dir={folder}", "--gpu_ids", gpu_ids]
    opt = options.parse([*where, *TINY.split(), *flags.split()])
    torch.manual_seed(0)
    model = create_model(opt)
    model.setup(opt)
    return model, pair_batch(range(opt.batch_size), 32)


def train(model, batch, steps=2):
    for _ in range(steps):
        model.step(batch)
        model.update_ema()


@pytest.fixture
def as_device():
    """``as_device(kind)``: torch finds one device of this kind until the test ends."""
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(pretended(kind))


def lies_on(model, kind):
    tensors = [p for net in model.networks().values() for p in net.state_dict().values()]
    tensors += [value for o in model.optimizers for state in o.state.values() for value in state.values()]
    tensors += [getattr(model, "loss_" + name) for name in model.loss_names]
    return {tensor.device.type for tensor in tensors} == {kind}


class Taken(TorchDispatchMode):
    """``names`` of the operations of ATen. It refuses tensors of two devices, which ``meta`` takes in products, lookups
    and changes in place; numbers (no dimension) may come from the host, as on a GPU."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor) and x.dim()]
        if func not in COPIES and len({x.device.type for x in tensors}) > 1:
            raise RuntimeError(f"{func}: tensors of two devices")
        if func.namespace == "aten":
            self.names.add(func._schema.name[6:] + f".{func._schema.overload_name}".rstrip("."))
        return func(*args, **(kwargs or {}))


@cache
def torchs_table() -> dict:
    yaml = pytest.importorskip("yaml")
    torchgen = pytest.importorskip("torchgen")
    file = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    rows = yaml.load(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {row["func"].partition("(")[0]: row for row in rows}


def is_written(operation: str, kind: str) -> bool:
    """Whether torch's table of operations has this one for this kind of device."""
    row = torchs_table()[operation]
    written = {key.strip() for keys in row.get("dispatch", {}) for key in keys.split(",")}
    if kind in written or not written and "structured_delegate" not in row:
        return True
    return any(key.startswith("Composite") for key in written) or (
        "structured_delegate" in row and is_written(row["structured_delegate"], kind)
    )


@pytest.mark.parametrize("setting", SETTINGS)
def test_on_meta_every_tensor_is_on_the_device(setting, as_device, tmp_path):
    as_device("meta")
    model, batch = make(tmp_path, SETTINGS[setting], "0")
    with Taken() as taken:
        train(model, batch)
        model.translate(batch["A"])
    assert lies_on(model, "meta")
    assert not {(name, kind) for name in taken.names for kind in ("XPU", "MPS") if not is_written(name, kind)}


LOSSES = [
    "--model cut --nce_loss monce",
    "--model cut --nce_loss hdce",
    "--model negcut --nce_loss dce --negatives both",
]
TOGETHER = ["negcut", "ema", "neg_gen", "neg_gen_al", "neg_param", "cut", "all patches", *LOSSES]


@pytest.mark.parametrize("setting", TOGETHER)
def test_few_large_operations_compute_what_many_small_ones_do(setting, monkeypatch, tmp_path):
    """What a device takes where every operation costs a launch, on the CPU in float64."""
    across = f"--model cut --batch_size 2 --nce_includes_all_negatives_from_minibatch true {CONTRASTIVE}"
    flags = f"{setting} {CONTRASTIVE}" if setting in LOSSES else SETTINGS.get(setting, across)
    found = []
    for launches in (False, True):
        monkeypatch.setitem(devices.KINDS, "cpu", replace(devices.KINDS["cpu"], launches=launches))
        model, batch = make(tmp_path, flags, "-1")
        for net in model.networks().values():
            net.double()
        batch = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        count = operations(lambda model=model, batch=batch: train(model, batch, steps=1))
        gradients = {f"{n} {k}": p.grad for n, net in model.networks().items() for k, p in net.named_parameters()}
        found.append((count, model.get_current_losses() | model.get_current_statistics(), gradients))
    (many, losses, wanted), (few, same, gradients) = found
    assert few < 0.8 * many
    assert same == pytest.approx(losses, rel=1e-6, abs=1e-9)
    for key, gradient in wanted.items():
        if gradient is not None:
            assert (gradients[key] - gradient).abs().max() <= 1e-8 * gradient.abs().max() + 1e-10, key


def move(net, device):
    """``Module.to``, whose own way to exchange parameters refuses fake ones that are in use."""
    for module in net.modules():
        for name, param in module._parameters.items():
            if param is not None and param.device.type != device.type:
                module._parameters[name] = torch.nn.Parameter(param.detach().to(device), param.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = buffer.to(device)
    return net


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["cut", "ema", "cycle_gan"])  # the others take seconds each, and meta has them
def test_a_pretended_gpu_mixes_no_devices_and_waits_for_nothing(setting, as_device, monkeypatch, tmp_path):
    """torch's fake tensors say that they are on cuda, and refuse what depends on their numbers. They have no backward
    pass where there is no GPU: gradients of zeros stand in for it."""
    as_device("cuda")

    def backward(loss):
        assert loss.device.type == "cuda"
        for param in (p for optimizer in model.optimizers for g in optimizer.param_groups for p in g["params"]):
            param.grad = torch.zeros_like(param)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    monkeypatch.setattr(torch.nn.Module, "to", move)
    monkeypatch.setattr(FakeTensorMode, "__deepcopy__", lambda mode, memo: mode, raising=False)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    with FakeTensorMode():
        model, batch = make(tmp_path, SETTINGS[setting], "0")
        train(model, batch)
        assert lies_on(model, "cuda")


def on_made_up_device(rank, folder):
    """What each setting's losses and weights are after a step on the CPU and on the device, or what went wrong."""
    device, found = start(), {}
    for setting, flags in SETTINGS.items():
        flags = flags.replace("--precision bf16", "")  # autocast has nothing for such a device
        try:
            cpu, batch = make(folder, flags, "-1")
            train(cpu, batch, steps=1)
            with device:
                model, batch = make(folder, flags, "0")
                pinned = {k: v.pin_memory() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
                with device.strictly():
                    train(model, pinned, steps=1)
                losses = cpu.get_current_losses(), model.get_current_losses()
                nets = zip(cpu.networks().values(), model.networks().values(), strict=True)
                pairs = [
                    (mine.detach(), theirs.detach().raw)
                    for one, other in nets
                    for mine, theirs in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
                ]
            far = sum((one.double() - other.double()).abs().sum() for one, other in pairs)
            found[setting] = *losses, float(far) / sum(float(one.double().abs().sum()) for one, _ in pairs)
        except Exception as error:
            device.strict = False
            found[setting] = f"{type(error).__name__}: {error}"
    return found


def refusals(rank):
    """What the device says to what a GPU would wait for or refuse."""
    device, found = start(), {}
    wrong = {
        "item": lambda x: x.sum().item(),
        "bool": lambda x: bool(x.sum() > 0),
        "cpu": lambda x: x.cpu(),
        "tolist": lambda x: x.tolist(),
        "mixed": lambda x: x + torch.ones(3),
        "unpinned": lambda x: torch.ones(3).to(x.device),
        "unpinned, in place": lambda x: x.copy_(torch.ones(3)),
    }
    right = {"pinned": lambda x: devices.from_host(torch.ones(3), x.device), "number": lambda x: x + torch.tensor(1.0)}
    with device:
        x = torch.ones(3, device=NAME)
        assert isinstance(x, OnDevice)
        for name, call in (wrong | right).items():
            try:
                with device.strictly():
                    call(x)
                found[name] = ""
            except RuntimeError as error:
                device.strict, found[name] = False, str(error)
    return found


def votes_of_two(rank):
    """Whether two votes have passed after each of four steps where the other of two ranks wants the first in the second
    step alone, the mean of a gradient, and how many copies to the host were begun."""
    device, passed = start(), []
    other = [[3.0, 3.0, *wants, 0.0] for wants in ([0.0], [1.0], [0.0], [0.0])]
    distributed.is_distributed, torch.distributed.get_world_size = lambda: True, lambda: 2
    both = [votes.Vote(lambda: False) for _ in range(2)]
    with device:
        torch.distributed.all_reduce = lambda flat: flat.add_(from_other.pop())
        for numbers in other:
            from_other = [devices.from_host(torch.tensor(numbers), torch.device(NAME))]
            gradient = torch.ones(2, device=NAME)
            with device.strictly():
                votes.came_back(distributed.average_gradients([gradient], votes.of_this_rank()))
                passed.append([vote.passed() for vote in both])
    return passed, gradient.raw.tolist(), len(device.under_way)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    pytest.importorskip("torch.utils.backend_registration")
    if not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch can't make up a device in Python")
    [found] = run_ranks(1, on_made_up_device, tmp_path_factory.mktemp("runs"))
    assert isinstance(found, dict), found
    return found


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_step_waits_for_nothing_and_computes_what_the_cpu_does(setting, made_up):
    assert not isinstance(made_up[setting], str), made_up[setting]
    cpu, device, far = made_up[setting]
    assert device == pytest.approx(cpu, rel=1e-3, abs=1e-5)
    assert far < 1e-3  # of the weights; Adam makes a step of rounding where a gradient is nearly zero


@pytest.mark.slow
def test_the_made_up_device_refuses_what_waits(made_up):
    [found] = run_ranks(1, refusals)
    assert isinstance(found, dict), found
    assert all("waits for the device" in found[name] for name in ("item", "bool", "cpu", "tolist"))
    assert "two devices" in found["mixed"]
    assert all("unpinned" in found[name] for name in ("unpinned", "unpinned, in place"))
    assert found["pinned"] == found["number"] == ""


@pytest.mark.slow
def test_votes_travel_with_the_gradients_and_wait_for_nothing(made_up):
    [(passed, gradient, copies)] = run_ranks(1, votes_of_two)
    assert passed == [[False, False], [False, False], [True, False], [False, False]]
    assert gradient == [2.0, 2.0] and copies == 4  # one a step
