"""Parts of audio files, decoded by libsndfile; imported where something is decoded.

What is decoded is only ever read on: soundfile else seeks after each block, which some decoders
cannot, and others do in a wrong place.
"""

import math
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ddspx.io._files import native_name
from ddspx.io._parts import Part, View

# soundfile's number for a length that is not known.
_NOT_KNOWN = 1 << 62
# What libmpg123 prints.
_OF_MPG123 = re.compile(rb"^(\[\S*libmpg123|(Warning|Note|warning|note): )")


class Decoder(soundfile.SoundFile):
    """A part of a file that is read from its start to its end, once."""

    def seekable(self) -> bool:
        """No."""
        return False

    @property
    def promised(self) -> int | None:
        """Samples of each channel that the part says it has, or None."""
        return self.frames if self.frames < _NOT_KNOWN else None


@contextmanager
def decoder(path: Path, part: Part, complaints: list[str]) -> Iterator[Decoder]:
    """Opens a part of a file.

    Args:
      path: the file.
      part: of it.
      complaints: gets what libmpg123 says of it on the process's stderr, where it does not appear.

    Yields:
      What reads it, in a ``with`` block.

    Raises:
      soundfile.SoundFileError: it is no audio that libsndfile knows.
      TypeError: the suffix is .raw, and soundfile needs to be told what it holds.
    """
    with ExitStack() as stack:
        source: Any = native_name(path)
        if part.pieces:
            source = View(stack.enter_context(path.open("rb")), part.pieces)
        with _quiet(part.is_mpeg, complaints):
            opened = stack.enter_context(Decoder(source))
        yield opened


def decoded(
    path: Path, part: Part, complaints: list[str], n_samples: int | None = None
) -> Iterator[tuple[np.ndarray, Decoder]]:
    """Blocks (samples, channels) of float32, each with what read it.

    Args:
      path: the file.
      part: of it.
      complaints: as of `decoder`.
      n_samples: of a block; by default those of a second.
    """
    with decoder(path, part, complaints) as file:
        # Behind what is promised are tags, at which a decoder of FLAC stumbles.
        left = math.inf if part.is_mpeg or file.promised is None else file.promised
        while left > 0:
            wanted = min(n_samples or file.samplerate, left)
            with _quiet(part.is_mpeg, complaints):
                block = file.read(int(wanted), dtype="float32", always_2d=True)
            if not len(block):
                return
            left -= len(block)
            yield block, file


_QUIET = threading.Lock()


@contextmanager
def _quiet(is_mpeg: bool, complaints: list[str]) -> Iterator[None]:
    """Keeps what libmpg123 prints off stderr, for which libsndfile has no option.

    It writes to descriptor 2, which is the whole process's: what others write meanwhile comes
    right after, and no two threads decode MPEG at once.
    """
    if not is_mpeg:
        yield
        return
    with _QUIET, tempfile.TemporaryFile() as held:
        kept = _lead_stderr_to(held.fileno())
        try:
            yield
        finally:
            if kept is not None:
                _flush()
                os.dup2(kept, 2)
                os.close(kept)
                held.seek(0)
                complaints += _told_apart(held.read())


def _lead_stderr_to(descriptor: int) -> int | None:
    """Descriptor 2 as it was, or None where there is none."""
    _flush()
    try:
        kept = os.dup(2)
    except OSError:
        return None
    os.dup2(descriptor, 2)
    return kept


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def _told_apart(written: bytes) -> list[str]:
    """What libmpg123 said; the rest goes on to stderr."""
    lines = [line for line in written.splitlines(keepends=True) if line.strip()]
    others = [line for line in lines if not _OF_MPG123.match(line)]
    if others:
        os.write(2, b"".join(others))
    return [line.decode("utf-8", "replace").strip() for line in lines if line not in others]
