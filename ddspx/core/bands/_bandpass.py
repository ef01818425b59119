"""Families of band filters with differentiable parameters: triangles, Gabor, windowed sinc."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import (
    at_least_ndim,
    broadcast_batch,
    floats,
    frequency_range,
    positive_int,
    size,
)
from ddspx._choices import FrequencyScale
from ddspx._typing import Array, ArrayLike, Complex, Float
from ddspx.core._numerics import sinc, with_ndim
from ddspx.core.bands._filterbanks import frequency_scale

# Shortest side of a triangle.
_NARROWEST_HZ = 1e-3


def ordered_frequencies(
    gaps: Float[ArrayLike, "*batch gaps"],
    *,
    fmin: float,
    fmax: float,
    scale: FrequencyScale = "erb",
) -> Float[Array, "*batch bands"]:
    r"""Ascending frequencies from any real numbers, for networks to learn as centres of bands.

    .. math:: f_i = s^{-1}\Bigl(s(f_0) + (s(f_1) - s(f_0))
        \sum_{k=0}^{i} \mathrm{softmax}(\gamma)_k\Bigr)

    So the frequencies stay in ascending order and between both ends, whatever is learned. (Rounding
    can make frequencies equal that are too close.)

    Args:
      gaps: logits :math:`\gamma` of the distances, one more than there are frequencies; equal
        logits give equal distances on the scale.
      fmin: lower bound of the frequencies, in Hz, at least 0; above 0 for ``log``. Static.
      fmax: upper bound of the frequencies, in Hz. Static.
      scale: a frequency scale, see :func:`frequency_grid`. Static.

    Returns:
      The frequencies, in Hz.

    Raises:
      TypeError: `gaps` is neither float32 nor float64.
      ValueError: there are fewer than two gaps, or as :func:`frequency_grid`.

    Properties:
      Differentiable; a change of the logits moves low and high frequencies by equal distances on
      the scale. Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f = core.ordered_frequencies(jnp.zeros(3), fmin=0.0, fmax=500.0, scale="mel")
      >>> [round(v, 2) for v in f.tolist()]
      [137.77, 302.66]

    References:
      SpectNet learns frequencies in Hz without bounds, LEAF in radians per sample with clipping.
      Their filters can change places, and LEAF's stop learning at the bounds.
    """
    (gaps,) = floats(gaps=gaps)
    at_least_ndim("gaps", gaps.shape, 1, "(*batch, gaps)")
    if gaps.shape[-1] < 2:
        raise ValueError(f"`gaps` must hold at least 2 numbers, got {gaps.shape[-1]}.")
    frequency_range(fmin, fmax, scale)
    low, high = frequency_scale(scale)[0](np.array([fmin, fmax], np.float64)).tolist()
    share = jnp.cumsum(jax.nn.softmax(gaps, axis=-1), axis=-1)[..., :-1]
    return frequency_scale(scale, jnp)[1](low + (high - low) * share)


def triangular_response(
    frequencies_hz: Float[ArrayLike, " frequencies"], corners_hz: Float[ArrayLike, "*batch corners"]
) -> Float[Array, "*batch bands frequencies"]:
    r"""Triangles between corners, half overlapping, of height 1.

    .. math:: T_m(f) = \max\Bigl(0, \min\Bigl(\frac{f - c_{m-1}}{c_m - c_{m-1}},
        \frac{c_{m+1} - f}{c_{m+1} - c_m}\Bigr)\Bigr)

    Args:
      frequencies_hz: where the response is evaluated, in Hz.
      corners_hz: ascending frequencies in Hz, two more than there are bands. Sides shorter than
        0.001 Hz count as 0.001 Hz.

    Returns:
      Weights for a power spectrum.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: there are fewer than three corners.

    Properties:
      Differentiable in both arrays, except at the corners themselves. If a triangle covers none of
      the frequencies, its response and gradient are zero.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f, corners = jnp.array([0.0, 50.0, 100.0, 300.0]), jnp.array([0.0, 100.0, 500.0])
      >>> core.triangular_response(f, corners).tolist()
      [[0.0, 0.5, 1.0, 0.5]]

    References:
      :func:`mel_filterbank` without norm, where the corners are fixed. TensorFlow's triangles
      (and so LEAF's) are linear in mel instead.
    """
    frequencies_hz, corners_hz = floats(frequencies_hz=frequencies_hz, corners_hz=corners_hz)
    at_least_ndim("corners_hz", corners_hz.shape, 1, "(*batch, corners)")
    if corners_hz.shape[-1] < 3:
        raise ValueError(
            f"`corners_hz` must hold at least 3 frequencies, got {corners_hz.shape[-1]}: a band "
            "needs two ends and a peak."
        )
    row = with_ndim(frequencies_hz, corners_hz.ndim + 1)
    corners = corners_hz[..., None]
    # Corners that rounding made equal give a step instead of a division by zero.
    sides = jnp.maximum(corners[..., 1:, :] - corners[..., :-1, :], _NARROWEST_HZ)
    rising = (row - corners[..., :-2, :]) / sides[..., :-1, :]
    falling = (corners[..., 2:, :] - row) / sides[..., 1:, :]
    return jnp.maximum(jnp.minimum(rising, falling), 0)


def gabor_response(
    frequencies_hz: Float[ArrayLike, " frequencies"],
    centers_hz: Float[ArrayLike, "*batch bands"],
    bandwidths_hz: Float[ArrayLike, "*batch bands"],
) -> Float[Array, "*batch bands frequencies"]:
    r"""Frequency response of complex Gabor filters with a gain of 1 at their centres.

    .. math:: G(f) = e^{-\frac12 (f - c)^2 / \sigma^2}, \qquad \sigma = B / \sqrt\pi

    so that B is the equivalent rectangular bandwidth.

    Args:
      frequencies_hz: where the response is evaluated, in Hz, of either sign.
      centers_hz: centre of each band, in Hz.
      bandwidths_hz: equivalent rectangular bandwidth of each, in Hz, above 0.

    Returns:
      The response, which is real because the filters have no delay. Its square is the gain of the
      band for a power spectrum.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: the batch axes do not broadcast.

    Properties:
      Differentiable in all arrays; far from the centre the gradient vanishes with the response.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f, c, b = jnp.array([900.0, 1000.0]), jnp.array([1000.0]), jnp.array([100.0])
      >>> [round(v, 3) for v in core.gabor_response(f, c, b)[0].tolist()]
      [0.208, 1.0]

    References:
      Zeghidour et al., `LEAF <https://arxiv.org/abs/2101.08596>`_, ICLR 2021, whose parameters
      are :math:`2 \pi c / f_s` and :math:`f_s / (2 \pi \sigma)`. Its gain at the centres is 1 too;
      it limits the widths by a clip.
    """
    frequencies_hz, centers_hz, bandwidths_hz = band_arrays(
        frequencies_hz=frequencies_hz, centers_hz=centers_hz, bandwidths_hz=bandwidths_hz
    )
    row = with_ndim(frequencies_hz, centers_hz.ndim + 1)
    distance = (row - centers_hz[..., None]) / bandwidths_hz[..., None]
    return jnp.exp(-0.5 * math.pi * jnp.square(distance))


def gabor_impulse_response(
    centers_hz: Float[ArrayLike, "*batch bands"],
    bandwidths_hz: Float[ArrayLike, "*batch bands"],
    *,
    sample_rate: int,
    win_length: int,
) -> Complex[Array, "*batch bands taps"]:
    r"""Impulse response of the filters of :func:`gabor_response`, around the middle tap.

    .. math:: g[k] = \frac{\sqrt{2 \pi}\, \sigma}{f_s}\,
        e^{-\frac12 (2 \pi \sigma k / f_s)^2} e^{2 \pi j c k / f_s}, \qquad |k| \le (W - 1) / 2

    Args:
      centers_hz: centre of each band, in Hz.
      bandwidths_hz: equivalent rectangular bandwidth of each, in Hz, above 0.
      sample_rate: samples per second. Static.
      win_length: number of taps, odd; with ``3 * sample_rate / bandwidth`` taps or more, the parts
        of the response that are cut off are below -100 dB. Static.

    Returns:
      Taps, complex of the inputs' precision: ``fft_convolve(audio, taps, mode="same")`` of the
      real and of the imaginary part has no delay.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: `win_length` is even, a size is not positive, or the batch axes do not
        broadcast.

    Properties:
      Differentiable in both arrays. Static: the sizes.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> taps = core.gabor_impulse_response(
      ...     jnp.array([1000.0]), jnp.array([400.0]), sample_rate=16000, win_length=201
      ... )
      >>> round(float(abs(taps).sum()), 3)
      1.0

    References:
      :func:`gabor_response`.
    """
    centers_hz, bandwidths_hz = band_arrays(centers_hz=centers_hz, bandwidths_hz=bandwidths_hz)
    sample_rate = size("sample_rate", sample_rate)
    lags = _lags(win_length, centers_hz)
    width = (math.sqrt(2.0) / sample_rate) * bandwidths_hz[..., None]
    envelope = width * jnp.exp(-math.pi * jnp.square(width * lags))
    phase = (2 * math.pi / sample_rate) * centers_hz[..., None] * lags
    return jax.lax.complex(envelope * jnp.cos(phase), envelope * jnp.sin(phase))


def sinc_bandpass(
    fmin: Float[ArrayLike, "*batch bands"],
    fmax: Float[ArrayLike, "*batch bands"],
    *,
    sample_rate: int,
    win_length: int = 251,
) -> Float[Array, "*batch bands taps"]:
    r"""Band-pass filters with two corners in Hz: windowed sincs, as SincNet learns them.

    .. math:: h[k] = w[k] \left( \frac{2 f_2}{f_s} \operatorname{sinc} \frac{2 f_2 k}{f_s} -
        \frac{2 f_1}{f_s} \operatorname{sinc} \frac{2 f_1 k}{f_s} \right), \qquad
        w[k] = 0.54 + 0.46 \cos(2 \pi k / W)

    Args:
      fmin: lower corner of each band, in Hz: the gain there is one half.
      fmax: upper corner, in Hz, above it and up to half of `sample_rate`.
      sample_rate: samples per second. Static.
      win_length: number of taps, odd. The transitions are ``3.3 * sample_rate / win_length`` Hz
        wide; a band that is narrower does not reach a gain of 1. Static.

    Returns:
      Taps, symmetric around the middle one.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: `win_length` is even, a size is not positive, or the batch axes do not
        broadcast.

    Properties:
      Differentiable in both corners. Static: the sizes.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> fmin, fmax = jnp.array([1000.0]), jnp.array([3000.0])
      >>> taps = core.sinc_bandpass(fmin, fmax, sample_rate=8000, win_length=5)
      >>> [round(v, 3) for v in taps[0, ::2].tolist()]
      [-0.053, 0.5, -0.053]

    References:
      Ravanelli and Bengio, `SincNet <https://arxiv.org/abs/1808.00158>`_, SLT 2018, which divides
      the taps by twice the bandwidth, so that its gain is 0.5 / bandwidth; LEAF's copy divides
      them by their largest.
    """
    fmin, fmax = band_arrays(fmin=fmin, fmax=fmax)
    lags = _lags(win_length, fmin)
    window = 0.54 + 0.46 * np.cos(2 * np.pi * lags / win_length)
    low, high = ((2 / size("sample_rate", sample_rate)) * hz[..., None] for hz in (fmin, fmax))
    return (high * sinc(high * lags) - low * sinc(low * lags)) * window


def sinc_response(
    frequencies_hz: Float[ArrayLike, " frequencies"],
    fmin: Float[ArrayLike, "*batch bands"],
    fmax: Float[ArrayLike, "*batch bands"],
    *,
    sample_rate: int,
    win_length: int,
) -> Float[Array, "*batch bands frequencies"]:
    r"""Frequency response of the filters of :func:`sinc_bandpass`.

    .. math:: H(f) = \sum_k h[k] \cos(2 \pi f k / f_s)

    Args:
      frequencies_hz: where the response is evaluated, in Hz, of either sign.
      fmin: lower corner of each band, in Hz.
      fmax: upper corner, in Hz, above it and up to half of `sample_rate`.
      sample_rate: samples per second. Static.
      win_length: number of taps, odd. Static.

    Returns:
      The response, which is real because the filters have no delay. Its square is the gain of the
      band for a power spectrum.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: `win_length` is even, a size is not positive, or the batch axes do not
        broadcast.

    Properties:
      Differentiable in all arrays. Static: the sizes.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f, fmin, fmax = jnp.array([0.0, 1000.0, 2000.0]), jnp.array([1000.0]), jnp.array([3000.0])
      >>> response = core.sinc_response(f, fmin, fmax, sample_rate=8000, win_length=401)
      >>> [round(abs(v), 2) for v in response[0].tolist()]
      [0.0, 0.5, 1.0]

    References:
      Ravanelli and Bengio, `SincNet <https://arxiv.org/abs/1808.00158>`_, SLT 2018.
    """
    frequencies_hz, fmin, fmax = band_arrays(frequencies_hz=frequencies_hz, fmin=fmin, fmax=fmax)
    taps = sinc_bandpass(fmin, fmax, sample_rate=sample_rate, win_length=win_length)
    row = frequencies_hz.reshape(1, -1)
    turns = row / sample_rate * _lags(win_length, row[0]).reshape(-1, 1)
    return jnp.matmul(taps, jnp.cos(2 * math.pi * turns), precision=jax.lax.Precision.HIGHEST)


def band_arrays(**arrays: ArrayLike) -> list[Array]:
    """Converts the arrays to one float dtype, and broadcasts those of the bands to one shape."""
    out = dict(zip(arrays, floats(**arrays), strict=True))
    bands = {name: array for name, array in out.items() if name != "frequencies_hz"}
    for name, array in bands.items():
        at_least_ndim(name, array.shape, 1, "(*batch, bands)")
    shape = broadcast_batch(**{name: array.shape for name, array in bands.items()})
    return [jnp.broadcast_to(x, shape) if name in bands else x for name, x in out.items()]


def _lags(win_length: int, like: Array) -> np.ndarray:
    """Distances from the middle tap, along a new last axis."""
    if positive_int("win_length", win_length) % 2 == 0:
        raise ValueError(
            f"`win_length` must be odd, got {win_length}; the middle tap has no delay."
        )
    lags = np.arange(win_length) - win_length // 2
    return with_ndim(lags, like.ndim + 1).astype(like.dtype)
