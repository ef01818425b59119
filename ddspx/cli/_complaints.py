"""What a command says of its input on stderr."""

import sys

from ddspx._text import printable as printable


class SkippedInputError(Exception):
    """Some of many inputs were unusable and left out; each has been complained of."""


def complain(who: str, what: object) -> None:
    """Says one line on stderr."""
    print(f"{who}: {printable(' '.join(str(what).split()))}", file=sys.stderr)
