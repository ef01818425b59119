"""What a command says of its input on stderr."""

import sys


class SkippedInputError(Exception):
    """Some of many inputs were unusable and left out; each has been complained of."""


def printable(text: object) -> str:
    """What a file holds, or is called, on one line in which nothing can steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def complain(who: str, what: object) -> None:
    """Says one line on stderr."""
    print(f"{who}: {printable(' '.join(str(what).split()))}", file=sys.stderr)
