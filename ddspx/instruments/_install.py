"""Installing instruments from a folder or an archive, packing and removing them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ddspx.instruments._archive import copy_files, model_files, pack_files
from ddspx.instruments._card import describe_instrument
from ddspx.instruments._instrument import read_instrument
from ddspx.instruments._library import (
    SHIPPED,
    check_one_instrument,
    find_instrument,
    instruments_folder,
    is_name,
    is_shipped,
    named_instrument,
)
from ddspx.models._config import (
    CONFIG,
    DIGESTS,
    PROVENANCE,
    STATISTICS,
    WEIGHTS,
    write_digests,
)

_OPTIONAL = {"README.md", DIGESTS}
# The files of an instrument, with the largest allowed size of each in bytes.
_LIMITS = {
    CONFIG: 2**16,
    STATISTICS: 2**18,
    PROVENANCE: 2**22,
    WEIGHTS: 2**28,
    DIGESTS: 2**12,
    "README.md": 2**20,
}
_LONGEST_HEADER = 2**20


def install_instrument(
    source: str | Path,
    *,
    name: str | None = None,
    overwrite: bool = False,
    folder: str | Path | None = None,
) -> Path:
    """Installs a trained model as an instrument, which is then found by its name.

    Only the files of a model are copied: config.json, statistics.json, provenance.json,
    weights.safetensors and, if they are there, sha256.json and README.md. They are copied to a
    temporary folder in `instruments_folder` and loaded once; only then is the folder renamed. So a
    model that cannot be loaded is not installed, and does not replace an earlier one. If there is
    no sha256.json, it is made. Nothing in the files is executed.

    Args:
      source: a model folder, whose other files are ignored; or a zip archive with only these files,
        in its root or in one folder.
      name: name of the instrument: letters, digits, "_" and "-", at most 40. By default the name of
        the folder, or of the folder in the archive, or of the archive. It must not be the name of
        an instrument that ships, unless `folder` is given.
      overwrite: whether an instrument of that name may be replaced.
      folder: a folder to install into, instead of `instruments_folder`. The instrument is then
        found only by its path.

    Returns:
      The folder of the installed instrument.

    Raises:
      FileExistsError: there is an instrument of that name.
      FileNotFoundError: `source` does not exist.
      ValueError: the name is not allowed; `source` is damaged, lacks a file, or has a file that is
        too large or a link; the archive holds other files; or the model cannot be loaded, or is
        one of any instrument.

    Example:
      >>> import os, tempfile
      >>> from unittest.mock import patch
      >>> from ddspx.instruments import install_instrument, pack_instrument
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with patch.dict(os.environ, DDSPX_INSTRUMENTS=f"{folder}/instruments"):
      ...         archive = pack_instrument("violin", f"{folder}/fiddle.zip")
      ...         install_instrument(archive).name
      'fiddle'
    """
    check_one_instrument(source)
    with model_files(Path(source), _LIMITS) as files:
        target = new_folder(
            files.name if name is None else name, overwrite=overwrite, folder=folder
        )
        if missing := _LIMITS.keys() - files.openers.keys() - _OPTIONAL:
            raise ValueError(f"{source} lacks {min(missing)}; copy the whole model folder.")
        with installing(target, source, overwrite=overwrite) as staged:
            copy_files(files, staged, _LIMITS)
            if DIGESTS not in files.openers:
                write_digests(staged)
    return target


def new_folder(name: str, *, overwrite: bool, folder: str | Path | None) -> Path:
    """The folder that an instrument of a name will have; the arguments are `install_instrument`'s.

    Raises:
      FileExistsError: there is an instrument of that name, which may not be replaced.
      ValueError: the name is not allowed.
    """
    # In another folder it is found by its path, so a shipped name is not ambiguous.
    name = _usable_name(name, or_shipped=folder is not None)
    target = (instruments_folder() if folder is None else Path(folder)) / name
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"There is an instrument {name!r} already; give another name (--name), or allow "
            "its replacement with overwrite (--overwrite)."
        )
    return target


@contextmanager
def installing(target: Path, source: str | Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary folder for the files of a model; when the model loads, it becomes `target`.

    Raises:
      ValueError: the model cannot be loaded; the message names `source`.
    """
    from ddspx.io import replacing_folder

    with replacing_folder(target, overwrite=overwrite) as staged:
        yield staged
        try:
            _check_model(staged)
        except (OSError, ValueError, TypeError) as error:
            # The message names `source`, because the temporary folder is deleted.
            raise ValueError(str(error).replace(str(staged), str(source))) from error


def pack_instrument(source: str | Path, archive: str | Path) -> Path:
    """Writes a model as a zip archive for `install_instrument`, completely or not at all.

    Equal model files make equal archives.

    Args:
      source: a model folder, whose other files are left out, or the name of an instrument.
      archive: the file to write, NAME.zip, where NAME is the name of the instrument. An existing
        file is replaced.

    Returns:
      The archive.

    Raises:
      FileNotFoundError: there is no such folder or instrument, or one of its files is missing.
      ValueError: `archive` has another suffix or a name that instruments cannot have; or the model
        is damaged, too large, of any instrument, or holds a link.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from ddspx.instruments import pack_instrument
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     pack_instrument("violin", Path(folder) / "fiddle.zip").stat().st_size < 4e6
      True
    """
    from ddspx.io import replacing_file

    archive = Path(archive)
    if archive.suffix.lower() != ".zip":
        raise ValueError(f"`archive` must end in .zip, got {archive}.")
    name, folder = _usable_name(archive.stem, or_shipped=True), find_instrument(source)
    check_one_instrument(folder)
    _check_model(folder)
    with model_files(folder, _LIMITS) as files, replacing_file(archive) as temporary:
        pack_files(files, temporary, name, _LIMITS)
    return archive


def remove_instrument(name: str) -> None:
    """Deletes an instrument that the user has installed.

    Args:
      name: name of the instrument.

    Raises:
      FileNotFoundError: the user has not installed an instrument of that name.
      ValueError: the instrument ships with ddspx.
    """
    named = named_instrument(name)
    if named is not None and named.parent == SHIPPED:
        raise ValueError(
            f"{name!r} ships with ddspx and cannot be removed; only your own instruments can."
        )
    folder = instruments_folder() / name
    if not is_name(name) or not folder.is_dir():
        raise FileNotFoundError(
            f"You have no instrument {name!r}; `ddspx instruments` lists all instruments."
        )
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _usable_name(name: str, *, or_shipped: bool = False) -> str:
    if not is_name(name):
        raise ValueError(
            f"{name!r} cannot be the name of an instrument: use at most 40 letters, digits, _ and "
            "-, begin with a letter or digit (--name), and do not use the name of a Windows "
            "device, such as con."
        )
    if is_shipped(name) and not or_shipped:
        raise ValueError(
            f"{name!r} is an instrument that ships with ddspx; give yours another name (--name)."
        )
    return name


def _check_model(folder: Path) -> None:
    """Loads a model once, to see that it works; a very long header is refused before."""
    with (folder / WEIGHTS).open("rb") as file:
        if int.from_bytes(file.read(8), "little") > _LONGEST_HEADER:
            raise ValueError(
                f"{folder / WEIGHTS} is not a readable safetensors file (its header is longer than "
                f"{_LONGEST_HEADER} bytes); copy it again."
            )
    read_instrument(folder)
    describe_instrument(folder)
