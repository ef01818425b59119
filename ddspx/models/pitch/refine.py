"""Pitch to a fraction of a cent, where the sound repeats well enough to tell."""

import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array, Float
from ddspx.models.pitch.config import PitchConfig
from ddspx.models.pitch.features import LEAST_OVERLAP

# Points of the autocorrelation in a sample: a parabola through three of them is then good to
# thousandths of one.
_OVERSAMPLING = 4
# Longest lags compared, in seconds: the first finds the right period of the second.
_LAGS_S = (0.0075, 0.03)
# How far the first guess may be off, in octaves, and never half a period.
_MOST_OCTAVES = 40 / 1200
_MOST_PERIODS = 0.4
# Under this correlation the guess stands: noise moves the peak more than the guess is off.
_LEAST_CORRELATION = 0.5


def refine_pitch(
    f0_hz: Float[Array, "*batch frames"],
    correlation: Float[Array, "*batch frames lags"],
    config: PitchConfig,
) -> Float[Array, "*batch frames"]:
    r"""The pitch whose many periods repeat best, near a pitch that is roughly known.

    .. math:: f = \frac{m}{\arg\max_\tau r(\tau)}, \qquad |\tau - m / f_0| \text{ small}

    with m as many periods as 7.5 ms hold, then 30 ms: over m periods a frequency is read m
    times as exactly. Where :math:`r` stays under a half or has no peak there, :math:`f_0` stands.

    Args:
      f0_hz: first guesses, to about 40 cents.
      correlation: from :func:`autocorrelation`.
      config: the tracker's.

    Returns:
      Frequencies in Hz, no farther than 40 cents from where each of the two searches starts.

    Properties:
      Differentiable in `correlation` where the peak is found; the choice of the peak is not.
    """
    rate = config.sample_rate * _OVERSAMPLING
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
        is_peak = (at >= before) & (at >= after) & (bend < 0) & (at > _LEAST_CORRELATION)
        offset = 0.5 * (before - after) / jnp.where(is_peak, bend, 1.0)
        refined = periods * rate / (peak[..., 0] + offset)
        f0_hz = jnp.where(is_peak, refined, f0_hz)
    return f0_hz


def autocorrelation(
    power: Float[Array, "*batch frames lines"], config: PitchConfig
) -> tuple[Float[Array, "*batch frames lags"], Float[Array, "*batch frames"]]:
    """Autocorrelation of the frames in the long window, less what the window does to it.

    Args:
      power: the frames' spectra in that window, from `power_spectra`.
      config: the tracker's.

    Returns:
      At lags of a quarter of a sample, 1 at lag 0; 0 in silence, and at lags that too little of
      the window is left to compare; and the mean square of each frame.
    """
    win_length, n_fft = max(config.win_lengths), 2 * (power.shape[-1] - 1)
    n_lags = _widest_lag(config)
    n_lags += int(n_lags * (2**_MOST_OCTAVES - 1)) + 3
    window = np.hanning(win_length + 1)[:-1]
    own = np.fft.irfft(np.abs(np.fft.rfft(window, n_fft)) ** 2, _OVERSAMPLING * n_fft)[:n_lags]
    overlap = own / own[0]
    # Beyond half of the circle it wraps around.
    compares = (overlap > LEAST_OVERLAP) & (np.arange(len(own)) <= _OVERSAMPLING * n_fft // 2)
    scale = np.where(compares, 1 / np.maximum(overlap, LEAST_OVERLAP), 0)
    correlation = jnp.fft.irfft(power, n=_OVERSAMPLING * n_fft)[..., :n_lags]
    total = correlation[..., :1]
    scale = jnp.asarray(scale, power.dtype).reshape((1,) * (correlation.ndim - 1) + (-1,))
    mean_square = total[..., 0] / jnp.asarray(own[0], power.dtype)
    return correlation * scale / jnp.where(total > 0, total, 1), mean_square


def _widest_lag(config: PitchConfig) -> int:
    """The longest lag that is looked at, in points: a period of the lowest pitch, or the limit."""
    seconds = max(1 / config.fmin, max(_LAGS_S))
    return int(np.ceil(seconds * config.sample_rate * _OVERSAMPLING))
