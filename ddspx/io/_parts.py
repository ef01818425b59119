"""Parts of audio files, and access to their bytes before decoding."""

import re
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import BinaryIO, NamedTuple

Pieces = tuple[bytes | range, ...]


class Part(NamedTuple):
    """A section of a file that is decoded as if it were a separate file.

    Attributes:
      pieces: contents of the part in order: literal bytes, or ranges of bytes in the file.
      end: position in the file where the part ends.
      missing: number of bytes of sound that the header declares but the file does not have.
      note: warning about the part, as the end of a sentence whose subject is the file; or empty.
      is_mpeg: whether libmpg123 may be the decoder of the part.
    """

    pieces: Pieces
    end: int
    missing: int = 0
    note: str = ""
    is_mpeg: bool = False


class Source:
    """Random access to the bytes of a file.

    Args:
      file: the file, opened for reading.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, 2)

    def at(self, start: int, count: int) -> bytes:
        """Reads `count` bytes from `start` on; fewer at the end of the file."""
        self._file.seek(start)
        return self._file.read(count)

    def find(self, pattern: re.Pattern[bytes], start: int) -> int:
        """Position of the first match of a pattern of up to 16 bytes from `start` on, or -1."""
        step = 1 << 12
        while start < self.size:
            if found := pattern.search(self.at(start, step + 15)):
                return start + found.start()
            start, step = start + step, min(2 * step, 1 << 20)
        return -1

    def numbers(self, form: str, start: int) -> tuple[int, ...]:
        """Unpacks the integers at a position by `struct`; bytes beyond the end count as zero."""
        count = struct.calcsize(form)
        return struct.unpack(form, self.at(start, count).ljust(count, b"\0"))


# A reader of one format: given a file and a position in it, it finds the parts from there on.
Reader = Callable[[Source, int], Iterator[Part]]


class View:
    """A file object that presents pieces of a file as one file, for libsndfile to read.

    Args:
      file: the file, opened for reading.
      pieces: literal bytes, or ranges of bytes in the file.
    """

    def __init__(self, file: BinaryIO, pieces: Pieces) -> None:
        self._file, self._pieces, self._position = file, pieces, 0
        self._firsts = list(accumulate(map(len, pieces), initial=0))

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves by `offset` from the start (0), the current position (1) or the end (2)."""
        self._position = max(0, offset + (0, self._position, self._firsts[-1])[whence])
        return self._position

    def tell(self) -> int:
        """The current position."""
        return self._position

    def read(self, count: int) -> bytes:
        """Reads the next bytes; fewer at the end."""
        blocks = []
        for i in range(bisect_right(self._firsts, self._position) - 1, len(self._pieces)):
            skipped = self._position - self._firsts[i]
            piece = self._pieces[i][skipped : skipped + count]
            block = piece if isinstance(piece, bytes) else self._read_range(piece)
            blocks.append(block)
            self._position += len(block)
            count -= len(block)
            if not count or len(block) < len(piece):
                break
        return b"".join(blocks)

    def _read_range(self, byte_range: range) -> bytes:
        self._file.seek(byte_range.start)
        try:
            return self._file.read(len(byte_range))
        # An exception cannot pass through libsndfile. Without the bytes it finds less sound than
        # the header declares, and the caller reports that.
        except OSError:
            return b""
