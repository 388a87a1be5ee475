"""--cuda_graph without a GPU: a stand-in for torch.cuda's graphs takes down every operation of a step between "begin"
and "end" of the recording, refuses what a GPU refuses there, and repeats the operations on the same memory."""

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from drawn_family import options_of, pair_batch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from models import create_model
from models.negcut_model import NEGCUTModel
from models.template_model import TemplateModel
from util.device_kinds import KINDS
from util.run.state import rank_state
from util.run.step_graph import WARM_UP, StepGraph

TINY = "--netG resnet_4blocks --ngf 4 --ndf 4 --netD n_layers --n_layers_D 2 --lr 0.002"
HOST_READS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


def memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def aliases(values):
    """The same memory under shapes of its own, which nobody changes in place."""
    return tree_map(lambda x: x.detach() if isinstance(x, Tensor) else x, values)


def tensors_in(values) -> list[Tensor]:
    return [x for x in tree_leaves(values) if isinstance(x, Tensor)]


class Graph(TorchDispatchMode):
    """Stands for ``torch.cuda.CUDAGraph``. ``owner``: the ``StepGraph``, to see which memory stays."""

    def __init__(self, owner: StepGraph):
        super().__init__()
        self.owner, self.tape, self.used, self.replays = owner, [], {0}, 0
        self.pool = {0}

    def lasting(self) -> dict[int, Tensor]:
        """The memory that is still there at the next step."""
        model = self.owner.model
        nets = [x for x in vars(model).values() if isinstance(x, nn.Module)]
        found = [value for net in nets for value in (*net.parameters(), *net.buffers())]
        found += tensors_in([list(optimizer.state.values()) for optimizer in model.optimizers])
        found += tensors_in([self.owner.images, self.owner.draws, list(vars(model).values())])
        return {memory(tensor): tensor for tensor in found}

    def begin(self) -> None:
        if not all(group["capturable"] for o in self.owner.model.optimizers for group in o.param_groups):
            raise RuntimeError("Attempting CUDA graph capture of step() but param_groups' capturable is False.")
        before = self.lasting()
        self.given, self.kept = before.keys(), [(x, x.detach().clone()) for x in before.values()]
        self.__enter__()

    @torch.no_grad()
    def end(self, *error) -> None:
        """Recording runs nothing: weights are as before, results are not there yet."""
        self.__exit__(*error)
        for tensor, value in self.kept:
            tensor.copy_(value)
        for output in tensors_in([output for *_, output in self.tape]):
            if output.is_floating_point() and memory(output) not in self.given:
                output.fill_(float("nan"))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise RuntimeError(f"{func}: draws random numbers in a recording")
        if any(tag in func.tags for tag in HOST_READS):
            raise RuntimeError(f"{func}: waits for the device in a recording")
        inputs = {memory(x) for x in tensors_in((args, kwargs))}
        if not inputs <= self.given | self.pool:
            raise RuntimeError(f"{func}: reads the host's memory, or some that the graph does not own")
        given = aliases((args, kwargs))
        output = func(*args, **kwargs)
        self.used |= inputs - self.pool
        self.pool |= {memory(x) for x in tensors_in(output)} - set(self.given)
        self.tape.append((func, *given, aliases(output)))
        return output

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        assert self.used <= self.lasting().keys() | {0}, "the graph reads memory that was given back"
        for func, *given, output in self.tape:
            args, kwargs = aliases(given)
            inputs = {memory(x) for x in tensors_in((args, kwargs))}
            for new, place in zip(tensors_in(func(*args, **kwargs)), tensors_in(output), strict=True):
                if memory(place) not in inputs:  # neither a view nor changed in place
                    place.copy_(new)


class Stream:
    def __init__(self):
        self.steps = 0  # taken on it
        self.waited_for: list[Stream] = []

    def wait_stream(self, other):
        self.waited_for.append(other)


@pytest.fixture
def gpu(monkeypatch):
    """``gpu(model)``: the model's ``StepGraph`` on a device that seems to record; ``gpu.graphs``: the recordings."""
    monkeypatch.setitem(KINDS, "cpu", replace(KINDS["cpu"], graphs=True, launches=True))

    @contextmanager
    def recording(graph, stream, capture_error_mode):
        waits = [stream.waited_for, step_graph.current.waited_for]
        assert stream.steps == WARM_UP and waits == [[step_graph.current] * WARM_UP, [stream] * WARM_UP]
        graph.begin()
        try:
            yield
        finally:
            graph.end(None, None, None)

    @contextmanager
    def on(stream):
        stream.steps += 1
        yield

    def step_graph(model):
        def new():
            step_graph.graphs.append(Graph(step))
            return step_graph.graphs[-1]

        stand_ins = {"CUDAGraph": new, "graph": recording, "Stream": Stream, "stream": on}
        stand_ins["current_stream"] = lambda: step_graph.current
        for name, value in stand_ins.items():
            monkeypatch.setattr(torch.cuda, name, value)
        step = StepGraph(model)
        return step

    step_graph.graphs, step_graph.current = [], Stream()
    return step_graph


def make(folder, *flags):
    contrastive = ["--netF_nc", "8", "--num_patches", "16"] if "cut" in flags[1] else []
    opt = options_of(folder, *TINY.split(), *contrastive, *flags)
    model = create_model(opt)
    model.setup(opt)
    return model


def assert_equal(plain, graphed) -> None:
    """Weights, and the generators that the next step draws from."""
    for name, net in plain.networks().items():
        for key, value in net.state_dict().items():
            assert torch.equal(value, graphed.networks()[name].state_dict()[key]), (name, key)
    assert json.dumps(str(rank_state(plain))) == json.dumps(str(rank_state(graphed)))


@pytest.mark.parametrize("flags", ["--model negcut", "--model negcut --netN neg_gen --detach_negatives", "--model cut"])
def test_repeated_steps_equal_ordinary_ones(flags, gpu, tmp_path):
    plain, graphed = (make(tmp_path, *flags.split()) for _ in range(2))
    step = gpu(graphed)
    seeds = [[i, i + 50] for i in range(WARM_UP + 3)] + [[90]] + [[i, i + 60] for i in range(3)]  # one smaller batch
    for number, batch in enumerate(seeds):
        if number == WARM_UP + 2:
            plain.update_learning_rate()
            for group in [g for m in (plain, graphed) for o in m.optimizers for g in o.param_groups]:
                group["lr"] = 0.001
        batch = pair_batch(batch, 32)
        if number == len(seeds) - 1:
            batch["A"] = batch["A"] * float("nan")
        plain.step(batch)
        step(batch)
        assert json.dumps(plain.get_current_losses()) == json.dumps(graphed.get_current_losses())
        assert json.dumps(plain.get_current_statistics()) == json.dumps(graphed.get_current_statistics())
        assert torch.equal(plain.fake_B, graphed.fake_B) or number == len(seeds) - 1
        assert torch.equal(plain.real_A, graphed.real_A) or number == len(seeds) - 1
    assert not step.obstacle
    assert [graph.replays for graph in gpu.graphs] == [2, 4]  # anew for the other learning rate
    assert not any(group["capturable"] for o in graphed.optimizers for group in o.param_groups)  # as it is saved
    assert plain.updates.read() == graphed.updates.read()
    assert_equal(plain, graphed)


class Wrong(NEGCUTModel):
    """Steps that can't be repeated, in one way each."""

    repeatable = NEGCUTModel.repeatable
    fault = None

    def further_losses(self, step, pairs):
        loss = step.fake_B.sum() * 0
        if self.fault == "reads the host":
            loss = loss + torch.from_numpy(self.rng_free).sum()
        if self.fault == "waits":
            loss = loss + loss.item()
        if self.fault == "draws":
            loss = loss + torch.rand(()) * 0
        if self.fault == "draws more" and self.steps_taken > WARM_UP:
            self.draw_patch_ids("G", 0, 0, 100)
        if self.fault == "draws in its own way":
            self.rng.random()
        return {"further": loss}

    rng_free = torch.zeros(3).numpy()
    steps_taken = 0

    def run_step(self):
        self.steps_taken += 1
        super().run_step()


@pytest.mark.parametrize(
    "fault, reason",
    [
        ("reads the host", "host's memory"),
        ("waits", "waits for the device"),
        ("draws", "draws other random numbers"),
        ("draws more", "no draw of the step before"),
        ("draws in its own way", "draws other numbers"),
    ],
)
def test_a_step_that_cannot_be_recorded_runs_as_usual(fault, reason, gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("models.find_model_using_name", lambda name: Wrong)
    monkeypatch.setattr(Wrong, "fault", fault)
    plain, graphed = (make(tmp_path, "--model", "negcut") for _ in range(2))
    step = gpu(graphed)
    for seed in range(WARM_UP + 2):
        for take in (plain.step, step):
            torch.manual_seed(seed)
            take(pair_batch([seed], 32))
    said = "".join(capsys.readouterr())
    assert said.count("--cuda_graph is left out from now on") == 1 and reason in said
    assert sum(graph.replays for graph in gpu.graphs) == 0
    assert plain.get_current_losses() == graphed.get_current_losses()
    assert_equal(plain, graphed)


class Saying(NEGCUTModel):
    """As a user's file that knows it only once it has its options."""

    def __init__(self, opt):
        super().__init__(opt)
        self.repeatable = not opt.flip_equivariance


@pytest.mark.parametrize("mode, reason", [("NEGCUT", ""), ("FastNEGCUT", "decides on the host")])
def test_a_model_may_say_it_in_its_init(mode, reason, gpu, tmp_path, monkeypatch):
    monkeypatch.setattr("models.find_model_using_name", lambda name: Saying)
    obstacle = gpu(make(tmp_path, "--model", "negcut", "--NEGCUT_mode", mode)).obstacle
    assert reason in obstacle and bool(reason) == bool(obstacle)


class FromTheTemplate(TemplateModel):
    """As a user's file, whose images and numbers go by other names than CUT's."""

    repeatable = True


def test_a_model_of_other_names_is_recorded(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr("models.find_model_using_name", lambda name: FromTheTemplate)
    plain, graphed = (make(tmp_path, "--model", "template") for _ in range(2))
    step = gpu(graphed)
    for seed in range(WARM_UP + 2):
        plain.step(pair_batch([seed], 32))
        step(pair_batch([seed], 32))
        assert plain.get_current_losses() == graphed.get_current_losses()
        assert torch.equal(plain.data_B, graphed.data_B) and torch.equal(plain.output, graphed.output)
    assert [graph.replays for graph in gpu.graphs] == [2] and not step.obstacle
    assert_equal(plain, graphed)


class Inheriting(NEGCUTModel):
    """As a user's file: it may decide anything, and does not say that it doesn't."""


@pytest.mark.parametrize(
    "flags, reason",
    [
        ("--model negcut --NEGCUT_mode FastNEGCUT", "decides on the host"),
        ("--model cycle_gan", "CycleGANModel does not say that its step is repeatable"),
        ("--model negcut", "Inheriting does not say"),
    ],
)
def test_obstacles_are_told_and_training_goes_on(flags, reason, gpu, tmp_path, monkeypatch, capsys):
    if "Inheriting" in reason:
        monkeypatch.setattr("models.find_model_using_name", lambda name: Inheriting)
    model = make(tmp_path, *flags.split())
    step = gpu(model)
    assert reason in step.obstacle and "--cuda_graph is left out" in "".join(capsys.readouterr())
    for seed in range(WARM_UP + 2):
        step(pair_batch([seed], 32))
    assert model.get_current_losses() and not gpu.graphs


def test_a_processor_that_records_nothing(tmp_path, capsys):
    assert "NVIDIA or AMD GPU, not cpu" in StepGraph(make(tmp_path, "--model", "negcut")).obstacle
