"""The commands of the README and the docs name scripts and flags that exist; scripts/dev/check_docs.py runs them."""

import re
import shlex
from pathlib import Path

import pytest

from scripts.dev.check_docs import DOCS, commands, reason

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
