"""MFCCs of the textbook recipe for speech, with the same numbers as common implementations."""

import math
from functools import lru_cache

import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, floats, positive_int, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._fourier import rfft_of_frames
from ddspx.core._framing import overlapping_blocks
from ddspx.core._numerics import with_ndim
from ddspx.core.analysis._mel import cepstral_coefficients
from ddspx.core.bands._filterbanks import warn_of_empty_bands

_PRE_EMPHASIS = 0.97
_LIFTER = 22
_LEAST_MEAN = 1e-8


def textbook_log_mel(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    sample_rate: int,
    n_fft: int = 512,
    n_mels: int = 40,
    normalize: bool = True,
) -> Float[Array, "*batch frames n_mels"]:
    r"""Filterbank levels of the textbook recipe, including its oddities, to match old features.

    .. math:: L[i, m] = 20 \log_{10} \sum_k B[m, k]\, \frac{|X[i, k]|^2}{N}

    Pre-emphasis :math:`x[n] - 0.97\, x[n - 1]`, symmetric Hamming windows of 25 ms every 10 ms,
    a Fourier transform of `n_fft`, and triangles at equal steps of HTK's mel from 0 Hz to Nyquist.
    Use it for features that must equal those of such a program. Its oddities are:

    - frames do not follow the frame rule: frame i begins at ``i * hop``, and the last frame is
      filled with zeros. There are ``1 + ceil((samples - window) / hop)`` frames and at least one
      (for audio shorter than a window, such programs add frames of zeros, which are left out here);
    - the corners of the triangles are rounded down to bins, so low bands are asymmetric;
    - the levels are twice the decibels: 20 log10 of a power. A power of zero is replaced by
      2.2e-16, but smaller powers than that are not;
    - the mean of each band over the recording, plus 1e-8, is subtracted.

    Args:
      audio: linear amplitude.
      sample_rate: samples per second. Static.
      n_fft: length N of the Fourier transform, at least the 25 ms of the window. Static.
      n_mels: number of bands. Static.
      normalize: remove the mean over time. Static.

    Returns:
      Levels, in the dtype of the input; 10 ms from frame to frame.

    Raises:
      TypeError: a size is not an int, or `audio` is neither float32 nor float64.
      ValueError: `n_fft` is shorter than the window, or a size is not positive.

    Properties:
      Differentiable in `audio`; zero gradient at silence. Static: all but `audio`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.textbook_log_mel(jnp.zeros(16000), sample_rate=16000).shape
      (99, 40)

    References:
      Davis and Mermelstein, IEEE Trans. ASSP 28(4), 1980, in the form of widespread tutorials. For
      new work use :func:`power_to_db` of :func:`mel_spectrogram`. ``python_speech_features``
      differs: it has rectangular windows, 26 bands and natural logarithms.
    """
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    sample_rate, n_fft = size("sample_rate", sample_rate), positive_int("n_fft", n_fft)
    length, hop_length = round(0.025 * sample_rate), round(0.01 * sample_rate)
    if n_fft < length:
        raise ValueError(f"`n_fft` must be at least the window of {length} samples, got {n_fft}.")
    frames = 1 + max(0, math.ceil((audio.shape[-1] - length) / hop_length))
    before = jnp.concatenate([jnp.zeros_like(audio[..., :1]), audio[..., :-1]], axis=-1)
    segments = overlapping_blocks(audio - _PRE_EMPHASIS * before, 0, frames, length, hop_length)
    lead = (1,) * audio.ndim
    window = np.hamming(length).astype(audio.dtype).reshape(*lead, length)
    spectrum = rfft_of_frames(segments * window, n_fft)
    power = (jnp.square(spectrum.real) + jnp.square(spectrum.imag)) / n_fft
    filters = _floored_filterbank(positive_int("n_mels", n_mels), n_fft, sample_rate)
    warn_of_empty_bands(filters, n_fft)
    energies = jnp.matmul(power, filters.T.astype(audio.dtype), precision="highest")
    # Energies of zero, and those so small that the slope of the logarithm would overflow, are
    # replaced by the machine epsilon of float64.
    is_zero = energies < 100 * jnp.finfo(energies.dtype).tiny
    energies = jnp.where(is_zero, float(np.finfo(np.float64).eps), energies)
    return _centred((20 / math.log(10)) * jnp.log(energies), normalize)


def textbook_mfcc(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    sample_rate: int,
    n_fft: int = 512,
    n_mels: int = 40,
    n_mfcc: int = 12,
    normalize: bool = True,
) -> Float[Array, "*batch frames n_mfcc"]:
    r"""MFCCs of the textbook recipe, including its oddities, to match old features.

    .. math:: c[n] = \bigl(1 + 11 \sin \tfrac{\pi (n - 1)}{22}\bigr) \sum_m D[n, m]\, L[m],
        \qquad n = 1, 2, \dots

    with the orthonormal cosine transform D of :func:`cepstral_coefficients` and the levels
    :math:`L` of :func:`textbook_log_mel`. Further oddities are:

    - the zeroth coefficient is left out, and the lifter weights coefficient n as HTK weights n - 1.

    Args:
      audio: linear amplitude.
      sample_rate: samples per second. Static.
      n_fft: as in :func:`textbook_log_mel`. Static.
      n_mels: number of bands. Static.
      n_mfcc: number of coefficients, from the first; fewer than bands. Static.
      normalize: remove the mean of each coefficient over time. Static.

    Returns:
      Coefficients, in the dtype of the input; 10 ms from frame to frame.

    Raises:
      TypeError: a size is not an int, or `audio` is neither float32 nor float64.
      ValueError: as :func:`textbook_log_mel`, or `n_mfcc` is not below `n_mels`.

    Properties:
      Differentiable in `audio`; zero gradient at silence. Static: all but `audio`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.textbook_mfcc(jnp.zeros(16000), sample_rate=16000).shape
      (99, 12)

    References:
      For new work use :func:`mfcc`.
    """
    levels = textbook_log_mel(
        audio, sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, normalize=False
    )
    n_mfcc = size("n_mfcc", n_mfcc)
    if n_mfcc >= n_mels:
        raise ValueError(f"`n_mfcc` must be below `n_mels` ({n_mels}), got {n_mfcc}.")
    coefficients = cepstral_coefficients(levels, n_mfcc=n_mfcc + 1)[..., 1:]
    lift = 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(n_mfcc) / _LIFTER)
    lift = with_ndim(lift.astype(coefficients.dtype), coefficients.ndim)
    return _centred(coefficients * lift, normalize)


def _centred(x: Array, normalize: bool) -> Array:
    """Subtracts the mean over frames (and the recipe's 1e-8) if `normalize` is set."""
    return x - (jnp.mean(x, axis=-2, keepdims=True) + _LEAST_MEAN) if normalize else x


@lru_cache(maxsize=16)
def _floored_filterbank(n_mels: int, n_fft: int, sample_rate: int) -> np.ndarray:
    """Triangles of height 1 whose corners are bins, in float64."""
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    corners_hz = 700 * (10 ** (np.linspace(0, top, n_mels + 2) / 2595) - 1)
    corners = np.floor((n_fft + 1) * corners_hz / sample_rate)[:, None]
    bins = np.arange(n_fft // 2 + 1)
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising = (bins - low) / np.maximum(middle - low, 1)
    falling = (high - bins) / np.maximum(high - middle, 1)
    # A bin on the middle corner belongs to the falling side, which matters if a side has no width.
    filters = np.where(bins < middle, rising, falling)
    return np.where((bins >= low) & (bins < high), filters, 0)
