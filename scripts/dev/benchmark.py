"""Operations, time and memory of training steps, by phase, against the plain step of the published code.

    python scripts/dev/benchmark.py --flops --sizes 128
    python scripts/dev/benchmark.py --ops --sizes 256       # a GPU's, which is not needed for it
    python scripts/dev/benchmark.py --sizes 128 --rounds 10 \\
        --settings "plain; default; --precision bf16 --channels_last"
    python scripts/dev/benchmark.py --sizes 256 --dataroot datasets/horse2zebra --settings "default; --cache none"
    python scripts/dev/benchmark.py --sizes 256 --dataroot datasets/horse2zebra --loading \\
        --settings "default; --cache none"
    python scripts/dev/benchmark.py --models negcut --inference --sizes 256 --batches 1 4

Settings are flags of train.py, separated by semicolons; ``default`` is none, ``plain`` is scripts/dev/plain_step.py.
They take turns, one step each a round, so that a machine whose speed drifts treats them alike; the ratio to the first
setting is the median over the rounds.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import repository  # noqa: F401
import torch

import options
from data import create_dataset
from models import create_model
from scripts.dev.counts import Operations, flops, operations, profile
from scripts.dev.plain_step import PlainStep
from scripts.dev.pretended import pretended
from util import devices
from util.device_kinds import add_flags
from util.errors import UserError, run
from util.files import write_atomic
from util.flag_types import ScriptParser
from util.run.step_graph import StepGraph
from util.run.stopwatch import Stopwatch
from util.words import aligned

PHASES = {"forward": "translate", "update_D": "D", "update_N": "N", "update_G_and_F": "G, F", "update_F_": "F_"}
PHASES["summarize"] = "summaries"


def parse(model: str, setting: str, size: int, batch: int, extra: list[str], dataroot: str = "none"):
    """The options of a setting."""
    argv = ["--model", model, *([] if setting in ("plain", "default") else setting.split())]  # which may name another
    argv += ["--batch_size", str(batch), "--dataroot", dataroot]
    argv += ["--load_size", str(size), "--crop_size", str(size)]
    with tempfile.TemporaryDirectory() as folder:
        return options.parse([*argv, "--quiet", "--checkpoints_dir", folder, *extra])


class Step:
    """One model under one setting, on random images, and the time or operations of its phases."""

    def __init__(self, model: str, setting: str, size: int, batch: int, extra: list[str]):
        self.plain = setting == "plain"
        self.opt = parse(model, setting, size, batch, extra)
        self.model = create_model(self.opt)
        self.model.setup(self.opt)
        device = self.model.device
        images = {side: torch.rand(batch, 3, size, size, device=device) * 2 - 1 for side in "AB"}
        if self.opt.channels_last:
            images = {side: image.to(memory_format=torch.channels_last) for side, image in images.items()}
        self.images = images | {side + "_paths": [""] * batch for side in "AB"}
        if self.plain:
            self.take = PlainStep(self.model, norm="torch").optimize_parameters
        else:
            self.take = StepGraph(self.model) if self.opt.cuda_graph else self.model.step

    def __call__(self) -> None:
        self.take(self.images)

    def synchronize(self) -> None:
        devices.synchronize(self.model.device)

    def time(self) -> float:
        self.synchronize()
        begun = time.perf_counter()
        self()
        self.synchronize()
        return time.perf_counter() - begun

    def by_phase(self, measure) -> dict[str, float]:
        """``measure(call) -> number`` around each phase of one step."""
        found: dict[str, float] = {}
        for method, phase in {} if self.plain else PHASES.items():
            if hasattr(self.model, method):
                setattr(self.model, method, self._measured(getattr(self.model, method), phase, measure, found))
        self()
        for method in PHASES:
            vars(self.model).pop(method, None)
        return found

    def _measured(self, call, phase, measure, found):
        def measured(*args):
            result = []
            found[phase] = found.get(phase, 0) + measure(lambda: result.append(call(*args)))
            return result[0]

        return measured

    def timed(self, call) -> float:
        self.synchronize()
        begun = time.perf_counter()
        call()
        self.synchronize()
        return (time.perf_counter() - begun) * 1e3


def step_on_meta(model: str, setting: str, size: int, batch: int, extra: list[str]) -> Step:
    """A GPU's step without one, whatever device ``extra`` names; to be made and taken within ``pretended("meta")``."""
    parser = ScriptParser(None, add_help=False, allow_abbrev=False)
    add_flags(parser.add_argument)
    _, others = parser.parse_known_args(extra)
    return Step(model, setting, size, batch, [*others, "--gpu_ids", "0"])


def operations_by_phase(args, model: str, setting: str, size: int, batch: int) -> dict[str, int]:
    """Of a whole step as a GPU would take it, and of each phase."""
    with pretended("meta"):
        step = step_on_meta(model, setting, size, batch, args.extra)
        step()  # optimizers make their state
        with Operations() as whole:
            phases = step.by_phase(operations)
            step.model.update_ema()
    return {"operations": whole.count} | {f"operations {phase}": count for phase, count in phases.items()}


def arithmetic(args, model: str, setting: str, size: int, batch: int) -> float:
    """GFLOP of a step, which all settings but ``plain`` share."""
    with pretended("meta"):
        return flops(step_on_meta(model, "plain" if setting == "plain" else "default", size, batch, args.extra))


def memory(args, model: str, setting: str, size: int, batch: int) -> dict[str, float]:
    """Peak memory of training in GB, above what the process takes before its first step, in a process of its own; what
    a step takes there of the processor's time, outside and in the system, and of pages that the system has to fill."""
    command = [sys.executable, __file__, "--child", "--models", model, f"--settings={setting}", "--sizes", str(size)]
    command += ["--batches", str(batch), *args.extra]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        raise UserError(f"--settings {setting!r} failed: {found.stderr.strip().splitlines()[-1]}")
    return json.loads(found.stdout.splitlines()[-1])


def child(args) -> None:
    step = Step(args.models[0], args.settings[0], args.sizes[0], args.batches[0], args.extra)
    before = resource.getrusage(resource.RUSAGE_SELF)
    step()
    first = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(2):
        step()
    last = resource.getrusage(resource.RUSAGE_SELF)
    peak = devices.peak_memory()
    row = {"peak GB": (last.ru_maxrss - before.ru_maxrss) * 1024 / 1e9 if peak is None else peak / 1e9}
    row |= {"user s": (last.ru_utime - first.ru_utime) / 2, "system s": (last.ru_stime - first.ru_stime) / 2}
    print(json.dumps(row | {"pages": (last.ru_minflt - first.ru_minflt) / 2}))


def data_share(args, model: str, setting: str, size: int, batch: int) -> float | None:
    """Share of the time that a real training loop waits for its images; None without ``--dataroot``."""
    if args.dataroot is None or setting == "plain":
        return None
    step = Step(model, setting, size, batch, args.extra)
    stopwatch = Stopwatch()
    dataset = create_dataset(parse(model, setting, size, batch, args.extra, args.dataroot))
    for i, images in enumerate(stopwatch.watch(dataset, count=lambda b: len(b["A"]))):
        step.images = images
        step()
        if i == args.rounds + args.warmup:
            break
    return stopwatch.data_share


def loading_speed(args, model: str, setting: str, size: int, batch: int) -> float:
    """Images/s that the loader delivers on its own in its second epoch, when a cache is full."""
    dataset = create_dataset(parse(model, setting, size, batch, args.extra, args.dataroot))
    for _ in range(2):
        begun, images = time.perf_counter(), 0
        for loaded in dataset:
            images += len(loaded["A"])
    return images / (time.perf_counter() - begun)


def inference_time(step: Step) -> float:
    step.synchronize()
    begun = time.perf_counter()
    step.model.translate(step.images["A"])
    step.synchronize()
    return time.perf_counter() - begun


def measure(args, model: str, size: int, batch: int) -> list[dict]:
    """A row for each setting."""
    rows = [{"model": model, "size": size, "batch": batch, "setting": setting} for setting in args.settings]
    if args.loading:
        for row in rows:
            row["images/s"] = loading_speed(args, model, row["setting"], size, batch)
        return rows
    if args.ops:
        return [row | operations_by_phase(args, model, row["setting"], size, batch) for row in rows]
    steps = [Step(model, setting, size, batch, args.extra) for setting in args.settings]
    if args.flops:
        for row, step in zip(rows, steps, strict=True):
            phases = step.by_phase(flops) or {}
            row |= {"GFLOP": sum(phases.values()) if phases else flops(step)}
            row |= {f"GFLOP {phase}": value for phase, value in phases.items()}
        return rows
    one = inference_time if args.inference else Step.time
    for _ in range(args.warmup):
        for step in steps:
            one(step)
    times = [[one(step) for step in steps] for _ in range(args.rounds)]
    for i, (row, step) in enumerate(zip(rows, steps, strict=True)):
        mine = [turn[i] for turn in times]
        row["images/s"] = batch / statistics.median(mine)
        row["ratio"] = statistics.median(turn[0] / turn[i] for turn in times)
        if not args.inference:
            gflop = arithmetic(args, model, args.settings[i], size, batch)
            row["TFLOP/s"] = gflop / 1e3 * row["images/s"] / batch
            row |= {f"ms {phase}": value for phase, value in step.by_phase(step.timed).items()}
            if args.memory:
                row |= memory(args, model, args.settings[i], size, batch)
            row["waiting"] = data_share(args, model, args.settings[i], size, batch)
            if args.profile:
                print(f"{model} {args.settings[i]}\n{profile(step.time, step.model.device)}", flush=True)
    return rows


def machine() -> str:
    info = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    cpu = next((line.split(":")[1].strip() for line in info.splitlines() if "model name" in line), "CPU")
    kind, count = devices.accelerator()
    gpu = devices.describe(torch.device(kind, 0)) if count else "no GPU"
    return f"{cpu}, {torch.get_num_threads()} threads, {gpu}, torch {torch.__version__}"


def main() -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=["negcut"], help="models to measure")
    add("--settings", default="plain; default", help="flags of train.py, separated by ;")
    add("--sizes", nargs="+", type=int, default=[128], help="pixels")
    add("--batches", nargs="+", type=int, default=[1], help="images a step")
    add("--rounds", type=int, default=10, help="steps of each setting that count")
    add("--warmup", type=int, default=2, help="steps of each setting before")
    add("--flops", action="store_true", help="count arithmetic instead of time")
    add("--ops", action="store_true", help="count the operations that a GPU is given instead of time")
    add("--inference", action="store_true", help="translation instead of training")
    add("--memory", action="store_true", help="also peak memory and the system's time, each setting in its own process")
    add("--profile", action="store_true", help="also the operations that take the most time")
    add("--dataroot", help="also the share of time that training on this folder waits for images")
    add("--loading", action="store_true", help="only how many images/s the loader delivers from --dataroot")
    add("--json", type=Path, help="also write the rows to this file")
    add("--child", action="store_true", help=argparse.SUPPRESS)
    args, args.extra = parser.parse_known_args()
    args.settings = [setting.strip() for setting in args.settings.split(";")]
    if args.child:
        return child(args)
    if args.loading and not args.dataroot:
        raise UserError("--loading needs --dataroot, a folder with trainA and trainB")
    if not (args.flops or args.ops):
        print(machine())
    rows = []
    for model in args.models:
        for size in args.sizes:
            for batch in args.batches:
                rows += measure(args, model, size, batch)
    print(aligned(rows), flush=True)
    if args.json:
        write_atomic(args.json, json.dumps({"machine": machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    run(main)
