"""Refinement of pitch to a fraction of a cent, for sounds that are periodic enough."""

import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array, Float
from ddspx.models.pitch.config import PitchConfig
from ddspx.models.pitch.features import LEAST_OVERLAP

# Lags of the autocorrelation per sample. A parabola through three of them then finds the peak to
# hundredths of a sample, a fiftieth of a cent in 30 ms.
_OVERSAMPLING = 2
# The longest lags of the two searches, in seconds. The result of the first is exact enough to find
# the right peak in the second.
_LAGS_S = (0.0075, 0.03)
# How far a search may move from its start, in octaves; and in periods, below one half, so that it
# cannot find the neighbouring peak.
_MOST_OCTAVES = 60 / 1200
_MOST_PERIODS = 0.4
# Below this correlation the pitch is not refined: noise shifts the peak by more than the error of
# the first estimate.
_LEAST_CORRELATION = 0.5
# A pitch that moves within the window has no sharp peak, and the peak lies at the mean of the whole
# window. So a move by more than these octaves needs a higher correlation.
_SMALL_MOVE, _LEAST_OF_A_MOVE = 15 / 1200, 0.985


def refine_pitch(
    f0_hz: Float[Array, "*batch frames"],
    correlation: Float[Array, "*batch frames lags"],
    config: PitchConfig,
) -> Float[Array, "*batch frames"]:
    r"""Refines a pitch by the peak of the autocorrelation after several periods.

    .. math:: f = \frac{m}{\arg\max_\tau r(\tau)}, \qquad |\tau - m / f_0| \text{ small}

    with m the number of periods in 7.5 ms, then in 30 ms. The peak after m periods gives the
    frequency m times as exactly as the first peak. Where :math:`r` stays below one half or has no
    peak, :math:`f_0` is kept; likewise where the peak is more than 15 cents away and r below 0.985,
    because the pitch moves then.

    Args:
      f0_hz: first estimates, exact to about 60 cents.
      correlation: from :func:`autocorrelation`.
      config: the config of the tracker.

    Returns:
      Frequencies in Hz; each of the two searches moves at most 60 cents.

    Properties:
      Differentiable in `correlation` where a peak is found; the choice of the peak is not.
    """
    rate, first_hz = config.sample_rate * _OVERSAMPLING, f0_hz
    for longest_s in _LAGS_S:
        period = rate / f0_hz
        periods = jnp.maximum(1.0, jnp.floor(longest_s * rate / period))
        centre = periods * period
        reach = jnp.minimum(centre * (2**_MOST_OCTAVES - 1), _MOST_PERIODS * period)
        widest = int(np.ceil(_widest_lag(config) * (2**_MOST_OCTAVES - 1))) + 1
        lags = jnp.round(centre)[..., None] + jnp.arange(
            -widest, widest + 1, dtype=f0_hz.dtype
        ).reshape((1,) * f0_hz.ndim + (-1,))
        inside = jnp.abs(lags - centre[..., None]) <= reach[..., None]
        index = jnp.clip(lags, 1, correlation.shape[-1] - 2).astype(jnp.int32)
        values = jnp.take_along_axis(correlation, index, axis=-1)
        best = jnp.argmax(jnp.where(inside, values, -jnp.inf), axis=-1, keepdims=True)
        peak = jnp.take_along_axis(index, best, axis=-1)
        before, at, after = (
            jnp.take_along_axis(correlation, peak + step, axis=-1)[..., 0] for step in (-1, 0, 1)
        )
        bend = before - 2 * at + after
        is_peak = (at >= before) & (at >= after) & (bend < 0)
        offset = 0.5 * (before - after) / jnp.where(is_peak, bend, 1.0)
        height = at - 0.25 * (before - after) * offset
        refined = periods * rate / (peak[..., 0] + offset)
        is_small = jnp.abs(jnp.log2(refined / first_hz)) <= _SMALL_MOVE
        least = jnp.where(is_small, _LEAST_CORRELATION, _LEAST_OF_A_MOVE)
        f0_hz = jnp.where(is_peak & (height > least), refined, f0_hz)
    return f0_hz


def autocorrelation(
    power: Float[Array, "*batch frames lines"], config: PitchConfig
) -> tuple[Float[Array, "*batch frames lags"], Float[Array, "*batch frames"]]:
    """Autocorrelation of the frames in the long window, divided by that of the window.

    Args:
      power: power spectra of the frames in the long window, from `power_spectra`.
      config: the config of the tracker.

    Returns:
      The autocorrelation at multiples of half a sample, and the mean square of each frame.
      The autocorrelation is 1 at lag 0, and 0 in silence and at lags at which the window overlaps
      itself too little.
    """
    win_length, n_fft = max(config.win_lengths), 2 * (power.shape[-1] - 1)
    n_lags = _widest_lag(config)
    n_lags += int(n_lags * (2**_MOST_OCTAVES - 1)) + 3
    window = np.hanning(win_length + 1)[:-1]
    own = np.fft.irfft(np.abs(np.fft.rfft(window, n_fft)) ** 2, _OVERSAMPLING * n_fft)[:n_lags]
    overlap = own / own[0]
    # The autocorrelation is circular: lags beyond half of its length are those of negative lags.
    is_used = (overlap > LEAST_OVERLAP) & (np.arange(len(own)) <= _OVERSAMPLING * n_fft // 2)
    scale = np.where(is_used, 1 / np.maximum(overlap, LEAST_OVERLAP), 0)
    correlation = jnp.fft.irfft(power, n=_OVERSAMPLING * n_fft)[..., :n_lags]
    total = correlation[..., :1]
    scale = jnp.asarray(scale, power.dtype).reshape((1,) * (correlation.ndim - 1) + (-1,))
    mean_square = total[..., 0] / jnp.asarray(own[0], power.dtype)
    return correlation * scale / jnp.where(total > 0, total, 1), mean_square


def _widest_lag(config: PitchConfig) -> int:
    """The longest lag of a search, in halves of a sample: a period of `fmin`, at least 30 ms."""
    seconds = max(1 / config.fmin, max(_LAGS_S))
    return int(np.ceil(seconds * config.sample_rate * _OVERSAMPLING))
