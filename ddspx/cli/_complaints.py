"""What a command says of its input on stderr."""

import sys


class SkippedInputError(Exception):
    """Some of many inputs were unusable and left out; each has been complained of."""


def complain(who: str, what: object) -> None:
    """Says one line on stderr; of what files hold, nothing in it can steer a terminal."""
    line = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in " ".join(str(what).split())
    )
    print(f"{who}: {line}", file=sys.stderr)
