"""Which of the pitches that a tracker names count: those within limits that can be heard there."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from ddspx._typing import Array, Bool, Float
from ddspx.models.pitch.config import PitchConfig

# Beside the strongest line above a tracker's range a harmonic of its pitch has this share of
# power at least, -20 dB: the weakest fundamental of a trumpet's attack has it, and white noise has
# it only where it is nearly as strong as the sound.
_LEAST_SHARE = 0.01
# The range ends a little below the highest pitch: a tone on its edge may be taken for any other.
_HIGHEST = 0.95
# Lines on either side of where a harmonic should be, half of the window's main lobe.
_LOBE = 2


def check_limits(
    fmin: float | None, fmax: float | None, config: PitchConfig
) -> tuple[float, float]:
    """The limits, by default the network's; refuses those that no bin is within."""
    fmin = config.fmin if fmin is None else float(fmin)
    fmax = config.fmax if fmax is None else float(fmax)
    if not 0 < fmin < fmax < math.inf:
        raise ValueError(f"`fmin` must be positive and below `fmax`, got {fmin} and {fmax} Hz.")
    half = _half_bin(config)
    if fmin > config.fmax * half or fmax < config.fmin / half:
        raise ValueError(
            f"`fmin` and `fmax` must leave some of the tracker's range, {config.fmin:.0f} to "
            f"{config.fmax:.0f} Hz, got {fmin} and {fmax} Hz."
        )
    return fmin, fmax


def is_within(
    f0_hz: Float[Array, "*batch frames"], config: PitchConfig, *, fmin: float, fmax: float
) -> Bool[Array, "*batch frames"]:
    """Whether a pitch is from `fmin` to `fmax`, or half a bin beyond: notes at a limit count."""
    half = _half_bin(config)
    return (f0_hz >= fmin / half) & (f0_hz <= fmax * half)


def is_heard(
    f0_hz: Float[Array, "*batch frames"],
    power: Float[Array, "*batch frames lines"],
    *,
    sample_rate: int,
    fmin: float,
    fmax: float,
) -> Bool[Array, "*batch frames"]:
    r"""Whether a harmonic of a pitch is there, and not only sound above all that a tracker hears.

    .. math:: \max_{k = 1,\; k f_0 \le c} P(k f_0) \ge 0.01 \max_{f > c} P(f), \qquad
        c = 0.95 f_{max}

    A whistle of 3 kHz repeats after five periods as it does after one, and a tracker that does not
    look for the one names the five, 600 Hz: but there is nothing at 600, 1200 or 1800 Hz.

    Args:
      f0_hz: what the tracker names.
      power: spectra of the same frames, whose main lobe is about two lines to either side.
      sample_rate: of what they are spectra of.
      fmin: the lowest pitch that the tracker hears, in Hz.
      fmax: the highest.

    Returns:
      Whether it counts; in silence it does.
    """
    line_hz = sample_rate / (2 * (power.shape[-1] - 1))
    highest = _HIGHEST * fmax
    lobe = (1,) * (power.ndim - 1) + (2 * _LOBE + 1,)
    nothing = np.zeros((), power.dtype)
    nearby = lax.reduce_window(power, nothing, lax.max, lobe, (1,) * power.ndim, "SAME")
    orders = jnp.arange(1, max(2, math.ceil(highest / fmin)), dtype=f0_hz.dtype)
    harmonics_hz = f0_hz[..., None] * orders.reshape((1,) * f0_hz.ndim + (-1,))
    lines = jnp.clip(jnp.round(harmonics_hz / line_hz), 0, power.shape[-1] - 1).astype(jnp.int32)
    at_harmonics = jnp.take_along_axis(nearby, lines, axis=-1)
    counts = (harmonics_hz <= highest).at[..., 0].set(True)
    strongest = jnp.max(jnp.where(counts, at_harmonics, 0), axis=-1)
    above = jnp.max(power[..., math.floor(highest / line_hz) + 1 :], axis=-1)
    return strongest >= _LEAST_SHARE * above


def _half_bin(config: PitchConfig) -> float:
    return 2 ** (0.5 / config.bins_per_octave)
