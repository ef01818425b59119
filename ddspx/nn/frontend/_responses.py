"""What filters are on the bins of a transform, and what banks share of it."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx._typing import Array, Float
from ddspx.nn.frontend._config import FrontendConfig


def band_range(config: FrontendConfig) -> dict[str, Any]:
    """The range of the centres, as the functions of `core` take it."""
    return {"fmin": config.fmin, "fmax": config.highest_hz, "scale": config.scale}


def bin_power(config: FrontendConfig) -> Float[Array, "1 bins"]:
    """What turns the power of a windowed frame's bins into that of both signs of frequency."""
    window = core.hann_window(config.win_length, dtype=np.float64)
    power = np.full((1, config.n_fft // 2 + 1), 2 / (config.n_fft * np.sum(np.square(window))))
    power[:, 0] /= 2
    if config.n_fft % 2 == 0:
        power[:, -1] /= 2
    return jnp.asarray(power, jnp.float32)


def bins_hz(sample_rate: int, n_fft: int) -> Array:
    """Frequencies of all bins of a transform, negative ones too."""
    return jnp.asarray(np.fft.fftfreq(n_fft, 1 / sample_rate), jnp.float32)


def power_of(response: Array) -> Array:
    """The power of both signs of frequency together, from 0 Hz to Nyquist."""
    power = jnp.square(response.real) + jnp.square(response.imag)
    negative = jnp.roll(power[:, ::-1], 1, axis=-1)
    return (power + negative)[:, : power.shape[-1] // 2 + 1]


def taps_response(taps: Array, n_fft: int, *, middle: int) -> Array:
    """The spectrum of taps at the bins, without the delay of the middle one."""
    bands, n_taps = taps.shape
    # Taps that are a transform apart have the same phase at its bins.
    folded = jnp.pad(taps, ((0, 0), (0, -n_taps % n_fft))).reshape(bands, -1, n_fft).sum(1)
    return jnp.fft.fft(jnp.roll(folded, -middle, axis=-1), n_fft)


def sinc_bandwidths_hz(sample_rate: int, n_taps: int, widths_hz: Array) -> Array:
    """Equivalent rectangular bandwidths, by Parseval: few taps are wider than asked for."""
    low_pass = _sinc_lowpass(sample_rate, n_taps, widths_hz)
    peak = jnp.square(jnp.sum(low_pass, axis=-1))
    return sample_rate * core.safe_divide(jnp.sum(jnp.square(low_pass), axis=-1), peak)


def sinc_response(
    sample_rate: int, n_taps: int, centers_hz: Array, widths_hz: Array, n_fft: int, *, unit: bool
) -> Array:
    """Of the windowed sinc of each band's width, moved to its centre.

    A band that is narrower than the taps can resolve has less than 1 there, unless it is `unit`.
    """
    low_pass = _sinc_lowpass(sample_rate, n_taps, widths_hz)
    if unit:
        low_pass = 2 * low_pass / jnp.sum(low_pass, axis=-1, keepdims=True)
    lags = np.arange(n_taps, dtype=np.float32) - n_taps // 2
    angle = (2 * math.pi / sample_rate) * centers_hz[:, None] * lags[None]
    taps = jax.lax.complex(low_pass * jnp.cos(angle), low_pass * jnp.sin(angle))
    return taps_response(taps / 2, n_fft, middle=n_taps // 2)


def _sinc_lowpass(sample_rate: int, n_taps: int, widths_hz: Array) -> Array:
    """Real taps of the bands, moved to 0 Hz: from minus to plus half of the width."""
    half = widths_hz / 2
    return core.sinc_bandpass(-half, half, sample_rate=sample_rate, win_length=n_taps)
