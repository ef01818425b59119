"""What a file of audio is made of, before any of it is decoded."""

import re
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import BinaryIO, NamedTuple

Pieces = tuple[bytes | range, ...]


class Part(NamedTuple):
    """A stretch of a file that is decoded like a file of its own.

    Attributes:
      pieces: what it is read from, one after the other: bytes, or where they are in the file.
      end: where it ends in the file.
      missing: bytes of sound that it promises and that are not there.
      note: what is to be known of it, as the end of a sentence about the file.
      is_mpeg: whether it may be for libmpg123 to decode.
    """

    pieces: Pieces
    end: int
    missing: int = 0
    note: str = ""
    is_mpeg: bool = False


class Source:
    """A file of which any bytes can be asked for.

    Args:
      file: opened for reading.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, 2)

    def at(self, start: int, count: int) -> bytes:
        """The bytes from `start` on; fewer at the end of the file."""
        self._file.seek(start)
        return self._file.read(count)

    def find(self, wanted: re.Pattern[bytes], start: int) -> int:
        """Where a pattern of up to 16 bytes comes first, from `start` on, or -1."""
        step = 1 << 12
        while start < self.size:
            if found := wanted.search(self.at(start, step + 15)):
                return start + found.start()
            start, step = start + step, min(2 * step, 1 << 20)
        return -1

    def numbers(self, form: str, start: int) -> tuple[int, ...]:
        """The integers at a place, as `struct` unpacks them; zeros beyond the end of the file."""
        count = struct.calcsize(form)
        return struct.unpack(form, self.at(start, count).ljust(count, b"\0"))


# The parts of a file from a place on, as a format has them.
Reader = Callable[[Source, int], Iterator[Part]]


class View:
    """Pieces of a file, one after the other, as a file of their own that libsndfile reads.

    Args:
      file: opened for reading.
      pieces: bytes, or where they are in the file.
    """

    def __init__(self, file: BinaryIO, pieces: Pieces) -> None:
        self._file, self._pieces, self._place = file, pieces, 0
        self._firsts = list(accumulate(map(len, pieces), initial=0))

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves to a place from the start, from here or from the end; never before the start."""
        self._place = max(0, offset + (0, self._place, self._firsts[-1])[whence])
        return self._place

    def tell(self) -> int:
        """The place."""
        return self._place

    def read(self, count: int) -> bytes:
        """The next bytes; fewer at the end."""
        blocks = []
        for i in range(bisect_right(self._firsts, self._place) - 1, len(self._pieces)):
            skipped = self._place - self._firsts[i]
            wanted = self._pieces[i][skipped : skipped + count]
            block = wanted if isinstance(wanted, bytes) else self._of_file(wanted)
            blocks.append(block)
            self._place += len(block)
            count -= len(block)
            if not count or len(block) < len(wanted):
                break
        return b"".join(blocks)

    def _of_file(self, where: range) -> bytes:
        self._file.seek(where.start)
        try:
            return self._file.read(len(where))
        # libsndfile cannot be told, and finds that there is less than was promised.
        except OSError:
            return b""
