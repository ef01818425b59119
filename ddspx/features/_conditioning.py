"""The inputs of an instrument: pitch, its confidence, and loudness, one value for each frame.

Preparation and transfer both compute them here, so that a model gets the same features in use as
in training. Audio is always cut into chunks on a fixed grid, whatever the sizes of the blocks it
arrives in. The memory is therefore bounded, a few programs serve every length, and a stream has
exactly the numbers of the whole signal.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, get_args

import numpy as np

from ddspx._checks import one_of
from ddspx._typing import ArrayLike, Float
from ddspx.features._blocks import float32
from ddspx.features._choices import LoudnessScale, StreamingMethod
from ddspx.features._loudness import stream_loudness
from ddspx.features._network import at_hops, stream_network
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
    sample_rate, hop_length = checked_grid(sample_rate, hop_length)
    one_of("method", method, get_args(StreamingMethod))
    fmin, fmax = pitch_range(method, sample_rate=sample_rate, fmin=fmin, fmax=fmax)
    grid = {"sample_rate": sample_rate, "hop_length": hop_length}
    for_pitch, for_loudness = itertools.tee(blocks)
    # Pitch and loudness are computed in turns. `tee` stores the blocks that one of them has read
    # and the other has not, so neither may run ahead of the other by more than a chunk.
    tracker = stream_pitch(for_pitch, method, **grid, fmin=fmin, fmax=fmax)
    loudness = stream_loudness(for_loudness, sample_rate=sample_rate, hop_length=hop_length)
    tracks, levels = zip(*itertools.zip_longest(tracker, loudness), strict=True)
    loudness_db = np.concatenate([x for x in levels if x is not None], axis=-1)
    f0_hz, confidence = joined_pitch(
        [x for x in tracks if x is not None], loudness_db.shape[-1], method, **grid
    )
    return Features(interpolated_pitch(f0_hz, math.sqrt(fmin * fmax)), confidence, loudness_db)


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


def joined_pitch(
    tracks: Sequence[tuple[np.ndarray, np.ndarray]],
    n_frames: int,
    method: StreamingMethod,
    *,
    sample_rate: int,
    hop_length: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Joins the chunks of :func:`stream_pitch`, at the caller's frames.

    The pitch is NaN in unvoiced frames, but that a network's guess is kept where it is better.
    """
    f0_hz, confidence = (np.concatenate(x, axis=-1) for x in zip(*tracks, strict=True))
    if method == "yin":
        return f0_hz, confidence
    rates = {"hop_length": hop_length, "sample_rate": sample_rate}
    f0_hz, confidence = at_hops((f0_hz, confidence), n_frames, method, **rates)
    return np.where(confidence >= _KNOWN, f0_hz, np.float32(np.nan)), confidence


def interpolated_pitch(f0_hz: np.ndarray, fallback_hz: float) -> np.ndarray:
    """Fills gaps (NaN) by linear interpolation in log-frequency; the ends take the nearest pitch.

    A row without any pitch is filled with `fallback_hz`.
    """
    filled = np.full_like(f0_hz, fallback_hz)
    time = np.arange(f0_hz.shape[-1])
    for row in np.ndindex(f0_hz.shape[:-1]):
        known = np.flatnonzero(np.isfinite(f0_hz[row]))
        if known.size:
            filled[row] = np.exp(np.interp(time, known, np.log(f0_hz[row][known])))
            # Known pitches are copied, as exp(log(x)) would not restore them to the bit.
            filled[row][known] = f0_hz[row][known]
    return filled
