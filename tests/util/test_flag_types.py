"""What --help says of a flag's default."""

import argparse
import re
from pathlib import Path

from util.flag_types import ScriptHelp

SCRIPTS = (Path(__file__).parents[2] / "scripts").rglob("*.py")


def test_defaults_are_shown_where_they_say_something():
    parser = argparse.ArgumentParser(description="As it\nis.", formatter_class=ScriptHelp)
    parser.add_argument("--side", type=int, default=3, help="pixels")
    parser.add_argument("--folder", default="/home/me", help="of pages; default: yours")
    parser.add_argument("--out", help="a file")
    parser.add_argument("--ema", action="store_true", help="averages")
    text = parser.format_help()
    assert "As it\nis." in text and "pixels (default: 3)\n" in text and text.count("default") == 2, text


def test_every_script_shows_its_defaults():
    for path in SCRIPTS:
        for parser in re.findall(r"ArgumentParser\([^)]*\)", path.read_text()):
            assert "formatter_class=ScriptHelp" in parser, path
