"""Reading the files of a model from a folder or an untrusted zip archive, and writing archives.

Nothing in an archive is trusted. Its directory is checked before anything is written. Only files
with known names are read, and they are written under these names. Bytes are counted while they are
read, because the sizes in the directory can be wrong.
"""

import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from ddspx.io._zip import archive_errors, blocks, objection_to_file, opened_archive

# Plain files that everybody may read. Files have no date, so that equal models make equal archives.
_ATTRIBUTES = (stat.S_IFREG | 0o644) << 16


class ModelFiles(NamedTuple):
    """The files of a model in a folder or an archive.

    Attributes:
      source: the folder or archive.
      name: the name of the model, from the folder or the archive.
      openers: for each file name, a function that opens the file for reading.
    """

    source: Path
    name: str
    openers: Mapping[str, Callable[[], AbstractContextManager[IO[bytes]]]]


@contextmanager
def model_files(source: Path, limits: Mapping[str, int]) -> Iterator[ModelFiles]:
    """The files with known names in a folder, or in a zip archive that holds no other files.

    Args:
      source: a folder, whose other files are ignored; or an archive with the files in its root
        or in one folder.
      limits: the known names, with the largest size of each file in bytes.

    Yields:
      The files; those of an archive can be opened until the ``with`` block ends.

    Raises:
      FileNotFoundError: `source` does not exist.
      ValueError: the archive is damaged, or holds files with other names, links, or files that are
        encrypted, appear twice, are too large, or are compressed too much.
    """
    if source.is_dir():
        present = [name for name in limits if os.path.lexists(source / name)]
        openers = {name: partial(open_file, source / name) for name in present}
        yield ModelFiles(source, source.resolve().name, openers)
        return
    if not source.is_file():
        raise FileNotFoundError(
            f"There is no folder or zip archive {source}; give the path of a model folder, or of "
            "an archive of one."
        )
    with opened_archive(source) as archive:
        top, members = _checked_members(source, archive.infolist(), limits)
        openers = {name: partial(archive.open, member) for name, member in members.items()}
        yield ModelFiles(source, top or source.stem, openers)


def copy_files(files: ModelFiles, folder: Path, limits: Mapping[str, int]) -> None:
    """Writes the files into a folder, in which none of them may exist.

    Raises:
      ValueError: a file is damaged, too large, or not a plain file.
    """
    for name, opener in files.openers.items():
        with archive_errors(files.source), opener() as file, (folder / name).open("xb") as target:
            for block in blocks(file.read, limits[name], f"{files.source} holds {name!r}"):
                target.write(block)


def pack_files(files: ModelFiles, archive: Path, top: str, limits: Mapping[str, int]) -> None:
    """Writes the files into a new zip archive, in the folder `top`.

    Raises:
      ValueError: a file is too large, or not a plain file.
    """
    with zipfile.ZipFile(archive, "x") as target:
        for name, opener in files.openers.items():
            member = zipfile.ZipInfo(f"{top}/{name}")
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, _ATTRIBUTES
            with opener() as file, target.open(member, "w") as packed:
                for block in blocks(file.read, limits[name], f"{files.source} holds {name!r}"):
                    packed.write(block)


def _checked_members(
    source: Path, members: list[zipfile.ZipInfo], limits: Mapping[str, int]
) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """Checks the directory of an archive; returns the folder of the files and the files by name."""
    if len(members) > len(limits) + 1:
        raise ValueError(
            f"{source} holds {len(members)} files, more than the {len(limits)} of a model; "
            "`ddspx instruments pack` makes an archive with only these files."
        )
    tops, files = set(), {}
    for member in members:
        *folders, name = member.filename.split("/")
        objection = _objection_to_place(member, folders, name, limits)
        if not objection and name:
            objection = "twice" if name in files else objection_to_file(member, limits[name])
            files[name] = member
        if objection:
            raise ValueError(
                f"{source} holds {member.orig_filename[:99]!r} {objection}, and is refused; ask "
                "for an archive that `ddspx instruments pack` made."
            )
        tops.update(folders or [""])
    if len(tops) > 1:
        raise ValueError(
            f"{source} holds files in {len(tops)} folders; all files of a model must be in one."
        )
    return next(iter(tops), ""), files


def _objection_to_place(
    member: zipfile.ZipInfo, folders: list[str], name: str, limits: Mapping[str, int]
) -> str | None:
    """Why the name or the folder of a member of an archive is not allowed; None if it is."""
    # The two names differ if the original has a zero byte or a backslash, or if an extra field
    # holds another name.
    is_plain = member.filename == member.orig_filename and len(folders) <= 1
    for folder in folders:
        is_plain = is_plain and folder not in ("", ".", "..") and not {*folder} & {*"\\:"}
    if not is_plain:
        return "outside its root and one folder there"
    is_folder = not name and folders
    if name not in limits and not is_folder:
        return f"which is no part of a model ({', '.join(limits)})"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG):
        return "which is a link or another special file"
    return None


def open_file(path: Path) -> IO[bytes]:
    """Opens a plain file, without following a link or waiting for a pipe."""
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)
    if not path.is_symlink():
        descriptor = os.open(path, flags)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
    raise ValueError(f"{path} is a link or another special file; put a copy of the file there.")
