"""Records of float32 in plain files, and memory maps of these files.

A shard holds little-endian float32 numbers and nothing else. A record consists of tracks, one after
the other, and records follow each other without gaps, so that what is not a whole number of records
is damaged. A part of a record is read by reading its bytes alone.

A record is divided into chunks of equal duration, of which the last takes what is left. The CRC-32
of a chunk is that of its part of each track, one after the other. It is compared when the chunk is
read for the first time.
"""

import hashlib
import mmap
import os
import threading
import weakref
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import numpy as np

from ddspx.io._manifest import DatasetError, Shard
from ddspx.io._replacing import replacing_file

FLOAT = np.dtype("<f4")
PREPARE_AGAIN = "prepare the dataset again"
_SHARD_BYTES = 256 * 2**20
# A process may have as few as 256 open files, and a memory map counts as one.
_MOST_MAPS = 96


def crc32_of(tracks: Sequence[np.ndarray], widths: Sequence[int], chunk: int, n_chunks: int) -> int:
    """The CRC-32 of a chunk.

    Args:
      tracks: contiguous little-endian float32 tracks of a record.
      widths: the numbers in one chunk of each track.
      chunk: number of the chunk.
      n_chunks: number of chunks in the record.
    """
    value, is_last = 0, chunk == n_chunks - 1
    for track, width in zip(tracks, widths, strict=True):
        part = track[chunk * width : None if is_last else (chunk + 1) * width]
        value = zlib.crc32(part.data, value)
    return value


class ShardWriter:
    """Writes records into shards, and begins a new shard when the last one is full.

    A shard appears under its name when it is complete. After an error in the ``with`` block, what
    was written of the last one is deleted.

    Args:
      folder: an existing folder.
      name: beginning of the names of the shards.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._shards: list[Shard] = []
        self._open = ExitStack()
        self._file: BinaryIO | None = None
        self._n_records, self._n_bytes, self._sha256 = 0, 0, hashlib.sha256()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            self.close()
        else:
            self._open.__exit__(exc_type, exc, traceback)

    def add(self, tracks: Iterable[np.ndarray]) -> None:
        """Appends a record, of contiguous little-endian float32 tracks."""
        if self._n_bytes >= _SHARD_BYTES:
            self._end_shard()
        if self._file is None:
            temporary = self._open.enter_context(replacing_file(self._folder / self._shard_name))
            self._file = self._open.enter_context(temporary.open("wb"))
        for track in tracks:
            self._file.write(track.data)
            self._sha256.update(track.data)
            self._n_bytes += track.nbytes
        self._n_records += 1

    def close(self) -> tuple[Shard, ...]:
        """Completes the last shard; returns all of them."""
        self._end_shard()
        return tuple(self._shards)

    @property
    def _shard_name(self) -> str:
        return f"{self._name}-{len(self._shards):05d}.f32"

    def _end_shard(self) -> None:
        if self._file is None:
            return
        self._open.close()
        self._shards.append(Shard(self._shard_name, self._n_records, self._sha256.hexdigest()))
        self._file = None
        self._n_records, self._n_bytes, self._sha256 = 0, 0, hashlib.sha256()


def damaged(path: Path, reason: str, mend: str = PREPARE_AGAIN) -> DatasetError:
    """The error about a shard that is not as it was written."""
    return DatasetError(f"{path} is damaged ({reason}); {mend}.")


class ShardReader:
    """Random access to the records of shards, by memory maps.

    Args:
      folder: the folder of the shards.
      shards: the shards, in order.
      lengths: how many numbers each record holds.
      mend: what to do if a shard is damaged, as the end of a sentence.

    Raises:
      DatasetError: a shard is missing, or its size is not that of its records.
    """

    def __init__(
        self,
        folder: Path,
        shards: Sequence[Shard],
        lengths: Sequence[int],
        *,
        mend: str = PREPARE_AGAIN,
    ) -> None:
        self._mend = mend
        self._paths = [folder / shard.name for shard in shards]
        self._first = list(accumulate((shard.n_records for shard in shards), initial=0))
        # Where each record and each shard begins, counted in numbers over all shards.
        self._begins = list(accumulate(lengths, initial=0))
        self._shard_begins = [self._begins[first] for first in self._first]
        # Not by a method that holds the reader: it would never be collected.
        weakref.finalize(self, _MAPS.forget, id(self))
        for shard, path in enumerate(self._paths):
            if not path.is_file():
                raise DatasetError(f"{path} is missing; {mend}.")
            if path.stat().st_size != (expected := self._n_bytes(shard)):
                n_bytes = path.stat().st_size
                raise damaged(path, f"it has {n_bytes} bytes, not {expected}", mend)

    def __len__(self) -> int:
        return self._first[-1]

    def damaged(self, record: int) -> DatasetError:
        """The error about a record that is not as it was written."""
        path = self._paths[self._shard(record)]
        return damaged(
            path, f"record {record} has another checksum than it was written with", self._mend
        )

    def __getitem__(self, record: int) -> np.ndarray:
        """The numbers of a record, which are read from the disk when they are used."""
        shard = self._shard(record)
        first = self._shard_begins[shard]
        begin, end = self._begins[record : record + 2]
        return self._mapped(shard).numbers[begin - first : end - first]

    def will_need(self, record: int, spans: Sequence[tuple[int, int]]) -> None:
        """Begins to read spans of a record in the background, given as begins and ends."""
        shard = self._shard(record)
        mapped = self._mapped(shard)
        if not hasattr(mapped.file, "madvise"):
            return
        first = self._begins[record] - self._shard_begins[shard]
        for begin, end in spans:
            begin, end = (FLOAT.itemsize * (first + at) for at in (begin, end))
            page = begin - begin % mmap.PAGESIZE
            mapped.file.madvise(mmap.MADV_WILLNEED, page, end - page)

    def _shard(self, record: int) -> int:
        return bisect_right(self._first, record) - 1

    def _n_bytes(self, shard: int) -> int:
        begin, end = self._shard_begins[shard : shard + 2]
        return FLOAT.itemsize * (end - begin)

    def _mapped(self, shard: int) -> "_Mapped":
        return _MAPS.get(id(self), shard, self._paths[shard], self._n_bytes(shard))


class _Mapped(NamedTuple):
    numbers: np.ndarray
    file: mmap.mmap


class _Maps:
    """The memory maps of a process, of which the ones that were used last are kept."""

    def __init__(self) -> None:
        # Reentrant, because a reader may be collected, and forgotten, inside `get`.
        self._lock = threading.RLock()
        self._maps: OrderedDict[tuple[int, int], _Mapped] = OrderedDict()

    def get(self, reader: int, shard: int, path: Path, n_bytes: int) -> _Mapped:
        """The map of a shard of a reader."""
        with self._lock:
            if (reader, shard) in self._maps:
                self._maps.move_to_end((reader, shard))
                return self._maps[reader, shard]
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != n_bytes:
                raise damaged(path, "its size has changed")
            mapped = mmap.mmap(file.fileno(), n_bytes, access=mmap.ACCESS_READ)
        with self._lock:
            self._maps[reader, shard] = _Mapped(np.frombuffer(mapped, FLOAT), mapped)
            # A map is closed when no array of its numbers is in use any more.
            while len(self._maps) > _MOST_MAPS:
                self._maps.popitem(last=False)
            return self._maps[reader, shard]

    def forget(self, reader: int) -> None:
        """Drops the maps of a reader that is in use no more, so that its files can be deleted."""
        with self._lock:
            for key in [key for key in self._maps if key[0] == reader]:
                self._maps.pop(key, None)


_MAPS = _Maps()
