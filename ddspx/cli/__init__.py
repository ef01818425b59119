"""The `ddspx` command: thin adapters, nothing is computed here.

Each command is one function, in a module of its own that is imported when that command is
chosen. What is wrong with the input becomes one line on stderr and exit status 2.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence

_COMMANDS = {
    "prepare": "turn recordings into a dataset",
    "train": "train an instrument on a dataset",
    "evaluate": "measure an instrument on the held-out part of a dataset",
    "transfer": "play a recording on an instrument",
    "instruments": "list the instruments that ship with ddspx",
}
_BAD_INPUT = 2
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit status.

    Args:
      argv: the arguments after the program's name; those of the process by default.

    Returns:
      0, or 2 for unusable input (said in one line on stderr), or 130 after Ctrl-C.

    Raises:
      SystemExit: from the parser of a command's options, after it printed help or usage.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else _BAD_INPUT
    if name == "--version":
        from ddspx import __version__

        print(f"ddspx {__version__}")
        return 0
    if name not in _COMMANDS:
        return _complain("ddspx", f"there is no command {name!r}; use {', '.join(_COMMANDS)}.")
    return _run(name, arguments[1:])


def _run(name: str, arguments: Sequence[str]) -> int:
    """Parses and runs one command; what its input lacks becomes a sentence."""
    program = f"ddspx {name}"
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _complain(f"{program}: warning", message)
        try:
            import tyro

            command = getattr(importlib.import_module(f"ddspx.cli._{name}"), name)
            tyro.cli(command, prog=program, args=arguments)
        except OSError as error:
            # The library's own messages are sentences; the system's are a code and a name.
            reason = error if error.strerror is None else f"{error.filename}: {error.strerror}."
            return _complain(program, reason)
        except (ValueError, ImportError) as error:
            return _complain(program, error)
        except KeyboardInterrupt:
            _complain(program, "interrupted.")
            return _INTERRUPTED
    return 0


def _complain(who: str, what: object) -> int:
    """Says one line on stderr; the status for bad input."""
    print(f"{who}: {' '.join(str(what).split())}", file=sys.stderr)
    return _BAD_INPUT


def _usage() -> str:
    width = max(map(len, _COMMANDS))
    lines = (f"  {name:<{width}}  {summary}" for name, summary in _COMMANDS.items())
    return "\n".join(
        [
            "usage: ddspx COMMAND ...   (ddspx COMMAND --help for its options)",
            "",
            *lines,
            "",
            "ddspx --version says which version this is.",
        ]
    )
