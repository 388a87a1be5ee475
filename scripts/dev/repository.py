"""``import repository`` in a script of this folder puts the repository on its path, and keeps Ctrl-C quiet while
the script is still being imported."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from util.errors import quiet_after_ctrl_c  # noqa: E402

sys.excepthook = quiet_after_ctrl_c
