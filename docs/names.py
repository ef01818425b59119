"""Names from where the library has them: those of other libraries, and the commands' options."""

import contextlib
import io
import os
import textwrap
from pathlib import Path

from ddspx import _names, cli
from ddspx._explain import SYNONYMS

TABLES = {
    "librosa": _names.LIBROSA_NAMES,
    "scipy": _names.SCIPY_NAMES,
    "torchaudio": _names.TORCHAUDIO_NAMES,
    "kapre": _names.KAPRE_NAMES,
    "io": _names.IO_NAMES,
    "nn": _names.NN_NAMES,
}


def write(folder: Path) -> None:
    """Writes a Markdown table for each group of names, and what the commands say of themselves."""
    folder.mkdir(parents=True, exist_ok=True)
    for group, names in (TABLES | {"arguments": _arguments()}).items():
        (folder / f"{group}.md").write_text(_table(names), encoding="utf-8")
    (folder / "commands.rst").write_text(_commands(), encoding="utf-8")


def _arguments() -> dict[str, str]:
    return {there: " or ".join(f"`{name}`" for name in here) for there, here in SYNONYMS.items()}


def _table(names: dict[str, str]) -> str:
    """Markdown rows, one for all names of the same answer."""
    rows: dict[str, list[str]] = {}
    for there, here in names.items():
        rows.setdefault(here, []).append(f"`{there}`")
    lines = [f"| {', '.join(there)} | {here} |" for here, there in rows.items()]
    return "\n".join(["| there | here |", "| --- | --- |", *lines]) + "\n"


def _commands() -> str:
    """What each command answers to --help."""
    parts = []
    for name in cli._COMMANDS:
        title = f"ddspx {name}"
        said = textwrap.indent(_help(name.split()), "   ")
        parts.append(f"{title}\n{'-' * len(title)}\n\n.. code-block:: text\n\n{said}\n")
    return "\n".join(parts)


def _help(command: list[str]) -> str:
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "88"
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        cli.main([*command, "--help"])
    if columns is None:
        del os.environ["COLUMNS"]
    else:
        os.environ["COLUMNS"] = columns
    return said.getvalue().rstrip() + "\n"
