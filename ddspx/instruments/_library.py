"""The instruments that have names: those that ship with ddspx, and the user's own."""

import os
import re
from pathlib import Path

from ddspx._folders import data_folder
from ddspx.io._json import OBJECT, json_field, json_object
from ddspx.io._replacing import is_folder
from ddspx.models._config import TIMBRES, read_json

INSTRUMENTS_VARIABLE = "DDSPX_INSTRUMENTS"
"""The environment variable that names the folder of the user's own instruments."""

SHIPPED = Path(__file__).parent / "shipped"
# The model of any instrument. It is no instrument by itself, because it plays with a timbre.
ANY_INSTRUMENT = SHIPPED / "any_instrument"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
# Names that no file can have on Windows, in upper or lower case.
_DEVICES = re.compile(r"con|prn|aux|nul|(?:com|lpt)[0-9]")


def instruments_folder() -> Path:
    """Where the user's own instruments are, which need not exist.

    It is the folder that the environment variable DDSPX_INSTRUMENTS names, or
    ``ddspx/instruments`` in the platform's place for data: ``XDG_DATA_HOME`` or
    ``~/.local/share``, on macOS ``~/Library/Application Support``, on Windows ``LOCALAPPDATA``.

    Raises:
      ValueError: it depends on a home folder, and the user has none.
    """
    if named := os.environ.get(INSTRUMENTS_VARIABLE):
        return Path(named)
    try:
        return data_folder() / "instruments"
    except RuntimeError as error:
        raise ValueError(
            "There is no home folder to keep instruments in; name a folder for them in the "
            f"environment variable {INSTRUMENTS_VARIABLE}."
        ) from error


def instrument_names() -> tuple[str, ...]:
    """The names that `load_instrument` takes: the instruments of ddspx, then those of the user.

    An instrument of ddspx hides one of the user with the same name.

    Example:
      >>> from ddspx.instruments import instrument_names
      >>> "violin" in instrument_names()
      True
    """
    shipped = _shipped_names().values()
    try:
        own = _names_in(instruments_folder())
    except ValueError:
        # Without a home folder, as in some containers, there are only the shipped instruments.
        own = []
    return (*shipped, *(name for name in own if name not in shipped))


def timbre_names() -> tuple[str, ...]:
    """The instruments that the shipped model of any instrument knows; none if it is not there.

    `load_instrument` takes them joined by "+", each with a weight or without: "violin+flute:0.3".

    Raises:
      ValueError: the file of the timbres is damaged.

    Example:
      >>> from ddspx.instruments import timbre_names
      >>> all(isinstance(name, str) for name in timbre_names())
      True
    """
    path = ANY_INSTRUMENT / TIMBRES
    if not path.is_file():
        return ()
    return read_json(path, lambda file: tuple(json_field(json_object(file), "timbres", OBJECT)))


def is_any_instrument(folder: str | Path) -> bool:
    """Whether a folder is that of a model of any instrument, judging by its timbres."""
    return os.path.isfile(os.path.join(folder, TIMBRES))


def check_one_instrument(folder: str | Path) -> None:
    """Raises a ValueError for the folder of a model of any instrument."""
    if is_any_instrument(folder):
        raise ValueError(
            f"{folder} is a model of any instrument, and plays with a timbre: adapt it with "
            f"`ddspx adapt RECORDING --start {folder} -o MODEL`, and take MODEL as the instrument."
        )


def find_instrument(source: str | Path) -> Path:
    """The model folder of a path or a name; an existing folder takes precedence over a name.

    Raises:
      FileNotFoundError: there is no such folder or instrument.
    """
    folder = Path(source)
    if is_folder(folder):
        return folder
    if named := named_instrument(str(source)):
        return named
    raise unknown_instrument(source)


def unknown_instrument(source: str | Path, *, or_else: str = "") -> FileNotFoundError:
    """The error for what is no instrument; `or_else` names what else could have been given."""
    known = ", ".join(instrument_names()) or "none"
    return FileNotFoundError(
        f"There is no model folder or instrument {str(source)!r}; give the path of a folder that "
        f"`ddspx train` wrote, or an instrument's name ({known}){or_else}."
    )


def named_instrument(name: str) -> Path | None:
    """The folder of the instrument of that name, if there is one; of a shipped one in any case."""
    # Only a plain name is looked up, so that a path such as "../x" cannot leave the folder.
    if is_name(name):
        shipped = _shipped_names()
        if name in shipped.values():
            return SHIPPED / name
        if name in instrument_names():
            return instruments_folder() / name
        if name.lower() in shipped:
            return SHIPPED / shipped[name.lower()]
    return None


def is_name(name: str) -> bool:
    """Whether an instrument can have a name: a plain file name on every system."""
    return bool(_NAME.fullmatch(name)) and not _DEVICES.fullmatch(name.lower())


def is_shipped(name: str) -> bool:
    """Whether an instrument of that name ships with ddspx, or the model of any instrument.

    Case is ignored, because some file systems do not distinguish it.
    """
    return name.lower() in (ANY_INSTRUMENT.name, *_shipped_names())


def _shipped_names() -> dict[str, str]:
    """The shipped instruments by their names in lower case: Tenor_Saxophone is tenor_saxophone."""
    names = _names_in(SHIPPED)
    return {name.lower(): name for name in names if name != ANY_INSTRUMENT.name}


def _names_in(folder: Path) -> list[str]:
    """Names of the model folders in a folder; none if the folder does not exist."""
    # `os.path.isdir` is False without an error if the user may not read the path.
    if not os.path.isdir(folder):
        return []
    return sorted(path.name for path in folder.iterdir() if is_name(path.name) and path.is_dir())
