"""The `ddspx` command: thin adapters from a command line to functions of the library.

Each command is a function in a module of its own, which is imported when that command is called.
An error in the input becomes one line on stderr and exit status 2.
"""

import importlib
import keyword
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from ddspx.cli._compilation_cache import keep_programs
from ddspx.cli._errors import (
    BAD_INPUT,
    complain,
    escape_what_has_no_letter,
    explained,
    leave_others,
    meant,
    wants_traceback,
)

_COMMANDS = {
    "prepare": ("RECORDING... -o DATASET", "turn recordings into a dataset"),
    "train": ("DATASET... -o MODEL", "train an instrument on a dataset, or one model on many"),
    "verify": ("FOLDER...", "find damage in datasets and models"),
    "adapt": ("RECORDING... -o MODEL", "make an instrument of seconds of recordings"),
    "evaluate": (
        "MODEL [DATASET] [--against FOLDER]",
        "measure an instrument on a dataset, or recordings against others",
    ),
    "transfer": (
        "RECORDING --to INSTRUMENT -o FILE",
        "play a recording on an instrument, or on another recording",
    ),
    "app": ("[MODEL...]", "play recordings on instruments in a browser on this machine"),
    "pitch": ("RECORDING... [-o DIR]", "write the pitch of recordings as CSV, and draw it"),
    "features": (
        "RECORDING... --kind KIND [-o DIR]",
        "write spectral features of recordings as arrays, and draw them",
    ),
    "classify train": ("DATA -o MODEL", "train a classifier on labelled recordings"),
    "classify evaluate": ("MODEL DATA [-o DIR]", "measure a classifier on other recordings"),
    "classify predict": ("MODEL FILE...", "print the labels of recordings"),
    "instruments": ("", "list the available instruments"),
    "instruments add": ("FOLDER-OR-ZIP", "install a trained model under a name"),
    "instruments import": ("FOLDER-OR-ZIP", "install a model that others have published"),
    "instruments pack": ("MODEL -o ZIP", "make an archive of a model for instruments add"),
    "instruments room": ("MODEL -o FILE", "write the impulse response of an instrument's room"),
    "instruments remove": ("NAME", "delete an installed instrument"),
    "crepe": ("convert IN OUT.safetensors", "convert CREPE's published weights"),
}
_TERMINATED = 143


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit status.

    An error is printed as one line on stderr. With the environment variable DDSPX_TRACEBACK=1 the
    exception is raised instead.

    Args:
      argv: the arguments after the program's name. By default they are those of the process, and
        its compiled programs are cached for the next one.

    Returns:
      0 for success; 1 if some of many inputs were left out, and for an error that is not in the
      input, such as diverging training; 2 for unusable input or arguments; 130 after Ctrl-C.
      `train` and `adapt` end after the current step at the first Ctrl-C or SIGTERM, with a
      checkpoint and status 0.

    Raises:
      SystemExit: with status 143 after SIGTERM, when unfinished files have been removed.
    """
    if argv is None:
        keep_programs()
        escape_what_has_no_letter()
    arguments = sys.argv[1:] if argv is None else list(argv)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(_usage(_COMMANDS))
        return 0 if arguments else BAD_INPUT
    if name == "--version":
        from ddspx import __version__

        print(f"ddspx {__version__}")
        return 0
    # A command has one word, or two if several commands share the first word. The shared word may
    # be a command of its own too, as `instruments` is.
    family = [command for command in _COMMANDS if command.partition(" ")[0] == name]
    is_shared, is_help = len(family) > 1, arguments[1:2] in (["-h"], ["--help"])
    if is_shared and (is_help or (len(arguments) == 1 and name not in family)):
        print(_usage(family))
        return 0 if is_help else BAD_INPUT
    words = 2 if is_shared else 1
    name = " ".join(arguments[:words])
    if name not in _COMMANDS:
        known = family or _COMMANDS
        sentence = f"there is no command {name!r}; use {', '.join(known)}."
        complain("ddspx", sentence + meant(name, [*known, "--help", "--version"]))
        return BAD_INPUT
    return _run(name, arguments[words:])


def _run(name: str, arguments: Sequence[str]) -> int:
    """Runs one command; an exception becomes a sentence and a status."""
    program, printed = f"ddspx {name}", set()

    def warn(message: Warning | str, *_: object, **__: object) -> None:
        # The same message is printed once, even if several lines of code issue it.
        if str(message) not in printed:
            printed.add(str(message))
            complain(f"{program}: warning", message)

    with warnings.catch_warnings(), _termination():
        warnings.showwarning = warn
        try:
            _call(name, arguments, program)
        except BaseException as error:
            if isinstance(error, SystemExit):
                leave_others(_TERMINATED)
            if isinstance(error, SystemExit) or wants_traceback():
                raise
            sentence, status = explained(error)
            complain(program, sentence)
            leave_others(status)
            return status
    return 0


def _call(name: str, arguments: Sequence[str], program: str) -> None:
    from ddspx.cli._parser import parse

    module, _, function = name.partition(" ")
    # No function can be named `import`.
    function = f"{function}_" if keyword.iskeyword(function) else function or module
    command = getattr(importlib.import_module(f"ddspx.cli._{module}"), function)
    parse(command, arguments, program=program, usage=_COMMANDS[name][0])()


@contextmanager
def _termination() -> Iterator[None]:
    """Makes SIGTERM an exception, so that unfinished files are removed before the process ends.

    Outside the main thread no handler can be set, so SIGTERM keeps its usual effect there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _usage(names: Iterable[str]) -> str:
    calls = {f"{name} {_COMMANDS[name][0]}": _COMMANDS[name][1] for name in names}
    width = max(map(len, calls))
    return "\n".join(
        [
            "usage: ddspx COMMAND ...   (ddspx COMMAND --help for its options)",
            "",
            *(f"  {call:<{width}}  {summary}" for call, summary in calls.items()),
            "",
            "ddspx --version prints the version.",
        ]
    )
