"""The parts that a file of audio has: found by its headers, without decoding."""

from collections.abc import Iterator

from ddspx.io._headers import HEADERS
from ddspx.io._parts import Part, Reader, Source
from ddspx.io._streams import STREAMS, behind_id3, is_mpeg, mpeg_parts

_READERS = HEADERS | STREAMS
# More than anybody joins, and less than a file of headers alone could keep us busy with.
_MOST_PARTS = 10_000


def parts_of(source: Source) -> list[Part]:
    """What a file is made of: one part, or several where files were joined.

    A file that does not begin like one that is known here is one part without pieces: it is for
    libsndfile to recognize, which has other ways, such as its name.
    """
    parts: list[Part] = []
    for part in _parts(source):
        parts.append(part)
        if len(parts) == _MOST_PARTS:
            break
    return parts or [Part((), source.size, is_mpeg=True)]


def _parts(source: Source) -> Iterator[Part]:
    place, end = behind_id3(source, 0), 0
    while (reader := _reader(source, place)) is not None:
        for part in reader(source, place):
            yield part
            end = part.end
        if end <= place or end >= source.size:
            return
        place = behind_id3(source, end)


def _reader(source: Source, start: int) -> Reader | None:
    head = source.at(start, 24)
    for magic, reader in _READERS.items():
        if head.startswith(magic):
            return reader
    return mpeg_parts if is_mpeg(source, start) else None
