"""Posterior probability of pitch in log-frequency bins, frame by frame, for :func:`viterbi`."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, floats, size
from ddspx._typing import Array, ArrayLike, Bool, Float, Int
from ddspx.core._framing import frame
from ddspx.core.pitch._yin import (
    cumulative_mean_normalized,
    lag_range,
    mean_difference,
    parabola,
    troughs,
    vertex,
)

_NEIGHBOUR_CENTS = 40
_NEIGHBOUR_COST = 0.02


class PitchPosterior(NamedTuple):
    """Probability of pitch in each frame, on a grid of log-frequency bins.

    Attributes:
      log_probability: log-probability of each bin and, last, of no pitch in the range.
      f0_hz: frequency of the best candidate of each bin, finer than the grid; the centre of the bin
        if it has no candidate.
      aperiodicity: of that candidate, from 0 (the frame repeats exactly) to 1; 1 without a
        candidate.
    """

    log_probability: Float[Array, "*batch frames states"]
    f0_hz: Float[Array, "*batch frames bins"]
    aperiodicity: Float[Array, "*batch frames bins"]


def pitch_posterior(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float,
    fmax: float,
    frame_length: int = 2048,
    bins_per_octave: int = 60,
    voicing_threshold: float = 0.45,
    octave_cost: float = 0.2,
    temperature: float = 0.1,
) -> PitchPosterior:
    r"""Probability of every pitch bin, and of no pitch, in each frame.

    .. math::
      d(k) = \frac{1}{L - k} \sum_{m=0}^{L-k-1} (x_m - x_{m+k})^2, \qquad
      p_b \propto \bigl( (1 - d'_b)\, e^{-o \log_2 (f_B / f_b)} \bigr)^{1 / T}

    with :math:`d'` normalized as in :func:`yin`. Each local minimum of :math:`d'` is a candidate of
    the bin it lies in and, with a slightly lower score, of the bins within 40 cents.
    :math:`d'_b` and :math:`f_b` are those of the best candidate of bin b, :math:`d'_b` is at
    most 0.98, and :math:`f_B` is the last bin. The probability of no pitch is that of the likeliest
    bin if its :math:`d'` were `voicing_threshold`. It is raised to the probability of the likeliest
    candidate outside the range, if there is one with :math:`d'` below `voicing_threshold` and a
    period of at most two thirds of the frame. For example, a sound of 3 kHz also repeats after two
    periods, but must not be taken for 1.5 kHz if the range ends at 2 kHz.

    Multiples of a period are periods too, so the octave cost :math:`o` favours the shortest. In a
    reverberant room it also keeps the common period of two notes from winning over both of them.

    Args:
      audio: linear amplitude, of any level; each frame is scaled by its own peak.
      sample_rate: samples per second. Static.
      hop_length: samples between frames. Static.
      fmin: frequency of the first bin, in Hz, above 0. Static.
      fmax: no bin lies above it, in Hz, at most half of `sample_rate`. Static.
      frame_length: samples in a frame, more than one period of `fmin` (2048 is 128 ms at
        16 kHz). Longer frames give more reliable pitches, but blur fast notes. Static.
      bins_per_octave: resolution of the grid; bin b is at ``fmin * 2**(b / bins_per_octave)``.
        Static.
      voicing_threshold: aperiodicity at which pitch and no pitch are equally likely, below 1.
      octave_cost: a candidate an octave below another wins if its periodicity ``1 - d'`` is
        higher by a factor of more than ``exp(octave_cost)``.
      temperature: change of log-periodicity that changes the odds by a factor of e, above 0.

    Returns:
      A :class:`PitchPosterior` on the frame rule, in the dtype of `audio`. A silent frame has no
      candidate.

    Raises:
      TypeError: a size is not a Python int, or `audio` is neither float32 nor float64.
      ValueError: the frequency range is empty or exceeds half the sample rate, or a frame does
        not hold one period of `fmin`.

    Properties:
      The choice of candidates is not differentiable; the gradient of their values is finite
      everywhere. Static: the sizes, the rate and the range.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> tone = jnp.sin(2 * jnp.pi * 110 * jnp.arange(8000) / 16000)
      >>> posterior = core.pitch_posterior(
      ...     tone, sample_rate=16000, hop_length=4000, fmin=55.0, fmax=880.0, bins_per_octave=12
      ... )
      >>> int(jnp.argmax(posterior.log_probability[1])), round(float(posterior.f0_hz[1, 12]))
      (12, 110)

    References:
      Mauch and Dixon, `pYIN <https://doi.org/10.1109/ICASSP.2014.6853678>`_, ICASSP 2014, take the
      probability of a candidate from a distribution of thresholds instead, and its frequency from
      the centre of its bin. The octave cost is that of Boersma, 1993 (Praat).
    """
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    min_lag, max_lag = lag_range(sample_rate, fmin, fmax, frame_length)
    bins_per_octave = size("bins_per_octave", bins_per_octave)
    n_bins = 1 + math.floor(bins_per_octave * math.log2(fmax / fmin) + 1e-9)
    frames = frame(audio, frame_length=frame_length, hop_length=hop_length)
    is_minimum, depth, f0_hz = _minima(frames, max(max_lag, 2 * frame_length // 3), sample_rate)
    position = bins_per_octave * jnp.log2(f0_hz / fmin)
    bins = jnp.round(position).astype(jnp.int32)
    octaves = np.arange(n_bins) / bins_per_octave

    def scored(depth, f0_hz):
        handicap = octave_cost * (jnp.log2(f0_hz / fmin) - float(octaves[-1]))
        return jnp.log(jnp.maximum(1 - depth, 0.02)) + handicap, handicap

    is_candidate, is_inside = is_minimum & (depth < 1), (bins >= 0) & (bins < n_bins)
    is_outside = is_candidate & ~is_inside & (depth < voicing_threshold)
    outside = jnp.where(is_outside, scored(depth, f0_hz)[0], -jnp.inf)
    outside = jnp.max(outside, axis=-1, keepdims=True)
    searched = np.s_[..., max(0, min_lag - 1) : max_lag + 2]
    bins = jnp.where(is_candidate & is_inside, bins, n_bins)[searched]
    centres = jnp.asarray(fmin * 2**octaves, depth.dtype)
    best = jnp.vectorize(_best_of_bins, excluded=(3,), signature="(k),(k),(k)->(b),(b)")
    depth, f0_hz = best(bins, depth[searched], f0_hz[searched], centres)
    score, handicap = scored(depth, f0_hz)
    reach = round(_NEIGHBOUR_CENTS * bins_per_octave / 1200)
    score, depth, f0_hz, handicap = _best_of_neighbours((score, depth, f0_hz, handicap), reach)
    # No pitch gets the handicap of the likeliest bin, so that the handicap decides between pitches
    # only.
    likeliest = jnp.argmax(score, axis=-1, keepdims=True)
    no_pitch = jnp.take_along_axis(handicap, likeliest, axis=-1) + jnp.log1p(-voicing_threshold)
    no_pitch = jnp.maximum(no_pitch, outside)
    log_probability = jax.nn.log_softmax(
        jnp.concatenate([score, no_pitch], axis=-1) / temperature, axis=-1
    )
    return PitchPosterior(log_probability, f0_hz, depth)


def _minima(
    frames: Float[Array, "*batch samples"], longest: int, sample_rate: int
) -> tuple[Bool[Array, "*batch lags"], Float[Array, "*batch lags"], Float[Array, "*batch lags"]]:
    """Whether d' has a minimum at each lag, and the height and frequency of such a minimum."""
    difference = mean_difference(frames, longest)
    curve = cumulative_mean_normalized(difference)
    # From the parabola of d, because the slope of its denominator shifts the minimum of d'.
    shift = vertex(difference)
    depth = jnp.clip(parabola(curve, shift), 0, 1)
    lags = jnp.broadcast_to(np.arange(longest + 2, dtype=frames.dtype), depth.shape)
    return troughs(curve), depth, sample_rate / jnp.maximum(lags + shift, 1)


def _best_of_bins(
    bins: Int[Array, " lags"],
    depth: Float[Array, " lags"],
    f0_hz: Float[Array, " lags"],
    centres: Float[Array, " bins"],
) -> tuple[Float[Array, " bins"], Float[Array, " bins"]]:
    """Depth and frequency of the deepest candidate of each bin, or 1 and the bin's centre.

    Among depths that are equal up to rounding, the shortest lag wins. The comparison needs this
    tolerance, because a compiler may compute a depth twice with different rounding, once for the
    minimum and once for the comparison. An exact comparison could then find no candidate at all.
    """
    n_bins, n_lags = centres.size, depth.size
    height = jax.lax.stop_gradient(depth)
    least = jnp.ones(n_bins, depth.dtype).at[bins].min(height, mode="drop")
    rounding = math.sqrt(jnp.finfo(depth.dtype).eps)
    is_best = height <= least.at[bins].get(mode="fill", fill_value=-1) + rounding
    lags = jnp.arange(n_lags, dtype=bins.dtype)
    winner = jnp.full(n_bins, n_lags, bins.dtype)
    winner = winner.at[jnp.where(is_best, bins, n_bins)].min(lags, mode="drop")
    best = depth.at[winner].get(mode="fill", fill_value=1)
    return best, jnp.where(winner < n_lags, f0_hz.at[winner].get(mode="clip"), centres)


def _best_of_neighbours(
    bins: tuple[Float[Array, "*batch bins"], ...], reach: int
) -> tuple[Float[Array, "*batch bins"], ...]:
    """The values with the best score within `reach` of each bin; the first of `bins` is the score.

    So a path can stay in its bin while a candidate moves back and forth across the bin's edge.
    """
    n_bins = bins[0].shape[-1]
    pad = [(0, 0)] * (bins[0].ndim - 1) + [(reach, reach)]
    padded = [jnp.pad(x, pad, mode="edge") for x in bins]
    best = bins
    for start in range(2 * reach + 1):
        score, *values = (x[..., start : start + n_bins] for x in padded)
        score = score - _NEIGHBOUR_COST * abs(start - reach) / max(reach, 1)
        better = score > best[0]
        pairs = zip((score, *values), best, strict=True)
        best = tuple(jnp.where(better, near, own) for near, own in pairs)
    return best
