"""Tests of reading TensorFlow's checkpoint files: checksums, tensors, and what is refused."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers import noise

from ddspx.io import _crc32c
from ddspx.io._crc32c import crc32c
from ddspx.io._tf_bundle import BundleEntry, bundle_tensor, read_bundle_index

PIANO = Path(os.environ.get("DDSPX_TEST_DATA", "/"), "published_models", "ddsp_piano_dafx22")
MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)


def masked(data):
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number, value):
    if isinstance(value, bytes):
        return varint(number * 8 + 2) + varint(len(value)) + value
    return varint(number * 8) + varint(value)


def entry(array, offset, *, shard=0, dtype=1, extra=b""):
    data = array.tobytes()
    shape = b"".join(field(2, field(1, n)) for n in array.shape)
    checksum = varint(6 * 8 + 5) + struct.pack("<I", masked(data))
    place = field(3, shard) + field(4, offset) + field(5, len(data))
    return field(1, dtype) + field(2, shape) + place + checksum + extra


def block(pairs, compression=0):
    """A block of a table, whose keys share what they begin with."""
    content, before = b"", b""
    for key, value in pairs:
        shared = max(i for i in range(len(before) + 1) if key.startswith(before[:i]))
        content += varint(shared) + varint(len(key) - shared) + varint(len(value))
        content += key[shared:] + value
        before = key
    return sealed(content + struct.pack("<II", 0, 1), compression)


def sealed(content, compression=0):
    kind = bytes([compression])
    return content + kind + struct.pack("<I", masked(content + kind))


def table(*blocks, times=1):
    """A file of blocks, with a block of their places, each of which is named some times."""
    content, places = b"", []
    for data in blocks:
        for _ in range(times):
            places.append((b"~%d" % len(places), varint(len(content)) + varint(len(data) - 5)))
        content += data
    index = block(places)
    handles = varint(0) + varint(0) + varint(len(content)) + varint(len(index) - 5)
    return content + index + handles.ljust(40, b"\0") + MAGIC


HEADER = field(1, 1)
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_checksums():
    # RFC 3720, appendix B.4, and the usual check value.
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"") == 0
    # Many bytes are cut into columns, few are not.
    data = (noise(17_000) * 50).astype(np.int8).tobytes()
    for n in (1, 3, 1020, 4091, 4095, 4096, 4097, 8187, 8188, 8189, 9000, 16_380, 16_381, 17_000):
        register = 0xFFFFFFFF
        for byte in data[:n]:
            register ^= byte
            for _ in range(8):
                register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
        assert crc32c(data[:n]) == register ^ 0xFFFFFFFF


class Counted:
    """A table that counts how often it is read."""

    def __init__(self, table):
        self.table, self.count = table, 0

    def __getitem__(self, index):
        self.count += 1
        return self.table[index]


def test_a_megabyte_takes_a_thousand_steps(monkeypatch):
    array, ints = Counted(_crc32c._TABLE), Counted(_crc32c._INTS)
    monkeypatch.setattr(_crc32c, "_TABLE", array)
    monkeypatch.setattr(_crc32c, "_INTS", ints)
    crc32c(bytes(2**20))
    assert array.count <= 2**10 + 1 and not ints.count
    array.count = 0
    crc32c(bytes(4))
    assert ints.count == 4 and not array.count


def test_tensors_of_several_blocks_and_shards():
    other = np.array([[True], [False]])
    first = block([(b"", field(1, 2)), (b"model/a/bias", entry(ARRAY, 3))])
    second = block([(b"model/a/kernel", entry(other, 0, shard=1, dtype=10)), (b"z", b"")])
    index = read_bundle_index(table(first, second))
    assert index.n_shards == 2 and list(index.entries) == ["model/a/bias", "model/a/kernel", "z"]
    found = bundle_tensor(index.entries["model/a/bias"], b"xyz" + ARRAY.tobytes() + b"x")
    np.testing.assert_array_equal(found, ARRAY)
    assert found.dtype == np.float32 and found.flags.writeable
    second = index.entries["model/a/kernel"]
    assert second.shard == 1
    np.testing.assert_array_equal(bundle_tensor(second, other.tobytes()), other)


def index_of(*pairs, header=HEADER, compression=0):
    return table(block([(b"", header), *pairs], compression))


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        (b"", "is not the index"),
        (index_of()[:-1], "is not the index"),
        (bytes(40) + MAGIC, "lies outside of the file|too short"),
        (index_of(compression=1), "is compressed"),
        (index_of(header=field(1, 1) + field(2, 1)), "big-endian"),
        (index_of(header=field(1, 0)), "names 0 data files"),
        (index_of(header=field(1, b"x")), "bytes in place of a number"),
        (table(block([(b"a", HEADER)])), "without a header"),
        (index_of((b"b", b""), (b"a", b"")), "not sorted"),
        (index_of((b"a", b"\x0b")), "not protobuf"),
        (index_of((b"a", field(1, 1)[:1])), "ends outside"),
        (index_of((b"a", b"\x08" + b"\xff" * 11)), "number is too long"),
        (index_of((b"a", field(2, field(2, 7)))), "number in place of bytes"),
        (index_of((b"a", field(2, field(2, field(1, 2)) * 9))), "has 9 dimensions"),
        (table(b"\x05\x01\x00a" + block([])), "checksum is wrong"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_index_that_cannot_be_read_is_refused(index, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_bundle_index(index)


def bomb(kind):
    """An index that is small, or that needs little time for each entry, but not for all."""
    header = varint(0) + varint(0) + varint(len(HEADER)) + HEADER
    match kind:
        case "prefixes":
            keys = b"".join(varint(i) + varint(1) + varint(0) + b"a" for i in range(2000))
            return table(sealed(header + keys + struct.pack("<I", 0)))
        case "long key":
            return index_of((b"a" * 1025, b""))
        case "entries":
            keys = b"".join(b"\0\5\0%05d" % i for i in range(10_001))
            return table(sealed(header + keys + struct.pack("<I", 0)))
        case "one block":
            return table(sealed(bytes(4000) + struct.pack("<I", 1000)), times=300)
        case "fields":
            return index_of((b"a", field(2, b"") * 1001))
        case "axes beside 0":
            axes = b"".join(field(2, field(1, n)) for n in (0, 2**39, 2**39))
            return index_of((b"a", field(2, axes)))


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("prefixes", "a key is longer than 1024 bytes"),
        ("long key", "a key is longer than 1024 bytes"),
        ("entries", "more than 10000 tensors"),
        ("one block", "its blocks overlap"),
        ("fields", "more than 1000 fields"),
        ("axes beside 0", "3 dimensions, or they are too large"),
    ],
)
def test_an_index_that_grows_is_refused(kind, sentence):
    index = bomb(kind)
    assert len(index) < 100_000
    with pytest.raises(ValueError, match=sentence):
        read_bundle_index(index)


def test_many_empty_strings_are_refused():
    strings = BundleEntry(7, (20_000,), 0, 0, 30_000, 0, False)
    with pytest.raises(ValueError, match="has 20000 strings"):
        bundle_tensor(strings, bytes(30_000))


def test_a_block_that_contradicts_itself_is_refused():
    for content in (b"\x05\x01\x00a", b"\x00\x09\x00a", struct.pack("<I", 99)):
        content = content if len(content) == 4 and content[0] == 99 else content + bytes(8)
        damaged = content[:-4] + struct.pack("<I", 1) if len(content) > 4 else content
        data = damaged + b"\0" + struct.pack("<I", masked(damaged + b"\0"))
        with pytest.raises(ValueError, match=r"is damaged \((a key|a value|a block)"):
            read_bundle_index(table(data))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (entry(ARRAY, 1), "ends at byte 25 of a data file of 24"),
        (entry(ARRAY + 1, 0), "checksum is wrong"),
        (entry(ARRAY.ravel()[:5], 0, dtype=2), "does not fit its 20 bytes"),
        (entry(ARRAY, 0, dtype=14), "has the type 14"),
        (entry(ARRAY, 0, extra=field(7, b"")), "in several slices"),
        (entry(ARRAY, 0, dtype=7), "checksum is wrong|ends outside"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tensor_that_cannot_be_read_is_refused(value, sentence):
    index = read_bundle_index(index_of((b"a", value)))
    with pytest.raises(ValueError, match=sentence):
        bundle_tensor(index.entries["a"], ARRAY.tobytes())


@pytest.mark.skipif(not PIANO.is_dir(), reason="needs the published models of DDSPX_TEST_DATA")
def test_every_tensor_of_a_published_checkpoint():
    index = read_bundle_index((PIANO / "ckpt-0.index").read_bytes())
    shard = (PIANO / "ckpt-0.data-00000-of-00001").read_bytes()
    tensors = {key: bundle_tensor(entry, shard) for key, entry in index.entries.items()}
    assert len(tensors) == 35 and sum(e.n_bytes for e in index.entries.values()) == len(shard)
    (graph,) = tensors.pop("_CHECKPOINTABLE_OBJECT_GRAPH")
    assert b"monophonic_network" in graph
    name = "model/reverb_model/reverb_dict/layer_with_weights-0/embeddings"
    reverbs = tensors[f"{name}/.ATTRIBUTES/VARIABLE_VALUE"]
    assert reverbs.shape == (10, 24_000) and all(np.isfinite(x).all() for x in tensors.values())
