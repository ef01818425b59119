"""From a command line to a call: tyro's parser, with its boxes of text made into one line."""

import io
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial, wraps
from itertools import takewhile

from ddspx.cli._errors import meant

_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*", re.IGNORECASE)


class UsageError(ValueError):
    """Arguments that a command does not take."""


def parse(
    command: Callable[..., None], arguments: Sequence[str], *, program: str, usage: str
) -> Callable[[], object]:
    """What a command line asks for: to run the command, or to print its help.

    Args:
      command: a function whose signature tyro understands.
      arguments: those after the program's name.
      program: that name.
      usage: the arguments that are needed, in a line, for the help.

    Returns:
      A function of nothing, to be called.

    Raises:
      UsageError: an argument is missing, unknown or unreadable.
    """
    import tyro

    if "" in arguments:
        raise UsageError(
            "one of the arguments is empty, as an unset variable of the shell is; name something, "
            f"or leave it out; see {program} --help."
        )

    # tyro calls what it is given; the command has to run outside, where its output is its own.
    @wraps(command)
    def later(*args: object, **kwargs: object) -> Callable[[], None]:
        return partial(command, *args, **kwargs)

    said, wrong = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(wrong):
            return tyro.cli(later, prog=program, args=arguments)
    except SystemExit as stop:
        if stop.code:
            complaint = _sentence(wrong.getvalue()).replace(f" from {program}:", ":")
            sentence = f"{complaint}; see {program} --help."
            raise UsageError(sentence + _options_meant(complaint, later)) from None
    text = said.getvalue()
    if text.startswith("usage:"):
        rest = "\n".join(map(_plain, text.partition("\n\n")[2].rstrip().splitlines()))
        text = f"usage: {' '.join([program, *usage.split(), '[OPTIONS]'])}\n\n{rest}\n"
    return partial(print, text, end="")


def _options_meant(complaint: str, command: Callable[..., object]) -> str:
    """For each option of a complaint that the command lacks, the one that it resembles."""
    import tyro

    help_text = io.StringIO()
    with redirect_stdout(help_text), suppress(SystemExit):
        tyro.cli(command, prog="", args=["--help"])
    known = set(_OPTION.findall(help_text.getvalue()))
    return "".join(meant(word, known) for word in _OPTION.findall(complaint) if word not in known)


def _sentence(box: str) -> str:
    """What tyro complains of: the beginning of its box, without what help it adds."""
    _, *lines = re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines() or [""]
    # Its frame is drawn in lines or, where those cannot be shown, in dashes and spaces.
    inside = [line[2:].rstrip(" │") for line in lines]
    if inside and not inside[0].strip("─-"):
        inside = inside[1:]
    complaint = takewhile(lambda text: text.strip("─-"), inside)
    # The help of an argument that is missing is indented further than its name.
    names = [text.strip() for text in complaint if not text.startswith(8 * " ")]
    text = " ".join(names).replace("{None}|", "").rstrip(".")
    return text[:1].lower() + text[1:] or "the arguments cannot be read"


def _plain(line: str) -> str:
    """A line of help without the marks of docstrings and types; in a frame, as wide as before."""
    text = line.replace("`", "").replace("{None}|", "").replace("{None,", "{")
    if text.endswith("│"):
        text = text[:-1] + " " * (len(line) - len(text)) + text[-1]
    return text.rstrip()
