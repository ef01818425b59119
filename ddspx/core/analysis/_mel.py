"""Mel spectrograms, cepstral coefficients and their differences over time."""

import math
import operator
from functools import lru_cache, reduce
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, floats, one_of, positive_int, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._units import power_to_db
from ddspx.core.analysis._stft import spectrogram
from ddspx.core.bands._filterbanks import mel_filterbank

# Neighbouring filters are multiplied in groups of this size, each only with the bins it covers.
_FILTERS_PER_PRODUCT = 32
_PADDING = {"nearest": "edge", "mirror": "reflect", "constant": "constant", "wrap": "wrap"}


def mel_spectrogram(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    n_mels: int = 128,
    win_length: int | None = None,
    power: int = 2,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: Literal["slaney"] | None = "slaney",
) -> Float[Array, "*batch frames n_mels"]:
    r"""Power (or magnitude) in bands that are equally wide on a mel scale.

    .. math:: S[i, m] = \sum_k M[m, k]\, |X[i, k]|^p

    with :math:`X` of :func:`stft` and :math:`M` of :func:`mel_filterbank`.

    Args:
      audio: linear amplitude.
      sample_rate: samples per second. Static.
      n_fft: length of the Fourier transform, in samples. Static.
      hop_length: distance between frames, in samples. Static.
      n_mels: number of bands. Static.
      win_length: length of the window, at most `n_fft` (the default). Static.
      power: 2 for power, 1 for magnitude. Static.
      fmin: lower corner of the first band, in Hz. Static.
      fmax: upper corner of the last, in Hz; the default is Nyquist. Static.
      htk: HTK's mel scale in place of Slaney's. Static.
      norm: ``slaney`` gives every triangle the area 1, None the height 1. Static.

    Returns:
      Energy in each band of the audio around sample ``i * hop_length``, in the dtype of the input.

    Raises:
      TypeError: a size is not an int, or `audio` is neither float32 nor float64.
      ValueError: as :func:`spectrogram` and :func:`mel_filterbank`.

    Properties:
      Differentiable in `audio`, silence included (zero gradient). Static: all but `audio`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> mel = core.mel_spectrogram(
      ...     jnp.zeros(16000), sample_rate=16000, n_fft=1024, hop_length=160, n_mels=80
      ... )
      >>> mel.shape
      (101, 80)

    References:
      ``librosa.feature.melspectrogram`` with the last two axes exchanged. torchaudio's defaults
      are ``htk=True, norm=None`` and a reflection at the ends; kapre's `power` is 1. DDSP's
      triangles are linear in mel, see :func:`mel_filterbank`.
    """
    spectrum = spectrogram(
        audio, n_fft=n_fft, hop_length=hop_length, win_length=win_length, power=power
    )
    filters = mel_filterbank(
        n_mels=n_mels,
        n_fft=n_fft,
        sample_rate=sample_rate,
        fmin=fmin,
        fmax=fmax,
        htk=htk,
        norm=norm,
        dtype=spectrum.dtype,
    )
    bands = []
    for first in range(0, n_mels, _FILTERS_PER_PRODUCT):
        group = filters[first : first + _FILTERS_PER_PRODUCT]
        covered = np.flatnonzero(group.any(axis=0))
        bins = slice(covered[0], covered[-1] + 1) if covered.size else slice(0, 0)
        bands.append(jnp.matmul(spectrum[..., bins], group[:, bins].T, precision="highest"))
    return jnp.concatenate(bands, axis=-1)


def mfcc(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    n_mfcc: int = 20,
    n_mels: int = 128,
    win_length: int | None = None,
    power: int = 2,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: Literal["slaney"] | None = "slaney",
    top_db: float | None = 80.0,
    dct_type: int = 2,
    dct_norm: Literal["ortho"] | None = "ortho",
    lifter: float = 0.0,
) -> Float[Array, "*batch frames n_mfcc"]:
    r"""Mel-frequency cepstral coefficients.

    .. math:: c[i] = D\, \max\bigl(10 \log_{10} S[i],\ -100,\ \max_{j, m} L[j, m] - T\bigr)

    The levels :math:`L` of a :func:`mel_spectrogram` are limited from below to `top_db` under the
    loudest of the same example, and transformed by :func:`cepstral_coefficients`.

    Args:
      audio: linear amplitude.
      sample_rate: as in :func:`mel_spectrogram`. Static.
      n_fft: as in :func:`mel_spectrogram`. Static.
      hop_length: as in :func:`mel_spectrogram`. Static.
      n_mfcc: as in :func:`cepstral_coefficients`. Static.
      n_mels: as in :func:`mel_spectrogram`. Static.
      win_length: as in :func:`mel_spectrogram`. Static.
      power: as in :func:`mel_spectrogram`. Static.
      fmin: as in :func:`mel_spectrogram`. Static.
      fmax: as in :func:`mel_spectrogram`. Static.
      htk: as in :func:`mel_spectrogram`. Static.
      norm: of the mel filters, as in :func:`mel_spectrogram`. Static.
      top_db: range below the loudest band of the example, in dB; None for no such floor, as a
        stream requires. Static.
      dct_type: as in :func:`cepstral_coefficients`. Static.
      dct_norm: as in :func:`cepstral_coefficients`. Static.
      lifter: as in :func:`cepstral_coefficients`. Static.

    Returns:
      Coefficients of the audio around sample ``i * hop_length``, in the dtype of the input.

    Raises:
      TypeError: a size is not an int, or `audio` is neither float32 nor float64.
      ValueError: as :func:`mel_spectrogram` and :func:`cepstral_coefficients`.

    Properties:
      Differentiable in `audio`; zero gradient at silence. Static: all but `audio`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> silence = core.mfcc(jnp.zeros(16000), sample_rate=16000, n_fft=1024, hop_length=160)
      >>> silence.shape, round(float(silence[0, 0] / 128**0.5))
      ((101, 20), -100)

    References:
      ``librosa.feature.mfcc`` with the last two axes exchanged. Before 1.0 librosa took `top_db`
      below the loudest of all channels together, so that one example influenced others; librosax
      0.1 still does.
    """
    energies = mel_spectrogram(
        audio,
        sample_rate=sample_rate,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        win_length=win_length,
        power=power,
        fmin=fmin,
        fmax=fmax,
        htk=htk,
        norm=norm,
    )
    return cepstral_coefficients(
        power_to_db(energies, range_db=100.0, top_db=top_db),
        n_mfcc=n_mfcc,
        dct_type=dct_type,
        dct_norm=dct_norm,
        lifter=lifter,
    )


def cepstral_coefficients(
    levels: Float[ArrayLike, "*batch bands"],
    *,
    n_mfcc: int = 20,
    dct_type: int = 2,
    dct_norm: Literal["ortho"] | None = "ortho",
    lifter: float = 0.0,
) -> Float[Array, "*batch n_mfcc"]:
    r"""First coefficients of the cosine transform of a logarithmic spectrum.

    .. math:: c[n] = \bigl(1 + \tfrac L2 \sin \tfrac{\pi (n + 1)}{L}\bigr)
        \sum_{m=0}^{M-1} D[n, m]\, x[m]

    For type 2, orthonormal, :math:`D[n, m] = \sqrt{2 / M} \cos(\pi n (2m + 1) / 2M)`, divided by
    :math:`\sqrt 2` for :math:`n = 0`.

    Args:
      levels: logarithm of the energy in each band, in any unit.
      n_mfcc: number of coefficients, the zeroth included; at most as many as bands. Static.
      dct_type: 1, 2 or 3. Static.
      dct_norm: ``ortho`` for an orthonormal matrix, None for sums that are not scaled (twice the
        cosine). Static.
      lifter: period L of the weights that lift high coefficients to the size of low ones; 0 is
        none. Static.

    Returns:
      Coefficients, in the dtype and unit of `levels`.

    Raises:
      TypeError: `n_mfcc` is not an int, or `levels` is neither float32 nor float64.
      ValueError: there are fewer than `n_mfcc` bands (for type 1, fewer than 2), a choice is
        unknown, or `lifter` is negative or not finite.

    Properties:
      Linear in `levels`. Static: all but `levels`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.cepstral_coefficients(jnp.ones(4), n_mfcc=1).tolist()
      [2.0]

    References:
      ``scipy.fft.dct`` and the lifter of ``librosa.feature.mfcc(S=...)``, which weights coefficient
      n as HTK weights n + 1. TensorFlow's zeroth coefficient is :math:`\sqrt 2` times this one.
    """
    (levels,) = floats(levels=levels)
    at_least_ndim("levels", levels.shape, 1, "(*batch, bands)")
    n_mfcc = size("n_mfcc", n_mfcc)
    one_of("dct_type", dct_type, (1, 2, 3))
    one_of("dct_norm", dct_norm, ("ortho", None))
    bands = levels.shape[-1]
    if n_mfcc > bands:
        raise ValueError(f"`n_mfcc` must be at most the number of bands ({bands}), got {n_mfcc}.")
    if dct_type == 1 and bands < 2:
        raise ValueError("`dct_type` 1 needs at least 2 bands, got 1; take type 2.")
    if not 0 <= lifter < math.inf:
        raise ValueError(f"`lifter` must be at least 0 and finite, got {lifter}; 0 applies none.")
    matrix = _dct_matrix(bands, dct_type, dct_norm == "ortho")[:n_mfcc]
    if lifter:
        lift = 1 + lifter / 2 * np.sin(np.pi * np.arange(1, n_mfcc + 1) / lifter)
        matrix = matrix * lift[:, None]
    return jnp.matmul(levels, matrix.T.astype(levels.dtype), precision="highest")


@lru_cache(maxsize=64)
def _dct_matrix(size: int, dct_type: int, ortho: bool) -> np.ndarray:
    """The transform as a matrix, coefficients by inputs, in float64."""
    n, m = np.arange(size)[:, None], np.arange(size)[None]
    if dct_type == 3:
        # The transpose of type 2; but without `ortho`, type 3 counts its first input only once.
        matrix = _dct_matrix(size, 2, ortho).T.copy()
        matrix[:, 0] /= 1 if ortho else 2
        return matrix
    if dct_type == 2:
        matrix = 2 * np.cos(np.pi * n * (2 * m + 1) / (2 * size))
        if ortho:
            matrix *= np.where(n == 0, 0.5, math.sqrt(0.5)) / math.sqrt(size)
        return matrix
    ends = (m == 0) | (m == size - 1)
    matrix = np.where(ends, 1, 2) * np.cos(np.pi * n * m / (size - 1))
    if ortho:
        matrix *= np.where(ends, math.sqrt(2), 1) * np.where(ends.T, math.sqrt(0.5), 1)
        matrix /= math.sqrt(2 * (size - 1))
    return matrix


def delta(
    features: Float[ArrayLike, "*shape"],
    *,
    width: int = 9,
    order: int = 1,
    mode: Literal["interp", "nearest", "mirror", "constant", "wrap"] = "interp",
    axis: int = -2,
) -> Float[Array, "*shape"]:
    r"""Derivative over time, of the polynomial that best fits the frames around each frame.

    .. math:: \Delta x[i] = \frac{\sum_{k=1}^{K} k\, (x[i + k] - x[i - k])}{2 \sum_{k=1}^K k^2},
        \qquad K = (W - 1) / 2

    for the first order: the slope of the line of least squares through `width` frames. Order p
    is the p-th derivative of the polynomial of degree p.

    Args:
      features: ``(*batch, frames, features)``, or ``(*batch, frames)`` with ``axis=-1``.
      width: number of frames W that a polynomial fits; odd, 3 or more. Static.
      order: which derivative; 1 or more and less than `width`. Static.
      mode: treatment of the ends. ``interp`` evaluates the polynomial of the first or last `width`
        frames there. The other modes extend the frames: by the edge frame (``nearest``), by
        reflection about it (``mirror``), by zeros (``constant``) or by the other end (``wrap``).
        Static.
      axis: the axis of the frames, -1 or -2. Static.

    Returns:
      The derivative in units per frame (to the power of `order`), of the shape and dtype of
      `features`.

    Raises:
      TypeError: a size is not an int, or `features` is neither float32 nor float64.
      ValueError: `width` is even or below 3, `order` is not below it, a choice is unknown, or
        with ``interp`` there are fewer than `width` frames.

    Properties:
      Linear in `features`; exact for polynomials up to degree `order` (with ``interp`` at the
      ends too). Static: all but `features`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> line = 0.5 * jnp.arange(6.0)
      >>> [round(v, 3) for v in core.delta(line, width=5, axis=-1).tolist()]
      [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]

    References:
      Savitzky and Golay, Analytical Chemistry 36(8), 1964. ``librosa.feature.delta``, with its
      defaults. ``width=5, mode="nearest"`` are the deltas of torchaudio and HTK (2 frames to each
      side); their second order is the delta of the delta, not ``order=2``.
    """
    (features,) = floats(features=features)
    one_of("axis", axis, (-1, -2))
    one_of("mode", mode, ("interp", *_PADDING))
    axes = "(*batch, frames, features)" if axis == -2 else "(*batch, frames)"
    at_least_ndim("features", features.shape, -axis, axes)
    width, order = positive_int("width", width), size("order", order)
    if width < 3 or width % 2 == 0:
        raise ValueError(f"`width` must be odd and at least 3, got {width}.")
    if order >= width:
        raise ValueError(f"`order` must be below `width` ({width}), got {order}.")
    if mode == "interp" and features.shape[axis] < width:
        raise ValueError(
            f"`width` must be at most the number of frames ({features.shape[axis]}), got {width}; "
            "with another `mode` it may exceed it."
        )
    edges = [(0, 0)] * features.ndim
    edges[axis] = (width // 2, width // 2)
    weights = _derivative_weights(width, order)
    if mode == "interp":
        # The derivative of order p of a polynomial of degree p is constant over the window.
        return jnp.pad(_weighted_sums(features, weights, axis), edges, mode="edge")
    return _weighted_sums(jnp.pad(features, edges, mode=_PADDING[mode]), weights, axis)


@lru_cache(maxsize=64)
def _derivative_weights(width: int, order: int) -> np.ndarray:
    """Weights of the frames that give the derivative of the best polynomial, in float64."""
    # Positions are scaled to -1 to 1, which keeps the fit well conditioned.
    half = width // 2
    powers = (np.arange(-half, half + 1) / half)[:, None] ** np.arange(order + 1)
    return math.factorial(order) * np.linalg.pinv(powers)[order] / half**order


def _weighted_sums(x: Array, weights: np.ndarray, axis: int) -> Array:
    """Weighted sums of consecutive frames, at all positions where the whole window fits."""
    count = x.shape[axis] - len(weights) + 1
    terms = [
        float(weight) * jax.lax.slice_in_dim(x, k, k + count, axis=axis)
        for k, weight in enumerate(weights)
    ]
    return reduce(operator.add, terms)
