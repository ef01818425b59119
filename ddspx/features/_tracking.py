"""Pitch tracking: one function for all trackers."""

import math
from collections.abc import Iterable
from typing import get_args

import numpy as np

from ddspx import core
from ddspx._checks import one_of
from ddspx._typing import ArrayLike, Float
from ddspx.features._blocks import Counted, float32, joined
from ddspx.features._choices import PitchMethod
from ddspx.features._conditioning import pitch_at_hops, stream_pitch
from ddspx.features._crepe import crepe_at_hops, stream_crepe
from ddspx.features._gaps import interpolated_pitch
from ddspx.features._pyin import track_pyin
from ddspx.features._range import checked_grid, pitch_range
from ddspx.metrics import VOICED
from ddspx.models.crepe import Capacity

_CAPACITIES: dict[str, Capacity] = {"crepe": "full", "crepe-tiny": "tiny"}


def track_pitch(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    method: PitchMethod = "ddspx",
    fmin: float | None = None,
    fmax: float | None = None,
) -> tuple[Float[np.ndarray, "*batch frames"], Float[np.ndarray, "*batch frames"]]:
    """Estimates the fundamental frequency of a monophonic sound, and the confidence in it.

    ====== ========================================== ============= ============= ================
    method what it is                                 range (Hz)    by default    looks ahead
    ====== ========================================== ============= ============= ================
    ddspx  the network that ships with ddspx,         30 to 4700    32.7 to 4186  160 ms, and up
           :class:`ddspx.models.pitch.PitchTracker`;                              to 16 to its
           "ddspx-live" is its twin with windows of                               next frame; the
           45 ms, which finds 60 to 4700 Hz                                       twin 10 and 10
    yin    the candidates of                          any           32.7 to 2093  2 to 4 s, or 64
           :func:`ddspx.core.pitch_posterior`, joined                             to 128 frames if
           by :func:`ddspx.core.viterbi`                                          longer
    pyin   :func:`ddspx.core.pyin`, in frames of four any           65.4 to 2093  all of the sound
           periods of `fmin`, to a power of two
    crepe  CREPE "full", decoded by Viterbi; needs    32 to 2005    32.7 to 2005  until no later
           weights, see                                                           sound can change
           :func:`ddspx.models.crepe.load_crepe`;                                 the path
           "crepe-tiny" is the smallest of them
    ====== ========================================== ============= ============= ================

    Args:
      audio: linear amplitude, of any level, without NaN or Inf.
      sample_rate: samples per second.
      hop_length: samples between frames, at most one second's.
      method: the tracker.
      fmin: lowest pitch that counts, in Hz. If it is the lowest note of the instrument, frames
        that the tracker places an octave too low are unvoiced rather than wrong. By default that of
        :func:`pitch_range`, which is in the table.
      fmax: highest pitch that counts, in Hz, at most half of `sample_rate`; by default that of
        :func:`pitch_range`.

    Returns:
      Frequency in Hz and confidence from 0 to 1, float32, by the frame rule. A frame is voiced if
      its confidence is at least `ddspx.metrics.VOICED`. In unvoiced frames the frequency is
      interpolated between the pitches before and after; for "ddspx" and "ddspx-live" it is the best
      guess where the confidence is at least 0.1. Silence and noise are unvoiced, except
      that "pyin" calls some of the noise voiced. A sound whose pitch lies outside the range is
      unvoiced as well: if `fmax` is 2 kHz, a whistle of 3 kHz, which also repeats after five of its
      periods, is not taken for a tone of 600 Hz.

    Raises:
      FileNotFoundError: `method` is "crepe" or "crepe-tiny" and there are no weights.
      TypeError: a size is not a Python int, or `audio` is not of floating point.
      ValueError: `method` is unknown; `hop_length` is longer than a second; the range of pitch is
        empty, exceeds half of `sample_rate`, or lies outside the method's own range; for the
        networks and "crepe", `sample_rate` has no ratio of whole numbers up to 4096 to their 16
        kHz; or `audio` is not finite or has its channels last.

    Properties:
      Runs on the host, chunk by chunk and one sound of a batch after the other. There are three
      sizes of chunks, and the size depends on the length of the sound only. So three compilations
      serve all lengths and batches, a short sound takes little time, and memory holds a few seconds
      of sound beside `audio` and the result. It cannot be used under jit, vmap or grad.

    Example:
      >>> import numpy as np
      >>> from ddspx import features
      >>> time_s = np.arange(16000) / 16000
      >>> tone = sum(np.sin(2 * np.pi * 440 * k * time_s) / k for k in range(1, 9))
      >>> f0_hz, confidence = features.track_pitch(tone, sample_rate=16000, hop_length=1000)
      >>> round(float(f0_hz[8]) / 10), round(float(confidence[8]), 1)
      (44, 1.0)
    """
    grid = {"sample_rate": sample_rate, "hop_length": hop_length}
    return blockwise_pitch([float32(audio)], **grid, method=method, fmin=fmin, fmax=fmax)


def blockwise_pitch(
    blocks: Iterable[np.ndarray],
    *,
    sample_rate: int,
    hop_length: int,
    method: PitchMethod = "ddspx",
    fmin: float | None = None,
    fmax: float | None = None,
) -> tuple[Float[np.ndarray, "*batch frames"], Float[np.ndarray, "*batch frames"]]:
    """Tracks the pitch of audio that arrives in blocks, as :func:`track_pitch` does of a whole.

    Args:
      blocks: consecutive blocks ``(*batch, samples)`` of one signal: at least one, of any sizes.
      sample_rate: samples per second.
      hop_length: samples between frames, at most one second's.
      method: the tracker.
      fmin: lowest pitch that counts, in Hz; see :func:`track_pitch`.
      fmax: highest pitch that counts, in Hz; see :func:`track_pitch`.

    Returns:
      Frequency and confidence of the joined blocks. Memory holds these, one block and a few
      seconds of audio. "pyin" needs all of the audio at once. "crepe" keeps the frames whose pitch
      later sound may still change, 1.8 kB each (some seconds of music, at most minutes).

    Raises:
      FileNotFoundError: `method` is "crepe" or "crepe-tiny" and there are no weights.
      TypeError: a size is not a Python int, or the blocks are not of floating point.
      ValueError: there is no block, or any reason that :func:`track_pitch` gives.

    Properties:
      Runs on the host, chunk by chunk. It cannot be used under jit, vmap or grad.

    Example:
      >>> import numpy as np
      >>> from ddspx import features
      >>> time_s = np.arange(16000) / 16000
      >>> tone = sum(np.sin(2 * np.pi * 440 * k * time_s) / k for k in range(1, 9))
      >>> f0_hz, confidence = features.blockwise_pitch(
      ...     np.split(tone, [5, 4000]), sample_rate=16000, hop_length=1000
      ... )
      >>> f0_hz.shape, round(float(f0_hz[8]) / 10)
      ((17,), 44)
    """
    one_of("method", method, get_args(PitchMethod))
    sample_rate, hop_length = checked_grid(sample_rate, hop_length)
    fmin, fmax = pitch_range(method, sample_rate=sample_rate, fmin=fmin, fmax=fmax)
    grid = {"sample_rate": sample_rate, "hop_length": hop_length}
    options, counted = {**grid, "fmin": fmin, "fmax": fmax}, Counted(blocks)
    if method == "pyin":
        voiced_hz, confidence = _voiced(*track_pyin(joined(counted), **options))
    elif method == "crepe" or method == "crepe-tiny":
        tracks = list(stream_crepe(counted, capacity=_CAPACITIES[method], **options))
        n_frames = core.n_frames(counted.samples, hop_length=hop_length)
        voiced_hz, confidence = _voiced(*crepe_at_hops(tracks, n_frames, **grid))
    else:
        tracks = list(pitch_at_hops(stream_pitch(counted, method, **options), method, **grid))
        n_frames = core.n_frames(counted.samples, hop_length=hop_length)
        whole = (np.concatenate(x, axis=-1) for x in zip(*tracks, strict=True))
        voiced_hz, confidence = (x[..., :n_frames] for x in whole)
    return interpolated_pitch(voiced_hz, math.sqrt(fmin * fmax)), confidence


def _voiced(f0_hz: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sets the pitch of unvoiced frames to NaN."""
    return np.where(confidence >= VOICED, f0_hz, np.nan).astype(np.float32), confidence
