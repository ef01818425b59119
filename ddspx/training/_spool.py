"""What preparation computes of one recording, kept on disk until the dataset is written.

It depends on the bytes of the recording and on the settings alone, and is stored under their
digests. So recordings can be computed in any order and by any process, and a preparation that was
killed finds what it has done.
"""

import dataclasses
import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import jax
import numpy as np

from ddspx.features import Features, StreamingMethod, feature_version, stream_features
from ddspx.io import AudioError, Segment, read_json, replacing_file, stream_audio
from ddspx.io._files import sha256_of_file
from ddspx.io._shards import FLOAT
from ddspx.training._recordings import BLOCK_LENGTH, Outcome, faulty, sha256_of
from ddspx.training._silence import is_loud, sounding_stretches

# It changes when the same recording and settings give another spool.
_VERSION = 1
_TRACKS = len(Features._fields)
# Frames that are read at once.
FRAMES = 1 << 16


@dataclasses.dataclass(frozen=True)
class SpoolConfig:
    """The settings that what is computed of a recording depends on.

    Args:
      sample_rate: samples per second.
      hop_length: samples between frames.
      example_hops: hops of an example, the shortest stretch.
      fmin: lowest pitch, in Hz.
      fmax: highest pitch, in Hz.
      method: the pitch tracker.
    """

    sample_rate: int
    hop_length: int
    example_hops: int
    fmin: float
    fmax: float
    method: StreamingMethod

    @property
    def example_length(self) -> int:
        """Samples of an example."""
        return self.example_hops * self.hop_length

    def name(self, sha256: str) -> str:
        """The name of the files of a recording, without suffix."""
        version = feature_version(self.method)
        facts = json.dumps([_VERSION, version, dataclasses.asdict(self)], sort_keys=True)
        return f"{sha256}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


def spooled(
    path: Path,
    *,
    folder: Path,
    config: SpoolConfig,
    listen: Callable[[float], object] = lambda seconds: None,
) -> Outcome:
    """Decodes a recording once, and writes its audio, its features and a summary to a folder.

    Args:
      path: the recording.
      folder: where the files are written; if they are there already, nothing is computed.
      config: the settings.
      listen: called with the seconds that have been decoded.

    Returns:
      What is known of the recording. If it cannot be used, that says why, and no file is written.

    Raises:
      OSError: the system failed, so nothing is known of the recording; or a file cannot be written.
      ValueError: JAX has no CPU to compute on.
    """
    try:
        blocks = stream_audio(
            path,
            sample_rate=config.sample_rate,
            block_length=BLOCK_LENGTH,
            min_samples=config.example_length,
        )
        sha256 = sha256_of(path)
        summary = folder / f"{config.name(sha256)}.json"
        if (known := _known(summary)) is not None:
            return known
        folder.mkdir(parents=True, exist_ok=True)
        # The warnings are kept with the summary, as another process may give them.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with _on_cpu(), replacing_file(summary.with_suffix(".f32")) as temporary:
                n_samples, stretches, content = _write(blocks, temporary, config, listen)
    except AudioError as error:
        return faulty(error)
    warned = tuple(str(one.message) for one in caught if one.category is UserWarning)
    outcome = Outcome(sha256, n_samples, tuple(stretches), warned=warned)
    outcome = outcome._replace(digest=_digest(content, outcome))
    with replacing_file(summary) as temporary:
        temporary.write_text(json.dumps(outcome._asdict()), encoding="utf-8")
    return outcome


def _on_cpu() -> AbstractContextManager[Any]:
    """Computes on the CPU, as all workers do, so that the bytes do not depend on their number."""
    try:
        (cpu, *_) = jax.local_devices(backend="cpu")
    except RuntimeError as error:
        platforms = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError(
            f"a dataset is computed on the CPU, which JAX_PLATFORMS={platforms} leaves out; set "
            f"JAX_PLATFORMS={platforms},cpu."
        ) from error
    return jax.default_device(cpu)


def _known(summary: Path) -> Outcome | None:
    """What an earlier run has found out; None if there is none, or its files are damaged."""
    try:
        outcome = Outcome.from_json(read_json(summary))
        return outcome if is_whole(summary.with_suffix(".f32"), outcome) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def is_whole(path: Path, outcome: Outcome) -> bool:
    """Whether a spool has the bytes that were computed, and the summary says what it said then."""
    return outcome.digest == _digest(sha256_of_file(path), outcome)


def _digest(content: str, outcome: Outcome) -> str:
    """The digest of a spool and its summary, from that of the bytes of the spool."""
    facts = [content, outcome.sha256, outcome.n_samples, outcome.stretches]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


class _Hashing:
    """Writes a file, and hashes what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.sha256.update(data)
        self._file.write(data)


def _write(
    blocks: Iterator[np.ndarray],
    path: Path,
    config: SpoolConfig,
    listen: Callable[[float], object],
) -> tuple[int, list[tuple[int, int]], str]:
    """Writes whole hops of audio, and behind them the frames.

    Returns:
      The samples, the stretches, and the SHA-256 of the file.
    """
    n_samples, peak_db = 0, np.float32(-np.inf)
    with path.open("wb") as raw, TemporaryFile(dir=path.parent) as frames:
        file = _Hashing(raw)

        def written() -> Iterator[np.ndarray]:
            nonlocal n_samples
            rest = np.zeros(0, FLOAT)
            for block in blocks:
                # What is less than a hop waits for the next block, as the end is not written.
                rest = np.concatenate([rest, block], dtype=FLOAT)
                whole = len(rest) - len(rest) % config.hop_length
                file.write(rest[:whole].tobytes())
                rest = rest[whole:]
                n_samples += len(block)
                listen(n_samples / config.sample_rate)
                yield block

        chunks = stream_features(
            written(),
            sample_rate=config.sample_rate,
            hop_length=config.hop_length,
            method=config.method,
            fmin=config.fmin,
            fmax=config.fmax,
        )
        for chunk in chunks:
            frames.write(np.stack(chunk, axis=-1).astype(FLOAT, copy=False).tobytes())
            peak_db = max(peak_db, chunk.loudness_db.max(initial=-np.inf))
        stretches = sounding_stretches(
            (is_loud(tracks[:, 1], tracks[:, 2], peak_db) for tracks in _tracks(frames)),
            example=config.example_hops,
            sample_rate=config.sample_rate,
            hop_length=config.hop_length,
        )
        frames.seek(0)
        shutil.copyfileobj(frames, file)
    return n_samples, stretches, file.sha256.hexdigest()


def _tracks(frames: IO[bytes]) -> Iterator[np.ndarray]:
    """Reads frames of a file from its start."""
    frames.seek(0)
    while data := frames.read(FRAMES * _TRACKS * FLOAT.itemsize):
        yield np.frombuffer(data, FLOAT).reshape(-1, _TRACKS)


class Spool:
    """Reads the audio and the features of a recording.

    Args:
      path: the file that `spooled` wrote.
      n_samples: samples of the recording.
      hop_length: samples between frames.
    """

    def __init__(self, path: Path, *, n_samples: int, hop_length: int) -> None:
        self._path, self._hop_length = path, hop_length
        self._n_hops = n_samples // hop_length

    def read(self, first: int, n_hops: int) -> Segment:
        """Reads hops, with a frame more."""
        hop = self._hop_length
        audio = np.fromfile(self._path, FLOAT, n_hops * hop, offset=first * hop * FLOAT.itemsize)
        return Segment(audio, *self.features(first, n_hops + 1))

    def features(self, first: int, n_frames: int) -> Features:
        """Reads frames."""
        start = self._n_hops * self._hop_length + first * _TRACKS
        count = n_frames * _TRACKS
        tracks = np.fromfile(self._path, FLOAT, count, offset=start * FLOAT.itemsize)
        return Features(*(np.ascontiguousarray(x) for x in tracks.reshape(-1, _TRACKS).T))

    def stretch(self, first: int, last: int) -> Segment:
        """The hops from `first` to `last`, which are read when they are cropped."""
        n_hops = last - first
        # Their lengths count only; a map that is not read takes no memory.
        shapes = (n_hops * self._hop_length, *_TRACKS * (n_hops + 1,))
        stretch = _Stretch(*(np.broadcast_to(np.zeros(1, FLOAT), n) for n in shapes))
        stretch.spool, stretch.first = self, first
        return stretch


class _Stretch(Segment):
    """A stretch of a spool of any length, of which memory holds what is cropped."""

    spool: Spool
    first: int

    def crop(self, start: int, n_hops: int, *, hop_length: int) -> Segment:
        """Reads the `n_hops` hops that start at frame `start`, with ``n_hops + 1`` frames."""
        return self.spool.read(self.first + start, n_hops)
