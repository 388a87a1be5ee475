"""Run one of the papers' experiments.

    python scripts/launch.py                                  which experiments there are
    python scripts/launch.py horse2zebra                      print the command and train
    python scripts/launch.py horse2zebra test --epoch best    print the command and test
    python scripts/launch.py horse2zebra --dry_run            print only

An experiment is a file scripts/experiments/NAME.txt: the flags for [train] and [test] and those for [both]. What
follows on the command line is added and wins.
"""

import os
import shlex
import sys

from repository import ROOT

from util.errors import UserError, run
from util.words import did_you_mean

EXPERIMENTS = ROOT / "scripts" / "experiments"
SECTIONS = ("both", "train", "test")


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        for path in sorted(EXPERIMENTS.glob("*.txt")):
            print(f"{path.stem:<28}{path.read_text().splitlines()[0].removeprefix('# ')}")
        return
    name, *rest = argv
    job = rest.pop(0) if rest and not rest[0].startswith("-") else "train"
    if job not in SECTIONS[1:]:
        raise UserError(f"{job}: after the experiment's name comes train (the default), test or a flag")
    dry_run = "--dry_run" in rest
    flags = read_experiment(name)
    command = [f"{job}.py", *flags["both"], *flags[job], *(flag for flag in rest if flag != "--dry_run")]
    print(f"python {shlex.join(command)}", flush=True)
    if not dry_run:
        # In place of this process: signals and the exit status are those of the run.
        os.execv(sys.executable, [sys.executable, str(ROOT / command[0]), *command[1:]])


def read_experiment(name: str) -> dict[str, list[str]]:
    """Flags by section."""
    path = EXPERIMENTS / f"{name}.txt"
    if not path.is_file():
        there = sorted(path.stem for path in EXPERIMENTS.glob("*.txt"))
        meant = did_you_mean(name, there)
        raise UserError(f"there is no experiment {name}; choose from {', '.join(there)}, or write {path}{meant}")
    flags: dict[str, list[str]] = {section: [] for section in SECTIONS}
    section = "both"
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        words = shlex.split(line, comments=True)
        if words and words[0].startswith("["):
            section = words[0].strip("[]")
            if section not in SECTIONS:
                raise UserError(f"{path}, line {number}: [{section}] is none of the sections {', '.join(SECTIONS)}")
        else:
            flags[section] += words
    return flags


if __name__ == "__main__":
    run(main)
