"""The files of a model, out of a folder or a zip archive that a stranger made, and into one.

Nothing in an archive is trusted. Its directory is checked before anything is written, only
files of known names are read, they are written under these names, and bytes are counted while
they are read, whatever the archive says of its sizes.
"""

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

_BLOCK = 2**16
# The directory of a few files has a few kilobytes; more would be read in one piece.
_LONGEST_READ = 2**17
# Trained weights hardly shrink, and JSON by less.
_MOST_SHRUNK = 100
# Encrypted by either method, or with a directory that is.
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
# As plain files that all may read, of no date, so that equal models make equal archives.
_ATTRIBUTES = (stat.S_IFREG | 0o644) << 16


class ModelFiles(NamedTuple):
    """What a folder or an archive holds of a model.

    Attributes:
      source: the folder or archive.
      name: what it calls the model.
      openers: by file name, a function that opens the file to be read.
    """

    source: Path
    name: str
    openers: Mapping[str, Callable[[], AbstractContextManager[IO[bytes]]]]


@contextmanager
def model_files(source: Path, limits: Mapping[str, int]) -> Iterator[ModelFiles]:
    """The files of known names in a folder, or in a zip archive that holds nothing else.

    Args:
      source: a folder, whose other files are ignored; or an archive with the files in its root
        or in one folder.
      limits: the known names, and the most bytes that each may have.

    Yields:
      The files; those of an archive can be opened until the ``with`` block ends.

    Raises:
      FileNotFoundError: there is no `source`.
      ValueError: it is an archive that is damaged, or holds anything else: other names, links,
        encrypted, doubled or too large files, or such as grow too much when unpacked.
    """
    if source.is_dir():
        present = [name for name in limits if os.path.lexists(source / name)]
        openers = {name: partial(_open_file, source / name) for name in present}
        yield ModelFiles(source, source.resolve().name, openers)
        return
    if not source.is_file():
        raise FileNotFoundError(
            f"There is no folder or zip archive {source}; give the path of a model folder, or of "
            "an archive of one."
        )
    with _SmallReads(io.FileIO(source)) as file:
        # A place outside the file is looked for with the system's error.
        with _damage_of(source, OSError):
            archive = zipfile.ZipFile(file)
            size = os.fstat(file.fileno()).st_size
        top, members = _checked(source, archive.infolist(), limits, size)
        openers = {name: partial(archive.open, member) for name, member in members.items()}
        yield ModelFiles(source, top or source.stem, openers)


def copy_files(files: ModelFiles, folder: Path, limits: Mapping[str, int]) -> None:
    """Writes the files into a folder that has none of them.

    Raises:
      ValueError: a file is damaged, too large, or no plain file.
    """
    for name, opener in files.openers.items():
        with _damage_of(files.source), opener() as file, (folder / name).open("xb") as target:
            for block in _blocks(file.read, limits[name], f"{files.source} holds {name!r}"):
                target.write(block)


def pack_files(files: ModelFiles, archive: Path, top: str, limits: Mapping[str, int]) -> None:
    """Writes the files into a new zip archive, in a folder `top`.

    Raises:
      ValueError: a file is too large, or no plain file.
    """
    with zipfile.ZipFile(archive, "x") as target:
        for name, opener in files.openers.items():
            member = zipfile.ZipInfo(f"{top}/{name}")
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, _ATTRIBUTES
            with opener() as file, target.open(member, "w") as packed:
                for block in _blocks(file.read, limits[name], f"{files.source} holds {name!r}"):
                    packed.write(block)


class _SmallReads(io.BufferedReader):
    """A file that is not read in large pieces, whatever its headers say."""

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = _LONGEST_READ + 1 if size is None or size < 0 else size
        block = super().read(min(wanted, _LONGEST_READ + 1))
        if len(block) > _LONGEST_READ:
            raise zipfile.BadZipFile("its directory is too long")
        return block


def _checked(
    source: Path, members: list[zipfile.ZipInfo], limits: Mapping[str, int], size: int
) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """The folder that the files of an archive are in, if any, and the files by name."""
    if len(members) > len(limits) + 1:
        raise ValueError(
            f"{source} holds {len(members)} files, more than the {len(limits)} of a model; "
            "`ddspx instruments pack` makes an archive of these alone."
        )
    tops, files = set(), {}
    for member in members:
        *folders, name = member.filename.split("/")
        objection = _objection_to_place(member, folders, name, limits)
        if not objection and name:
            objection = "twice" if name in files else _objection_to_file(member, limits[name])
            files[name] = member
        if objection:
            raise ValueError(
                f"{source} holds {member.orig_filename[:99]!r} {objection}, and is refused; ask "
                "for an archive that `ddspx instruments pack` made."
            )
        tops.update(folders or [""])
    if len(tops) > 1:
        raise ValueError(f"{source} holds files in {len(tops)} places; one model is in one folder.")
    is_inside = all(0 <= member.header_offset < size for member in files.values())
    if not is_inside or sum(member.compress_size for member in files.values()) > size:
        raise ValueError(
            f"{source} is not a readable zip archive (it is shorter than its files); copy it again."
        )
    return next(iter(tops), ""), files


def _objection_to_place(
    member: zipfile.ZipInfo, folders: list[str], name: str, limits: Mapping[str, int]
) -> str | None:
    """What speaks against where a member of an archive is, and what it is called."""
    # Where these differ there was a zero byte, a backslash, or another name in an extra field.
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


def _objection_to_file(member: zipfile.ZipInfo, most: int) -> str | None:
    """What speaks against reading a file of an archive."""
    if member.flag_bits & _ENCRYPTED:
        return "which is encrypted"
    # What the others unpack to is not bounded by what is asked for.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "compressed by another method than deflate"
    if member.file_size > most:
        return f"with {member.file_size} bytes, more than the {most} that it may have"
    if member.file_size > _MOST_SHRUNK * max(1, member.compress_size):
        return f"compressed to less than 1/{_MOST_SHRUNK} of its size"
    return None


def _blocks(read: Callable[[int], bytes], most: int, what: str) -> Iterator[bytes]:
    """What a file holds, counted while it is read."""
    count = 0
    while block := read(_BLOCK):
        count += len(block)
        if count > most:
            raise ValueError(f"{what} with more than the {most} bytes that it may have.")
        yield block


def _open_file(path: Path) -> IO[bytes]:
    """A plain file, opened; a link is not followed, and a pipe not waited for."""
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)
    if not path.is_symlink():
        descriptor = os.open(path, flags)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
    raise ValueError(f"{path} is a link or another special file; put a copy of the file there.")


@contextmanager
def _damage_of(source: Path, *others: type[Exception]) -> Iterator[None]:
    """Makes a sentence of what the zip reader says of an archive."""
    damage = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, *others)
    try:
        yield
    except damage as error:
        raise ValueError(
            f"{source} is not a readable zip archive ({error}); copy it again."
        ) from error
