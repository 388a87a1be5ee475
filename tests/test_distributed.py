"""Several ranks train as one: the processes here are forked, and those of torchrun itself in two tests."""

import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ranks import run_ranks, start_ranks
from tiny_run import CONTRASTIVE, FLAGS, Run, draw_images, first_difference, weights

import options
import train
from data import create_dataset
from models import create_model
from util import distributed
from util.devices import choose_device
from util.errors import UserError
from util.run import checkpoints, rank_watch

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
INTERRUPTED = 75


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def more_images(tmp_path_factory):
    """Four steps an epoch on two ranks: a signal after the first counts after the third."""
    return draw_images(tmp_path_factory.mktemp("more_images"), a=8)


def flags_for(folder, images, *flags):
    start = [f"--checkpoints_dir={folder.parent}", f"--name={folder.name}", f"--dataroot={images}"]
    return [*start, *FLAGS, *CONTRASTIVE, *flags]


def in_double(model):
    """The model as it is, in float64."""
    for net in model.networks().values():
        net.double()
    for optimizer in model.optimizers:
        optimizer.state.clear()


def steps_with_shared_draws(rank, folder, images, flags, batch_size, steps, lr):
    """Some steps in float64 whose patches and noise depend on what they are for alone: losses, weights, gradients."""
    size = distributed.environment()[1]
    flags = ["--model", *flags.split(), f"--batch_size={batch_size}", "--load_size=16", f"--lr={lr}"]
    opt = options.parse(flags_for(folder, images, *flags))
    distributed.start(opt)
    dataset, model = create_dataset(opt), create_model(opt)
    model.setup(opt)
    in_double(model)
    made = 0

    def draw_patch_ids(phase, branch, layer, positions):
        ids = np.random.default_rng((made, "DNG".index(phase), branch, layer)).permutation(positions)
        return torch.from_numpy(ids[:4])

    def draw_noise(phase, branch, layer, count):
        rng = np.random.default_rng((made, "DNG".index(phase), branch, layer, 1))
        whole = rng.standard_normal((count * size, 4, model.netN.noise_nc))
        return torch.from_numpy(whole[rank * count : (rank + 1) * count])

    model.draw_patch_ids, model.draw_noise = draw_patch_ids, draw_noise
    record = []
    for epoch in range(1, 100):
        dataset.set_epoch(epoch)
        for batch in dataset:
            double = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
            model.set_input(double)
            model.optimize_parameters()
            record.append(distributed.average(model.get_current_losses()))
            made += 1
            if made == steps:
                distributed.check_weights(model.networks())
                buffers = {f"{n} {k}": b for n, net in model.networks().items() for k, b in net.named_buffers()}
                params = {f"{n} {k}": p for n, net in model.networks().items() for k, p in net.named_parameters()}
                after = {k: p.detach() for k, p in params.items()} | buffers
                return record, after, {k: p.grad for k, p in params.items()}


@pytest.mark.parametrize("name", ["cut", "negcut", "cut --normG sync_batch --normD syncbatch"])
def test_two_ranks_of_batch_1_equal_one_of_batch_2(images, tmp_path, name):
    """To rounding; Adam divides the rounding of a gradient that is zero (biases before a norm) by little more than its
    eps, so weights are allowed more of it than gradients."""
    args = (images, name)
    [(one, *ours), (two, *_)] = run_ranks(2, steps_with_shared_draws, tmp_path / "two", *args, 1, 3, 2e-4)
    [(alone, *wanted)] = run_ranks(1, steps_with_shared_draws, tmp_path / "one", *args, 2, 3, 2e-4)
    assert one == two  # the mean over both
    for here, there in zip(one, alone, strict=True):
        assert here == pytest.approx(there, rel=1e-9, abs=1e-11)
    for key, weight in wanted[0].items():
        assert (ours[0][key] - weight).abs().max() < (1e-9 if weight.ndim > 1 else 1e-6), key
        if key in wanted[1] and not key.startswith("F_ "):
            assert (ours[1][key] - wanted[1][key]).abs().max() < 1e-7 * wanted[1][key].abs().max() + 1e-10, key


def trained(rank, flags, after=None):
    """Exit status of train.py on this rank; ``after``: (rank, step, signal)."""
    from util.loggers import Loggers

    step, steps = Loggers.step, iter(range(1, 1000))

    def and_then(loggers, progress):
        step(loggers, progress)
        if after and (rank, next(steps)) == after[:2]:
            os.kill(os.getpid(), getattr(signal, after[2]))

    Loggers.step = and_then
    sys.argv = ["train.py", *flags]
    try:
        train.main()
    except SystemExit as end:
        return end.code


def collectives_by_step(rank, flags):
    """How many collectives this rank joined from one step's end to the next."""
    from util.loggers import Loggers

    joined = []
    Loggers.step = lambda loggers, progress: joined.append(distributed.ThisRank.joined)
    trained(rank, flags)
    return np.diff(joined).tolist()


def test_a_step_joins_the_gradients_collectives_alone(images, tmp_path):
    """Those of D, N, and G with F. Whether to stop and whether to save travel with them; the first step's losses are
    recorded besides, and between two epochs whether to stop is asked alone."""
    flags = flags_for(tmp_path / "run", images, "--model=negcut", "--print_freq=1000", "--n_epochs=1")
    assert run_ranks(2, collectives_by_step, flags) == [[3 + 1, 3 + 1, 3]] * 2


def refused_by_the_first(rank):
    def find():
        assert rank == 0
        raise UserError("there is no folder x")

    distributed.start_sharing(again="start again")
    try:
        return distributed.by_first(find)
    except UserError as error:
        return str(error)


def test_what_the_first_rank_refuses_is_told_by_all():
    assert run_ranks(2, refused_by_the_first) == ["there is no folder x"] * 2


def resume_flags(folder):
    return [f"--checkpoints_dir={folder.parent}", f"--name={folder.name}", "--gpu_ids=-1", "--continue_train"]


def record_of(folder):
    return Run(folder, None).record


def test_interrupted_and_resumed_equals_uninterrupted_on_two_ranks(more_images, tmp_path):
    """The signal reaches one of the ranks; every rank has its own numbers, and gets them back."""
    flags = ["--model=negcut", "--num_threads=1", "--flip_equivariance", "--n_epochs=1"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run_ranks(2, trained, flags_for(whole, more_images, *flags)) == [0, 0]
    assert run_ranks(2, trained, flags_for(parts, more_images, *flags), (1, 1, "SIGTERM")) == [INTERRUPTED] * 2
    assert checkpoints.load(parts / "latest_state.pt")["position"]["epoch_images"] == 6
    assert run_ranks(2, trained, resume_flags(parts), (0, 2, "SIGINT")) == [INTERRUPTED] * 2
    assert run_ranks(2, trained, resume_flags(parts)) == [0, 0]
    states = [checkpoints.load(folder / "latest_state.pt") for folder in (whole, parts)]
    for key in ("model", "ranks", "position"):
        assert first_difference(states[0][key], states[1][key]) is None
    assert first_difference(*(state["rng"]["patches"] for state in states[0]["ranks"])) is not None
    assert record_of(whole) == record_of(parts)
    assert [row["total_images"] for row in record_of(whole)] == [2, 4, 6, 8, 10, 12, 14, 16]


def trained_elsewhere(rank, flags, folders, after=None):
    try:
        return trained(rank, [*flags, f"--checkpoints_dir={folders[rank]}"], after)
    except UserError as error:
        return str(error)


def test_rank_0_alone_needs_the_state_and_the_saved_options(images, tmp_path):
    """As on two machines without a common folder."""
    whole, folders = tmp_path / "whole", [tmp_path / "one", tmp_path / "two"]
    flags = flags_for(tmp_path / "run", images, "--model=cut")
    assert run_ranks(2, trained, flags_for(whole, images, "--model=cut")) == [0, 0]
    assert run_ranks(2, trained_elsewhere, flags, folders, (0, 2, "SIGTERM")) == [INTERRUPTED] * 2
    assert not list(folders[1].rglob("*.pt*"))
    resume = ["--name=run", "--gpu_ids=-1", "--continue_train"]
    missing = f"there is no folder {tmp_path / 'none' / 'run'}; train it first"
    answers = run_ranks(2, trained_elsewhere, resume, [tmp_path / "none", folders[0]])
    assert all(missing in answer for answer in answers), answers
    assert run_ranks(2, trained_elsewhere, resume, folders) == [0, 0]
    states = [checkpoints.load(folder / "latest_state.pt") for folder in (whole, folders[0] / "run")]
    for key in ("model", "ranks", "position"):
        assert first_difference(states[0][key], states[1][key]) is None


def test_a_run_goes_from_two_ranks_to_one_to_three(more_images, tmp_path):
    folder = tmp_path / "run"
    flags = flags_for(folder, more_images, "--model=cut", "--save_epoch_freq=1", "--n_epochs=2")
    assert run_ranks(2, trained, flags, (0, 1, "SIGUSR1")) == [INTERRUPTED] * 2
    assert run_ranks(1, trained, resume_flags(folder), (0, 3, "SIGUSR1")) == [INTERRUPTED]
    assert run_ranks(3, trained, resume_flags(folder)) == [0] * 3
    rows = [(row["epoch"], row["epoch_images"]) for row in record_of(folder)]
    two, one = [(1, 2), (1, 4), (1, 6)], [(1, 7), (1, 8), (2, 1)]
    assert rows == two + one + [(2, 4), (2, 7), (2, 10)] + [(3, 3), (3, 6), (3, 9)]
    assert len(checkpoints.load(folder / "latest_state.pt")["ranks"]) == 3
    assert {path.name.split("_")[0] for path in folder.glob("*_net_G.pth")} == {"1", "2", "3", "latest"}


def bad_on_one_rank(rank, flags):
    """A NaN in one rank's image; what each rank warns."""
    from models.cut_model import CUTModel
    from util.run import losses

    said, set_input, steps = [], CUTModel.set_input, iter(range(1, 1000))

    def set_bad_input(model, batch):
        set_input(model, batch)
        if rank == 1 and next(steps) == 2:
            model.real_A = model.real_A * float("nan")

    CUTModel.set_input = set_bad_input
    losses.warn = said.append
    return trained(rank, flags), said


def test_a_bad_number_on_one_rank_leaves_the_step_out_on_all(images, tmp_path):
    first, second = run_ranks(2, bad_on_one_rank, flags_for(tmp_path / "run", images, "--model=cut"))
    assert first == (0, [])
    assert second[0] == 0 and len(second[1]) == 2
    assert all(re.search(r"the [DG] step had a NaN .*trainA", line) for line in second[1])
    assert all(v.isfinite().all() for net in weights(tmp_path / "run").values() for v in net.values())


def own_updates(rank, flags):
    """A model file that steps its optimizers by itself, so that the gradients are not averaged."""
    from models.base_model import BaseModel

    BaseModel.apply_gradients = lambda model, phase, *optimizers: [optimizer.step() for optimizer in optimizers]
    try:
        return trained(rank, flags)
    except UserError as error:
        return str(error)


def test_weights_that_drift_apart_end_the_run(images, tmp_path):
    messages = run_ranks(2, own_updates, flags_for(tmp_path / "run", images, "--model=cut"))
    assert all("the weights of" in text and "through self.apply_gradients" in text for text in messages), messages


def evaluated(rank, flags):
    """What a validation on this rank returns, and how many images it translated."""
    from util.run.validation import create_validation

    opt = options.parse([*flags, "--eval_freq=1", "--eval_num=5"])
    distributed.start(opt)
    model = create_model(opt)
    model.setup(opt)
    translated = []
    model.netG.register_forward_hook(lambda net, images, output: translated.append(len(images[0])))
    validation = create_validation(opt, create_dataset, options.for_testing(opt), model.device)
    return validation.run(model), sum(translated)


def test_ranks_share_the_evaluation(tmp_path):
    images = draw_images(tmp_path / "images")
    for i in range(10):  # more than are scored
        for side in "AB":
            (images / f"test{side}").mkdir(exist_ok=True)
            (images / f"test{side}" / f"t{i}.png").write_bytes((images / f"train{side}" / f"{i % 3}.png").read_bytes())
    flags = flags_for(tmp_path / "run", images, "--model=cut")
    [((scores, samples), alone)] = run_ranks(1, evaluated, flags)
    ((shared, shared_samples), first), (nothing, second) = run_ranks(2, evaluated, flags)
    assert (alone, first, second) == (5, 3, 3)  # the last turn has an image for each rank
    assert nothing is None and scores == shared and scores["images"] == 5
    assert list(samples) == list(shared_samples) == [f"t{i}" for i in range(5)]
    assert all(np.array_equal(samples[k]["output"], shared_samples[k]["output"]) for k in samples)


def one_stops(rank, flags, stopped, pid_file):
    """train.py; rank ``stopped`` stops its process after its second step. From then on, not while processes of a slow
    machine start, the watch's minutes are two seconds."""
    from util.loggers import Loggers

    step, done = Loggers.step, []
    Loggers.step = lambda loggers, progress: (done.append(progress), step(loggers, progress))
    patience = property(lambda watch: 2 if len(done) >= 2 else 600, lambda watch, seconds: None)
    rank_watch.Watch = type("Watch", (rank_watch.Watch,), {"patience": patience})
    train.watched = lambda opt: rank_watch.watched(opt, interval=0.1)
    if rank == stopped:
        pid_file.write_text(str(os.getpid()))
    os.dup2(os.open(pid_file.with_name(f"{rank}.err"), os.O_CREAT | os.O_WRONLY), 2)
    return trained(rank, flags, (stopped, 2, "SIGSTOP"))


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_rank_that_hangs_ends_all_with_its_name(images, tmp_path, stopped):
    """A stopped process: its sockets live, so without the watch the other would wait for two hours."""
    flags = flags_for(tmp_path / "run", images, "--model=cut")
    pid_file = tmp_path / "pid"
    processes = start_ranks(2, one_stops, flags, stopped, pid_file)
    try:
        processes[1 - stopped].join(600)
        assert processes[1 - stopped].exitcode == 2
        assert processes[stopped].exitcode is None  # torchrun would end it
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert f"error: rank {stopped} stood still" in (tmp_path / f"{1 - stopped}.err").read_text()


def test_who_is_behind_is_named_unless_it_has_marked_a_long_job():
    watch = rank_watch.Watch(0, 3, torch.distributed.HashStore(), interval=30, patience=600)
    watch.reports = {rank: {"beat": 9, "joined": 5 - (rank == 2), "job": None} for rank in range(3)}
    watch.heard, watch.moved = dict.fromkeys(range(3), 1000.0), dict.fromkeys(range(3), 300.0)
    assert watch.hanging(800) == [] and watch.hanging(1000) == [2]
    watch._hear(2, {"beat": 10, "joined": 4, "job": "scores"})
    assert watch.hanging(watch.moved[2] + 1) != [2]


def torchrun(*flags, **popen):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train.py", *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes, **popen)


def wait_for(file, process):
    while process.poll() is None and not (file.exists() and file.stat().st_size):
        time.sleep(0.05)


def test_torchrun_with_a_rank_that_dies_and_then_with_a_signal(images, tmp_path):
    """The others end and say what to do; the run goes on from its checkpoint, and SIGTERM to torchrun saves it."""
    folder = tmp_path / "run"
    flags = flags_for(
        folder, images, "--model=cut", "--save_latest_freq=2", "--n_epochs=100000", "--save_epoch_freq=100000"
    )
    process = torchrun(*flags)
    wait_for(folder / "latest_state.pt", process)
    ranks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(ranks[-1]), signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode != 0
    assert re.search(r"error: rank \d lost another rank", output), output
    before = checkpoints.load(folder / "latest_state.pt")["position"]["total_images"]

    (folder / "losses.jsonl").unlink()
    process = torchrun(*resume_flags(folder))
    wait_for(folder / "losses.jsonl", process)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate()
    assert "interrupted (SIGTERM); go on with" in output, output
    state = checkpoints.load(folder / "latest_state.pt")
    assert state["position"]["total_images"] > before and len(state["ranks"]) == 2


@pytest.mark.parametrize(
    ("text", "local_rank", "there", "found"),
    [
        (None, 0, 4, "cuda:0"),
        ("0", 1, 4, "cuda:1"),
        ("2", 1, 4, "cuda:3"),
        ("2,3", 1, 4, "cuda:3"),
        ("3,1", 0, 4, "cuda:3"),
        ("-1", 1, 4, "cpu"),
        (None, 1, 0, "cpu"),
        (None, 1, 1, "GPU 1 is not there"),
        ("0,1", 2, 4, "--gpu_ids 0,1 names fewer GPUs than torchrun --nproc_per_node starts processes"),
    ],
)
def test_each_process_takes_a_gpu_of_its_own(monkeypatch, text, local_rank, there, found):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", str(local_rank))
    monkeypatch.setattr("util.devices.accelerator", lambda: ("cuda", there) if there else ("cpu", 0))
    monkeypatch.setattr("util.devices.make_current", lambda device: None)
    if " " not in found:
        assert choose_device(text, None) == torch.device(found)
    else:
        with pytest.raises(UserError, match=found):
            choose_device(text, None)


def test_several_gpus_without_torchrun_name_its_command(monkeypatch):
    monkeypatch.setattr("util.devices.accelerator", lambda: ("cuda", 4))
    with pytest.raises(UserError, match="torchrun --nproc_per_node=2 train.py"):
        choose_device("0,1", None)


@pytest.mark.parametrize("kind", ["cpu", "cuda", "xpu", "mps"])
def test_one_process_needs_nothing_of_torch_distributed(kind, monkeypatch):
    """Which some builds lack."""
    for name in ("Store", "Backend"):
        monkeypatch.delattr(torch.distributed, name)
    monkeypatch.setattr(torch.distributed, "is_available", lambda: False)
    alone = SimpleNamespace(**runpy.run_path(distributed.__file__))
    alone.start(SimpleNamespace(device=torch.device(kind), world_size=1))
    assert not alone.is_distributed() and alone.any_rank(True) and alone.broadcast(3) == 3


def test_the_test_runs_in_one_process(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="start test.py with python"):
        options.parse(["--dataroot=x", "--gpu_ids=-1", f"--checkpoints_dir={tmp_path}", "--name=run"], is_train=False)
