"""Fixtures for all tests: the folders that only some machines have."""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
import torch

ROOT = Path(__file__).parents[1]
torch.set_num_threads(1)  # small tensors: more threads wait for each other, for minutes on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")  # likewise in the commands, whose sums are then those of this process
# No test asserts a time, and what was green is green the next time.
slow = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("here", deadline=None, suppress_health_check=slow, derandomize=True)
hypothesis.settings.load_profile("here")


def _folder(variable: str, what: str) -> Path:
    if not os.environ.get(variable):
        pytest.skip(f"{variable} does not name the folder of {what}")
    return Path(os.environ[variable])


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """Numbers recorded from the published implementations."""
    return _folder("NEGCUT_REFERENCE_DIR", "reference numbers")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real photographs."""
    return _folder("NEGCUT_DATA_DIR", "photographs")


@pytest.fixture(scope="session")
def cases(data_dir, tmp_path_factory) -> Path:
    """Small data sets of pictures that need care, one a folder, drawn from photographs; others write to copies."""
    script = _folder("NEGCUT_CASES_DIR", "odd pictures") / "make_cases.py"
    out = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, script, out, data_dir / "horse2zebra"], check=True, stdout=subprocess.DEVNULL)
    return out


@pytest.fixture(scope="session")
def browser():
    """A page in Chromium; ``browser.log`` holds its errors and console messages."""
    pytest.importorskip("playwright", reason="Playwright is not installed")
    from scripts.dev.browser import chromium_page, find_chromium

    if not find_chromium():
        pytest.skip("no Chromium on PATH")
    with chromium_page() as page:
        page.context.set_default_timeout(180_000)  # a slow machine that runs other tests beside takes its time
        yield page


@pytest.fixture
def make_run(tmp_path):
    """``make_run("--model=cut")`` writes the checkpoints of an untrained run; the arguments for analyze_negatives."""
    from tiny_run import CONTRASTIVE, FLAGS, draw_images

    import options
    from models import create_model

    draw_images(tmp_path / "images")

    def make(*flags: str, epochs=("1", "2", "latest"), without=()):
        where = [f"--checkpoints_dir={tmp_path}", "--name=a", f"--dataroot={tmp_path / 'images'}"]
        opt = options.parse([*where, *FLAGS, *CONTRASTIVE, *flags])
        model = create_model(opt)
        for epoch in epochs:
            model.save_networks(epoch)
        (tmp_path / "a").mkdir(exist_ok=True)
        options.save_options(opt, tmp_path / "a")
        for name in without:
            (tmp_path / "a" / name).unlink()
        return [f"--checkpoints_dir={tmp_path}", "--name=a", "--gpu_ids=-1", "--num_images=2", "--num_shown=1"]

    return make
