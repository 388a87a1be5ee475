"""The commands of the README and the docs name scripts and flags that exist; scripts/dev/check_docs.py runs them. A
logger and a page of docs/extending.md; its other examples: tests/models/test_dropin.py."""

import re
import shlex
from argparse import Namespace
from pathlib import Path

import pytest

from scripts.dev.check_docs import DOCS, commands, reason
from util.loggers import Loggers
from util.loggers.jsonl import JsonlLogger
from util.pages import other_pages
from util.run.progress import Progress

ROOT = Path(__file__).parents[1]
SOURCES = [
    *ROOT.glob("options/*.py"),
    *ROOT.glob("data/*.py"),
    *ROOT.glob("models/**/*.py"),
    *ROOT.glob("util/**/*.py"),
]
FLAGS = set(re.findall(r"--\w+", "\n".join(path.read_text() for path in SOURCES)))
KNOWN_TO_TORCHRUN = {"--nproc_per_node", "--nnodes", "--node_rank", "--rdzv_endpoint", "--standalone"}


def test_commands_are_found_without_comments_and_in_one_line():
    text = "`python a.py --x` then\n```bash\nA=1 python b.py \\\n    --y 1  # why\nsrun python c.py &\nls\n```\n"
    assert commands(text) == ["python a.py --x", "A=1 python b.py --y 1", "python c.py"]


def test_the_check_does_not_start_itself():
    assert reason("python scripts/dev/check_docs.py") and not reason("python train.py --name h2z --continue_train")


@pytest.mark.parametrize("doc", DOCS)
def test_scripts_and_flags_exist(doc):
    for command in commands((ROOT / doc).read_text()):
        scripts = [word for word in shlex.split(command) if word.endswith((".py", ".sh"))]
        for script in scripts:
            assert (ROOT / script).is_file(), command
        text = "".join((ROOT / script).read_text() for script in scripts)
        unknown = set(re.findall(r"--\w+", command)) - FLAGS - KNOWN_TO_TORCHRUN - set(re.findall(r"--\w+", text))
        assert not unknown, command


def example(path: str) -> str:
    """The code that docs/extending.md gives for a file."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)
    return next(block for block in blocks if block.startswith(f"# {path}\n"))


def test_the_examples_of_a_logger_and_of_a_page(tmp_path, monkeypatch):
    run = tmp_path / "run"
    opt = Namespace(checkpoints_dir=str(tmp_path), name="run")
    exec(example("util/loggers/csv_scores.py"), found := {})
    with Loggers([JsonlLogger(opt), found["CsvScores"](opt)]) as loggers:
        loggers.log_scores(Progress(epoch=3), {"FID": 41.5, "images": 120})
    assert (run / "scores.csv").read_text().splitlines() == ["3,FID,41.5", "3,images,120"]
    (run / "web/data").mkdir(parents=True)
    other_pages.write(run / "web", {})
    monkeypatch.setattr("sys.argv", ["scores_page.py", str(run)])
    exec(example("scripts/scores_page.py"), {})
    assert "<td>3</td><td>FID</td><td>41.5</td>" in (run / "scores.html").read_text()
    assert "all scores" in (run / "web" / other_pages.PAGES).read_text()
