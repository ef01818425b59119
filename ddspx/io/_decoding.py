"""Decoding parts of audio files by libsndfile; imported only when something is decoded.

Parts are only read forward. By default soundfile seeks after each block, which some decoders cannot
do and others do inexactly.
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

# soundfile reports an unknown length as a number this large or larger.
_UNKNOWN_LENGTH = 1 << 62
# Beginnings of the lines that libmpg123 prints.
_MPG123_LINE = re.compile(rb"^(\[\S*libmpg123|(Warning|Note|warning|note): )")


class Decoder(soundfile.SoundFile):
    """A part of a file that is read once, from its start to its end."""

    def seekable(self) -> bool:
        """False, so that soundfile does not seek after each block."""
        return False

    @property
    def declared_samples(self) -> int | None:
        """Number of samples per channel that the part's header declares, or None if unknown."""
        return self.frames if self.frames < _UNKNOWN_LENGTH else None


@contextmanager
def decoder(path: Path, part: Part, complaints: list[str]) -> Iterator[Decoder]:
    """Opens a part of a file.

    Args:
      path: the file.
      part: the part to open.
      complaints: list to which the messages of libmpg123 are appended. They do not appear on
        stderr, where libmpg123 prints them.

    Yields:
      The decoder of the part, open within the ``with`` block.

    Raises:
      soundfile.SoundFileError: libsndfile does not recognize the part as audio.
      TypeError: the suffix is .raw, for which soundfile requires the format as arguments.
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
    """Yields blocks (samples, channels) of float32, each with its decoder.

    Args:
      path: the file.
      part: the part to decode.
      complaints: as in `decoder`.
      n_samples: samples in a block; by default as many as one second has.
    """
    with decoder(path, part, complaints) as file:
        # Reading stops at the declared length: tags may follow, at which the FLAC decoder fails.
        declared = None if part.is_mpeg else file.declared_samples
        left = math.inf if declared is None else declared
        while left > 0:
            count = min(n_samples or file.samplerate, left)
            with _quiet(part.is_mpeg, complaints):
                block = file.read(int(count), dtype="float32", always_2d=True)
            if not len(block):
                return
            left -= len(block)
            yield block, file


_STDERR_LOCK = threading.Lock()


@contextmanager
def _quiet(is_mpeg: bool, complaints: list[str]) -> Iterator[None]:
    """Collects the messages that libmpg123 prints to stderr; libsndfile has no option for that.

    libmpg123 writes to file descriptor 2, which belongs to the whole process. It is redirected to a
    temporary file meanwhile. Lines that other code wrote to it are printed afterwards, and a lock
    keeps two threads from redirecting at the same time.
    """
    if not is_mpeg:
        yield
        return
    with _STDERR_LOCK, tempfile.TemporaryFile() as captured:
        stderr = _redirect_stderr(captured.fileno())
        try:
            yield
        finally:
            if stderr is not None:
                _flush()
                os.dup2(stderr, 2)
                os.close(stderr)
                captured.seek(0)
                complaints += _mpg123_lines(captured.read())


def _redirect_stderr(descriptor: int) -> int | None:
    """Redirects descriptor 2; returns a duplicate of the original, or None if it is closed."""
    _flush()
    try:
        stderr = os.dup(2)
    except OSError:
        return None
    os.dup2(descriptor, 2)
    return stderr


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def _mpg123_lines(output: bytes) -> list[str]:
    """The lines that libmpg123 printed; all other lines are passed on to stderr."""
    lines = [line for line in output.splitlines(keepends=True) if line.strip()]
    foreign = [line for line in lines if not _MPG123_LINE.match(line)]
    if foreign:
        os.write(2, b"".join(foreign))
    return [line.decode("utf-8", "replace").strip() for line in lines if line not in foreign]
