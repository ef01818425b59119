"""Atomic output: a temporary file or folder is written, stored on the disk, and then renamed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ddspx.io._exchange import exchange, store, store_names
from ddspx.io._leftovers import PARTIAL, RETIRED, name_beside, put_back, remove, sweep

_FIXES = {
    errno.ENOSPC: "free space on its disk, or choose another output",
    errno.EDQUOT: "delete files until your quota allows it, or choose another output",
    errno.EFBIG: "raise the limit of file sizes, or choose another output",
    errno.EROFS: "choose an output on a disk that can be written to",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def write_errors(path: Path, *, temporary: Path | None = None) -> Iterator[None]:
    """Makes a sentence that names `path` of an error of the system in the ``with`` block.

    Args:
      path: the file or folder that is written.
      temporary: the name that it has while the block may also read other files. An error that
        names one of them is not changed.
    """
    try:
        yield
    except OSError as error:
        place = error.filename
        is_other = temporary and isinstance(place, str) and temporary.name not in place
        if error.strerror is None or is_other:
            raise
        kind = type(error) if type(error).__module__ == "builtins" else OSError
        fix = _FIXES.get(
            error.errno or 0, "choose another output, or mend the rights of its folder"
        )
        raise kind(f"{path} cannot be written ({error.strerror}); {fix}.") from error


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder; one that a killed process was replacing is put back before."""
    put_back(Path(path))
    return os.path.isdir(path)


def _temporary(path: Path) -> Path:
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name that is too long is refused before the work.
        with suppress(FileNotFoundError):
            path.lstat()
    sweep(Path(os.path.realpath(path.parent)))
    return name_beside(path, PARTIAL)


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
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder; name the file to write inside it.")
    temporary = _temporary(path)
    try:
        with write_errors(path, temporary=temporary):
            yield temporary
            store(temporary)
            os.replace(temporary, path)
            store_names(path.parent)
    except BaseException:
        remove(temporary)
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
    temporary = _temporary(path)
    put_back(path)
    _refuse(path, overwrite)
    try:
        with write_errors(path, temporary=temporary):
            temporary.mkdir()
            yield temporary
            store(temporary)
            _refuse(path, overwrite)
            _put(temporary, path)
            store_names(path.parent)
    finally:
        # It is what was at `path` before, or what an error has left.
        remove(temporary)


def _refuse(path: Path, overwrite: bool) -> None:
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(
            f"{path} already exists; choose another output folder or allow its replacement with "
            "overwrite (--overwrite)."
        )


def _put(temporary: Path, path: Path) -> None:
    """Renames a folder, and what is at `path`, if anything is, gets a name that is then deleted."""
    if not os.path.lexists(path):
        os.replace(temporary, path)
    elif not exchange(temporary, path):
        # Between two renames there is no `path`. `put_back` finds the old one.
        retired = name_beside(path, RETIRED)
        os.replace(path, retired)
        try:
            os.replace(temporary, path)
        except BaseException:
            os.replace(retired, path)
            raise
        remove(retired)
