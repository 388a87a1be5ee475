"""The one exception that a user's mistake raises, the entry point that prints it, and warnings."""

import errno
import sys

from tqdm import tqdm


class UserError(Exception):
    """A mistake that the user can mend: one sentence that names the flag or file and what would be right."""


# What the machine lacks is no bug either: (part of torch's message, what would help).
SMALLER = "use a smaller --crop_size or --batch_size, or --precision bf16"
HINTS = {
    "out of memory": SMALLER,
    "can't allocate memory": SMALLER,  # a CPU's
    "DataLoader worker": "if memory ran out, fewer --num_threads or --cache none help; --continue_train goes on",
}
NO_SPACE_OR_RIGHT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG)
REFUSED_NAMES = (123, 267)  # Windows error codes, as for --name a:b


def warn(message: str) -> None:
    """One line on stderr that doesn't tear the progress bar."""
    tqdm.write(f"warning: {message}", file=sys.stderr)


def run(main, *args):
    """``main(*args)``. What the user can mend becomes one line on stderr and exit status 2, Ctrl-C status 130, also
    while the rest of the script is imported."""
    _print_everything()
    sys.excepthook = quiet_after_ctrl_c
    try:
        return main(*args)
    except KeyboardInterrupt:
        sys.exit(130)
    except (UserError, OSError, RuntimeError) as error:
        message = sentence(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)


def exit_on_mistakes() -> None:
    """The same for a script that does not ``run`` its main function."""
    _print_everything()

    def hook(kind, error, traceback):
        message = sentence(error) if isinstance(error, Exception) else None
        if message is None:
            return sys.__excepthook__(kind, error, traceback)
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)

    sys.excepthook = hook


def quiet_after_ctrl_c(kind, error, traceback) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)


def _print_everything() -> None:
    """A path or name that the terminal's encoding lacks is printed with escapes, as on stderr, and ends nothing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors="backslashreplace")


def sentence(error: Exception) -> str | None:
    """What to tell the user; None for a bug."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        at_fault = error.filename or "writing failed"
        refused = error.errno in NO_SPACE_OR_RIGHT or getattr(error, "winerror", None) in REFUSED_NAMES
        return f"{at_fault}: {error.strerror}" if refused else None
    for part, hint in HINTS.items():
        if part in str(error):
            reason = str(error)[str(error).index(part) :].splitlines()[0].split(". ")[0].strip(". ")
            return f"{reason}; {hint}"
    return None
