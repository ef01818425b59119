"""File names, and listing of folders."""

import hashlib
import os
import stat
import warnings
from pathlib import Path
from typing import Any

# The longest name that common file systems allow, in bytes.
_LONGEST_NAME = 255


def native_name(path: Path) -> Any:
    """A path for C libraries: text on Windows, else bytes, because a name need not be UTF-8."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's contents, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fitting_name(stem: str, suffix: str) -> str:
    """A file name from a stem and a suffix; the stem is cut if the name would be too long.

    Args:
      stem: beginning of the name.
      suffix: end of the name, which is kept whole.

    Example:
      >>> from ddspx import io
      >>> io.fitting_name("tone", ".csv"), len(io.fitting_name(300 * "a", ".csv"))
      ('tone.csv', 255)
    """
    room = _LONGEST_NAME - len(os.fsencode(suffix))
    whole = os.fsencode(stem)
    if len(whole) > room:
        # The cut may fall inside a multi-byte character, and some file systems allow only complete
        # characters.
        stem = whole[:room].decode(errors="ignore")
    return stem + suffix


def is_utf8(text: str) -> bool:
    """Whether a name, or a text that was read with ``surrogateescape``, is UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def objection_to_reading(path: Path) -> str | None:
    """Why a file should not be opened for reading, as the end of a sentence, or None.

    Pipes and devices are refused, because reading them may block or never end.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            return "is a link to a file that does not exist; mend the link, or name the file"
        return "does not exist; check the name and the folder"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return f"cannot be read ({reason}); check its name and its rights"
    kinds = {
        stat.S_IFREG: None,
        stat.S_IFDIR: "is a folder, not a file; name a file inside it",
        stat.S_IFIFO: "is a pipe, not a regular file; write what comes out of it to a file first",
        stat.S_IFSOCK: "is a socket, not a regular file; name a file",
    }
    return kinds.get(stat.S_IFMT(mode), "is a device, not a regular file; name a file")


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and its sub-folders, sorted by name.

    Hidden files and folders are left out. Links to folders are followed, unless the folder has been
    listed already, so that circular links end.

    Args:
      folder: the folder to search.

    Returns:
      Paths of everything that is not a folder. This includes broken links, pipes and devices.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for name in ("b.wav", "a.wav", ".hidden"):
      ...         Path(folder, name).touch()
      ...     [path.name for path in files_below(Path(folder))]
      ['a.wav', 'b.wav']
    """
    found, links, seen = [], [folder], set()
    while links:
        places = [links.pop(0)]
        while places:
            place = places.pop()
            if (identity := place.stat()[1:3]) in seen:
                continue
            seen.add(identity)
            for path in _listed(place):
                if not os.path.isdir(path):
                    found.append(path)
                else:
                    (links if path.is_symlink() else places).append(path)
    return sorted(found)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        warnings.warn(
            f"{folder} is left out, because it cannot be searched ({error.strerror}); check its "
            "rights.",
            stacklevel=2,
        )
        return []
