"""``import repository`` in a script of this folder puts the repository on its path."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import util  # noqa: E402, F401  before torch, for which it sets a variable
