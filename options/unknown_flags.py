"""What to say about a flag that is none: who has it, or which one may be meant."""

import data
import models
from options.base_options import add_base_options
from options.option_parser import OptionParser
from options.test_options import add_test_options
from options.train_options import add_train_options
from util.words import did_you_mean


def explained(unknown: list[str], parser: OptionParser, is_train: bool) -> str:
    """``unrecognized arguments: --x (did you mean --y?)``, or ``...; --x belongs to --model z``."""
    flag = next((word.split("=")[0] for word in unknown if word.startswith("-")), None)
    said = f"unrecognized arguments: {' '.join(unknown)}"
    if flag is None:
        return said
    owners = [owner for owner, flags in _others(is_train) if flag in flags]
    if owners:
        return f"{said}; {flag} belongs to {' or '.join(owners[:3])}"
    return said + did_you_mean(flag, list(parser._option_string_actions))


def _others(is_train: bool):
    """(owner, its flags): the other script, every model, every dataset."""
    script = OptionParser([])
    (add_test_options if is_train else add_train_options)(script)
    yield ("test.py" if is_train else "train.py"), script._option_string_actions
    for package in (models, data):
        for name in package.FILES.names():
            owner = f"{package.FILES.flag} {name}"
            plain = OptionParser(owner.split())
            add_base_options(plain)
            (add_train_options if is_train else add_test_options)(plain)
            try:
                yield owner, package.get_option_setter(name)(plain, is_train)._option_string_actions
            except Exception:  # a file that cannot be used now is not what is being asked about
                continue
