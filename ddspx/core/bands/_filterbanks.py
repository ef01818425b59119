"""Filterbanks as matrices: designed in NumPy with float64, and constants under jit."""

import math
import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from ddspx._checks import frequency_range, number, one_of, positive_int, size
from ddspx._choices import FrequencyScale
from ddspx.core._units import ERB_HZ, ERB_SLOPE

# Slaney's mel scale: linear below 1 kHz, 27 steps to the factor 6.4 above.
_SLANEY_HZ_PER_MEL = 200 / 3
_SLANEY_CORNER_HZ = 1000.0
_SLANEY_CORNER_MEL = _SLANEY_CORNER_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_STEP = math.log(6.4) / 27


def frequency_grid(n: int, *, fmin: float, fmax: float, scale: FrequencyScale) -> np.ndarray:
    r"""Frequencies at equal distances on a scale of hearing, both ends included.

    .. math:: f_i = s^{-1}\bigl(s(f_0) + \tfrac{i}{n - 1} (s(f_1) - s(f_0))\bigr)

    Args:
      n: number of frequencies, 2 or more. Static, as everything here.
      fmin: the first, in Hz, at least 0; above 0 for ``log``.
      fmax: the last, in Hz.
      scale: ``mel`` (HTK's, :func:`hz_to_mel`), ``slaney`` (mel, linear below 1 kHz), ``erb``
        (ERB-rate: the integral of 1 / :func:`hz_to_erb`), ``bark`` (:func:`hz_to_bark`),
        ``linear`` or ``log``.

    Returns:
      A NumPy array of n frequencies in Hz, float64: centres of bands, or, with n two more than
      there are bands, corners for :func:`triangular_response`.

    Raises:
      TypeError: `n` is not an int.
      ValueError: `n` is below 2, `scale` is unknown, or not ``0 <= fmin < fmax``.

    Example:
      >>> from ddspx import core
      >>> core.frequency_grid(4, fmin=0.0, fmax=500.0, scale="mel").round(3).tolist()
      [0.0, 137.772, 302.66, 500.0]
    """
    if positive_int("n", n) < 2:
        raise ValueError(f"`n` must be at least 2, got {n}: both ends are included.")
    frequency_range(fmin, fmax, scale)
    forward, backward = frequency_scale(scale)
    ends = forward(np.array([fmin, fmax], np.float64))
    grid = backward(np.linspace(ends[0], ends[1], n))
    grid[[0, -1]] = fmin, fmax
    return grid


def mel_filterbank(
    *,
    n_mels: int,
    n_fft: int,
    sample_rate: int,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: Literal["slaney"] | None = "slaney",
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    r"""Triangular filters, equally spaced and half overlapping on a mel scale.

    .. math:: M[m, k] = g_m \max\Bigl(0, \min\Bigl(\frac{f_k - c_{m-1}}{c_m - c_{m-1}},
        \frac{c_{m+1} - f_k}{c_{m+1} - c_m}\Bigr)\Bigr)

    with corners :math:`c_0, \dots, c_{M+1}` from `fmin` to `fmax` at equal steps of mel. A mel
    spectrogram is ``spectrogram @ M.T``.

    Args:
      n_mels: number of filters. Static, as everything here.
      n_fft: length of the Fourier transform, in samples.
      sample_rate: samples per second.
      fmin: lower corner of the first filter, in Hz.
      fmax: upper corner of the last, in Hz; the default is Nyquist.
      htk: HTK's scale, :func:`hz_to_mel`, in place of Slaney's, which is linear below 1 kHz.
      norm: ``slaney`` gives every triangle the area 1 (:math:`g_m = 2 / (c_{m+1} - c_{m-1})`, in
        1/Hz), None the height 1.
      dtype: dtype of the result; the design is in float64 and cast last.

    Returns:
      A read-only NumPy array of shape ``(n_mels, n_fft // 2 + 1)``. A filter so narrow that it
      lies between two bins is all zeros, and so is one above Nyquist; a warning reports both.

    Raises:
      TypeError: a size is not a Python int.
      ValueError: a size is not positive, `norm` is unknown, or not ``0 <= fmin < fmax``.

    Example:
      >>> from ddspx import core
      >>> core.mel_filterbank(n_mels=2, n_fft=8, sample_rate=1500, norm=None).round(3).tolist()
      [[0.0, 0.75, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.75, 0.0]]

    References:
      Equals ``librosa.filters.mel``. DDSP's (TensorFlow's) has HTK's scale, no norm, triangles
      that are linear in mel and not in Hz, and leaves 0 Hz out.
    """
    n_mels = positive_int("n_mels", n_mels)
    n_fft = positive_int("n_fft", n_fft)
    sample_rate = size("sample_rate", sample_rate)
    one_of("norm", norm, ("slaney", None))
    nyquist = sample_rate / 2
    fmax = nyquist if fmax is None else fmax
    if not 0 <= fmin < fmax < math.inf:
        raise ValueError(f"`fmin` must be at least 0 and below `fmax` ({fmax}), got {fmin}.")
    filters = _mel_filterbank(
        n_mels, n_fft, sample_rate, float(fmin), float(fmax), htk, norm, np.dtype(dtype)
    )
    if fmax > nyquist:
        warnings.warn(
            f"`fmax` is {fmax:g} Hz, above half of `sample_rate` ({nyquist:g}): filters there are "
            f"empty; give fmax={nyquist:g} or less, or the audio's own sample rate.",
            stacklevel=2,
        )
    else:
        warn_of_empty_bands(filters, n_fft)
    return filters


def warn_of_empty_bands(filters: np.ndarray, n_fft: int) -> None:
    """Warns of filters that lie between two bins of a transform; it names `n_mels` as the cause."""
    empty = int(np.sum(~filters.any(axis=-1)))
    if empty:
        warnings.warn(
            f"`n_mels` is {len(filters)}, and {empty} of these bands are empty: they hold no bin "
            f"of a transform of {n_fft} samples; take a smaller `n_mels` or a larger `n_fft`.",
            stacklevel=3,
        )


def log_frequency_filterbank(
    *,
    n_bands: int,
    n_fft: int,
    sample_rate: int,
    fmin: float = 32.70319566257483,
    bins_per_octave: int = 12,
    spread_octaves: float | None = None,
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    r"""Filters at equal distances in pitch: bell shapes over the logarithm of frequency.

    .. math:: L[i, k] = \frac{1}{f_k} \exp\Bigl(-\frac12
        \Bigl(\frac{\log_2 (f_k / c_i)}{\sigma}\Bigr)^2\Bigr) \Big/ \sum_k, \qquad
        c_i = f_0\, 2^{i / B}

    Args:
      n_bands: number of filters. Static, as everything here.
      n_fft: length of the Fourier transform, in samples.
      sample_rate: samples per second.
      fmin: centre of the first filter, in Hz; the default is the note C1.
      bins_per_octave: filters for each octave, B.
      spread_octaves: width :math:`\sigma`, in octaves; by default ``0.125 / bins_per_octave``,
        which is so narrow that low filters of a short transform consist of a single bin.
      dtype: dtype of the result; the design is in float64 and cast last.

    Returns:
      A NumPy array of shape ``(n_bands, n_fft // 2 + 1)`` whose rows sum to 1, without the bin
      at 0 Hz.

    Raises:
      TypeError: a size is not a Python int.
      ValueError: a size, `fmin` or the spread is not positive, or the last centre is above
        Nyquist.

    Example:
      >>> from ddspx import core
      >>> bank = core.log_frequency_filterbank(
      ...     n_bands=2, n_fft=8, sample_rate=800, fmin=100.0, bins_per_octave=1
      ... )
      >>> bank.round(3).tolist()
      [[0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]]

    References:
      kapre's ``init='log'``, whose spread is that default. It divides by
      :math:`f_k^{1 / \ln 2}` (a log2 inside of an exp), which tilts a filter by up to 0.4 % over
      a spread, and underflows to rows of 0/0 where a filter lies between the bins of a short
      transform; here such a filter consists of the nearest bin.
    """
    n_bands, n_fft = size("n_bands", n_bands), positive_int("n_fft", n_fft)
    nyquist = size("sample_rate", sample_rate) / 2
    size("bins_per_octave", bins_per_octave)
    spread = 0.125 / bins_per_octave if spread_octaves is None else spread_octaves
    centers_hz = fmin * 2.0 ** (np.arange(n_bands) / bins_per_octave)
    if not (fmin > 0 and centers_hz[-1] <= nyquist):
        raise ValueError(
            f"`fmin` must be above 0 and the last centre at most half of `sample_rate`, {nyquist} "
            f"Hz, got {fmin} and {centers_hz[-1]:.1f} Hz; take fewer bands."
        )
    number("spread_octaves", spread, above=0)
    octaves = np.log2(np.fft.rfftfreq(n_fft, 1 / sample_rate)[1:])
    exponent = -0.5 * ((octaves - np.log2(centers_hz)[:, None]) / spread) ** 2 - octaves * np.log(2)
    weights = np.exp(exponent - exponent.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.pad(weights, ((0, 0), (1, 0))).astype(dtype)


@lru_cache(maxsize=64)
def _mel_filterbank(
    n_mels: int,
    n_fft: int,
    sample_rate: int,
    fmin: float,
    fmax: float,
    htk: bool,
    norm: str | None,
    dtype: np.dtype,
) -> np.ndarray:
    scale = "mel" if htk else "slaney"
    corners = frequency_grid(n_mels + 2, fmin=fmin, fmax=fmax, scale=scale)[:, None]
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling))
    if norm == "slaney":
        filters *= 2 / (corners[2:] - corners[:-2])
    filters = filters.astype(dtype)
    filters.flags.writeable = False
    return filters


def frequency_scale(name: str, xp: Any = np) -> tuple[Callable, Callable]:
    """The scale and its inverse, as functions of arrays of `xp`: NumPy, or jax.numpy."""
    slope = ERB_SLOPE / ERB_HZ
    return {
        "mel": (lambda f: xp.log1p(f / 700), lambda x: 700 * xp.expm1(x)),
        "slaney": (partial(_hz_to_slaney, xp=xp), partial(_slaney_to_hz, xp=xp)),
        "erb": (lambda f: xp.log1p(slope * f), lambda x: xp.expm1(x) / slope),
        "bark": (lambda f: f / (1960 + f), lambda x: 1960 * x / (1 - x)),
        "linear": (lambda f: f, lambda x: x),
        "log": (xp.log, xp.exp),
    }[name]


def _hz_to_slaney(frequencies_hz, *, xp):
    above = xp.log(xp.maximum(frequencies_hz, _SLANEY_CORNER_HZ) / _SLANEY_CORNER_HZ)
    below = xp.minimum(frequencies_hz, _SLANEY_CORNER_HZ) / _SLANEY_HZ_PER_MEL
    return below + above / _SLANEY_STEP


def _slaney_to_hz(mels, *, xp):
    above = xp.maximum(mels - _SLANEY_CORNER_MEL, 0)
    below = xp.minimum(mels, _SLANEY_CORNER_MEL) * _SLANEY_HZ_PER_MEL
    return below * xp.exp(_SLANEY_STEP * above)
