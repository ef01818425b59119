"""Filterbanks as matrices: designed in float64 NumPy, constants under jit."""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from ddspx._checks import one_of, positive_int

# Slaney's mel scale: linear below 1 kHz, 27 steps to the factor 6.4 above.
_SLANEY_HZ_PER_MEL = 200 / 3
_SLANEY_CORNER_HZ = 1000.0
_SLANEY_CORNER_MEL = _SLANEY_CORNER_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_STEP = math.log(6.4) / 27


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
      lies between two bins is all zeros.

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
    sample_rate = positive_int("sample_rate", sample_rate)
    one_of("norm", norm, ("slaney", None))
    fmax = sample_rate / 2 if fmax is None else fmax
    if not 0 <= fmin < fmax:
        raise ValueError(f"`fmin` must be at least 0 and below `fmax` ({fmax}), got {fmin}.")
    return _mel_filterbank(
        n_mels, n_fft, sample_rate, float(fmin), float(fmax), htk, norm, np.dtype(dtype)
    )


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
    mels = np.linspace(_hz_to_mel(fmin, htk), _hz_to_mel(fmax, htk), n_mels + 2)
    corners = _mel_to_hz(mels, htk)[:, None]
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling))
    if norm == "slaney":
        filters *= 2 / (corners[2:] - corners[:-2])
    filters = filters.astype(dtype)
    filters.flags.writeable = False
    return filters


def _hz_to_mel(frequency_hz: float, htk: bool) -> float:
    if htk:
        return 2595 * math.log10(1 + frequency_hz / 700)
    if frequency_hz < _SLANEY_CORNER_HZ:
        return frequency_hz / _SLANEY_HZ_PER_MEL
    return _SLANEY_CORNER_MEL + math.log(frequency_hz / _SLANEY_CORNER_HZ) / _SLANEY_STEP


def _mel_to_hz(mels: np.ndarray, htk: bool) -> np.ndarray:
    if htk:
        return 700 * (10 ** (mels / 2595) - 1)
    above = _SLANEY_CORNER_HZ * np.exp(_SLANEY_STEP * (mels - _SLANEY_CORNER_MEL))
    return np.where(mels < _SLANEY_CORNER_MEL, _SLANEY_HZ_PER_MEL * mels, above)
