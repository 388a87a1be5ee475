"""What will run on a GPU, tried without one: the comparison of steps at tiny sizes, and the script's parts."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.dev import device_equality

ROOT = Path(__file__).parents[3]
TINY = "--size 32 --netG resnet_4blocks --ngf 4 --ndf 4 --netF_nc 8 --num_patches 16 --netD pixel --nce_layers 0,4,8"


def test_a_step_that_is_another_is_found(monkeypatch, capsys):
    settings = "default; --channels_last; --cuda_graph; --nce_T 0.08"
    argv = ["", "--device", "cpu", "--models", "negcut", "cut", "--settings", settings, *TINY.split()]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as end:
        device_equality.main()
    assert end.value.code == 1
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["negcut", "cut"] * 3  # a CPU records no steps
    assert ["above" in row for row in rows] == [False] * 4 + [True] * 2


def test_parts_of_the_gpu_script():
    """Without any time each part tells the commands that it leaves out."""
    script = ["bash", str(ROOT / "scripts/dev/benchmark_gpu.sh")]
    env = os.environ | {"LIMIT": "0"}
    done = subprocess.run([*script, "images", "--ngf", "4"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("==")] == [
        f"== {part}" for part in ("equality", "speed", "memory", "resume", "train")
    ]
    commands = [shlex.split(line.partition(": ")[2]) for line in lines if line.startswith("left out")]
    assert len(commands) == 15
    assert all(command[0] == "python" and (ROOT / command[1]).is_file() for command in commands)
    wrong = subprocess.run([*script, "--part", "all", "images"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2 and "--part all is none of equality, speed" in wrong.stderr
