"""The parts of an audio file, found from its headers without decoding."""

from collections.abc import Iterator

from ddspx.io._headers import HEADERS
from ddspx.io._parts import Part, Reader, Source
from ddspx.io._streams import STREAMS, is_mpeg, mpeg_parts, skip_id3

_READERS = HEADERS | STREAMS
# More parts than any real file has. Without a limit, a file that consists of headers only would
# keep the reader busy for a long time.
_MOST_PARTS = 10_000


def parts_of(source: Source) -> list[Part]:
    """The parts of a file: one, or several if files were joined to it.

    A file whose first bytes match no format here is returned as one part without pieces. libsndfile
    then opens it by itself, because it may recognize the file in other ways, such as by its name.
    """
    parts: list[Part] = []
    for part in _parts(source):
        parts.append(part)
        if len(parts) == _MOST_PARTS:
            break
    return parts or [Part((), source.size, is_mpeg=True)]


def _parts(source: Source) -> Iterator[Part]:
    place, end = skip_id3(source, 0), 0
    while (reader := _reader(source, place)) is not None:
        for part in reader(source, place):
            yield part
            end = part.end
        if end <= place or end >= source.size:
            return
        place = skip_id3(source, end)


def _reader(source: Source, start: int) -> Reader | None:
    head = source.at(start, 24)
    for magic, reader in _READERS.items():
        if head.startswith(magic):
            return reader
    return mpeg_parts if is_mpeg(source, start) else None
