"""Messages of the commands: results on stdout, errors and warnings on stderr."""

import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from io import TextIOWrapper

from ddspx._text import printable

UNEXPECTED = 1
BAD_INPUT = 2
INTERRUPTED = 130


class SkippedInputError(Exception):
    """Some of many inputs were unusable and left out; each has been reported."""


def say(*cells: object) -> None:
    """Prints one line on stdout, with tabs between cells; control characters are escaped."""
    print("\t".join(map(printable, cells)), flush=True)


def complain(program: str, message: object) -> None:
    """Prints a message as one line on stderr."""
    print(f"{program}: {printable(' '.join(str(message).split()))}", file=sys.stderr)


def escape_what_has_no_letter() -> None:
    """Makes stdout and stderr escape the letters that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def wants_traceback() -> bool:
    """Tells whether exceptions are to be raised rather than explained."""
    return os.environ.get("DDSPX_TRACEBACK") == "1"


def explained(error: BaseException) -> tuple[object, int]:
    """Returns the message for an exception, and the exit status."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted.", INTERRUPTED
    if isinstance(error, OSError) and error.strerror is not None:
        # An error of the system has no sentence, unlike the library's own errors, but a file name
        # and a reason.
        # A write to a file that is open, such as the standard output, has no name.
        name = "a file or the output" if error.filename is None else error.filename
        return f"{name}: {error.strerror}.", BAD_INPUT
    if isinstance(error, (FloatingPointError, SkippedInputError, ChildProcessError)):
        return error, UNEXPECTED
    if isinstance(error, (OSError, ValueError, ImportError)):
        return error, BAD_INPUT
    kind, message = type(error).__name__, str(error).partition("\n")[0].rstrip(".")
    cause = f"{kind} ({message})" if message else kind
    return f"stopped by {cause}; DDSPX_TRACEBACK=1 in the environment shows where.", UNEXPECTED


def leave_others(status: int) -> None:
    """Ends the process at once if it is one of several, which have heard of its error.

    JAX's farewell at the end of Python would wait for the others, which have ended.
    """
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def meant(word: str, known: Iterable[str]) -> str:
    """Returns a question that suggests the known word most similar to an unknown one, or ""."""
    near = get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""
