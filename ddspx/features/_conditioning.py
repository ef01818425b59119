"""The inputs of an instrument: pitch, its confidence, and loudness, one value for each frame.

Preparation and transfer both compute them here, so that a model gets the same features in use as
in training. Audio is always cut into chunks on a fixed grid, whatever the sizes of the blocks it
arrives in. The memory is therefore bounded, a few programs serve every length, and a stream has
exactly the numbers of the whole signal.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple, get_args

import numpy as np

from ddspx._checks import one_of
from ddspx._typing import ArrayLike, Float
from ddspx.features._blocks import appended, float32
from ddspx.features._choices import LoudnessScale, StreamingMethod
from ddspx.features._gaps import stream_interpolated
from ddspx.features._loudness import stream_loudness
from ddspx.features._network import stream_at_hops, stream_network
from ddspx.features._range import checked_grid, pitch_range
from ddspx.features._yin import YinPlan, stream_yin

# The versions of each tracker: the one that is computed, and then older ones that mean the same to
# an instrument. In both versions of the network, pitch is in Hz and the confidence is a
# probability. What differs is when a frame is voiced (the ring of a room no longer is), how high
# the pitch may be, and that unsure frames keep a guess. An instrument reads the pitch of frames
# that are played, and these are the same but for the errors of the older one.
_TRACKERS: dict[StreamingMethod, tuple[str, ...]] = {
    "ddspx": ("ddspx-pitch-3", "ddspx-pitch-2"),
    "ddspx-live": ("ddspx-live-1",),
    "yin": ("yin-viterbi-1",),
}
_LOUDNESS: dict[LoudnessScale, str] = {
    "ddspx": "loudness-a-512-1",
    "ddsp-2": "loudness-bins-a-2048-1",
    "ddsp-pytorch": "loudness-bins-2048-1",
    "power": "power-64ms-1",
}
# A version of the features names both.
_VERSIONS: dict[str, tuple[StreamingMethod, LoudnessScale]] = {
    f"{tracker}/{loudness}": (method, scale)
    for scale, loudness in _LOUDNESS.items()
    for method, trackers in _TRACKERS.items()
    for tracker in trackers
}
# From this confidence on, what a network takes for the pitch of an unvoiced frame is more often
# right than what lies between the pitches before and after: the first and last frames of notes.
_KNOWN = 0.1


class Features(NamedTuple):
    """The inputs of an instrument: one float32 value of each for every frame.

    Attributes:
      f0_hz: fundamental frequency in Hz, always finite; in unvoiced frames it is interpolated
        linearly in log-frequency between the pitches before and after, or a network's best guess
        where its confidence is at least 0.1.
      f0_confidence: confidence from 0 to 1 that the frame has a pitch; a frame counts as voiced
        if it is at least `metrics.VOICED`.
      loudness_db: A-weighted loudness, see `core.loudness_db`.
    """

    f0_hz: Float[np.ndarray, "*batch frames"]
    f0_confidence: Float[np.ndarray, "*batch frames"]
    loudness_db: Float[np.ndarray, "*batch frames"]


def feature_version(method: StreamingMethod, *, scale: LoudnessScale = "ddspx") -> str:
    """Returns the name of a definition of the features: tracker, loudness, and their versions.

    The name is stored with datasets and models. Before a model gets features, :func:`method_of` and
    :func:`loudness_of` say which tracker and which loudness it was trained with.

    Example:
      >>> from ddspx import features
      >>> features.feature_version("yin", scale="ddsp-2")
      'yin-viterbi-1/loudness-bins-a-2048-1'
    """
    one_of("method", method, get_args(StreamingMethod))
    one_of("scale", scale, get_args(LoudnessScale))
    return f"{_TRACKERS[method][0]}/{_LOUDNESS[scale]}"


def method_of(version: str) -> StreamingMethod:
    """Returns the pitch tracker that makes features of a version, or newer ones that mean the same.

    Features of two versions can replace each other if this method and :func:`loudness_of` are the
    same for both: a model that was trained on the older ones can be used, evaluated and trained on
    with the newer ones.

    Raises:
      ValueError: this release of ddspx cannot compute features of that version.

    Example:
      >>> from ddspx import features
      >>> features.method_of("ddspx-pitch-2/loudness-a-512-1")
      'ddspx'
    """
    return _known_version(version)[0]


def loudness_of(version: str) -> LoudnessScale:
    """Returns the scale of the loudness in features of a version, for :func:`stream_loudness`.

    Raises:
      ValueError: this release of ddspx cannot compute features of that version.

    Example:
      >>> from ddspx import features
      >>> features.loudness_of("ddspx-pitch-3/loudness-bins-a-2048-1")
      'ddsp-2'
    """
    return _known_version(version)[1]


def _known_version(version: str) -> tuple[StreamingMethod, LoudnessScale]:
    if version in _VERSIONS:
        return _VERSIONS[version]
    known = [repr(version) for version in _VERSIONS]
    raise ValueError(
        f"features of version {version!r} cannot be computed by this release of ddspx, whose "
        f"versions are {', '.join(known[:-1])} and {known[-1]}; prepare the recordings and train "
        "again."
    )


def conditioning_features(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    method: StreamingMethod = "ddspx",
    fmin: float | None = None,
    fmax: float | None = None,
) -> Features:
    """Pitch, confidence and loudness of a whole signal: :func:`blockwise_features` of one block.

    Args:
      audio: linear amplitude, without NaN or Inf.
      sample_rate: samples per second.
      hop_length: samples between frames, at most one second's.
      method: the tracker, see :func:`track_pitch`.
      fmin: lowest pitch that is searched for, in Hz; by default that of :func:`pitch_range`.
      fmax: highest pitch that is searched for, in Hz, at most half of `sample_rate`; by default
        that of :func:`pitch_range`.

    Returns:
      :class:`Features` of ``core.n_frames(samples, hop_length=hop_length)`` frames.

    Raises:
      TypeError: a size is not a Python int, or `audio` not of floating point.
      ValueError: `hop_length` is longer than a second, the range of pitch is empty or exceeds
        half of `sample_rate`, or `audio` is not finite or has its channels last.

    Properties:
      Runs on the host, chunk by chunk and one sound of a batch after the other. It cannot be used
      under jit, vmap or grad.

    Example:
      >>> import numpy as np
      >>> from ddspx import features
      >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
      >>> tracks = features.conditioning_features(tone, sample_rate=16000, hop_length=1000)
      >>> round(float(tracks.loudness_db[4]), 1)
      15.7
    """
    return blockwise_features(
        [float32(audio)],
        sample_rate=sample_rate,
        hop_length=hop_length,
        method=method,
        fmin=fmin,
        fmax=fmax,
    )


def blockwise_features(
    blocks: Iterable[np.ndarray],
    *,
    sample_rate: int,
    hop_length: int,
    method: StreamingMethod = "ddspx",
    fmin: float | None = None,
    fmax: float | None = None,
) -> Features:
    """Pitch, confidence and loudness of audio that arrives in blocks, in bounded memory.

    Args:
      blocks: consecutive blocks ``(*batch, samples)`` of one signal: at least one, of any sizes.
      sample_rate: samples per second.
      hop_length: samples between frames, at most one second's.
      method: the tracker, see :func:`track_pitch`.
      fmin: lowest pitch that is searched for, in Hz; by default that of :func:`pitch_range`.
      fmax: highest pitch that is searched for, in Hz, at most half of `sample_rate`; by default
        that of :func:`pitch_range`.

    Returns:
      :class:`Features` of the joined blocks, bit for bit those of :func:`conditioning_features`.
      Memory holds the features, one block and a few seconds of audio.

    Raises:
      TypeError: a size is not a Python int, or `audio` not of floating point.
      ValueError: there is no block, `hop_length` is longer than a second, the range of pitch is
        empty or exceeds half of `sample_rate`, or a sample is not finite.

    Properties:
      Runs on the host, chunk by chunk. It cannot be used under jit, vmap or grad.

    Example:
      >>> import numpy as np
      >>> from ddspx import features
      >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
      >>> tracks = features.blockwise_features(
      ...     np.split(tone, [1, 300, 4096]), sample_rate=16000, hop_length=1000
      ... )
      >>> tracks.f0_hz.shape, round(float(tracks.f0_hz[4]) / 10)
      ((9,), 44)
    """
    chunks = stream_features(
        blocks,
        sample_rate=sample_rate,
        hop_length=hop_length,
        method=method,
        fmin=fmin,
        fmax=fmax,
    )
    return Features(*(np.concatenate(x, axis=-1) for x in zip(*chunks, strict=True)))


def stream_features(
    blocks: Iterable[np.ndarray],
    *,
    sample_rate: int,
    hop_length: int,
    method: StreamingMethod = "ddspx",
    fmin: float | None = None,
    fmax: float | None = None,
) -> Iterator[Features]:
    """Pitch, confidence and loudness of audio that arrives in blocks, a chunk at a time.

    Args:
      blocks: consecutive blocks ``(*batch, samples)`` of one signal: at least one, of any sizes.
      sample_rate: samples per second.
      hop_length: samples between frames, at most one second's.
      method: the tracker, see :func:`track_pitch`.
      fmin: lowest pitch that is searched for, in Hz; by default that of :func:`pitch_range`.
      fmax: highest pitch that is searched for, in Hz, at most half of `sample_rate`; by default
        that of :func:`pitch_range`.

    Yields:
      Chunks of the :class:`Features` that :func:`blockwise_features` returns whole. Memory holds
      a few seconds of audio, and of a stretch without a pitch the frames, because the pitch there
      depends on what follows.

    Raises:
      TypeError: a size is not a Python int, or `audio` not of floating point.
      ValueError: as in :func:`blockwise_features`.

    Properties:
      Runs on the host, chunk by chunk. It cannot be used under jit, vmap or grad.

    Example:
      >>> import numpy as np
      >>> from ddspx import features
      >>> tone = np.sin(2 * np.pi * 440 * np.arange(160_000) / 16000)
      >>> chunks = features.stream_features(
      ...     np.split(tone, 100), sample_rate=16000, hop_length=1000
      ... )
      >>> sum(chunk.f0_hz.size for chunk in chunks)
      161
    """
    sample_rate, hop_length = checked_grid(sample_rate, hop_length)
    one_of("method", method, get_args(StreamingMethod))
    fmin, fmax = pitch_range(method, sample_rate=sample_rate, fmin=fmin, fmax=fmax)
    grid = {"sample_rate": sample_rate, "hop_length": hop_length}
    for_pitch, for_loudness = itertools.tee(blocks)
    tracker = stream_pitch(for_pitch, method, **grid, fmin=fmin, fmax=fmax)
    pitch = pitch_at_hops(tracker, method, **grid)
    levels = stream_loudness(for_loudness, sample_rate=sample_rate, hop_length=hop_length)
    loudness = ((loudness_db,) for loudness_db in levels)
    whole = stream_interpolated(_aligned(pitch, loudness), math.sqrt(fmin * fmax))
    return (Features(*chunk) for chunk in whole)


def _aligned(
    pitch: Iterator[tuple[np.ndarray, ...]], loudness: Iterator[tuple[np.ndarray, ...]]
) -> Iterator[tuple[np.ndarray, ...]]:
    """Joins two streams of chunks; the shorter one, loudness, has the frames of the signal."""
    streams, live = (pitch, loudness), {0, 1}
    held: list[tuple[np.ndarray, ...]] = [(), ()]
    while live:
        # `tee` stores the blocks that one of them has read and the other has not, so the one whose
        # frames are behind goes on.
        behind = min(live, key=lambda i: held[i][0].shape[-1] if held[i] else -1)
        chunk = next(streams[behind], None)
        if chunk is None:
            live.remove(behind)
            continue
        held[behind] = appended(held[behind], chunk)
        if all(held):
            n = min(parts[0].shape[-1] for parts in held)
            yield tuple(x[..., :n] for parts in held for x in parts)
            held = [tuple(x[..., n:] for x in parts) for parts in held]


def stream_pitch(
    blocks: Iterable[np.ndarray],
    method: StreamingMethod,
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float,
    fmax: float,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields pitch and confidence at the tracker's own frames, one chunk after the other."""
    if method == "yin":
        return stream_yin(blocks, YinPlan(sample_rate, hop_length, fmin, fmax))
    return stream_network(blocks, method, sample_rate=sample_rate, fmin=fmin, fmax=fmax)


def pitch_at_hops(
    tracks: Iterable[tuple[np.ndarray, np.ndarray]],
    method: StreamingMethod,
    *,
    sample_rate: int,
    hop_length: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the chunks of :func:`stream_pitch` at the caller's frames, and perhaps some more.

    The pitch is NaN in unvoiced frames, but that a network's guess is kept where it is better.
    """
    if method == "yin":
        yield from tracks
        return
    rates = {"hop_length": hop_length, "sample_rate": sample_rate}
    for f0_hz, confidence in stream_at_hops(tracks, method, **rates):
        yield np.where(confidence >= _KNOWN, f0_hz, np.float32(np.nan)), confidence
