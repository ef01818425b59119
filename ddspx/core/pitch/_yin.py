"""YIN: the cumulative mean normalized difference of a frame with itself, and its first minimum."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, floats, one_of, positive_int, size
from ddspx._typing import Array, ArrayLike, Bool, Float
from ddspx.core._fourier import irfft_of_frames, next_fast_length, rfft_of_frames
from ddspx.core._framing import frame

YinMethod = Literal["paper", "librosa"]


def yin(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float,
    fmax: float,
    frame_length: int = 2048,
    threshold: float = 0.1,
    method: YinMethod = "paper",
) -> tuple[Float[Array, "*batch frames"], Float[Array, "*batch frames"]]:
    r"""Fundamental frequency of each frame by YIN, with a confidence.

    .. math::
      d(k) = \frac{1}{L - k} \sum_{m=0}^{L-k-1} (x_m - x_{m+k})^2, \qquad
      d'(k) = d(k) \Big/ \frac{1}{k} \sum_{j=1}^{k} d(j)

    The period is the first local minimum of :math:`d'` whose parabola reaches below `threshold`, or
    the lowest point if there is no such minimum. It is refined by the parabola of :math:`d`,
    because the slope of its denominator shifts the minimum of :math:`d'`.

    Args:
      audio: linear amplitude, of any level; each frame is scaled by its own peak.
      sample_rate: samples per second. Static.
      hop_length: samples between frames. Static.
      fmin: lowest frequency that is searched, in Hz, above 0. Static.
      fmax: highest frequency that is searched, in Hz, at most half of `sample_rate`. Static.
      frame_length: samples in a frame, several periods of `fmin` (2048 is 128 ms at 16 kHz).
        Static.
      threshold: depth at which a minimum is accepted, from 0 to 1.
      method: ``paper``, or ``librosa`` for the numbers of ``librosa.yin``: there :math:`x` is zero
        after the frame and :math:`d` a sum of L terms, the points of :math:`d'` are compared with
        the threshold, and refined by parabolas of :math:`d'`. Static.

    Returns:
      Frequency in Hz, finite in every frame, and the confidence ``1 - d'`` at the period, from
      0 (silence, or a period outside the range) to 1. Both are on the frame rule, in the dtype of
      `audio`. The period is a whole number of samples before it is refined, so it may be up to one
      sample shorter than that of `fmax`.

    Raises:
      TypeError: a size is not a Python int, or `audio` is neither float32 nor float64.
      ValueError: the frequency range is empty or exceeds half the sample rate, a frame does
        not hold one period of `fmin`, or `method` is unknown.

    Properties:
      The choice of the minimum is not differentiable; the gradient is that of the chosen minimum,
      and finite everywhere. Static: all but `audio` and `threshold`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> tone = jnp.sin(2 * jnp.pi * 220 * jnp.arange(8000) / 16000)
      >>> f0_hz, confidence = core.yin(
      ...     tone, sample_rate=16000, hop_length=4000, fmin=65.0, fmax=2000.0
      ... )
      >>> round(float(f0_hz[1]), 1), round(float(confidence[1]), 1)
      (220.0, 1.0)

    References:
      de Cheveigné and Kawahara, `YIN, a fundamental frequency estimator for speech and music
      <https://doi.org/10.1121/1.1458024>`_, JASA 111, 2002, steps 1 to 5. The paper's window has
      a fixed length and extends beyond the frame by the lag; here d is the mean over all pairs
      within the frame, which are centred on it for every lag. Step 6, the best estimate nearby,
      belongs to tracking over frames, see :func:`pitch_posterior`.

      ``method="librosa"`` is ``librosa.yin`` 0.11 and later, with ``sr``, ``hop_length``, ``fmin``,
      ``fmax`` and ``frame_length`` the same, ``trough_threshold=threshold``, and ``center=True``
      and ``pad_mode="constant"`` left at their defaults. librosa's default hop is
      ``frame_length // 4``, and it returns no confidence. The terms past the end of the frame raise
      :math:`d'` and make periods longer, for a 45 Hz sine in 2048 samples at 44.1 kHz by 52 cents.
      librosa's :math:`d(1)` is too large by the square of the frame's first sample, because an
      assignment in place overwrites it before it is subtracted; in a quiet frame with a loud edge
      that changes the pitch by up to a few cents. If no minimum is below the threshold, rounding in
      float32 may choose another one.
    """
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    one_of("method", method, ("paper", "librosa"))
    sample_rate = size("sample_rate", sample_rate)
    min_lag, max_lag = lag_range(sample_rate, fmin, fmax, frame_length)
    frames = frame(audio, frame_length=frame_length, hop_length=hop_length)
    longest = max(max_lag, frame_length // 2)
    if method == "paper":
        difference = mean_difference(frames, longest)
        beyond = cumulative_mean_normalized(difference)
        whole = beyond[..., : max_lag + 2]
        refined, curve = (x[..., min_lag - 1 : max_lag + 2] for x in (difference, whole))
        shift, depth = (x[..., 1:-1] for x in (vertex(refined), parabola(curve, vertex(curve))))
        curve, compared = curve[..., 1:-1], depth
    else:
        beyond = difference_curve(frames, longest)
        whole = beyond[..., : max_lag + 2]
        curve = whole[..., min_lag:-1]
        shift = vertex(curve)
        depth, compared = parabola(curve, shift), curve
    accepted = searched_troughs(curve) & (compared < threshold)
    first, lowest = jnp.argmax(accepted, axis=-1), jnp.argmin(curve, axis=-1)
    pick = jnp.where(jnp.any(accepted, axis=-1), first, lowest)[..., None]
    depth, shift, found = (
        jnp.take_along_axis(x, pick, axis=-1)[..., 0]
        for x in (depth, shift, troughs(whole)[..., min_lag:-1])
    )
    period = min_lag + pick[..., 0] + shift
    is_sure = found & ~_repeats_outside(beyond, depth, threshold, (min_lag, max_lag))
    return sample_rate / period, jnp.where(is_sure, jnp.clip(1 - depth, 0, 1), 0)


def _repeats_outside(
    curve: Float[Array, "*batch lags"],
    depth: Float[Array, "*batch"],
    threshold: float,
    lags: tuple[int, int],
) -> Bool[Array, "*batch"]:
    """Whether the true period lies outside the searched lags, in which the best depth is `depth`.

    A shorter period wins if its periodicity is at least nine tenths of that found. It may be a
    little lower, because a multiple of a period may fall on a whole sample although the period does
    not. A longer period wins if no searched one is below the threshold and it is twice as deep;
    a mere multiple of the period found is not that deep.
    """
    heights = jnp.where(troughs(curve), curve, jnp.inf)
    short, long = heights[..., 2 : max(lags[0], 3)], heights[..., lags[1] + 1 :]
    shortest_is_one = jnp.min(short, axis=-1) <= depth + 0.1 * (1 - depth)
    longer_is_one = (depth >= threshold) & (jnp.min(long, axis=-1) < depth / 2)
    return (shortest_is_one & (lags[0] > 2)) | longer_is_one


def lag_range(sample_rate: int, fmin: float, fmax: float, frame_length: int) -> tuple[int, int]:
    """Shortest and longest period in samples; raises unless a frame holds the longest."""
    sample_rate = size("sample_rate", sample_rate)
    frame_length = positive_int("frame_length", frame_length)
    if not 0 < fmin < fmax:
        raise ValueError(f"`fmin` must be above 0 and below `fmax`={fmax}, got {fmin}.")
    if fmax > sample_rate / 2:
        raise ValueError(f"`fmax` must be at most half of `sample_rate`={sample_rate}, got {fmax}.")
    longest = math.ceil(sample_rate / fmin)
    if longest + 2 > frame_length:
        raise ValueError(
            f"`frame_length` must hold a period of `fmin`={fmin} Hz, got {frame_length}; use "
            f"{longest + 2} samples or more, or raise `fmin`."
        )
    return math.floor(sample_rate / fmax), longest


def difference_curve(
    frames: Float[Array, "*batch length"], max_lag: int
) -> Float[Array, "*batch lags"]:
    """Librosa's variant of the normalized difference, at the lags 0 to ``max_lag + 1``."""
    correlation, squares = _correlation(frames, max_lag + 2)
    head = _running_sum(squares[..., : max_lag + 1])
    return cumulative_mean_normalized(
        jnp.maximum(2 * (correlation[..., :1] - correlation) - _from_zero(head), 0)
    )


def mean_difference(
    frames: Float[Array, "*batch length"], max_lag: int
) -> Float[Array, "*batch lags"]:
    """Mean squared difference of the pairs within a frame, at the lags 0 to ``max_lag + 1``."""
    length = frames.shape[-1]
    # A constant cancels in the difference, but a large one would take most digits of its terms.
    correlation, squares = _correlation(_without_mean(frames), max_lag + 2)
    pairs = np.arange(length, length - max_lag - 2, -1, dtype=frames.dtype)
    both_ends = (squares + squares[..., ::-1])[..., : max_lag + 1]
    outside = _from_zero(_running_sum(both_ends))
    difference = jnp.maximum(2 * (correlation[..., :1] - correlation) - outside, 0)
    return difference / jnp.broadcast_to(pairs, difference.shape)


def _without_mean(frames: Float[Array, "*batch length"]) -> Float[Array, "*batch length"]:
    """Subtracts each frame's mean; a constant frame gives exact zeros, without rounding errors."""
    mean = jnp.mean(frames, axis=-1, keepdims=True)
    rest = frames - mean
    rounding = 4 * jnp.finfo(frames.dtype).eps * jnp.abs(mean)
    is_sound = jnp.max(jnp.abs(rest), axis=-1, keepdims=True) > rounding
    return jnp.where(is_sound, rest, 0)


def _correlation(
    frames: Float[Array, "*batch length"], n_lags: int
) -> tuple[Float[Array, "*batch lags"], Float[Array, "*batch length"]]:
    """Autocorrelation at the lags below `n_lags`, and the squares of the samples.

    Frames are scaled to unit peak first. So the sums can neither underflow nor overflow, and their
    ratios do not depend on the level.
    """
    peak = jnp.max(jnp.abs(frames), axis=-1, keepdims=True)
    frames = frames / jnp.where(peak > 0, peak, 1)
    n_fft = next_fast_length(frames.shape[-1] + n_lags - 1)
    spectrum = rfft_of_frames(frames, n_fft)
    correlation = irfft_of_frames(spectrum * spectrum.conj(), n_fft)[..., :n_lags]
    return correlation, frames**2


def _running_sum(x: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
    """The sums of the first 1, 2, ... n values.

    By two products with triangles of ones, within blocks and over them. ``jnp.cumsum`` passes over
    the array once for each doubling of the length; on a CPU it takes four times as long for 1000.
    """
    n, highest = x.shape[-1], jax.lax.Precision.HIGHEST
    block = max(16, math.isqrt(n))
    n_blocks = -(-n // block)
    pad = [(0, 0)] * (x.ndim - 1) + [(0, n_blocks * block - n)]
    blocks = jnp.pad(x, pad).reshape(*x.shape[:-1], n_blocks, block)
    within = jnp.matmul(blocks, np.triu(np.ones((block, block), x.dtype)), precision=highest)
    earlier = np.triu(np.ones((n_blocks, n_blocks), x.dtype), 1)
    before = jnp.matmul(within[..., -1], earlier, precision=highest)
    return (within + before[..., None]).reshape(*x.shape[:-1], n_blocks * block)[..., :n]


def _from_zero(sums: Float[Array, "*batch n"]) -> Float[Array, "*batch lags"]:
    """Running sums with that of no value, zero, before them."""
    return jnp.pad(sums, [(0, 0)] * (sums.ndim - 1) + [(1, 0)])


def cumulative_mean_normalized(
    difference: Float[Array, "*batch lags"],
) -> Float[Array, "*batch lags"]:
    """The difference divided by its mean up to that lag; 1 at lag 0 and in silence."""
    later = difference[..., 1:]
    total = _running_sum(later)
    lags = jnp.broadcast_to(jnp.arange(1, total.shape[-1] + 1, dtype=total.dtype), total.shape)
    ratio = jnp.where(total > 0, later * lags / jnp.where(total > 0, total, 1), 1)
    return jnp.concatenate([jnp.ones_like(difference[..., :1]), ratio], axis=-1)


def troughs(curve: Float[Array, "*batch lags"]) -> Bool[Array, "*batch lags"]:
    """Whether a point is a local minimum; the two ends never count as one."""
    left, middle, right = curve[..., :-2], curve[..., 1:-1], curve[..., 2:]
    pad = [(0, 0)] * (curve.ndim - 1) + [(1, 1)]
    return jnp.pad((middle < left) & (middle <= right), pad)


def searched_troughs(curve: Float[Array, "*batch lags"]) -> Bool[Array, "*batch lags"]:
    """Whether a point is a local minimum within the searched lags; the two ends may count too."""
    ends = jnp.stack([curve[..., 0] < curve[..., 1], curve[..., -1] < curve[..., -2]], axis=-1)
    return troughs(curve).at[..., (0, -1)].set(ends)


def _bend_and_slope(
    curve: Float[Array, "*batch lags"],
) -> tuple[Float[Array, "*batch lags"], Float[Array, "*batch lags"]]:
    """Second and first difference around each point; 0 at the ends."""
    left, middle, right = curve[..., :-2], curve[..., 1:-1], curve[..., 2:]
    pad = [(0, 0)] * (curve.ndim - 1) + [(1, 1)]
    return jnp.pad(left + right - 2 * middle, pad), jnp.pad((right - left) / 2, pad)


def vertex(curve: Float[Array, "*batch lags"]) -> Float[Array, "*batch lags"]:
    """Offset of the minimum of the parabola through a point and its neighbours; 0 if over 1."""
    bend, slope = _bend_and_slope(curve)
    inside = jnp.abs(slope) < bend
    return jnp.where(inside, -slope / jnp.where(inside, bend, 1), 0)


def parabola(
    curve: Float[Array, "*batch lags"], shift: Float[Array, "*batch lags"]
) -> Float[Array, "*batch lags"]:
    """Value of the parabola through a point and its neighbours, at the offset `shift`."""
    bend, slope = _bend_and_slope(curve)
    return curve + shift * (slope + shift * bend / 2)
