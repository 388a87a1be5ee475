"""Memory and open files over many steps; scripts/dev/long_run.py --steps 5000 --visdom is the whole of it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_nothing_grows():
    command = [sys.executable, str(ROOT / "scripts/dev/long_run.py"), "--steps=800", "--visdom"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].strip() == "flat"
