"""File names, listing of folders, and atomic output: a temporary file or folder is renamed."""

import errno
import os
import secrets
import shutil
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The longest name that common file systems allow, in bytes.
_LONGEST_NAME = 255
_FIXES = {
    errno.ENOSPC: "free space on its disk, or choose another output",
    errno.EDQUOT: "delete files until your quota allows it, or choose another output",
    errno.EFBIG: "raise the limit of file sizes, or choose another output",
    errno.EROFS: "choose an output on a disk that can be written to",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def native_name(path: Path) -> Any:
    """A path for C libraries: text on Windows, else bytes, because a name need not be UTF-8."""
    return str(path) if os.name == "nt" else os.fsencode(path)


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


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turns an error of the system, while `path` is written, into a sentence that names it."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:
            raise
        kind = type(error) if type(error).__module__ == "builtins" else OSError
        fix = _FIXES.get(
            error.errno or 0, "choose another output, or mend the rights of its folder"
        )
        raise kind(f"{path} cannot be written ({error.strerror}); {fix}.") from error


def _temporary(path: Path) -> Path:
    # The temporary path is in the same folder as the target, because a rename is atomic only within
    # one file system.
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(fitting_name(f".{path.name}", f".{secrets.token_hex(4)}.partial"))


@contextmanager
def replacing_file(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to, which is renamed to `path` when the ``with`` block succeeds.

    An existing file at `path` is replaced in one step. After an error it is unchanged, and the
    temporary file is deleted. Missing parent folders are created.

    Args:
      path: the file to be written.

    Yields:
      The path to write to, in the same folder.

    Raises:
      IsADirectoryError: `path` is a folder.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with replacing_file(Path(folder) / "config.json") as temporary:
      ...         _ = temporary.write_text("{}")
      ...     [file.name for file in Path(folder).iterdir()]
      ['config.json']
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name the file to write inside it.")
    temporary = _temporary(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder to fill, which is renamed to `path` when the ``with`` block succeeds.

    Args:
      path: the folder to be written. Missing parent folders are created.
      overwrite: whether an existing `path` may be replaced with all its contents. It is unchanged
        until the new folder is complete, and stays if the new folder cannot replace it.

    Yields:
      The temporary folder to write into; it is in the same parent folder as `path`.

    Raises:
      FileExistsError: `path` exists and `overwrite` is false.
    """
    path = Path(path)

    def refuse() -> None:
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path} already exists; choose another output folder or allow its "
                "replacement with overwrite (--overwrite)."
            )

    refuse()
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        refuse()
        if path.exists():
            retired = _temporary(path)
            os.replace(path, retired)
            try:
                os.replace(temporary, path)
            except BaseException:
                os.replace(retired, path)
                raise
            is_link = retired.is_symlink() or not retired.is_dir()
            retired.unlink() if is_link else shutil.rmtree(retired)
        else:
            os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
