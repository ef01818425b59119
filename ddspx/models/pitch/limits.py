"""Checks of the tracked pitches: that they lie within limits, and that a harmonic is there."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from ddspx._typing import Array, Bool, Float
from ddspx.models.pitch.config import PitchConfig

# The least power of a pitch's strongest harmonic, over that of the strongest bin above the
# tracker's range: -20 dB. The weakest fundamental in the attack of a trumpet has that much. White
# noise reaches it only if it is nearly as strong as the sound.
_LEAST_SHARE = 0.01
# The range ends at this share of the highest pitch: the tracker is not reliable for tones closer to
# its upper limit.
_HIGHEST = 0.95
# Bins to search on either side of a harmonic: half of the window's main lobe.
_LOBE = 2


def check_limits(
    fmin: float | None, fmax: float | None, config: PitchConfig
) -> tuple[float, float]:
    """The limits, by default those of the network; raises an error if no bin lies within them."""
    fmin = config.fmin if fmin is None else float(fmin)
    fmax = config.fmax if fmax is None else float(fmax)
    if not 0 < fmin < fmax < math.inf:
        raise ValueError(f"`fmin` must be positive and below `fmax`, got {fmin} and {fmax} Hz.")
    half = _half_bin(config)
    if fmin > config.fmax * half or fmax < config.fmin / half:
        raise ValueError(
            f"`fmin` and `fmax` must overlap the tracker's range, {config.fmin:.0f} to "
            f"{config.fmax:.0f} Hz, got {fmin} and {fmax} Hz."
        )
    return fmin, fmax


def is_within(
    f0_hz: Float[Array, "*batch frames"], config: PitchConfig, *, fmin: float, fmax: float
) -> Bool[Array, "*batch frames"]:
    """Whether a pitch lies between `fmin` and `fmax`, with a tolerance of half a bin."""
    half = _half_bin(config)
    return (f0_hz >= fmin / half) & (f0_hz <= fmax * half)


def has_harmonic(
    f0_hz: Float[Array, "*batch frames"],
    power: Float[Array, "*batch frames lines"],
    *,
    sample_rate: int,
    fmin: float,
    fmax: float,
) -> Bool[Array, "*batch frames"]:
    r"""Whether a harmonic of the pitch is in the spectrum, not only sound above the range.

    .. math:: \max_{k = 1,\; k f_0 \le c} P(k f_0) \ge 0.01 \max_{f > c} P(f), \qquad
        c = 0.95 f_{max}

    A whistle of 3 kHz repeats after one period and also after five. 3 kHz is above the range of the
    tracker, so it takes five periods for one, and reports 600 Hz. But the spectrum has no power at
    600, 1200 or 1800 Hz, so that pitch is rejected.

    Args:
      f0_hz: pitch of each frame, in Hz.
      power: power spectra of the same frames, with a main lobe of about two bins to either side.
      sample_rate: sample rate of the audio, in Hz.
      fmin: lower limit of the tracker's range, in Hz.
      fmax: upper limit, in Hz.

    Returns:
      True for pitches with a harmonic, and in silence.
    """
    line_hz = sample_rate / (2 * (power.shape[-1] - 1))
    highest = _HIGHEST * fmax
    lobe = (1,) * (power.ndim - 1) + (2 * _LOBE + 1,)
    zero = np.zeros((), power.dtype)
    nearby = lax.reduce_window(power, zero, lax.max, lobe, (1,) * power.ndim, "SAME")
    orders = jnp.arange(1, max(2, math.ceil(highest / fmin)), dtype=f0_hz.dtype)
    harmonics_hz = f0_hz[..., None] * orders.reshape((1,) * f0_hz.ndim + (-1,))
    lines = jnp.clip(jnp.round(harmonics_hz / line_hz), 0, power.shape[-1] - 1).astype(jnp.int32)
    at_harmonics = jnp.take_along_axis(nearby, lines, axis=-1)
    is_in_range = (harmonics_hz <= highest).at[..., 0].set(True)
    strongest = jnp.max(jnp.where(is_in_range, at_harmonics, 0), axis=-1)
    above = jnp.max(power[..., math.floor(highest / line_hz) + 1 :], axis=-1)
    return strongest >= _LEAST_SHARE * above


def _half_bin(config: PitchConfig) -> float:
    return 2 ** (0.5 / config.bins_per_octave)
