"""One function for all pitch trackers."""

import math
import os
from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx._checks import one_of, positive_int
from ddspx._typing import Array, Float
from ddspx.features._blocks import float32
from ddspx.features._conditioning import FMIN, bridged, conditioning_features, pitch_range
from ddspx.features._network import between, resampled
from ddspx.metrics import VOICED
from ddspx.models.crepe import (
    N_BINS,
    SAMPLE_RATE as CREPE_RATE,
    WEIGHTS_VARIABLE,
    bins_to_hz,
    crepe_activation,
    decode_crepe,
    load_crepe,
)

PitchMethod = Literal["ddspx", "yin", "pyin", "crepe", "crepe-tiny"]

# What librosa recommends: four periods of the lowest pitch, here rounded up to a power of two.
_PYIN_PERIODS = 4


def track_pitch(
    audio: Float[np.ndarray, "*batch samples"] | Float[Array, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    method: PitchMethod = "ddspx",
    fmin: float = FMIN,
    fmax: float | None = None,
) -> tuple[Float[np.ndarray, "*batch frames"], Float[np.ndarray, "*batch frames"]]:
    """Fundamental frequency of a monophonic sound, and how sure it is that there is one.

    ======= ============================================ ============== ====================
    method  what it is                                   range          looks ahead
    ======= ============================================ ============== ====================
    ddspx   the network that ships with ddspx,           30 to 2197 Hz  64 ms
            :class:`ddspx.models.pitch.PitchTracker`
    yin     the candidates of                            any            2 to 4 s
            :func:`ddspx.core.pitch_posterior`, joined
            by :func:`ddspx.core.viterbi`
    pyin    :func:`ddspx.core.pyin`                      any            all of the sound
    crepe   CREPE "full", decoded by Viterbi; needs      32 to 2005 Hz  all of the sound
            weights, see
            :func:`ddspx.models.crepe.load_crepe`;
            "crepe-tiny" is the smallest of them
    ======= ============================================ ============== ====================

    Args:
      audio: linear amplitude, of any level, without NaN or Inf.
      sample_rate: samples per second.
      hop_length: samples between frames.
      method: the tracker.
      fmin: lowest pitch looked for, in Hz. The lowest note of the instrument, where it is
        known, avoids what is left of errors downward.
      fmax: highest pitch looked for, in Hz, at most half of `sample_rate`; by default `FMAX`, or
        that half where it is lower.

    Returns:
      Frequency in Hz and confidence from 0 to 1, float32, on the frame rule. The frame is voiced
      from `ddspx.metrics.VOICED` on; through others the frequency moves from the last pitch to the
      next. Silence and noise have a confidence near 0.

    Raises:
      FileNotFoundError: `method` is one of CREPE and there are no weights.
      TypeError: a size is not a Python int, or `audio` not of floating point.
      ValueError: `method` is unknown, or the range of pitch is empty, exceeds half of
        `sample_rate`, or is not one that the method hears; or `sample_rate` is not to the 16 kHz
        of "ddspx" and "crepe" as numbers up to 4096 are.

    Properties:
      Runs on the host: not for use under jit, vmap or grad. "ddspx" and "yin" take memory for
      some seconds of audio at a time, the others little more.

    Example:
      >>> import numpy as np
      >>> from ddspx import features
      >>> time_s = np.arange(16000) / 16000
      >>> tone = sum(np.sin(2 * np.pi * 440 * k * time_s) / k for k in range(1, 9))
      >>> f0_hz, confidence = features.track_pitch(tone, sample_rate=16000, hop_length=1000)
      >>> round(float(f0_hz[8]) / 10), round(float(confidence[8]), 1)
      (44, 1.0)
    """
    one_of("method", method, get_args(PitchMethod))
    if method == "ddspx" or method == "yin":
        features = conditioning_features(
            audio,
            sample_rate=sample_rate,
            hop_length=hop_length,
            method=method,
            fmin=fmin,
            fmax=fmax,
        )
        return features.f0_hz, features.f0_confidence
    sample_rate = positive_int("sample_rate", sample_rate)
    hop_length = positive_int("hop_length", hop_length)
    fmin, fmax = pitch_range(fmin, fmax, sample_rate)
    f0_hz, confidence = _OFFLINE[method](float32(audio), sample_rate, hop_length, fmin, fmax)
    gated = np.where(confidence >= VOICED, f0_hz, np.nan).astype(np.float32)
    return bridged(gated, math.sqrt(fmin * fmax)), confidence


def _pyin(audio, sample_rate, hop_length, fmin, fmax):
    frame_length = 2 ** math.ceil(math.log2(_PYIN_PERIODS * sample_rate / fmin))
    track = _jitted_pyin(
        audio,
        sample_rate=sample_rate,
        hop_length=hop_length,
        fmin=fmin,
        fmax=fmax,
        frame_length=frame_length,
    )
    f0_hz, is_voiced, probability = map(np.asarray, track)
    # The path decides; what the frame says by itself grades it on its side of `VOICED`.
    return f0_hz, np.where(is_voiced, VOICED + (1 - VOICED) * probability, VOICED * probability)


def _crepe(capacity, audio, sample_rate, hop_length, fmin, fmax):
    bins_hz = _crepe_hz()
    half = 2 ** (1 / 120)
    bins = np.flatnonzero((bins_hz >= fmin / half) & (bins_hz <= fmax * half))
    if not bins.size:
        raise ValueError(
            f"`fmin` and `fmax` must leave some of {bins_hz[0]:.0f} to {bins_hz[-1]:.0f} Hz, "
            f"which is what CREPE hears, got {fmin} and {fmax}; use the method 'yin' or 'pyin'."
        )
    # Ten milliseconds, unless the frames asked for are a whole number of samples apart.
    exact = hop_length * CREPE_RATE % sample_rate == 0
    hop = hop_length * CREPE_RATE // sample_rate if exact else CREPE_RATE // 100
    n_frames = core.n_frames(audio.shape[-1], hop_length=hop_length)
    network = _crepe_network(capacity, os.environ.get(WEIGHTS_VARIABLE))
    ends = int(bins[0]), int(bins[-1])
    f0_hz, confidence = map(np.asarray, _crepe_track(network, audio, sample_rate, hop, ends))
    position = np.arange(n_frames) * (hop_length * CREPE_RATE / sample_rate / hop)
    return between(f0_hz, confidence, position)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _crepe_track(network, audio, sample_rate, hop_length, ends):
    """Pitch and confidence at hops of 16 kHz, by the path through the bins from end to end."""
    if sample_rate != CREPE_RATE:
        audio = resampled(audio, sample_rate, CREPE_RATE)
    activation = crepe_activation(network, audio, hop_length=hop_length)
    number = np.arange(N_BINS).reshape((1,) * (activation.ndim - 1) + (-1,))
    heard = (number >= ends[0]) & (number <= ends[1])
    return decode_crepe(jnp.where(heard, activation, 0), decoder="viterbi")


@cache
def _crepe_hz():
    return np.asarray(bins_to_hz(jnp.eye(N_BINS), jnp.arange(N_BINS)))


@lru_cache(maxsize=1)
def _crepe_network(capacity, weights):
    del weights  # where they are; part of what is remembered
    return load_crepe(capacity).network()


_jitted_pyin = partial(
    jax.jit, static_argnames=("sample_rate", "hop_length", "fmin", "fmax", "frame_length")
)(core.pyin)

_OFFLINE: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "pyin": _pyin,
    "crepe": partial(_crepe, "full"),
    "crepe-tiny": partial(_crepe, "tiny"),
}
