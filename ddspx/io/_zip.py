"""Reading zip archives that nobody vouches for: bounded reads, and errors in a sentence."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = 2**16
# The longest read. `zipfile` reads the directory of an archive in one piece. For a model this is
# a few kilobytes; a longer one is refused, because it could fill the memory.
_LONGEST_READ = 2**17
# The highest compression ratio. That of JSON is lower, and trained weights hardly compress.
_MOST_SHRUNK = 100
# The flags of an encrypted file, of strong encryption, and of an encrypted directory.
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000


@contextmanager
def opened_archive(source: Path | str, content: bytes | None = None) -> Iterator[zipfile.ZipFile]:
    """An archive whose directory could be read.

    Args:
      source: the file; for messages alone, if its bytes are given.
      content: the bytes of the file.

    Raises:
      ValueError: the file is not an archive, or its directory is damaged or too long.
    """
    raw = io.FileIO(source) if content is None else io.BytesIO(content)
    with _SmallReads(raw) as file:
        # An archive can say that its directory lies outside of the file, which is an OSError.
        with archive_errors(source, OSError):
            archive = zipfile.ZipFile(file)
            size, members = file.seek(0, io.SEEK_END), archive.infolist()
            is_inside = all(0 <= member.header_offset < size for member in members)
            if not is_inside or sum(member.compress_size for member in members) > size:
                raise zipfile.BadZipFile("it ends within its files")
        yield archive


class _SmallReads(io.BufferedReader):
    """A file of which at most `_LONGEST_READ` bytes are read at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        limit = _LONGEST_READ + 1
        block = super().read(limit if size is None or size < 0 else min(size, limit))
        if len(block) > _LONGEST_READ:
            raise zipfile.BadZipFile("its directory is too long")
        return block


def objection_to_file(member: zipfile.ZipInfo, most: int) -> str | None:
    """Why a file of an archive must not be read; None if it may be."""
    if member.flag_bits & _ENCRYPTED:
        return "which is encrypted"
    # The decoders of other methods can return more bytes than were asked for.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "compressed by another method than deflate"
    if member.file_size > most:
        return f"with {member.file_size} bytes, more than the {most} that are allowed"
    if member.file_size > _MOST_SHRUNK * max(1, member.compress_size):
        return f"compressed to less than 1/{_MOST_SHRUNK} of its size"
    return None


def blocks(read: Callable[[int], bytes], most: int, what: str) -> Iterator[bytes]:
    """Reads a file in blocks, and raises a ValueError if it has more than `most` bytes."""
    count = 0
    while block := read(_BLOCK):
        count += len(block)
        if count > most:
            raise ValueError(f"{what} with more than the {most} bytes that are allowed.")
        yield block


@contextmanager
def archive_errors(source: Path | str, *extra: type[Exception]) -> Iterator[None]:
    """Turns the errors of the zip reader, and `extra` ones, into a ValueError with a sentence."""
    errors = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError)
    try:
        yield
    except (*errors, UnicodeDecodeError, *extra) as error:
        raise ValueError(
            f"{source} is not a readable zip archive ({error}); copy it again."
        ) from error
