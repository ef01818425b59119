"""Pitch without training: YIN's candidates, joined into one track by Viterbi."""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx._typing import Array, Float, Int
from ddspx.features._blocks import by_rows, chunk_sizes, windows
from ddspx.features._range import frame_power, is_within_range
from ddspx.metrics import VOICED

# Frames of 40 ms follow speech, fast notes and vibrato better than long ones: they keep 91 % of
# the depth of a vibrato of 6 Hz, frames of 64 ms keep 77 %. On single notes of eight instruments
# down to C1 they are right as often as long frames.
_FRAME_SECONDS = 0.04
_FRAME_PERIODS = 1.5
_LOOK_AHEAD_SECONDS = 2.0
_BINS_PER_OCTAVE = 60
_VOICING_THRESHOLD = 0.45
_GLIDE_OCTAVES_PER_SECOND = 15.0


class YinPlan(NamedTuple):
    """The static sizes of a run."""

    sample_rate: int
    hop_length: int
    fmin: float
    fmax: float

    @property
    def frame_length(self) -> int:
        """Samples of a frame, even; at the default `fmin` 46 ms."""
        seconds = max(_FRAME_SECONDS, _FRAME_PERIODS / self.fmin)
        return 2 * math.ceil(self.sample_rate * seconds / 2)

    @property
    def chunks(self) -> tuple[int, ...]:
        """The sizes of chunks. A decision looks ahead by a whole chunk of the largest size.

        That is one more than there are hops in the look-ahead, because a signal has one frame more
        than it has hops: 4 s are two chunks then, and not three. A sound that fits into a smaller
        chunk is decided as a whole.
        """
        hops = math.ceil(_LOOK_AHEAD_SECONDS * self.sample_rate / self.hop_length)
        return chunk_sizes(max(64, 1 + hops))

    @property
    def margin(self) -> int:
        """Frames added on either side of a chunk, which its outermost frames reach into."""
        return math.ceil(self.frame_length / 2 / self.hop_length)


class _Observed(NamedTuple):
    """The pitch posterior and the power spectra of the frames of a chunk."""

    posterior: core.PitchPosterior
    power: Float[Array, "*batch frames lines"]


def stream_yin(
    blocks: Iterable[np.ndarray], plan: YinPlan
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields pitch (NaN in unvoiced frames) and confidence, one chunk after the other.

    A chunk is decided once the next chunk has been observed.
    """
    now, n, before, batch = None, 0, None, ()
    cut = {"hop": plan.hop_length, "chunks": plan.chunks, "margins": (plan.margin, plan.margin)}
    n_frames = partial(core.n_frames, hop_length=plan.hop_length)
    for window, n_ahead in windows(blocks, **cut, n_frames=n_frames):
        batch = window.shape[:-1]
        ahead = by_rows(partial(_observe, plan=plan), window, batch=batch)
        if now is None:
            before = np.full(batch, -1, np.int32)
        else:
            decide = partial(_decide, n_valid=jnp.int32(n + n_ahead), plan=plan)
            decided, before = by_rows(decide, now, ahead, before, batch=batch)
            yield _first(decided, n)
        now, n = ahead, n_ahead
    # Nothing follows the last chunk. It is passed in place of the next one to keep the shapes, and
    # `n_valid` excludes its frames there.
    assert now is not None and before is not None, "every signal has a frame"
    decide = partial(_decide, n_valid=jnp.int32(n), plan=plan)
    yield _first(by_rows(decide, now, now, before, batch=batch)[0], n)


def _first(tracks, n):
    f0_hz, confidence = (np.asarray(track)[..., :n] for track in tracks)
    return f0_hz, confidence


@partial(jax.jit, static_argnames="plan")
def _observe(audio: Float[Array, "*batch samples"], plan: YinPlan) -> _Observed:
    """Computes the pitch posterior and the power spectra of the frames of one chunk."""
    posterior = core.pitch_posterior(
        audio,
        sample_rate=plan.sample_rate,
        hop_length=plan.hop_length,
        fmin=plan.fmin,
        fmax=plan.fmax,
        frame_length=plan.frame_length,
        bins_per_octave=_BINS_PER_OCTAVE,
        voicing_threshold=_VOICING_THRESHOLD,
    )
    power = frame_power(audio, frame_length=plan.frame_length, hop_length=plan.hop_length)
    inner = slice(plan.margin, audio.shape[-1] // plan.hop_length - plan.margin)
    return jax.tree.map(lambda x: x[..., inner, :], _Observed(posterior, power))


@partial(jax.jit, static_argnames="plan")
def _decide(
    now: _Observed,
    ahead: _Observed,
    before: Int[Array, "*batch"],
    n_valid: Int[Array, ""],
    plan: YinPlan,
) -> tuple[tuple[Array, Array], Int[Array, "*batch"]]:
    """Returns pitch (NaN in unvoiced frames) and confidence of a chunk, and its last state.

    `before` is the state that the previous chunk ended in, -1 at the start of the audio.
    """
    posterior, power = now
    chunk, n_bins = posterior.f0_hz.shape[-2:]
    glide = _GLIDE_OCTAVES_PER_SECOND * plan.hop_length / plan.sample_rate
    reach = min(max(1, round(glide * _BINS_PER_OCTAVE)), _BINS_PER_OCTAVE)
    transition = core.pitch_transition(n_bins, reach=reach)
    # Overlapping frames are not independent observations. Their log-probabilities are weighted so
    # that all frames within one frame length count as two.
    weight = min(1.0, 2 * plan.hop_length / plan.frame_length)
    observations = (posterior.log_probability, ahead.posterior.log_probability)
    evidence = weight * jnp.concatenate(observations, axis=-2)
    may_be = (before < 0)[..., None] | jax.nn.one_hot(before, n_bins + 1, dtype=bool)
    initial = jnp.where(may_be, 0.0, -jnp.inf).astype(evidence.dtype)
    path = core.viterbi(evidence, transition, initial=initial, n_valid=n_valid)[..., :chunk]
    bins = jnp.minimum(path, n_bins - 1)[..., None]
    f0_hz = jnp.take_along_axis(posterior.f0_hz, bins, axis=-1)[..., 0]
    aperiodicity = jnp.take_along_axis(posterior.aperiodicity, bins, axis=-1)[..., 0]
    pitch_range = {"sample_rate": plan.sample_rate, "fmin": plan.fmin, "fmax": plan.fmax}
    is_voiced = (path < n_bins) & (aperiodicity < 1) & is_within_range(f0_hz, power, **pitch_range)
    # The confidence is 1 if the frame repeats exactly, and `VOICED` at the aperiodicity where
    # voiced and unvoiced are equally likely.
    certainty = jnp.maximum(1 - aperiodicity * (1 - VOICED) / _VOICING_THRESHOLD, 0)
    return (jnp.where(is_voiced, f0_hz, jnp.nan), jnp.where(is_voiced, certainty, 0)), path[..., -1]
