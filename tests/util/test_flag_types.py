"""What a script's --help says of a flag's default, and what it says of flags that are missing or wrong."""

from pathlib import Path

import pytest

from util.errors import UserError
from util.flag_types import ScriptParser, positive_int

SCRIPTS = (Path(__file__).parents[2] / "scripts").rglob("*.py")


def test_defaults_are_shown_where_they_say_something():
    parser = ScriptParser("As it\nis.")
    parser.add_argument("--side", type=int, default=3, help="pixels")
    parser.add_argument("--folder", default="/home/me", help="of pages; default: yours")
    parser.add_argument("--out", help="a file")
    parser.add_argument("--ema", action="store_true", help="averages")
    text = parser.format_help()
    assert "As it\nis." in text and "pixels (default: 3)\n" in text and text.count("default") == 2, text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "the following arguments are required: inputs, --out"),
        (["a", "--out", "b", "--side", "0"], "argument --side: must be a whole number of at least 1, not '0'"),
        (["a", "--out", "b", "--sides", "1"], "unrecognized arguments: --sides 1"),
    ],
)
def test_what_is_missing_or_wrong_is_one_sentence(words, says):
    parser = ScriptParser(None)
    parser.add_argument("inputs", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--side", type=positive_int)
    with pytest.raises(UserError) as caught:
        parser.parse_args(words)
    assert str(caught.value) == f"{says}; --help explains the flags"


def test_every_script_says_so():
    assert [path for path in SCRIPTS if "ArgumentParser(" in path.read_text()] == []
