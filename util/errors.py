"""The one exception that a user's mistake raises, and the entry point that prints it."""

import errno
import sys


class UserError(Exception):
    """A mistake that the user can mend: one sentence that names the flag or file and what would be right."""


def run(main, *args) -> None:
    """Call ``main(*args)``; a ``UserError``, or a disk that cannot be written to, becomes one line on stderr and exit
    status 2, Ctrl-C exit status 130."""
    try:
        main(*args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG):
            raise
        print(f"error: {error.filename or 'writing failed'}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
