"""Ogg, MPEG and FLAC: formats in which files can be joined by appending one to another.

The decoders in libsndfile stop after the first of the joined files.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from ddspx.io._parts import Part, Reader, Source

_OGG_CODECS = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
_NO_END = "has no mark of its end, so it was probably cut short; it is read as far as it goes"
_PAGE, _FLAC = re.compile(b"OggS"), re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_SYNC = re.compile(rb"\xff[\xe2-\xff]")

# Bit rates in kbit/s by version (0 means 2.5, 2 means 2, 3 means 1) and layer (3 means I, 2 means
# II, 1 means III), as the fields of a frame's header encode them.
_KBITS = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
# Runs of fewer frames are miscounted ends of the run before: some encoders include the header's own
# frame in the count and some do not, and some are wrong by one more.
_FEW_FRAMES = 3
# Limits that no real file reaches: ID3 tags in front of a sound, FLAC metadata blocks, and cuts in
# an Ogg file. Without them, a crafted file could keep the reader busy for a long time.
_MOST_TAGS, _MOST_BLOCKS, _MOST_CUTS = 16, 1024, 1024


def _ogg(source: Source, start: int) -> Iterator[Part]:
    """Yields the links of an Ogg chain; from multiplexed streams, only the first that is sound."""
    link = _Link(start)
    place, n_cuts = start, 0
    while (place := source.find(_PAGE, place)) >= 0:
        head = source.at(place, 27)
        table = source.at(place + 27, head[26]) if len(head) == 27 else b""
        end = place + len(head) + len(table) + sum(table)
        if end > source.size or source.at(end, 4) not in (b"OggS", b""):
            # The page is cut short if another page begins inside it.
            inner = source.find(_PAGE, place + 4)
            if 0 <= inner < end and n_cuts < _MOST_CUTS:
                place, n_cuts = inner, n_cuts + 1
                continue
        if len(head) < 27 or len(table) < head[26] or end > source.size:
            break
        kind, serial = head[5], head[14:18]
        if kind & 2 and link.has_data:
            yield link.part(place)
            link = _Link(place)
        if kind & 2:
            is_sound = source.at(place + 27 + len(table), 8).startswith(_OGG_CODECS)
            link.codecs[serial] = is_sound
        else:
            link.has_data = True
        link.ended |= bool(kind & 4)
        link.pages.append((serial, range(place, end)))
        place = end
    yield link.part(source.size)


class _Link:
    """One link of an Ogg chain: the streams that begin together."""

    def __init__(self, start: int) -> None:
        self.start, self.has_data, self.ended = start, False, False
        self.codecs: dict[bytes, bool] = {}
        self.pages: list[tuple[bytes, range]] = []

    def part(self, end: int) -> Part:
        sounds = [serial for serial, is_sound in self.codecs.items() if is_sound]
        # The bytes after the last page are left out, because a decoder may fail on them.
        pieces = [range(self.start, self.pages[-1][1].stop if self.pages else end)]
        notes = [] if self.ended else [_NO_END]
        if len(self.codecs) > 1 and sounds:
            pieces = [page for serial, page in self.pages if serial == sounds[0]]
        if len(sounds) > 1:
            notes.append(f"holds {len(sounds)} simultaneous streams, of which the first is read")
        return Part(tuple(_joined(pieces)), end, note=" and ".join(notes))


def _joined(pieces: list[range]) -> list[range]:
    """The same ranges, with adjacent ones merged."""
    joined = pieces[:1]
    for piece in pieces[1:]:
        if piece.start == joined[-1].stop:
            joined[-1] = range(joined[-1].start, piece.stop)
        else:
            joined.append(piece)
    return joined


def _flac(source: Source, start: int) -> Iterator[Part]:
    while start >= 0:
        following = source.find(_FLAC, _behind_blocks(source, start))
        end = source.size if following < 0 else following
        # An ID3v1 tag is left out: the decoder fails on it if the length of the sound is unknown.
        is_tagged = source.at(max(start, end - 128), 3) == b"TAG"
        yield Part((range(start, end - 128 if is_tagged else end),), end)
        start = following


def _behind_blocks(source: Source, start: int) -> int:
    """Position after the metadata blocks, such as pictures, which may hold any bytes."""
    place = start + 4
    for _ in range(_MOST_BLOCKS):
        head = source.at(place, 4)
        place += 4 + int.from_bytes(head[1:], "big")
        if len(head) < 4 or head[0] & 128:
            break
    return place


class _Frame(NamedTuple):
    """The header of a frame of MPEG audio.

    Attributes:
      length: length of the frame, in bytes.
      kind: version, layer, sample rate and channels, which a decoder requires to stay the same.
      count_at: offset of the frame count, in a frame that holds a count instead of sound.
    """

    length: int
    kind: int
    count_at: int


def _frame(head: bytes) -> _Frame | None:
    """Parses a frame header of four bytes; None if the bytes are not one."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer, rate, kbits = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3, head[2] >> 4
    # Bit rate index 0 means "free": the length would follow only from the position of the next
    # frame.
    if version == 1 or layer == 0 or rate == 3 or not 0 < kbits < 15:
        return None
    hz = _MPEG_RATES[version][rate]
    table = _KBITS[3, layer] if version == 3 else _KBITS[2, 3 if layer == 3 else 2]
    n_samples = {3: 384, 2: 1152, 1: 1152 if version == 3 else 576}[layer]
    slot = 4 if layer == 3 else 1
    n_slots = n_samples // 8 * 1000 * table[kbits - 1] // (hz * slot) + (head[2] >> 1 & 1)
    n_channels = 1 if head[3] >> 6 == 3 else 2
    kind = version << 5 | layer << 3 | rate << 1 | n_channels - 1
    # The count comes after the header and the side information of layer III.
    count_at = {(True, 2): 36, (True, 1): 21, (False, 2): 21, (False, 1): 13}
    return _Frame(n_slots * slot, kind, count_at[version == 3, n_channels])


class _Run:
    """Consecutive frames of one kind, which make one part.

    Args:
      head: bytes of the first frame's header.
      frame: the parsed header.
      declared: number of frames that the first frame declares, or None if it holds no count.
    """

    def __init__(self, head: bytes, frame: _Frame, declared: int | None) -> None:
        self.head, self.kind, self.declared = head, frame.kind, declared
        # A frame with a count does not count itself.
        self.n_frames = 0 if declared is None else -1
        self.pieces: list[range] = []

    def add(self, place: int, length: int) -> None:
        self.n_frames += 1
        self.pieces[-1:] = _joined([*self.pieces[-1:], range(place, place + length)])

    def continues_with(self, frame: _Frame) -> bool:
        """Whether a frame continues the run: it is of the same kind, and the run is not full."""
        return frame.kind == self.kind and self.n_frames != self.declared

    def part(self) -> Part:
        lead = [] if self.declared is not None else [_counting_frame(self.head, self.n_frames)]
        return Part((*lead, *self.pieces), self.pieces[-1].stop, is_mpeg=True)


def _counting_frame(head: bytes, n_frames: int) -> bytes:
    """A frame that holds the number of frames; else libsndfile guesses it from the first's size."""
    # The bit rate is set so that the count fits into the frame, which gets no checksum. Decoders
    # look for a count in layer III only.
    head = bytes((head[0], head[1] | 1, head[2] & 0x0C | 9 << 4, head[3]))
    frame = _frame(head)
    if frame is None or head[1] >> 1 & 3 != 1:
        return b""
    count = b"Xing" + (1).to_bytes(4, "big") + n_frames.to_bytes(4, "big")
    return (head.ljust(frame.count_at, b"\0") + count).ljust(frame.length, b"\0")


def _mpeg(source: Source, start: int) -> Iterator[Part]:
    """Yields the runs of frames, without tags and other data between them."""
    runs: list[_Run] = []
    place = start
    while place < source.size:
        head = source.at(place, 60)
        frame = _frame(head)
        if frame is None:
            place = _next_frame(source, place)
            continue
        if place + frame.length > source.size:
            break
        declared = _declared_frames(head, frame)
        if not runs or declared is not None or not runs[-1].continues_with(frame):
            runs.append(_Run(head, frame, declared))
        runs[-1].add(place, frame.length)
        place += frame.length
    runs = _without_ends(runs)
    if not runs:
        yield Part((range(start, source.size),), source.size, is_mpeg=True)
    for run in runs[:-1]:
        yield run.part()
    for run in runs[-1:]:
        yield run.part()._replace(end=source.size)


def _without_ends(runs: list[_Run]) -> list[_Run]:
    """Drops runs of a few frames: a miscounted end of the run before, or bytes like a header."""
    kept = [run for run in runs if run.n_frames >= _FEW_FRAMES or run.declared is not None]
    return kept or runs[:1]


def _declared_frames(frame_bytes: bytes, frame: _Frame) -> int | None:
    """Number of frames that follow, if this frame holds it instead of sound; else None."""
    at = frame.count_at
    if frame_bytes[at : at + 4] in (b"Xing", b"Info") and frame_bytes[at + 7] & 1:
        return int.from_bytes(frame_bytes[at + 8 : at + 12], "big")
    if frame_bytes[36:40] == b"VBRI":
        return int.from_bytes(frame_bytes[50:54], "big")
    return None


def _next_frame(source: Source, place: int) -> int:
    """Position of the next frame: after an ID3 tag, or where two matching headers follow."""
    if source.at(place, 3) == b"ID3":
        return skip_id3(source, place)
    while (place := source.find(_SYNC, place + 1)) >= 0:
        frame = _frame(source.at(place, 4))
        after = frame and _frame(source.at(place + frame.length, 4))
        if frame and after and after.kind == frame.kind:
            return place
    return source.size


def skip_id3(source: Source, start: int) -> int:
    """Position after the ID3 tags that begin at `start`; `start` itself if there are none."""
    for _ in range(_MOST_TAGS):
        head = source.at(start, 10)
        if len(head) < 10 or not head.startswith(b"ID3"):
            break
        length = 0
        for byte in head[6:]:
            length = length << 7 | byte & 127
        # A footer, if flagged, has the size of the header.
        start += length + (20 if head[5] & 16 else 10)
    return start


def is_mpeg(source: Source, start: int) -> bool:
    """Whether a frame of MPEG audio begins at a position."""
    return _frame(source.at(start, 4)) is not None


STREAMS: dict[bytes, Reader] = {b"OggS": _ogg, b"fLaC": _flac}
mpeg_parts: Reader = _mpeg
