"""Makes text from files safe to print. It imports nothing, so that every module may import it."""


def printable(text: object) -> str:
    """Text from a file, or a file's name, on one line and without control characters.

    Unprintable characters are escaped, so that they cannot send commands to a terminal. A byte of a
    file name that is not valid UTF-8 is shown as a hexadecimal escape.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def _escaped(character: str) -> str:
    # Python represents an undecodable byte of a file name by a code point in this range.
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
