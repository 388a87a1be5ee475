"""What the system refuses is one sentence, a bug a traceback."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from util.errors import run

ROOT = Path(__file__).parents[2]


class WindowsError(OSError):
    """As Windows raises it: errno is EINVAL or ENOTDIR, which elsewhere would be a bug of ours."""

    def __init__(self, code: int, number: int, says: str):
        super().__init__(number, says, r"checkpoints\a:b")
        self.winerror = code


@pytest.mark.parametrize(
    "error, is_mistake",
    [
        (WindowsError(123, errno.EINVAL, "The filename syntax is incorrect"), True),
        (WindowsError(267, errno.ENOTDIR, "The directory name is invalid"), True),
        (WindowsError(183, errno.EEXIST, "The file exists already"), False),
        (OSError(errno.EINVAL, "Invalid argument", "x"), False),
        (OSError(errno.EROFS, "Read-only file system", "x"), True),
    ],
)
def test_what_the_system_refuses(error, is_mistake, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit if is_mistake else OSError) as end:
        run(main)
    if is_mistake:
        assert end.value.code == 2
        assert capsys.readouterr().err == f"error: {error.filename}: {error.strerror}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no exit status of a signal")
@pytest.mark.parametrize("begin", ["from util.errors import run; run(int)", "import repository"])
def test_ctrl_c_while_a_script_is_imported_prints_nothing(begin):
    code = f"import sys; sys.path.insert(0, 'scripts'); {begin}; raise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
