"""TensorFlow's checkpoint files: an index of named tensors, and shards that hold their numbers.

`tf.train.Checkpoint` writes ``ckpt-N.index``, a sorted table of keys and values in blocks, and
``ckpt-N.data-K-of-M``, the bytes of the tensors one after the other. The index says the type,
shape, place and checksum of each tensor. Files may come from anybody, so every size is checked
before it is used, and every error is a ValueError.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ddspx.io._crc32c import crc32c

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_HANDLES_BYTES = 40  # of the two places in the footer, padded with zeros
_TRAILER_BYTES = 5  # after a block: kind of compression, checksum
_MASK = 0xA282EAD8
_MOST_DIMENSIONS, _MOST_NUMBERS = 8, 2**40
# Far above every checkpoint of an instrument. What is written in few bytes, as a key that begins
# with the one before it or an empty message, must not fill the memory.
_LONGEST_KEY, _MOST_ENTRIES, _MOST_FIELDS, _MOST_STRINGS = 1024, 10_000, 1000, 10_000
_STRING = 7
# The types of TensorFlow that NumPy has too, by their numbers in `types.proto`.
_DTYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    8: "<c8",
    9: "<i8",
    10: "?",
    17: "<u2",
    18: "<c16",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}


class BundleEntry(NamedTuple):
    """Where a tensor is, and what it is.

    Attributes:
      dtype: the number of its type in TensorFlow.
      shape: its shape.
      shard: index of the file that holds it.
      offset: position of its first byte.
      n_bytes: size in bytes.
      checksum: the masked CRC-32C of these bytes.
      in_slices: whether the tensor was saved in several pieces.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    n_bytes: int
    checksum: int
    in_slices: bool


class BundleIndex(NamedTuple):
    """The content of an index: the number of shards, and the entry of each tensor by its key."""

    n_shards: int
    entries: Mapping[str, BundleEntry]


def read_bundle_index(index: bytes) -> BundleIndex:
    """Reads a file ``ckpt-N.index``.

    Raises:
      ValueError: it is damaged, compressed, or no index.
    """
    if len(index) < _FOOTER_BYTES or struct.unpack("<Q", index[-8:])[0] != _MAGIC:
        raise ValueError(
            "is not the index of a TensorFlow checkpoint, or it is cut short; copy it again"
        )
    footer = _Reader(index[-_FOOTER_BYTES:][:_HANDLES_BYTES])
    footer.handle()  # of a block that TensorFlow leaves empty
    header, entries, before, end = None, {}, b"", 0
    for _, place in _block_entries(_block(index, footer.handle())):
        offset, n_bytes = _Reader(place).handle()
        # One block that is named many times would be many tables.
        if offset < end:
            raise _damaged("its blocks overlap")
        end = offset + n_bytes + _TRAILER_BYTES
        for key, value in _block_entries(_block(index, (offset, n_bytes))):
            if header is None:
                header = _fields(value)
                if key or _number(header, 2):
                    raise ValueError("is an index without a header, or of a big-endian machine")
                continue
            if key <= before:
                raise _damaged("its keys are not sorted")
            before = key
            if len(entries) == _MOST_ENTRIES:
                raise ValueError(f"holds more than {_MOST_ENTRIES} tensors, and is refused")
            entries[key.decode("utf-8", "backslashreplace")] = _entry(value)
    n_shards = 0 if header is None else _number(header, 1)
    if not 1 <= n_shards < 100_000:
        raise _damaged(f"it names {n_shards} data files")
    return BundleIndex(n_shards, entries)


def bundle_tensor(entry: BundleEntry, shard: bytes | memoryview) -> np.ndarray | list[bytes]:
    """Reads a tensor from the bytes of its shard: an array, or a list for strings.

    Raises:
      ValueError: the shard is damaged or too short, or the tensor is of a kind that is not read.
    """
    if entry.in_slices:
        raise ValueError("is saved in several slices; save the whole tensor")
    end = entry.offset + entry.n_bytes
    if end > len(shard):
        raise ValueError(f"ends at byte {end} of a data file of {len(shard)}; copy that file again")
    data = memoryview(shard)[entry.offset : end]
    size = math.prod(entry.shape)
    if entry.dtype == _STRING:
        return _strings(data, size, entry.checksum)
    if entry.dtype not in _DTYPES:
        raise ValueError(f"has the type {entry.dtype} of TensorFlow, which NumPy does not have")
    dtype = np.dtype(_DTYPES[entry.dtype])
    if size * dtype.itemsize != entry.n_bytes:
        raise _damaged(f"its shape {entry.shape} does not fit its {entry.n_bytes} bytes")
    _check(data, entry.checksum)
    return np.frombuffer(data, dtype).reshape(entry.shape).astype(dtype.newbyteorder("="))


def _strings(data: memoryview, count: int, checksum: int) -> list[bytes]:
    """A tensor of strings: all lengths, a checksum of them, and all strings."""
    if count > min(len(data), _MOST_STRINGS):
        raise ValueError(f"has {count} strings, more than bytes or than {_MOST_STRINGS}")
    reader = _Reader(bytes(data))
    lengths = [reader.varint() for _ in range(count)]
    # The checksums are of the lengths as fixed numbers, not as they are written.
    fixed = b"".join(struct.pack("<I" if n < 2**32 else "<Q", n) for n in lengths)
    stored = reader.take(4)
    _check(fixed, struct.unpack("<I", stored)[0])
    strings = [reader.take(n) for n in lengths]
    _check(fixed + stored + b"".join(strings), checksum)
    return strings


def _entry(message: bytes) -> BundleEntry:
    """The entry of a tensor from its message, ``BundleEntryProto``."""
    fields = _fields(message)
    dimensions = [
        _number(_fields(dimension), 1)
        for shape in _messages(fields, 2)
        for dimension in _messages(_fields(shape), 2)
    ]
    # NumPy refuses large dimensions also beside one of 0.
    size = math.prod(max(1, n) for n in dimensions[:_MOST_DIMENSIONS])
    if len(dimensions) > _MOST_DIMENSIONS or size >= _MOST_NUMBERS:
        raise _damaged(f"a tensor has {len(dimensions)} dimensions, or they are too large")
    return BundleEntry(
        dtype=_number(fields, 1),
        shape=tuple(dimensions),
        shard=_number(fields, 3),
        offset=_number(fields, 4),
        n_bytes=_number(fields, 5),
        checksum=_number(fields, 6),
        in_slices=any(number == 7 for number, _ in fields),
    )


def _block(index: bytes, place: tuple[int, int]) -> bytes:
    """The content of a block of the table, after its checksum was checked."""
    offset, size = place
    end = offset + size
    if end + _TRAILER_BYTES > len(index) - _FOOTER_BYTES:
        raise _damaged("a block lies outside of the file")
    compression, checksum = struct.unpack_from("<BI", index, end)
    _check(index[offset : end + 1], checksum)
    if compression:
        raise ValueError(
            "is compressed, which TensorFlow does not do when it writes checkpoints, and which "
            "ddspx does not read; save the checkpoint again with tf.train.Checkpoint"
        )
    return index[offset:end]


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block; a key says how much of the one before it begins with.

    At the end of the block are the places of the keys that are written whole, for a search, and
    their number.
    """
    if len(block) < 4:
        raise _damaged("a block is too short")
    end = len(block) - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    if end < 0:
        raise _damaged("a block is too short")
    reader, key = _Reader(block[:end]), b""
    while reader.at < end:
        shared, added, n_bytes = reader.varint(), reader.varint(), reader.varint()
        if shared > len(key):
            raise _damaged("a key begins with more than the key before it")
        if shared + added > _LONGEST_KEY:
            raise _damaged(f"a key is longer than {_LONGEST_KEY} bytes")
        key = key[:shared] + reader.take(added)
        yield key, reader.take(n_bytes)


class _Reader:
    """Reads numbers and bytes one after the other, within bounds."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > len(self.data) - self.at:
            raise _damaged("a value ends outside of its block")
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        """The next number, 7 bits in each byte, the lowest first."""
        value = 0
        for shift in range(0, 64, 7):
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            if byte < 128:
                return value & (2**64 - 1)
        raise _damaged("a number is too long")

    def handle(self) -> tuple[int, int]:
        """The place of a block: offset and size."""
        return self.varint(), self.varint()


def _fields(message: bytes) -> list[tuple[int, int | bytes]]:
    """The numbers of the fields of a protobuf message, and their values."""
    reader, fields = _Reader(message), []
    while reader.at < len(message):
        if len(fields) == _MOST_FIELDS:
            raise _damaged(f"a message has more than {_MOST_FIELDS} fields")
        number, kind = divmod(reader.varint(), 8)
        if kind == 0:
            fields.append((number, reader.varint()))
        elif kind in (1, 5):
            fields.append((number, int.from_bytes(reader.take(8 if kind == 1 else 4), "little")))
        elif kind == 2:
            fields.append((number, reader.take(reader.varint())))
        else:
            raise _damaged("a message is not protobuf")
    return fields


def _number(fields: list[tuple[int, int | bytes]], number: int) -> int:
    """The last value of a numeric field; 0 where it is missing."""
    values = [value for key, value in fields if key == number]
    if any(isinstance(value, bytes) for value in values):
        raise _damaged("a message has bytes in place of a number")
    return int(values[-1]) if values else 0


def _messages(fields: list[tuple[int, int | bytes]], number: int) -> list[bytes]:
    """The messages in a field."""
    messages = [value for key, value in fields if key == number]
    if not all(isinstance(message, bytes) for message in messages):
        raise _damaged("a message has a number in place of bytes")
    return [message for message in messages if isinstance(message, bytes)]


def _check(data: bytes | memoryview, masked: int) -> None:
    """Raises an error unless the data have this CRC-32C, which is stored rotated and shifted."""
    checksum = crc32c(data)
    rotated = (checksum >> 15 | checksum << 17) & 0xFFFFFFFF
    if (rotated + _MASK) & 0xFFFFFFFF != masked:
        raise _damaged("its checksum is wrong")


def _damaged(reason: str) -> ValueError:
    return ValueError(f"is damaged ({reason}); copy it again")
