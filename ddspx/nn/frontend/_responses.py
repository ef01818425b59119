"""Frequency responses at the bins of a Fourier transform, as several banks need them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx._typing import Array, Float
from ddspx.nn.frontend._config import FrontendConfig


def band_range(config: FrontendConfig) -> dict[str, Any]:
    """The frequency range of the centres, as keyword arguments of functions of `core`."""
    return {"fmin": config.fmin, "fmax": config.highest_hz, "scale": config.scale}


def bin_power(config: FrontendConfig) -> Float[Array, "1 bins"]:
    """The factors from the squared magnitudes of a windowed frame to one-sided power."""
    window = core.hann_window(config.win_length, dtype=np.float64)
    power = np.full((1, config.n_fft // 2 + 1), 2 / (config.n_fft * np.sum(np.square(window))))
    power[:, 0] /= 2
    if config.n_fft % 2 == 0:
        power[:, -1] /= 2
    return jnp.asarray(power, jnp.float32)


def bins_hz(sample_rate: int, n_fft: int) -> Array:
    """Frequencies of all bins of a transform in Hz, including the negative ones."""
    return jnp.asarray(np.fft.fftfreq(n_fft, 1 / sample_rate), jnp.float32)


def power_of(response: Array) -> Array:
    """Power gain from 0 Hz to Nyquist: that of each frequency plus that of its negative."""
    power = jnp.square(response.real) + jnp.square(response.imag)
    negative = jnp.roll(power[:, ::-1], 1, axis=-1)
    return (power + negative)[:, : power.shape[-1] // 2 + 1]


def taps_response(taps: Array, n_fft: int, *, middle: int) -> Array:
    """The spectrum of filter taps at the bins, with the tap `middle` at lag 0."""
    bands, n_taps = taps.shape
    # Taps that are `n_fft` apart have the same phase at all bins, so they can be added.
    folded = jnp.pad(taps, ((0, 0), (0, -n_taps % n_fft))).reshape(bands, -1, n_fft).sum(1)
    return jnp.fft.fft(jnp.roll(folded, -middle, axis=-1), n_fft)


def sinc_bandwidths_hz(sample_rate: int, n_taps: int, widths_hz: Array) -> Array:
    """Equivalent rectangular bandwidths in Hz, by Parseval; wider than nominal for few taps."""
    low_pass = _sinc_lowpass(sample_rate, n_taps, widths_hz)
    peak = jnp.square(jnp.sum(low_pass, axis=-1))
    return sample_rate * core.safe_divide(jnp.sum(jnp.square(low_pass), axis=-1), peak)


def sinc_response(
    sample_rate: int, n_taps: int, centers_hz: Array, widths_hz: Array, n_fft: int, *, unit: bool
) -> Array:
    """Frequency response of a windowed sinc of each band's width, shifted to its centre.

    If a band is narrower than its taps can resolve, its gain at the centre is below 1, unless
    `unit` scales it to 1.
    """
    low_pass = _sinc_lowpass(sample_rate, n_taps, widths_hz)
    if unit:
        low_pass = 2 * low_pass / jnp.sum(low_pass, axis=-1, keepdims=True)
    lags = np.arange(n_taps, dtype=np.float32) - n_taps // 2
    angle = (2 * math.pi / sample_rate) * centers_hz[:, None] * lags[None]
    taps = jax.lax.complex(low_pass * jnp.cos(angle), low_pass * jnp.sin(angle))
    return taps_response(taps / 2, n_fft, middle=n_taps // 2)


def _sinc_lowpass(sample_rate: int, n_taps: int, widths_hz: Array) -> Array:
    """Real taps of the bands, centred at 0 Hz: they pass from minus to plus half of the width."""
    half = widths_hz / 2
    return core.sinc_bandpass(-half, half, sample_rate=sample_rate, win_length=n_taps)
