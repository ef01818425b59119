"""Headers of audio files: where the sound is, and how long the header declares it to be.

libsndfile does not report a file that was cut short: it reads it as a shorter sound. If a header
declares a length of zero, because it was never completed, libsndfile reads no sound at all.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ddspx.io._parts import Part, Pieces, Reader, Source

# A length in a WAV header from this value on means "unknown": SoX, FFmpeg and arecord write such
# values when they write into a pipe.
_UNKNOWN_LENGTH = 0x7FFFF000
_NO_LENGTH = (
    "does not say how long it is, which happens if a recorder was stopped or wrote into a pipe; "
    "it is read to its end"
)
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


class _Chunks(NamedTuple):
    """The layout of a file format that consists of chunks.

    Attributes:
      first: position of the first chunk.
      length: format of a chunk's length, for `struct`.
      sounds: names of the chunks that hold sound, and how many other bytes they hold.
      id_bytes: size of a chunk's name, in bytes.
      counts_itself: whether a chunk's length includes its name and length fields.
      align: chunks begin at multiples of this number of bytes.
    """

    first: int
    length: str
    sounds: dict[bytes, int]
    id_bytes: int = 4
    counts_itself: bool = False
    align: int = 2

    @property
    def header(self) -> int:
        return self.id_bytes + struct.calcsize(self.length)

    def after(self, body: int, length: int) -> int:
        """Position of the next chunk, after a body at `body` of `length` bytes."""
        end = body + max(length, 0)
        return end + -end % self.align


_CHUNKS = {
    **dict.fromkeys((b"RIFF", b"RF64", b"BW64"), _Chunks(12, "<I", {b"data": 0})),
    b"RIFX": _Chunks(12, ">I", {b"data": 0}),
    b"FORM": _Chunks(12, ">I", {b"SSND": 8, b"BODY": 0}),
    b"caff": _Chunks(8, ">q", {b"data": 4}, align=1),
    b"riff": _Chunks(40, "<q", {_W64_DATA: 0}, id_bytes=16, counts_itself=True, align=8),
}


class _Length(NamedTuple):
    """A length field in a file: its position, `struct` format and value."""

    at: int
    form: str
    value: int


def _chunked(source: Source, start: int) -> Iterator[Part]:
    """WAV, RF64, W64, AIFF, CAF, and Amiga's SVX."""
    layout, wide = _CHUNKS[source.at(start, 4)], None
    for name, body, length in _chunks(source, start, start + layout.first):
        if name == b"ds64":
            wide = _Length(body + 8, "<Q", *source.numbers("<Q", body + 8))
        elif name in layout.sounds:
            declared = _Length(body - struct.calcsize(layout.length), layout.length, length)
            if wide is not None and length == 0xFFFFFFFF:
                declared = wide
            yield _sound_part(source, start, body, declared, layout.sounds[name])
            return
    # The file is cut before its sound. libsndfile raises an error for it.
    yield _whole(source, start)


def _chunks(source: Source, start: int, first: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields the name of each chunk, and the position and length of its body."""
    magic = source.at(start, 4)
    layout = _CHUNKS[magic]
    while first + layout.header <= source.size:
        name = source.at(first, layout.id_bytes)
        if name[:4] == magic or not name[:4].isascii() or not name[:4].decode().isprintable():
            return
        (length,) = source.numbers(layout.length, first + layout.id_bytes)
        length -= layout.header if layout.counts_itself else 0
        yield name, first + layout.header, length
        first = layout.after(first + layout.header, length)


def _end_of_chunks(source: Source, start: int, first: int) -> int:
    for _, body, length in _chunks(source, start, first):
        first = _CHUNKS[source.at(start, 4)].after(body, length)
    return first


def _sound_part(source: Source, start: int, body: int, declared: _Length, other_bytes: int) -> Part:
    """The part whose chunk of sound has its body at `body`."""
    magic = source.at(start, 4)
    layout, available, length = _CHUNKS[magic], source.size - body, declared.value
    is_unknown = length < 0 or length > 2**63
    if declared.form[1] == "I":
        is_unknown |= length >= _UNKNOWN_LENGTH and length > available
    end = _end_of_chunks(source, start, layout.after(body, length))
    if length <= other_bytes < available:
        # The declared sound is empty. If neither a chunk nor another file follows it, the bytes
        # that follow are sound, and the length was never filled in.
        is_unknown |= end < source.size and source.at(end, 4) != magic
    if is_unknown:
        pieces = _with_length(source, start, declared, available)
        return Part(pieces, source.size, note=_NO_LENGTH)
    # The length field of a WAV file has 32 bits. If at least 2**32 more bytes follow, the writer's
    # count has overflowed.
    if magic == b"RIFF" and available - length >= 2**32:
        length += (available - length) >> 32 << 32
        note = "is longer than the header of a WAV file can say; it is read to its end"
        return Part(_with_length(source, start, declared, length), source.size, note=note)
    end = min(end, source.size)
    return Part((range(start, end),), end, missing=max(0, length - available))


def _with_length(source: Source, start: int, declared: _Length, length: int) -> Pieces:
    """The file from `start` on, with the length field of its sound replaced."""
    magic = source.at(start, 4)
    layout, n_bytes = _CHUNKS[magic], struct.calcsize(declared.form)
    before, behind = range(start, declared.at), range(declared.at + n_bytes, source.size)
    length += layout.header if layout.counts_itself else 0
    if length < 2 ** (8 * n_bytes):
        return before, struct.pack(declared.form, length), behind
    if magic != b"RIFF":
        return before, b"\xff" * n_bytes, behind
    # The length needs 64 bits: present the file as RF64.
    wide = struct.pack("<4sIQQQI", b"ds64", 28, source.size - start + 28, length, 0, 0)
    return (
        b"RF64\xff\xff\xff\xffWAVE" + wide,
        range(start + layout.first, declared.at),
        b"\xff\xff\xff\xff",
        behind,
    )


def _au(source: Source, start: int) -> Iterator[Part]:
    form = ">II" if source.at(start, 4) == b".snd" else "<II"
    offset, length = source.numbers(form, start + 4)
    available = source.size - start - offset
    if length == 0xFFFFFFFF or length == 0 < available:
        # libsndfile reads to the end for a length of 0xFFFFFFFF, but not for one of 0.
        pieces = range(start, start + 8), b"\xff\xff\xff\xff", range(start + 12, source.size)
        yield Part(pieces, source.size, note=_NO_LENGTH)
    else:
        end = min(start + offset + length, source.size)
        yield Part((range(start, end),), end, missing=max(0, length - available))


def _voc(source: Source, start: int) -> Iterator[Part]:
    head = start + source.numbers("<H", start + 20)[0]
    while head + 4 <= source.size:
        kind, low, high = source.numbers("<BHB", head)
        length = low | high << 16
        if kind == 0:
            head += 1
            break
        if kind in (1, 2, 9) and not length:
            yield _whole(source, start)._replace(note=_NO_LENGTH)
            return
        head += 4 + length
    # The terminating block is a single byte of 0; a file without it counts as complete.
    yield _of_length(source, start, head - start)


def _nist(source: Source, start: int) -> Iterator[Part]:
    words = [line.split() for line in source.at(start, 1024).split(b"end_head")[0].split(b"\n")]
    numbers = {of[0]: int(of[2]) for of in words if len(of) == 3 and of[2].isdigit()}
    sizes = (b"channel_count", b"sample_n_bytes", b"sample_count")
    n_bytes = 1
    for name in sizes:
        n_bytes *= numbers.get(name, 0)
    head = source.at(start + 8, 8).strip()
    if n_bytes and head.isdigit():
        yield _of_length(source, start, int(head) + n_bytes)
    else:
        yield _whole(source, start)._replace(note=_NO_LENGTH)


def _avr(source: Source, start: int) -> Iterator[Part]:
    stereo, bits = source.numbers(">hh", start + 12)
    (count,) = source.numbers(">I", start + 26)
    yield _of_length(source, start, 128 + count * (2 if stereo else 1) * (bits // 8))


def _mpc2k(source: Source, start: int) -> Iterator[Part]:
    (stereo,), (count,) = source.numbers("<B", start + 21), source.numbers("<I", start + 30)
    yield _of_length(source, start, 42 + 2 * count * (2 if stereo else 1))


def _wve(source: Source, start: int) -> Iterator[Part]:
    yield _of_length(source, start, 32 + source.numbers(">I", start + 18)[0])


def _xi(source: Source, start: int) -> Iterator[Part]:
    (count,) = source.numbers("<H", start + 296)
    length = sum(source.numbers("<I", start + 298 + 40 * i)[0] for i in range(min(count, 16)))
    # libsndfile itself writes these files without a length.
    part = _of_length(source, start, 298 + 40 * count + length)
    yield part if length else _whole(source, start)._replace(note=_NO_LENGTH)


def _sds(source: Source, start: int) -> Iterator[Part]:
    """MIDI sample dump: packets of 120 data bytes with 7 other bytes; each byte holds 7 bits."""
    (bits,), (low, middle, high) = source.numbers("B", start + 6), source.numbers("3B", start + 10)
    count, in_packet = low | middle << 7 | high << 14, 120 // max(2, -(-bits // 7))
    yield _of_length(source, start, 21 + 127 * -(-count // in_packet))


def _mat4(source: Source, start: int) -> Iterator[Part]:
    form, head = ("<5I" if source.at(start, 4) == bytes(4) else ">5I"), start
    while head + 20 <= source.size:
        kind, rows, columns, _, name = source.numbers(form, head)
        head += 20 + name + rows * columns * {0: 8, 1: 4, 2: 4, 3: 2, 4: 2}.get(kind // 10 % 10, 1)
    yield _of_length(source, start, head - start)


def _mat5(source: Source, start: int) -> Iterator[Part]:
    form = "<II" if source.at(start + 126, 2) == b"IM" else ">II"
    body = head = start + 128
    while head + 8 <= source.size:
        body, head = head + 8, head + 8 + source.numbers(form, head)[1]
    # libsndfile itself writes a last length that includes its own header of eight bytes.
    yield _of_length(source, start, max(body, head - 8) - start)


def _endless(source: Source, start: int) -> Iterator[Part]:
    note = "has a format without a length, so it cannot be checked whether the file is complete"
    yield _whole(source, start)._replace(note=note)


def _whole(source: Source, start: int) -> Part:
    return Part((range(start, source.size),), source.size)


def _of_length(source: Source, start: int, length: int) -> Part:
    end = min(start + length, source.size)
    return Part((range(start, end),), end, missing=start + length - end)


# The reader of each format, by the first bytes of a file.
HEADERS: dict[bytes, Reader] = {
    **dict.fromkeys(_CHUNKS, _chunked),
    **dict.fromkeys((b".snd", b"dns."), _au),
    b"Creative Voice File": _voc,
    b"NIST_1A": _nist,
    b"2BIT": _avr,
    b"\x01\x04": _mpc2k,
    b"ALawSoundFile": _wve,
    b"Extended Instrument": _xi,
    b"\xf0\x7e": _sds,
    **dict.fromkeys((bytes(4) + b"\1\0\0\0", b"\0\0\3\xe8\0\0\0\1"), _mat4),
    b"MATLAB": _mat5,
    # IRCAM, PAF and PVF.
    **dict.fromkeys((b"\x64\xa3", b"\0\1\xa3\x64", b"\0\2\xa3\x64", b"\0\3\xa3\x64"), _endless),
    **dict.fromkeys((b" paf", b"fap ", b"PVF1"), _endless),
}
