"""The one exception that a user's mistake raises, and the entry point that prints it."""

import sys


class UserError(Exception):
    """A mistake that the user can mend: one sentence that names the flag or file and what would be right."""


def run(main, *args) -> None:
    """Call ``main(*args)``; a ``UserError`` becomes one line on stderr and exit status 2."""
    try:
        main(*args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
