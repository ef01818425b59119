"""Pitch: the YIN difference function, a posterior over log-frequency bins, and Viterbi."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ddspx._checks import same_size
from ddspx._typing import Array, Float, Int
from ddspx.core._framing import frame


class PitchPosterior(NamedTuple):
    """What one frame says about pitch, on a grid of log-frequency bins.

    Attributes:
      log_probability: log-probability of each bin and, last, of the unvoiced state.
      f0_hz: frequency of the strongest candidate in each bin, to a fraction of a bin; the
        bin's centre where there is no candidate.
      aperiodicity: normalised difference of that candidate, 0 for a perfectly periodic
        frame; 1 where there is none.
    """

    log_probability: Float[Array, "*batch frames states"]
    f0_hz: Float[Array, "*batch frames bins"]
    aperiodicity: Float[Array, "*batch frames bins"]


class PitchTransition(NamedTuple):
    """Log-scores of moving between pitch bins and the unvoiced state, which comes last.

    Attributes:
      log_band: score of moving from bin i to bin i + d - width // 2, in column d.
      log_leap: score of moving from any bin to any other; it bounds the band from below.
      log_onset: score of moving from the unvoiced state to each bin.
      log_offset: score of moving from each bin to the unvoiced state.
      log_rest: score of remaining unvoiced.
    """

    log_band: Float[Array, "bins width"]
    log_leap: Float[Array, ""]
    log_onset: Float[Array, ""]
    log_offset: Float[Array, ""]
    log_rest: Float[Array, ""]


def _check_range(sample_rate: int, fmin: float, fmax: float, frame_length: int) -> None:
    """Raises unless 0 < fmin < fmax <= Nyquist and one period of fmin fits in a frame."""
    if not 0.0 < fmin < fmax:
        raise ValueError(f"`fmin` must lie between 0 and `fmax`={fmax}, got {fmin}.")
    if fmax > sample_rate / 2:
        raise ValueError(f"`fmax` must not exceed half of `sample_rate`={sample_rate}, got {fmax}.")
    if math.ceil(sample_rate / fmin) > frame_length - 2:
        raise ValueError(
            f"`frame_length` must hold one period of `fmin`={fmin} Hz, got {frame_length}; "
            f"use at least {math.ceil(sample_rate / fmin) + 2} samples, or raise `fmin`."
        )


def _lag_sums(
    frames: Float[Array, "*batch length"], n_lags: int
) -> tuple[Float[Array, "*batch lags"], Float[Array, "*batch lags"], Float[Array, "*batch lags"]]:
    """Autocorrelation, and energy of the first and of the last k samples, for k < n_lags.

    Frames are scaled to unit peak first: the sums are then free of under- and overflow, and
    what is computed from their ratios does not depend on the level of the audio.
    """
    length = frames.shape[-1]
    peak = jnp.max(jnp.abs(frames), axis=-1, keepdims=True)
    frames = frames / jnp.where(peak > 0, peak, 1)
    n_fft = 1 << (length + n_lags - 2).bit_length()
    spectrum = jnp.fft.rfft(frames, n_fft)
    power = spectrum.real**2 + spectrum.imag**2
    correlation = jnp.fft.irfft(power, n_fft)[..., :n_lags]
    squares = frames**2
    zero = jnp.zeros_like(squares[..., :1])
    head = jnp.cumsum(squares[..., : n_lags - 1], axis=-1)
    tail = jnp.cumsum(squares[..., : length - n_lags : -1], axis=-1)
    return (
        correlation.astype(frames.dtype),
        jnp.concatenate([zero, head], axis=-1),
        jnp.concatenate([zero, tail], axis=-1),
    )


def _cumulative_mean_normalise(
    difference: Float[Array, "*batch lags"],
) -> Float[Array, "*batch lags"]:
    """d(k) / mean(d(1..k)); 1 at lag 0 and for silent frames."""
    k = np.arange(1, difference.shape[-1], dtype=difference.dtype)
    k = np.broadcast_to(k, difference.shape[:-1] + k.shape)
    total = jnp.cumsum(difference[..., 1:], axis=-1)
    ratio = jnp.where(total > 0, difference[..., 1:] * k / jnp.where(total > 0, total, 1), 1)
    return jnp.concatenate([jnp.ones_like(difference[..., :1]), ratio], axis=-1)


def _troughs(
    curve: Float[Array, "*batch lags"],
) -> tuple[Array, Float[Array, "*batch lags"], Float[Array, "*batch lags"]]:
    """Which points are local minima, and the shift and value of the parabola through three."""
    left, middle, right = curve[..., :-2], curve[..., 1:-1], curve[..., 2:]
    bend = left + right - 2 * middle
    slope = (right - left) / 2
    inside = jnp.abs(slope) < bend
    shift = jnp.where(inside, -slope / jnp.where(inside, bend, 1), 0)
    value = middle + slope * shift / 2
    is_trough = (middle < left) & (middle <= right)
    pad = [(0, 0)] * (curve.ndim - 1) + [(1, 1)]
    is_trough = jnp.pad(is_trough, pad)
    is_trough = is_trough.at[..., 0].set(curve[..., 0] < curve[..., 1])
    value = jnp.concatenate([curve[..., :1], value, curve[..., -1:]], axis=-1)
    return is_trough, jnp.pad(shift, pad), value


def yin(
    audio: Float[Array, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float,
    fmax: float,
    frame_length: int = 2048,
    threshold: float = 0.1,
) -> tuple[Float[Array, "*batch frames"], Float[Array, "*batch frames"]]:
    r"""Fundamental frequency of each frame by YIN, and how periodic the frame is.

    .. math::
      d(k) = \sum_{m=0}^{L-1} (x_m - x_{m+k})^2, \qquad
      d'(k) = d(k) \Big/ \frac{1}{k} \sum_{j=1}^{k} d(j)

    with :math:`x` zero outside the frame. The period is the first local minimum of :math:`d'`
    below `threshold`, or the lowest point where there is none, refined by a parabola.

    Args:
      audio: any level; each frame is scaled by its own peak.
      sample_rate: samples per second. Static.
      hop_length: samples between frames. Static.
      fmin: lowest frequency looked for, in Hz. Static.
      fmax: highest frequency looked for, in Hz, at most half of `sample_rate`. Static.
      frame_length: samples in a frame; several periods of `fmin` (2048 is 128 ms at 16 kHz).
        Static.
      threshold: depth at which a minimum is accepted, from 0 to 1. Static.

    Returns:
      Frequency in Hz, always finite, and confidence ``1 - d'`` at the period, from 0 (no
      period, or silence) to 1; both in the dtype of `audio`, on the frame rule.

    Raises:
      TypeError: a size is not a Python int.
      ValueError: the frequency range is empty, exceeds half the sample rate, or `frame_length`
        is shorter than one period of `fmin`.

    Properties:
      The choice of a minimum is discrete, so the gradient is that of the parabola at the
      chosen minimum: finite, but of no use for learning. Static: all but `audio`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> tone = jnp.sin(2 * jnp.pi * 220 * jnp.arange(8000) / 16000)
      >>> f0, confidence = core.yin(
      ...     tone, sample_rate=16000, hop_length=4000, fmin=65.0, fmax=2000.0
      ... )
      >>> round(float(f0[1])), round(float(confidence[1]), 1)
      (220, 1.0)

    References:
      de Cheveigné and Kawahara, `YIN, a fundamental frequency estimator for speech and music
      <https://doi.org/10.1121/1.1458024>`_, JASA 111 (2002). The frequency equals that of
      ``librosa.yin`` from version 0.11 on, which has no confidence.
    """
    audio = jnp.asarray(audio)
    _check_range(sample_rate, fmin, fmax, frame_length)
    min_lag = math.floor(sample_rate / fmax)
    max_lag = math.ceil(sample_rate / fmin)
    frames = frame(audio, frame_length=frame_length, hop_length=hop_length)
    correlation, head, _ = _lag_sums(frames, max_lag + 1)
    difference = 2 * (correlation[..., :1] - correlation) - head
    curve = _cumulative_mean_normalise(jnp.maximum(difference, 0))[..., min_lag:]
    is_trough, shift, value = _troughs(curve)
    is_trough = is_trough.at[..., -1].set(curve[..., -1] < curve[..., -2])
    accepted = is_trough & (curve < threshold)
    first, lowest = jnp.argmax(accepted, axis=-1), jnp.argmin(curve, axis=-1)
    pick = jnp.where(jnp.any(accepted, axis=-1), first, lowest)[..., None]
    lag = min_lag + pick + jnp.take_along_axis(shift, pick, axis=-1)
    depth = jnp.take_along_axis(value, pick, axis=-1)
    f0_hz = (sample_rate / lag).astype(audio.dtype)
    return f0_hz[..., 0], jnp.clip(1 - depth, 0, 1)[..., 0]


def pitch_posterior(
    audio: Float[Array, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float,
    fmax: float,
    frame_length: int,
    bins_per_octave: int = 60,
    voicing_threshold: float = 0.4,
    octave_cost: float = 0.1,
    temperature: float = 0.05,
) -> PitchPosterior:
    r"""Probability of every pitch bin, and of no pitch, in each frame.

    Args:
      audio: any level; each frame is scaled by its own peak.
      sample_rate: samples per second. Static.
      hop_length: samples between frames. Static.
      fmin: frequency of the first bin, in Hz. Static.
      fmax: highest frequency, in Hz, at most half of `sample_rate`. Static.
      frame_length: samples in a frame, more than one period of `fmin`. Static.
      bins_per_octave: resolution of the grid. Static.
      voicing_threshold: aperiodicity at which voiced and unvoiced are equally likely.
      octave_cost: aperiodicity that a candidate must make up for per octave that it lies lower.
      temperature: difference of aperiodicity that changes the odds by a factor e.

    Returns:
      A :class:`PitchPosterior`.

    Raises:
      TypeError: a size is not a Python int.
      ValueError: the frequency range is empty, exceeds half the sample rate, or `frame_length`
        is shorter than one period of `fmin`.
    """
    audio = jnp.asarray(audio)
    _check_range(sample_rate, fmin, fmax, frame_length)
    n_bins = 1 + math.floor(bins_per_octave * math.log2(fmax / fmin))
    min_lag = math.floor(sample_rate / fmax)
    max_lag = math.ceil(sample_rate / fmin)
    frames = frame(audio, frame_length=frame_length, hop_length=hop_length)
    correlation, head, tail = _lag_sums(frames, max_lag + 2)
    overlap = np.arange(frame_length, frame_length - max_lag - 2, -1, dtype=frames.dtype)
    difference = 2 * (correlation[..., :1] - correlation) - head - tail
    difference = jnp.maximum(difference, 0) / np.broadcast_to(overlap, difference.shape)
    curve = _cumulative_mean_normalise(difference)[..., max(min_lag - 1, 1) :]
    is_trough, shift, value = _troughs(curve)
    lags = np.arange(max(min_lag - 1, 1), max_lag + 2, dtype=curve.dtype)
    hz = sample_rate / (np.broadcast_to(lags, curve.shape) + shift)
    bins = jnp.round(bins_per_octave * jnp.log2(hz / fmin)).astype(jnp.int32)
    bins = jnp.where(is_trough & (bins >= 0) & (bins < n_bins), bins, n_bins)
    value = jnp.clip(value, 0, 1)
    grid = fmin * 2.0 ** (np.arange(n_bins) / bins_per_octave)

    def scatter(bins, value, hz):
        depth = jnp.ones(n_bins + 1, value.dtype).at[bins].min(value)
        winner = jnp.where(value <= depth[bins], bins, n_bins)
        f0 = jnp.asarray(np.append(grid, 1.0), value.dtype).at[winner].set(hz)
        return depth[:-1], f0[:-1]

    def flat(x):
        return x.reshape(-1, x.shape[-1])

    depth, f0_hz = jax.vmap(scatter)(flat(bins), flat(value), flat(hz))
    # A bin also hears its neighbours, so a path need not follow every wobble of a candidate.
    best, best_hz, best_depth = None, None, None
    for j in (0, -1, 1, -2, 2):
        d = jnp.roll(depth, j, -1)
        h = jnp.roll(f0_hz, j, -1)
        if j > 0:
            d = d.at[:, :j].set(1)
        if j < 0:
            d = d.at[:, j:].set(1)
        cost = d + 0.01 * abs(j)
        if best is None:
            best, best_hz, best_depth = cost, h, d
        else:
            take = cost < best
            best, best_hz, best_depth = (
                jnp.where(take, cost, best),
                jnp.where(take, h, best_hz),
                jnp.where(take, d, best_depth),
            )
    penalty = octave_cost * np.log2(fmax / grid)
    total = best + jnp.asarray(penalty, best.dtype)[None]
    strongest = jnp.argmin(total, axis=-1, keepdims=True)
    # The cost of low pitch decides between candidates, not between voiced and unvoiced.
    rest = voicing_threshold + jnp.asarray(penalty, best.dtype)[strongest]
    voiced, unvoiced = -total / temperature, -rest / temperature
    log_probability = jax.nn.log_softmax(jnp.concatenate([voiced, unvoiced], -1), axis=-1)
    shape = frames.shape[:-1]
    return PitchPosterior(
        log_probability.reshape(*shape, n_bins + 1),
        best_hz.reshape(*shape, n_bins),
        best_depth.reshape(*shape, n_bins),
    )


def pitch_transition(
    n_bins: int, *, width: int, p_leap: float = 1e-3, p_switch: float = 1e-2
) -> PitchTransition:
    """Transition scores for :func:`viterbi` over pitch bins and an unvoiced state.

    Args:
      n_bins: pitch bins, without the unvoiced state. Static.
      width: bins that the pitch can glide by in one frame. Static.
      p_leap: odds of moving further than that.
      p_switch: odds of turning from voiced to unvoiced and back.
    """
    band = np.log(1 - np.abs(np.arange(-width, width + 1)) / (width + 1))
    band = np.broadcast_to(band, (n_bins, 2 * width + 1))

    def f(x):
        return jnp.asarray(x, jnp.float32)

    return PitchTransition(
        f(band), f(np.log(p_leap)), f(np.log(p_switch)), f(np.log(p_switch)), f(0.0)
    )


def viterbi(
    log_observation: Float[Array, "*batch frames states"],
    transition: PitchTransition,
    *,
    initial: Float[Array, "*batch states"] | None = None,
    n_valid: Int[Array, ""] | None = None,
) -> Int[Array, "*batch frames"]:
    """The most likely sequence of states.

    Args:
      log_observation: log-probability of each state in each frame, the unvoiced state last.
      transition: see :func:`pitch_transition`.
      initial: score of each state in the frame before the first; all equal by default.
      n_valid: frames from the first that count; later ones repeat the last. May be traced.

    Returns:
      The index of the state in each frame.
    """
    log_observation = jnp.asarray(log_observation)
    *batch, n, states = log_observation.shape
    same_size(
        "`log_observation` and `transition`", states - 1, transition.log_band.shape[0], "bins"
    )
    flat = log_observation.reshape(-1, n, states)
    if initial is None:
        initial = jnp.zeros((*batch, states), log_observation.dtype)
    valid = np.arange(n) < (n if n_valid is None else n_valid)
    decode = jax.vmap(_viterbi_path, in_axes=(0, 0, None, None))
    return decode(flat, initial.reshape(-1, states), valid, transition).reshape(*batch, n)


def _viterbi_path(log_observation, initial, valid, transition):
    band, leap, onset, offset, rest = transition
    n_bins, width = band.shape
    half = width // 2

    def forward(score, step):
        observation, keep = step
        bins, silent = score[:-1], score[-1]
        moved = jnp.pad(bins[:, None] + band, ((half, half), (0, 0)), constant_values=-jnp.inf)
        reach = jnp.maximum(jnp.max(bins) + leap, silent + onset)
        best = jnp.full_like(bins, reach)
        for d in range(width):
            start = 2 * half - d
            best = jnp.maximum(best, moved[start : start + n_bins, d])
        rest_score = jnp.maximum(silent + rest, jnp.max(bins) + offset)
        new = jnp.append(best, rest_score) + observation
        new = new - jnp.max(new)
        return jnp.where(keep, new, score), score

    last, scores = lax.scan(forward, initial, (log_observation, valid))

    def backward(state, step):
        score, keep = step
        bins, silent = score[:-1], score[-1]
        # sources of `state`
        source = np.arange(n_bins)
        d = state - source + half
        inside = (d >= 0) & (d < width)
        within = jnp.take_along_axis(band, jnp.clip(d, 0, width - 1)[:, None], axis=1)[:, 0]
        to_bin = jnp.append(
            bins + jnp.maximum(jnp.where(inside, within, -jnp.inf), leap), silent + onset
        )
        to_rest = jnp.append(bins + offset, silent + rest)
        previous = jnp.argmax(jnp.where(state == n_bins, to_rest, to_bin))
        return jnp.where(keep, previous, state).astype(jnp.int32), state

    final = jnp.argmax(last).astype(jnp.int32)
    _, path = lax.scan(backward, final, (scores, valid), reverse=True)
    return path
