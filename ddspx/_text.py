"""Text that others wrote, made fit to be shown; nothing is imported, so that any part may."""


def printable(text: object) -> str:
    """What a file holds, or is called, on one line in which nothing can steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
