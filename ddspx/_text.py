"""Text that others wrote, made fit to be shown; nothing is imported, so that any part may."""


def printable(text: object) -> str:
    """What a file holds, or is called, on one line in which nothing can steer a terminal.

    What cannot be shown is escaped; a byte of a name that is no UTF-8 is shown as its number.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def _escaped(character: str) -> str:
    # Python's stand-in for such a byte.
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
