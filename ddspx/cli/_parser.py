"""Parses command lines with tyro, and turns its boxed error messages into one line."""

import inspect
import io
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial, wraps
from itertools import takewhile

from ddspx.cli._errors import meant

# The argument of a command that gets what is behind `--`.
_BEHIND = "pipeline_options"
_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*", re.IGNORECASE)


class UsageError(ValueError):
    """The arguments are not valid for the command."""


def parse(
    command: Callable[..., None], arguments: Sequence[str], *, program: str, usage: str
) -> Callable[[], object]:
    """Parses a command line that runs the command or prints its help.

    Args:
      command: a function whose signature tyro understands.
      arguments: the arguments after the program's name.
      program: the program's name.
      usage: the required arguments in one line, for the help.

    Returns:
      A function without arguments that runs the command or prints the help.

    Raises:
      UsageError: an argument is missing, unknown or unreadable.
    """
    import tyro

    if "" in arguments:
        raise UsageError(
            "one of the arguments is empty, perhaps because a shell variable is not set; give it a "
            f"value, or leave it out; see {program} --help."
        )

    arguments, behind = _divided(command, arguments)

    # tyro calls the function it gets, while its output is captured. So it gets a function that only
    # binds the arguments, and the command runs afterwards.
    @wraps(command)
    def later(*args: object, **kwargs: object) -> Callable[[], None]:
        return partial(command, *args, **kwargs | behind)

    output, errors = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            return tyro.cli(later, prog=program, args=arguments)
    except SystemExit as stop:
        if stop.code:
            complaint = _sentence(errors.getvalue()).replace(f" from {program}:", ":")
            sentence = f"{complaint}; see {program} --help."
            raise UsageError(sentence + _options_meant(complaint, later)) from None
    text = output.getvalue()
    if text.startswith("usage:"):
        rest = "\n".join(map(_plain, text.partition("\n\n")[2].rstrip().splitlines()))
        text = f"usage: {' '.join([program, *usage.split(), '[OPTIONS]'])}\n\n{rest}\n"
    return partial(print, text, end="")


def _divided(
    command: Callable[..., None], arguments: Sequence[str]
) -> tuple[Sequence[str], dict[str, tuple[str, ...]]]:
    """Takes off what is behind `--`, if the command has an argument for it."""
    if "--" not in arguments or _BEHIND not in inspect.signature(command).parameters:
        return arguments, {}
    end = list(arguments).index("--")
    return arguments[:end], {_BEHIND: tuple(arguments[end + 1 :])}


def _options_meant(complaint: str, command: Callable[..., object]) -> str:
    """Suggests a similar option for each option in an error that the command does not have."""
    import tyro

    help_text = io.StringIO()
    with redirect_stdout(help_text), suppress(SystemExit):
        tyro.cli(command, prog="", args=["--help"])
    known = set(_OPTION.findall(help_text.getvalue()))
    return "".join(meant(word, known) for word in _OPTION.findall(complaint) if word not in known)


def _sentence(box: str) -> str:
    """Extracts tyro's error message from its box, without the help that tyro adds to it."""
    _, *lines = re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines() or [""]
    # The box is drawn with lines, or with dashes and spaces if the terminal cannot show lines.
    inside = [line[2:].rstrip(" │") for line in lines]
    if inside and not inside[0].strip("─-"):
        inside = inside[1:]
    complaint = takewhile(lambda text: text.strip("─-"), inside)
    # For a missing argument tyro adds its help, which is indented further than its name.
    names = [text.strip() for text in complaint if not text.startswith(8 * " ")]
    text = " ".join(names).replace("{None}|", "").rstrip(".")
    return text[:1].lower() + text[1:] or "the arguments cannot be read"


def _plain(line: str) -> str:
    """Removes backticks and tyro's `{None}` from a line of help; a box keeps its width."""
    text = line.replace("`", "").replace("{None}|", "").replace("{None,", "{")
    if text.endswith("│"):
        text = text[:-1] + " " * (len(line) - len(text)) + text[-1]
    return text.rstrip()
