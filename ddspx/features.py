"""Audio to what a model listens to: pitch, its confidence, and loudness, on the frame rule.

Preparing a dataset and transferring a sound both go through this file, so a model never
hears features made in two ways. There is one code path: audio is cut into chunks on a fixed
grid, whatever the blocks it arrives in, so memory is bounded, one compilation serves every
length, and a stream gives the very numbers of the whole signal.
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
from ddspx._typing import Array, Float, Int
from ddspx.metrics import VOICED

FEATURE_VERSION = "yin-viterbi-1/loudness-a-512-1"
"""Names the definition of the features; stored with datasets so that two never mix."""

FMIN = 32.703
"""Lowest pitch looked for by default, in Hz: C1, under the double bass's E1."""

FMAX = 2093.0
"""Highest pitch looked for by default, in Hz: C7."""

LOUDNESS_FFT = 512
"""Samples of the frames that loudness is measured in."""

# Short frames follow speech, fast notes and vibrato (of 6 Hz they pass 91 %, of 64 ms 77 %),
# and of single notes of eight instruments down to C1 they get as many right as long ones do.
_FRAME_SECONDS = 0.04
_FRAME_PERIODS = 1.5
_LOOK_AHEAD_SECONDS = 2.0
_BINS_PER_OCTAVE = 60
_VOICING_THRESHOLD = 0.45
_GLIDE_OCTAVES_PER_SECOND = 15.0


class Features(NamedTuple):
    """What a model listens to: one float32 value for each frame.

    Attributes:
      f0_hz: fundamental frequency in Hz, finite; through unvoiced frames it moves from the last
        pitch to the next along a straight line in log-frequency.
      f0_confidence: how sure the pitch is, from 0 to 1; from `metrics.VOICED` on the frame is
        pitched.
      loudness_db: A-weighted loudness, see `core.loudness_db`.
    """

    f0_hz: Float[np.ndarray, "*batch frames"]
    f0_confidence: Float[np.ndarray, "*batch frames"]
    loudness_db: Float[np.ndarray, "*batch frames"]


def default_fmax(sample_rate: int) -> float:
    """The highest pitch that is looked for, in Hz: `FMAX`, or Nyquist where that is lower."""
    return min(FMAX, positive_int("sample_rate", sample_rate) / 2)


def track_pitch(
    audio: Float[np.ndarray, "*batch samples"] | Float[Array, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    method: str = "yin",
    fmin: float = FMIN,
    fmax: float | None = None,
) -> tuple[Float[np.ndarray, "*batch frames"], Float[np.ndarray, "*batch frames"]]:
    """Fundamental frequency of a monophonic sound, and how sure it is.

    The candidates of :func:`ddspx.core.pitch_posterior` in frames of one and a half periods of
    `fmin`, at least 40 ms, joined into one track by :func:`ddspx.core.viterbi`, which looks two
    to four seconds ahead.

    Args:
      audio: linear amplitude, of any level, without NaN or Inf.
      sample_rate: samples per second.
      hop_length: samples between frames.
      method: "yin", the only one so far.
      fmin: lowest pitch looked for, in Hz. The lowest note of the instrument, where it is
        known, avoids what is left of errors downward.
      fmax: highest pitch looked for, in Hz, at most half of `sample_rate`; by default `FMAX`, or
        that half where it is lower.

    Returns:
      Frequency in Hz and confidence from 0 to 1, float32, on the frame rule; as in
      :class:`Features`. Silence and noise have a confidence near 0.

    Raises:
      TypeError: a size is not a Python int.
      ValueError: `method` is unknown, or the range of pitch is empty or exceeds half of
        `sample_rate`.

    Properties:
      Runs on the host, chunk by chunk: not for use under jit, vmap or grad.

    Example:
      >>> import numpy as np
      >>> from ddspx import features
      >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
      >>> f0_hz, confidence = features.track_pitch(tone, sample_rate=16000, hop_length=1000)
      >>> round(float(f0_hz[4])), round(float(confidence[4]), 1)
      (440, 1.0)
    """
    one_of("method", method, ("yin",))
    features = conditioning_features(
        audio, sample_rate=sample_rate, hop_length=hop_length, fmin=fmin, fmax=fmax
    )
    return features.f0_hz, features.f0_confidence


def conditioning_features(
    audio: Float[np.ndarray, "*batch samples"] | Float[Array, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float = FMIN,
    fmax: float | None = None,
) -> Features:
    """Pitch, confidence and loudness of a whole signal: :func:`stream_features` of one block.

    Args:
      audio: linear amplitude, without NaN or Inf.
      sample_rate: samples per second.
      hop_length: samples between frames.
      fmin: lowest pitch looked for, in Hz.
      fmax: highest pitch looked for, in Hz, at most half of `sample_rate`; by default `FMAX`, or
        that half where it is lower.

    Returns:
      :class:`Features` of ``core.n_frames(samples, hop_length=hop_length)`` frames.

    Raises:
      TypeError: a size is not a Python int.
      ValueError: the range of pitch is empty or exceeds half of `sample_rate`.

    Properties:
      Runs on the host, chunk by chunk: not for use under jit, vmap or grad.

    Example:
      >>> import numpy as np
      >>> from ddspx import features
      >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
      >>> heard = features.conditioning_features(tone, sample_rate=16000, hop_length=1000)
      >>> round(float(heard.loudness_db[4]), 1)
      15.7
    """
    return stream_features(
        [np.asarray(audio)], sample_rate=sample_rate, hop_length=hop_length, fmin=fmin, fmax=fmax
    )


def stream_features(
    blocks: Iterable[np.ndarray],
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float = FMIN,
    fmax: float | None = None,
) -> Features:
    """Pitch, confidence and loudness of audio that arrives in blocks, in bounded memory.

    Args:
      blocks: consecutive blocks (*batch, samples) of one signal, of any sizes, at least one.
      sample_rate: samples per second.
      hop_length: samples between frames.
      fmin: lowest pitch looked for, in Hz.
      fmax: highest pitch looked for, in Hz, at most half of `sample_rate`; by default `FMAX`, or
        that half where it is lower.

    Returns:
      :class:`Features` of the blocks joined together, bit for bit those of
      :func:`conditioning_features`. Memory holds these, one block and some seconds of audio.

    Raises:
      TypeError: a size is not a Python int.
      ValueError: there is no block, or the range of pitch is empty or exceeds half of
        `sample_rate`.

    Properties:
      Runs on the host, chunk by chunk: not for use under jit, vmap or grad.

    Example:
      >>> import numpy as np
      >>> from ddspx import features
      >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
      >>> heard = features.stream_features(
      ...     np.split(tone, [1, 300, 4096]), sample_rate=16000, hop_length=1000
      ... )
      >>> heard.f0_hz.shape, round(float(heard.f0_hz[4]))
      ((9,), 440)
    """
    fmax = default_fmax(sample_rate) if fmax is None else fmax
    plan = _Plan(
        positive_int("sample_rate", sample_rate),
        positive_int("hop_length", hop_length),
        float(fmin),
        float(fmax),
    )
    parts = [
        tuple(np.asarray(track)[..., :n] for track in tracks)
        for tracks, n in _decisions(_observations(_windows(blocks, plan), plan), plan)
    ]
    f0_hz, confidence, loudness_db = (
        np.concatenate(track, axis=-1) for track in zip(*parts, strict=True)
    )
    return Features(_bridge(f0_hz, math.sqrt(fmin * fmax)), confidence, loudness_db)


class _Plan(NamedTuple):
    """The static sizes of a run."""

    sample_rate: int
    hop_length: int
    fmin: float
    fmax: float

    @property
    def frame_length(self) -> int:
        """Samples of a pitch frame, even; at the default `fmin` 46 ms."""
        # An `fmin` that is no frequency is for `core.pitch_posterior` to refuse.
        lowest = self.fmin if self.fmin > 0 else FMIN
        seconds = max(_FRAME_SECONDS, _FRAME_PERIODS / lowest)
        return 2 * math.ceil(self.sample_rate * seconds / 2)

    @property
    def chunk(self) -> int:
        """Frames of a chunk, which is also what a decision looks ahead.

        One more than whole seconds have: 4 s are then two chunks and not three.
        """
        return max(64, 1 + math.ceil(_LOOK_AHEAD_SECONDS * self.sample_rate / self.hop_length))

    @property
    def margin(self) -> int:
        """Frames on either side of a chunk whose samples its outermost frames reach into."""
        return math.ceil(max(self.frame_length, LOUDNESS_FFT) / 2 / self.hop_length)


class _Observation(NamedTuple):
    """What one chunk says by itself."""

    posterior: core.PitchPosterior
    loudness_db: Float[Array, "*batch frames"]


def _windows(blocks: Iterable[np.ndarray], plan: _Plan) -> Iterator[tuple[np.ndarray, int]]:
    """The samples of each chunk with its margins, and how many frames of it the audio has."""
    hop, margin = plan.hop_length, plan.margin * plan.hop_length
    step, length = plan.chunk * hop, plan.chunk * hop + 2 * margin
    pending: list[np.ndarray] = []
    held, samples, first_frame = 0, 0, 0
    for block in blocks:
        block = np.asarray(block, np.float32)
        at_least_ndim("audio", block.shape, 1, "(*batch, samples)")
        if not pending:
            pending, held = [np.zeros((*block.shape[:-1], margin), np.float32)], margin
        pending.append(block)
        held, samples = held + block.shape[-1], samples + block.shape[-1]
        if held >= length:
            rest = np.concatenate(pending, axis=-1)
            while rest.shape[-1] >= length:
                yield rest[..., :length], plan.chunk
                rest, first_frame = rest[..., step:], first_frame + plan.chunk
            pending, held = [rest], rest.shape[-1]
    if not pending:
        raise ValueError("`blocks` must hold at least one block of audio, got none.")
    rest = np.concatenate(pending, axis=-1)
    for left in range(core.n_frames(samples, hop_length=hop) - first_frame, 0, -plan.chunk):
        pad = [(0, 0)] * (rest.ndim - 1) + [(0, max(0, length - rest.shape[-1]))]
        yield np.pad(rest, pad)[..., :length], min(plan.chunk, left)
        rest = rest[..., step:]


def _observations(
    windows: Iterable[tuple[np.ndarray, int]], plan: _Plan
) -> Iterator[tuple[_Observation, int]]:
    """The observation of each chunk, and how many of its frames count."""
    for window, n in windows:
        yield _observe(window, plan), n


def _decisions(
    observations: Iterable[tuple[_Observation, int]], plan: _Plan
) -> Iterator[tuple[tuple[Array, Array, Array], int]]:
    """Pitch, confidence and loudness of each chunk, decided once the next one is known."""
    now, n, before = None, 0, None
    for ahead, n_ahead in observations:
        if now is None:
            before = jnp.full(ahead.loudness_db.shape[:-1], -1, jnp.int32)
        else:
            decided, before = _decide(now, ahead, before, jnp.int32(n + n_ahead), plan)
            yield decided, n
        now, n = ahead, n_ahead
    # After the last chunk comes nothing: none of the frames ahead counts, whatever they hold.
    yield _decide(now, now, before, jnp.int32(n), plan)[0], n


@partial(jax.jit, static_argnames="plan")
def _observe(audio: Float[Array, "*batch samples"], plan: _Plan) -> _Observation:
    """Pitch posterior and loudness of the frames of one chunk."""
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
    loudness_db = core.loudness_db(audio, n_fft=LOUDNESS_FFT, **rates)
    inner = slice(plan.margin, plan.margin + plan.chunk)
    posterior = jax.tree.map(lambda x: x[..., inner, :], posterior)
    return _Observation(posterior, loudness_db[..., inner])


@partial(jax.jit, static_argnames="plan")
def _decide(
    now: _Observation,
    ahead: _Observation,
    before: Int[Array, "*batch"],
    n_valid: Int[Array, ""],
    plan: _Plan,
) -> tuple[tuple[Array, Array, Array], Int[Array, "*batch"]]:
    """Pitch (NaN where there is none), confidence and loudness of a chunk; its last state.

    `before` is the state that the previous chunk ended in, -1 at the start of the audio.
    """
    posterior = now.posterior
    n_bins = posterior.f0_hz.shape[-1]
    glide = _GLIDE_OCTAVES_PER_SECOND * plan.hop_length / plan.sample_rate
    reach = min(max(1, round(glide * _BINS_PER_OCTAVE)), _BINS_PER_OCTAVE)
    transition = core.pitch_transition(n_bins, reach=reach)
    # Overlapping frames are no independent witnesses: those of one frame length count as two.
    weight = min(1.0, 2 * plan.hop_length / plan.frame_length)
    witnesses = (posterior.log_probability, ahead.posterior.log_probability)
    evidence = weight * jnp.concatenate(witnesses, axis=-2)
    may_be = (before < 0)[..., None] | jax.nn.one_hot(before, n_bins + 1, dtype=bool)
    initial = jnp.where(may_be, 0.0, -jnp.inf).astype(evidence.dtype)
    path = core.viterbi(evidence, transition, initial=initial, n_valid=n_valid)[..., : plan.chunk]
    bins = jnp.minimum(path, n_bins - 1)[..., None]
    f0_hz = jnp.take_along_axis(posterior.f0_hz, bins, axis=-1)[..., 0]
    aperiodicity = jnp.take_along_axis(posterior.aperiodicity, bins, axis=-1)[..., 0]
    is_voiced = (path < n_bins) & (aperiodicity < 1)
    # 1 where the frame repeats exactly, `VOICED` where pitch and no pitch are equally likely.
    certainty = jnp.maximum(1 - aperiodicity * (1 - VOICED) / _VOICING_THRESHOLD, 0)
    tracks = jnp.where(is_voiced, f0_hz, jnp.nan), jnp.where(is_voiced, certainty, 0)
    return (*tracks, now.loudness_db), path[..., -1]


def _bridge(f0_hz: np.ndarray, fallback_hz: float) -> np.ndarray:
    """Fills gaps (NaN) by straight lines in log-frequency; holds at the ends."""
    filled = np.full_like(f0_hz, fallback_hz)
    time = np.arange(f0_hz.shape[-1])
    for row in np.ndindex(f0_hz.shape[:-1]):
        known = np.flatnonzero(np.isfinite(f0_hz[row]))
        if known.size:
            filled[row] = np.exp(np.interp(time, known, np.log(f0_hz[row][known])))
            # Not through exp and log where nothing is missing.
            filled[row][known] = f0_hz[row][known]
    return filled
