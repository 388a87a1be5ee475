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
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
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
from util.flag_types import ScriptParser, file_to_write, non_negative_int, positive_int
from util.run.step_graph import StepGraph
from util.run.stopwatch import Stopwatch
from util.words import aligned

PHASES = {"forward": "translate", "update_D": "D", "update_N": "N", "update_G_and_F": "G, F", "update_F_": "F_"}
PHASES["summarize"] = "summaries"
OWN = {"--model", "--load_size", "--crop_size", "--batch_size", "--dataroot"}  # flags of train.py that are no setting


class Case(NamedTuple):
    """One model under one setting at one size; ``extra``: flags of train.py that all settings share."""

    model: str
    setting: str
    size: int
    batch: int
    extra: list[str]

    def options(self, dataroot: str = "none"):
        setting = [] if self.setting in ("plain", "default") else self.setting.split()
        argv = ["--model", self.model, *setting, "--batch_size", str(self.batch), "--dataroot", dataroot, "--quiet"]
        argv += ["--load_size", str(self.size), "--crop_size", str(self.size)]
        with tempfile.TemporaryDirectory() as folder:
            return options.parse([*argv, "--checkpoints_dir", folder, *self.extra])


class Step:
    """A step of training on random images, and the time or operations of its phases."""

    def __init__(self, case: Case):
        self.plain, opt = case.setting == "plain", case.options()
        self.model = create_model(opt)
        self.model.setup(opt)
        shape = (case.batch, 3, case.size, case.size)
        images = {side: torch.rand(shape, device=self.model.device) * 2 - 1 for side in "AB"}
        images = {side: self.model.on_device(image) for side, image in images.items()}
        self.images = images | {side + "_paths": [""] * case.batch for side in "AB"}
        if self.plain:
            self.take = PlainStep(self.model, norm="torch").optimize_parameters
        else:
            self.take = StepGraph(self.model) if opt.cuda_graph else self.model.step

    def __call__(self) -> None:
        self.take(self.images)

    def translate(self) -> None:
        self.model.translate(self.images["A"])

    def timed(self, call: Callable) -> float:
        """Seconds, until the device has done what ``call()`` gives it."""
        devices.synchronize(self.model.device)
        begun = time.perf_counter()
        call()
        devices.synchronize(self.model.device)
        return time.perf_counter() - begun

    def by_phase(self, measure: Callable) -> dict[str, float]:
        """``measure(call) -> number`` around each phase of one step."""
        found: dict[str, float] = {}

        def measured(call, phase):
            def of_one_call(*args):
                result = []
                found[phase] = found.get(phase, 0) + measure(lambda: result.append(call(*args)))
                return result[0]

            return of_one_call

        for method, phase in {} if self.plain else PHASES.items():
            if hasattr(self.model, method):
                setattr(self.model, method, measured(getattr(self.model, method), phase))
        self()
        for method in PHASES:
            vars(self.model).pop(method, None)
        return found


def step_on_meta(case: Case) -> Step:
    """A GPU's step without one, whatever device the flags name; to be made and taken within ``pretended("meta")``."""
    parser = ScriptParser(None, add_help=False, allow_abbrev=False)
    add_flags(parser.add_argument)
    for flag in ("--fast", "--compile"):  # which change neither arithmetic nor what is counted as an operation
        parser.add_argument(flag, action="store_true")
    _, extra = parser.parse_known_args(case.extra)
    _, setting = parser.parse_known_args(case.setting.split())
    return Step(case._replace(setting=" ".join(setting) or "default", extra=[*extra, "--gpu_ids", "0"]))


def operations_by_phase(case: Case) -> dict[str, int]:
    """Of a whole step as a GPU would take it, and of each phase."""
    with pretended("meta"):
        step = step_on_meta(case)
        step()  # optimizers make their state
        with Operations() as whole:
            phases = step.by_phase(operations)
            step.model.update_ema()
    return {"operations": whole.count} | {f"operations {phase}": count for phase, count in phases.items()}


def arithmetic(case: Case) -> dict[str, float]:
    """GFLOP of a whole step, and of each phase."""
    with pretended("meta"):
        step = step_on_meta(case)
        phases = step.by_phase(flops)
        return {"GFLOP": sum(phases.values()) or flops(step)} | {f"GFLOP {phase}": n for phase, n in phases.items()}


def memory(case: Case) -> dict[str, float]:
    """Peak memory of training in GB, a GPU's, or the process's above what it takes before its first step; what
    a step takes there of the processor's time, outside and in the system, and of pages that the system has to fill."""
    command = [sys.executable, __file__, "--child", "--models", case.model, f"--settings={case.setting}"]
    command += ["--sizes", str(case.size), "--batches", str(case.batch), *case.extra]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        raise UserError(f"--settings {case.setting!r} failed: {found.stderr.strip().splitlines()[-1]}")
    return json.loads(found.stdout.splitlines()[-1])


def child(case: Case) -> None:
    """Of ``memory``."""
    import resource  # not on Windows

    step = Step(case)
    before = devices.memory_gb() if devices.peak_memory() is None else 0.0
    step()
    first = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(2):
        step()
    last = resource.getrusage(resource.RUSAGE_SELF)
    row = {"peak GB": devices.memory_gb() - before}
    row |= {"user s": (last.ru_utime - first.ru_utime) / 2, "system s": (last.ru_stime - first.ru_stime) / 2}
    print(json.dumps(row | {"pages": (last.ru_minflt - first.ru_minflt) / 2}))


def data_share(case: Case, args) -> float | None:
    """Share of the time that a real training loop waits for its images; None without ``--dataroot``."""
    if args.dataroot is None or case.setting == "plain":
        return None
    step, stopwatch = Step(case), Stopwatch()
    loop = stopwatch.watch(create_dataset(case.options(args.dataroot)), count=lambda batch: len(batch["A"]))
    for images in islice(loop, args.warmup + args.rounds + 1):
        step.images = images
        step()
    return stopwatch.data_share


def loading_speed(case: Case, dataroot: str) -> dict[str, float]:
    """Images/s that the loader delivers on its own in its second epoch, when a cache is full."""
    dataset = create_dataset(case.options(dataroot))
    for _ in range(2):
        begun = time.perf_counter()
        images = sum(len(loaded["A"]) for loaded in dataset)
    return {"images/s": images / (time.perf_counter() - begun)}


def speed(args, cases: list[Case]) -> list[dict]:
    """Of each case, by turns."""
    steps, rows = [Step(case) for case in cases], []
    calls = [step.translate if args.inference else step for step in steps]
    turns = [list(map(Step.timed, steps, calls)) for _ in range(args.warmup + args.rounds)]
    seconds = np.array(turns[args.warmup :])
    for case, step, own in zip(cases, steps, seconds.T, strict=True):
        rows.append({"images/s": case.batch / np.median(own), "ratio": np.median(seconds[:, 0] / own)})
        if args.inference:
            continue
        rows[-1]["TFLOP/s"] = arithmetic(case)["GFLOP"] / 1e3 / np.median(own)
        rows[-1] |= {f"ms {phase}": 1e3 * value for phase, value in step.by_phase(step.timed).items()}
        rows[-1] |= memory(case) if args.memory else {}
        rows[-1]["waiting"] = data_share(case, args)
        if args.profile:
            print(f"{case.model} {case.setting}\n{profile(partial(step.timed, step), step.model.device)}", flush=True)
    return rows


def measure(args, cases: list[Case]) -> list[dict]:
    """A row for each case."""
    if args.loading:
        return [loading_speed(case, args.dataroot) for case in cases]
    if args.ops:
        return [operations_by_phase(case) for case in cases]
    if args.flops:
        return [arithmetic(case) for case in cases]
    return speed(args, cases)


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
    add("--sizes", nargs="+", type=positive_int, default=[128], help="pixels")
    add("--batches", nargs="+", type=positive_int, default=[1], help="images a step")
    add("--rounds", type=positive_int, default=10, help="steps of each setting that count")
    add("--warmup", type=non_negative_int, default=2, help="steps of each setting before")
    add("--flops", action="store_true", help="count arithmetic instead of time")
    add("--ops", action="store_true", help="count the operations that a GPU is given instead of time")
    add("--inference", action="store_true", help="translation instead of training")
    add("--memory", action="store_true", help="also peak memory and the system's time, each setting in its own process")
    add("--profile", action="store_true", help="also the operations that take the most time")
    add("--dataroot", help="also the share of time that training on this folder waits for images")
    add("--loading", action="store_true", help="only how many images/s the loader delivers from --dataroot")
    add("--json", type=file_to_write, help="also write the rows to this file")
    add("--child", action="store_true", help=argparse.SUPPRESS)
    args, extra = parser.parse_known_args()
    settings = [setting.strip() for setting in args.settings.split(";")]
    if args.child:
        return child(Case(args.models[0], settings[0], args.sizes[0], args.batches[0], extra))
    if own := OWN & {word.partition("=")[0] for setting in settings for word in setting.split()}:
        of_script = "this script's own --models, --sizes, --batches and --dataroot"
        raise UserError(f"--settings: in place of {', '.join(sorted(own))} give {of_script}")
    if args.loading and not args.dataroot:
        raise UserError("--loading needs --dataroot, a folder with trainA and trainB")
    if not (args.flops or args.ops):
        print(machine())
    rows = []
    for model, size, batch in product(args.models, args.sizes, args.batches):
        cases = [Case(model, setting, size, batch, extra) for setting in settings]
        known = [{"model": model, "size": size, "batch": batch, "setting": setting} for setting in settings]
        rows += [one | row for one, row in zip(known, measure(args, cases), strict=True)]
    print(aligned(rows), flush=True)
    if args.json:
        write_atomic(args.json, json.dumps({"machine": machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    run(main)
