"""The shape of a spectrum in one number per frame: centroid, bandwidth, roll-off, flatness."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, floats, number, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._numerics import with_ndim

# A frame whose loudest bin is at or below this counts as silent, because its gradient would exceed
# the range of float32.
_SILENCE = 1e-30


def spectral_centroid(
    magnitudes: Float[ArrayLike, "*batch bins"], *, sample_rate: int
) -> Float[Array, "*batch"]:
    r"""Mean frequency of a spectrum: its centre of gravity.

    .. math:: c = \frac{\sum_k f_k\, S[k]}{\sum_k S[k]}

    Args:
      magnitudes: spectrum, linear and not negative, from 0 Hz to Nyquist: :func:`spectrogram` of
        an even `n_fft`.
      sample_rate: samples per second. Static.

    Returns:
      Frequency in Hz; 0 in silence.

    Raises:
      TypeError: `sample_rate` is not an int, or `magnitudes` is neither float32 nor float64.
      ValueError: `sample_rate` is not positive, or there are fewer than 2 bins.

    Properties:
      Differentiable; zero gradient in silence. Does not depend on the level. Static:
      `sample_rate`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> float(core.spectral_centroid(jnp.array([0.0, 1.0, 1.0]), sample_rate=8000))
      3000.0

    References:
      ``librosa.feature.spectral_centroid(S=...)``.
    """
    shares, frequencies_hz = _shares(magnitudes, sample_rate)
    return jnp.sum(shares * frequencies_hz, axis=-1)


def spectral_bandwidth(
    magnitudes: Float[ArrayLike, "*batch bins"], *, sample_rate: int, p: float = 2.0
) -> Float[Array, "*batch"]:
    r"""Spread of a spectrum about its centroid.

    .. math:: b = \Bigl(\frac{\sum_k |f_k - c|^p\, S[k]}{\sum_k S[k]}\Bigr)^{1/p}

    Args:
      magnitudes: as in :func:`spectral_centroid`.
      sample_rate: samples per second. Static.
      p: 2 for the standard deviation, 1 for the mean deviation; at least 1. Static.

    Returns:
      Bandwidth in Hz; 0 for a spectrum of one bin, and in silence.

    Raises:
      TypeError: as :func:`spectral_centroid`.
      ValueError: as :func:`spectral_centroid`, or `p` is below 1.

    Properties:
      Differentiable; the root's gradient at zero is defined as zero. Does not depend on the
      level. Static: `sample_rate`, `p`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> float(core.spectral_bandwidth(jnp.array([1.0, 0.0, 1.0]), sample_rate=8000))
      2000.0

    References:
      ``librosa.feature.spectral_bandwidth(S=...)``.
    """
    if p < 1:
        raise ValueError(f"`p` must be at least 1, got {p}.")
    shares, frequencies_hz = _shares(magnitudes, sample_rate)
    # Frequencies are in units of Nyquist, because high powers of Hz would exceed float32's range.
    nyquist_hz = sample_rate / 2
    positions = frequencies_hz / nyquist_hz
    centre = jnp.sum(shares * positions, axis=-1, keepdims=True)
    spread = jnp.sum(shares * jnp.abs(positions - centre) ** p, axis=-1)
    wide = spread > _SILENCE
    return nyquist_hz * jnp.where(wide, jnp.where(wide, spread, 1) ** (1 / p), 0)


def spectral_rolloff(
    magnitudes: Float[ArrayLike, "*batch bins"], *, sample_rate: int, fraction: float = 0.85
) -> Float[Array, "*batch"]:
    r"""Frequency below which a given fraction of a spectrum lies.

    .. math:: \int_0^{r} S(f)\, df = q \int_0^{f_s / 2} S(f)\, df

    where each bin's magnitude is spread evenly over its own width: half a bin to either side,
    within 0 Hz and Nyquist.

    Args:
      magnitudes: as in :func:`spectral_centroid`.
      sample_rate: samples per second. Static.
      fraction: the fraction q, above 0 and below 1. Static.

    Returns:
      Frequency in Hz; 0 in silence.

    Raises:
      TypeError: as :func:`spectral_centroid`.
      ValueError: as :func:`spectral_centroid`, or not ``0 < fraction < 1``.

    Properties:
      Continuous, and differentiable except at the borders of bins; zero gradient in
      silence. Does not depend on the level. Static: `sample_rate`, `fraction`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> flat = jnp.ones(5)
      >>> round(float(core.spectral_rolloff(flat, sample_rate=8000, fraction=0.7)))
      3000

    References:
      ``librosa.feature.spectral_rolloff(S=...)`` is the frequency of the bin in which this lies,
      ``ceil(r / width - 0.5) * width``, a step function whose gradient is zero.
    """
    number("fraction", fraction, above=0, below=1)
    shares, frequencies_hz = _shares(magnitudes, sample_rate)
    reached = jnp.cumsum(shares, axis=-1)
    goal = fraction * reached[..., -1:]
    bins = shares.shape[-1]
    middle = np.arange(bins).reshape(frequencies_hz.shape)
    here = jnp.argmax(reached >= goal, axis=-1, keepdims=True) == middle
    crossed = here & (shares > 0)
    # Position of the goal within its bin, from 0 to 1, computed back from the bin's upper border.
    part = 1 - (reached - goal) / jnp.where(crossed, shares, 1)
    part = jnp.where(crossed, jnp.clip(part, 0, 1), 0)
    low, high = np.maximum(middle - 0.5, 0), np.minimum(middle + 0.5, bins - 1)
    low, high = low.astype(shares.dtype), high.astype(shares.dtype)
    position = jnp.sum(jnp.where(crossed, low + part * (high - low), 0), axis=-1)
    return position * (sample_rate / 2 / (bins - 1))


def spectral_flatness(
    magnitudes: Float[ArrayLike, "*batch bins"], *, amin: float = 1e-10
) -> Float[Array, "*batch"]:
    r"""How similar a spectrum is to white noise: geometric over arithmetic mean of its power.

    .. math:: \phi = \frac{\exp \frac1K \sum_k \ln p_k}{\frac1K \sum_k p_k}, \qquad
        p_k = \max(S[k]^2, a)

    Args:
      magnitudes: spectrum, linear and not negative, of any bins or bands.
      amin: least power a, above 0; lower powers are raised to it. Static.

    Returns:
      From 0 (a tone) to 1 (flat); 1 in silence.

    Raises:
      TypeError: `magnitudes` is neither float32 nor float64.
      ValueError: an axis is missing, or `amin` is not positive.

    Properties:
      Differentiable; zero gradient below `amin`. Static: `amin`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> [round(float(core.spectral_flatness(x)), 3) for x in jnp.array([[1.0, 1.0], [1.0, 0.5]])]
      [1.0, 0.8]

    References:
      ``librosa.feature.spectral_flatness(S=...)``. In dB: :func:`power_to_db` of it.
    """
    (magnitudes,) = floats(magnitudes=magnitudes)
    at_least_ndim("magnitudes", magnitudes.shape, 1, "(*batch, bins)")
    if not amin > 0:
        raise ValueError(f"`amin` must be above 0, got {amin}.")
    # Relative to the highest bin, so that a flat spectrum gives exactly 1 and nothing overflows.
    logarithm = 2 * jnp.log(jnp.maximum(magnitudes, math.sqrt(amin)))
    logarithm -= jax.lax.stop_gradient(jnp.max(logarithm, axis=-1, keepdims=True))
    return jnp.exp(jnp.mean(logarithm, axis=-1)) / jnp.mean(jnp.exp(logarithm), axis=-1)


def _shares(magnitudes: ArrayLike, sample_rate: int) -> tuple[Array, np.ndarray]:
    """Each bin's share of the sum (0 in silence), and the frequencies, which broadcast to it."""
    (magnitudes,) = floats(magnitudes=magnitudes)
    at_least_ndim("magnitudes", magnitudes.shape, 1, "(*batch, bins)")
    nyquist_hz = size("sample_rate", sample_rate) / 2
    bins = magnitudes.shape[-1]
    if bins < 2:
        raise ValueError(f"`magnitudes` must have at least 2 bins, 0 Hz and Nyquist, got {bins}.")
    frequencies_hz = np.linspace(0, nyquist_hz, bins).astype(magnitudes.dtype)
    peak = jax.lax.stop_gradient(jnp.max(magnitudes, axis=-1, keepdims=True))
    # Shares do not depend on the level. With a peak of 1, squares of sums stay in float32's range.
    relative = magnitudes / jnp.where(peak > _SILENCE, peak, 1)
    total = jnp.where(peak > _SILENCE, jnp.sum(relative, axis=-1, keepdims=True), 1)
    shares = jnp.where(peak > _SILENCE, relative / total, 0)
    return shares, with_ndim(frequencies_hz, magnitudes.ndim)
