"""What a command says: of its output on stdout, of its input on stderr."""

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
    """Some of many inputs were unusable and left out; each has been complained of."""


def say(*cells: object) -> None:
    """Prints one line on stdout, in which no name can steer the terminal; tabs between cells."""
    print("\t".join(map(printable, cells)), flush=True)


def complain(who: str, what: object) -> None:
    """Says one line on stderr."""
    print(f"{who}: {printable(' '.join(str(what).split()))}", file=sys.stderr)


def escape_what_has_no_letter() -> None:
    """Lets the process print any letter, whatever the encoding of its terminal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def wants_traceback() -> bool:
    """Whether exceptions are to be raised rather than explained."""
    return os.environ.get("DDSPX_TRACEBACK") == "1"


def explained(error: BaseException) -> tuple[object, int]:
    """What to say of an exception, and the status it ends with."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted.", INTERRUPTED
    if isinstance(error, OSError) and error.strerror is not None:
        # The library's own messages are sentences; the system's are a code and a name.
        return f"{error.filename}: {error.strerror}.", BAD_INPUT
    if isinstance(error, (OSError, ValueError, ImportError)):
        return error, BAD_INPUT
    if isinstance(error, (FloatingPointError, SkippedInputError)):
        return error, UNEXPECTED
    kind, message = type(error).__name__, str(error).partition("\n")[0].rstrip(".")
    what = f"{kind} ({message})" if message else kind
    return f"stopped by {what}; DDSPX_TRACEBACK=1 in the environment shows where.", UNEXPECTED


def meant(word: str, known: Iterable[str]) -> str:
    """A question to add to a complaint of a word that is much like one that is known."""
    near = get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""
