"""Audio to what a model listens to: pitch, voicing and loudness on the frame rule.

Preparing a dataset and transferring a sound both go through this file, so a model never
hears features made in two ways. Everything runs over one grid of fixed-size chunks: it
compiles once, needs the memory of one chunk, and gives the same numbers whether the audio
arrives whole or in blocks of any size.
"""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx._checks import at_least_ndim, one_of, positive_int
from ddspx._typing import Array, Float

FEATURE_VERSION = "yin-viterbi-1/loudness-a-512-1"
"""Names the definition of the features; stored with datasets so that they never mix."""

FMIN = 32.703
FMAX = 2093.0
_LOUDNESS_FFT = 512
# Two periods of the lowest pitch and a little: short enough for fast notes.
_FRAME_SECONDS = 0.064
_LOOK_AHEAD_SECONDS = 2.0
_BINS_PER_OCTAVE = 60
_VOICING_THRESHOLD = 0.45
_GLIDE_OCTAVES_PER_SECOND = 15.0


class Features(NamedTuple):
    """What a model listens to, one value per frame, float32.

    Attributes:
      f0_hz: fundamental frequency in Hz, continuous through unvoiced frames.
      f0_confidence: how surely the frame is pitched, from 0 to 1; above 0.5 is voiced.
      loudness_db: A-weighted loudness, see `core.loudness_db`.
    """

    f0_hz: Float[np.ndarray, "*batch frames"]
    f0_confidence: Float[np.ndarray, "*batch frames"]
    loudness_db: Float[np.ndarray, "*batch frames"]


class _Plan(NamedTuple):
    """The static sizes of one run."""

    sample_rate: int
    hop_length: int
    fmin: float
    fmax: float

    @property
    def frame_length(self) -> int:
        """Samples of a pitch frame; even."""
        return 2 * round(self.sample_rate * _FRAME_SECONDS / 2)

    @property
    def chunk(self) -> int:
        """Frames of a chunk, which is also what the decision about a chunk looks ahead."""
        return max(64, 1 + math.ceil(_LOOK_AHEAD_SECONDS * self.sample_rate / self.hop_length))

    @property
    def margin(self) -> int:
        """Frames around a chunk whose audio its outermost frames reach into."""
        return math.ceil(max(self.frame_length, _LOUDNESS_FFT) / 2 / self.hop_length)


@partial(jax.jit, static_argnames="plan")
def _observe(audio: Array, plan: _Plan) -> tuple[core.PitchPosterior, Array]:
    """Pitch posterior and loudness of one chunk, from its samples and a margin around."""
    rates = {"sample_rate": plan.sample_rate, "hop_length": plan.hop_length}
    posterior = core.pitch_posterior(
        audio,
        fmin=plan.fmin,
        fmax=plan.fmax,
        frame_length=plan.frame_length,
        bins_per_octave=_BINS_PER_OCTAVE,
        voicing_threshold=_VOICING_THRESHOLD,
        **rates,
    )
    loudness = core.loudness_db(audio, n_fft=_LOUDNESS_FFT, **rates)
    inner = slice(plan.margin, plan.margin + plan.chunk)
    posterior = jax.tree.map(lambda x: x[..., inner, :], posterior)
    return posterior, loudness[..., inner]


@partial(jax.jit, static_argnames="plan")
def _decide(
    now: core.PitchPosterior, ahead: core.PitchPosterior, before: Array, n_valid: Array, plan: _Plan
) -> tuple[Array, Array, Array]:
    """Pitch (NaN where unvoiced), confidence, and the last state of the chunk `now`."""
    n_bins = now.f0_hz.shape[-1]
    step = plan.hop_length / plan.sample_rate
    reach = round(_GLIDE_OCTAVES_PER_SECOND * step * _BINS_PER_OCTAVE)
    transition = core.pitch_transition(n_bins, reach=min(max(reach, 1), _BINS_PER_OCTAVE))
    # Frames that overlap are not independent: two looks per frame length count in full.
    weight = min(1.0, 2 * plan.hop_length / plan.frame_length)
    evidence = jnp.concatenate([now.log_probability, ahead.log_probability], axis=-2) * weight
    known = jax.nn.one_hot(before, n_bins + 1, dtype=bool)
    initial = jnp.where((before < 0)[..., None] | known, 0.0, -jnp.inf)
    path = core.viterbi(evidence, transition, initial=initial, n_valid=n_valid)
    path = path[..., : now.f0_hz.shape[-2]]
    bins = jnp.minimum(path, n_bins - 1)[..., None]
    f0_hz = jnp.take_along_axis(now.f0_hz, bins, axis=-1)[..., 0]
    aperiodicity = jnp.take_along_axis(now.aperiodicity, bins, axis=-1)[..., 0]
    is_voiced = (path < n_bins) & (aperiodicity < 1)
    confidence = jnp.where(
        is_voiced, jnp.clip(1 - aperiodicity / (2 * _VOICING_THRESHOLD), 0, 1), 0
    )
    return jnp.where(is_voiced, f0_hz, jnp.nan), confidence, path[..., -1]


def _windows(blocks: Iterable[np.ndarray], plan: _Plan) -> Iterator[tuple[np.ndarray, int]]:
    """Chunks of audio with their margins, and how many frames of each chunk exist."""
    hop, margin = plan.hop_length, plan.margin * plan.hop_length
    step, length = plan.chunk * hop, plan.chunk * hop + 2 * margin
    buffer, samples, first_frame = None, 0, 0
    for block in blocks:
        block = np.asarray(block, np.float32)
        at_least_ndim("audio", block.shape, 1, "(*batch, samples)")
        if buffer is None:
            buffer = np.zeros((*block.shape[:-1], margin), np.float32)
        samples += block.shape[-1]
        buffer = np.concatenate([buffer, block], axis=-1)
        while buffer.shape[-1] >= length:
            yield buffer[..., :length], plan.chunk
            buffer, first_frame = buffer[..., step:], first_frame + plan.chunk
    if buffer is None:
        raise ValueError("`blocks` must hold at least one block of audio, got none.")
    total = core.n_frames(samples, hop_length=hop)
    while first_frame < total:
        pad = [(0, 0)] * (buffer.ndim - 1) + [(0, max(0, length - buffer.shape[-1]))]
        yield np.pad(buffer, pad)[..., :length], min(plan.chunk, total - first_frame)
        buffer, first_frame = buffer[..., step:], first_frame + plan.chunk


def _bridge(f0_hz: np.ndarray, fallback: float) -> np.ndarray:
    """Fills NaN by interpolation in log-frequency; the ends are held."""
    filled = np.empty_like(f0_hz)
    time = np.arange(f0_hz.shape[-1])
    for row in np.ndindex(f0_hz.shape[:-1]):
        known = np.flatnonzero(np.isfinite(f0_hz[row]))
        if known.size:
            filled[row] = np.exp(np.interp(time, known, np.log(f0_hz[row][known])))
        else:
            filled[row] = fallback
    return filled


def stream_features(
    blocks: Iterable[np.ndarray],
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float = FMIN,
    fmax: float = FMAX,
) -> Features:
    """Conditioning features of audio that arrives in blocks of any size."""
    plan = _Plan(
        positive_int("sample_rate", sample_rate), positive_int("hop_length", hop_length), fmin, fmax
    )
    results: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    waiting = None
    before = None

    def decide(now, ahead, n_now, n_ahead):
        nonlocal before
        posterior, loudness = now
        if before is None:
            before = jnp.full(loudness.shape[:-1], -1, jnp.int32)
        f0, confidence, before = _decide(posterior, ahead, before, jnp.int32(n_now + n_ahead), plan)
        results.append(tuple(np.asarray(x)[..., :n_now] for x in (f0, confidence, loudness)))

    for window, n in _windows(blocks, plan):
        seen = _observe(window, plan)
        if waiting is not None:
            decide(waiting[0], seen[0], waiting[1], n)
        waiting = (seen, n)
    decide(waiting[0], waiting[0][0], waiting[1], 0)
    f0_hz, confidence, loudness = (np.concatenate(x, axis=-1) for x in zip(*results, strict=True))
    return Features(_bridge(f0_hz, math.sqrt(fmin * fmax)), confidence, loudness)


def conditioning_features(
    audio: Float[Array, "*batch samples"] | Float[np.ndarray, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float = FMIN,
    fmax: float = FMAX,
) -> Features:
    """Conditioning features of a whole signal."""
    return stream_features(
        [np.asarray(audio)], sample_rate=sample_rate, hop_length=hop_length, fmin=fmin, fmax=fmax
    )


def track_pitch(
    audio: Float[Array, "*batch samples"] | Float[np.ndarray, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    method: str = "yin",
    fmin: float = FMIN,
    fmax: float = FMAX,
) -> tuple[Float[np.ndarray, "*batch frames"], Float[np.ndarray, "*batch frames"]]:
    """Fundamental frequency and confidence of a whole signal."""
    one_of("method", method, ("yin",))
    features = stream_features(
        [np.asarray(audio)], sample_rate=sample_rate, hop_length=hop_length, fmin=fmin, fmax=fmax
    )
    return features.f0_hz, features.f0_confidence
