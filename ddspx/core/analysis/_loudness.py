"""Loudness and level: power in decibels, A-weighted or not, on the frame rule."""

import math
from types import ModuleType

import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, floats, positive_int, quantities, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import frame, n_frames
from ddspx.core._numerics import safe_sqrt, with_ndim
from ddspx.core._units import power_to_db
from ddspx.core.analysis._stft import spectrogram


def a_weighting_db(frequencies_hz: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    r"""A-weighting: how much quieter a tone sounds than one of 1 kHz, in decibels.

    .. math::
      A(f) = 2 + 20 \log_{10} \frac{f_4^2 f^4}
      {(f^2 + f_1^2) \sqrt{(f^2 + f_2^2)(f^2 + f_3^2)} (f^2 + f_4^2)}

    with poles at 20.6, 107.7, 737.9 and 12194.2 Hz, and not below -80 dB.

    Args:
      frequencies_hz: any shape, in Hz, not negative; integers too.

    Returns:
      Gain in dB, from -80 (at 0 Hz) to about 1.3 (near 2.5 kHz), in the dtype of the input.

    Properties:
      Differentiable; the gradient is zero where the floor of -80 dB holds, 0 Hz included.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> [round(v, 1) for v in core.a_weighting_db(jnp.array([0.0, 100.0, 1000.0])).tolist()]
      [-80.0, -19.1, 0.0]

    References:
      IEC 61672-1:2013, annex E. Equals ``librosa.A_weighting``, its floor included.
    """
    (frequencies_hz,) = quantities(frequencies_hz=frequencies_hz)
    return _a_weighting_db(frequencies_hz, jnp)


def loudness_db(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    n_fft: int = 512,
    range_db: float = 80.0,
) -> Float[Array, "*batch frames"]:
    r"""A-weighted loudness in decibels, on the frame rule.

    .. math:: L[i] = \max\Bigl(10 \log_{10} \frac{1}{K}
      \sum_{k=0}^{K-1} 10^{A(f_k) / 10} |X[i, k]|^2,\; -R\Bigr)

    where :math:`X` is :func:`stft` with a Hann window of :math:`N` samples and
    :math:`K = N / 2 + 1` bins. The spectrum is not normalized, so the scale depends on `n_fft`:
    at 512 samples and 16 kHz a sine of amplitude 1 reads 19.8 dB at 1 kHz and 1.0 dB at
    100 Hz, uniform noise in [-1, 1] reads 18.2 dB, and loud audio lies above 0 dB.

    Args:
      audio: linear amplitude, full scale at 1.
      sample_rate: samples per second. Static.
      hop_length: distance between frames, in samples. Static.
      n_fft: length of the Fourier transform and window, in samples (512 is 32 ms at 16 kHz).
        Static.
      range_db: silence reads ``-range_db``. Static.

    Returns:
      Loudness of the audio around each sample ``i * hop_length``, in the dtype of the input.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is below 1.

    Properties:
      Differentiable in `audio`; the gradient is zero at and below the floor, so silence gives
      zeros. Static: all but `audio`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> tone = jnp.sin(2 * jnp.pi * 1000 * jnp.arange(2048) / 16000)
      >>> loudness = core.loudness_db(tone, sample_rate=16000, hop_length=512)
      >>> [round(v, 1) for v in loudness.tolist()]
      [16.7, 19.8, 19.8, 19.8, 16.7]

    References:
      The definition of DDSP 3.x (``compute_loudness``): the mean is over bins of linear power.
      DDSP before 3.0 and ddsp_pytorch average decibels over bins, which silent bins dominate.
    """
    sample_rate = size("sample_rate", sample_rate)
    power = spectrogram(audio, n_fft=n_fft, hop_length=hop_length, power=2)
    gains_db = _a_weighting_db(np.fft.rfftfreq(n_fft, 1 / sample_rate), np)
    weights = (10 ** (gains_db / 10) / gains_db.size).astype(power.dtype)
    weighted = jnp.sum(power * with_ndim(weights, power.ndim), axis=-1)
    return power_to_db(weighted, range_db=range_db)


def rms(
    audio: Float[ArrayLike, "*batch samples"], *, hop_length: int, win_length: int
) -> Float[Array, "*batch frames"]:
    r"""Root of the mean square, on the frame rule.

    .. math:: r[i] = \sqrt{\frac1W \sum_{m=0}^{W-1} x[iH + m - \lfloor W/2 \rfloor]^2}

    with silence outside the audio.

    Args:
      audio: linear amplitude.
      hop_length: distance between frames, in samples. Static.
      win_length: length of the (rectangular) window, in samples. Static.

    Returns:
      Amplitude of the audio around each sample ``i * hop_length``, in the dtype of the input; a
      sine of amplitude `a` reads ``a / sqrt(2)``.

    Raises:
      TypeError: a size is not an int, or `audio` is neither float32 nor float64.
      ValueError: a size is below 1.

    Properties:
      Differentiable in `audio`; the gradient of the root at zero is defined as zero, so silence
      gives zeros. If `hop_length` divides `win_length`, it needs no more memory than the audio.
      Static: the sizes.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.rms(jnp.ones(8), hop_length=4, win_length=2).tolist()
      [0.7071067690849304, 1.0, 0.7071067690849304]

    References:
      ``librosa.feature.rms(y=..., center=True)``. The gradient of DDSP's ``compute_rms_energy`` is
      infinite at silence, and becomes NaN.
    """
    return safe_sqrt(_mean_square(audio, hop_length, win_length))


def power_db(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    hop_length: int,
    win_length: int,
    range_db: float = 80.0,
) -> Float[Array, "*batch frames"]:
    r"""Mean square in decibels, on the frame rule.

    .. math:: L[i] = \max(20 \log_{10} r[i], -R)

    with :math:`r` of :func:`rms`.

    Args:
      audio: linear amplitude, full scale at 1.
      hop_length: distance between frames, in samples. Static.
      win_length: length of the (rectangular) window, in samples. Static.
      range_db: silence reads ``-range_db``. Static.

    Returns:
      Level of the audio around each sample ``i * hop_length``, in the dtype of the input: 0 dB
      for a square wave at full scale, -3 dB for a sine.

    Raises:
      TypeError: a size is not an int, or `audio` is neither float32 nor float64.
      ValueError: a size is below 1.

    Properties:
      Differentiable in `audio`; the gradient is zero at and below the floor. Static: all but
      `audio`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> audio = jnp.array([0.0, 0.0, 0.0, 0.1, -0.1, 0.1])
      >>> [round(v, 1) for v in core.power_db(audio, hop_length=2, win_length=2).tolist()]
      [-80.0, -80.0, -20.0, -23.0]

    References:
      DDSP's ``compute_power``.
    """
    return power_to_db(_mean_square(audio, hop_length, win_length), range_db=range_db)


def _mean_square(audio: ArrayLike, hop_length: int, win_length: int) -> Array:
    """Mean of the squares in each frame.

    The squares are first summed in blocks, whose length is the greatest common divisor of hop and
    window, so the overlapping windows add sums of blocks instead of samples. (Differences of one
    running sum would be cheaper still, but rounding would spoil quiet passages after loud ones.)
    """
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    hop_length = positive_int("hop_length", hop_length)
    win_length = positive_int("win_length", win_length)
    samples = audio.shape[-1]
    size = math.gcd(hop_length, win_length)
    per_window = win_length // size
    # Padding so that windows start at the edge of a block; `frame` shifts by whole blocks only.
    left = win_length // 2 - per_window // 2 * size
    n_blocks = -(-(samples + left) // size)
    edges = [(0, 0)] * (audio.ndim - 1) + [(left, n_blocks * size - samples - left)]
    blocks = jnp.pad(jnp.square(audio), edges).reshape(*audio.shape[:-1], n_blocks, size).sum(-1)
    windows = frame(blocks, frame_length=per_window, hop_length=hop_length // size)
    return windows.sum(-1)[..., : n_frames(samples, hop_length=hop_length)] / win_length


def _a_weighting_db(frequencies_hz, xp: ModuleType):
    """A-weighting in the array library `xp`, so that tables can be made in float64 NumPy."""
    # The loss is computed as a product of factors of at least 1. The quotient in the definition has
    # products that exceed float32, and its gradient has their squares. At both ends of the clipped
    # range the loss is over 80 dB.
    f = xp.clip(xp.abs(frequencies_hz), 1.0, 1e7)
    below = [1 + (pole / f) ** 2 for pole in (20.598997, 107.65265, 737.86223)]
    loss = below[0] * xp.sqrt(below[1] * below[2]) * (1 + (f / 12194.217) ** 2)
    return 2.0 - 20 * xp.log10(xp.minimum(loss, 10 ** (82 / 20)))
