"""Output that appears whole or not at all: written under a temporary name, then renamed."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _temporary(path: Path) -> Path:
    # In the target's own folder, because a rename is atomic only within one file system.
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


@contextmanager
def replacing_file(path: str | Path) -> Iterator[Path]:
    """A temporary path to write, which becomes `path` when the ``with`` block succeeds.

    An earlier file of that name is replaced in one step; after an error it is untouched and
    the temporary file is gone. Missing parent folders are made.

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
    """A temporary folder to fill, which becomes `path` when the ``with`` block succeeds.

    Args:
      path: the folder to be written. Missing parents are made.
      overwrite: whether an existing `path` may be replaced, with all that is in it. It stays
        as it was until the new folder is complete, and where that cannot take its place.

    Yields:
      The folder to write into, beside `path`.

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
