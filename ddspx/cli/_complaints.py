"""What a command says of its input on stderr."""

import sys


class SkippedInputError(Exception):
    """Some of many inputs were unusable and left out; each has been complained of."""


def complain(who: str, what: object) -> None:
    """Says one line on stderr."""
    print(f"{who}: {' '.join(str(what).split())}", file=sys.stderr)
