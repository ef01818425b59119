"""Short-time Fourier transform and the spectrograms made of it."""

import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, floats, one_of, positive_int
from ddspx._typing import Array, Complex, Float
from ddspx.core._framing import frame, hann_window
from ddspx.core._numerics import safe_sqrt


def stft(
    audio: Float[Array, "*batch samples"],
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
) -> Complex[Array, "*batch frames bins"]:
    r"""Short-time Fourier transform with a periodic Hann window, not normalised.

    .. math:: X[i, k] = \sum_{m=0}^{N-1} w[m]\, x[iH + m - N/2]\, e^{-2\pi j k m / N}

    Frames follow the frame rule: frame `i` is centred on sample ``i * hop_length`` and there
    are ``1 + n_samples // hop_length`` of them; the audio is zero outside its ends.

    Args:
      audio: linear amplitude.
      n_fft: length of the Fourier transform, in samples. Static.
      hop_length: distance between frames, in samples. Static.
      win_length: length of the window, at most `n_fft` (the default); a shorter one sits in
        the middle of the frame. Static.

    Returns:
      Spectrum of ``n_fft // 2 + 1`` bins per frame, complex of the input's precision.

    Raises:
      TypeError: a size is not an int, or `audio` neither float32 nor float64.
      ValueError: a size is below 1, or `win_length` exceeds `n_fft`.

    Properties:
      Linear in `audio`, so differentiable everywhere. Static: all sizes.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> impulse = jnp.zeros(8).at[4].set(1.0)
      >>> spectrum = core.stft(impulse, n_fft=4, hop_length=2)
      >>> [[round(abs(v), 3) for v in frame] for frame in spectrum.tolist()]
      [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]

    References:
      Equals ``librosa.stft`` (its defaults: centred, zero padding) with the last two axes
      exchanged. DDSP's does not centre and pads at the end only, so its frames lead ours by
      half a window; magenta also rounds `n_fft` up to a power of two, this does not.
    """
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    n_fft = positive_int("n_fft", n_fft)
    hop_length = positive_int("hop_length", hop_length)
    win_length = n_fft if win_length is None else positive_int("win_length", win_length)
    if win_length > n_fft:
        raise ValueError(
            f"`win_length` must be at most `n_fft` ({n_fft}), got {win_length}; "
            "raise `n_fft` to zero-pad each frame."
        )
    frames = frame(audio, frame_length=n_fft, hop_length=hop_length)
    margin = n_fft - win_length
    window = np.pad(hann_window(win_length, dtype=audio.dtype), (margin // 2, margin - margin // 2))
    return jnp.fft.rfft(frames * window.reshape((1,) * audio.ndim + (-1,)))


def spectrogram(
    audio: Float[Array, "*batch samples"],
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    power: int = 1,
) -> Float[Array, "*batch frames bins"]:
    r"""Magnitude (or power) of the short-time Fourier transform.

    .. math:: S[i, k] = |X[i, k]|^p

    Args:
      audio: linear amplitude.
      n_fft: as in :func:`stft`. Static.
      hop_length: as in :func:`stft`. Static.
      win_length: as in :func:`stft`. Static.
      power: 1 for magnitude, 2 for power. Static.

    Returns:
      Spectrogram of ``n_fft // 2 + 1`` bins per frame, in the dtype of the input. A sine of
      amplitude `a` on a bin gives a magnitude of ``a * win_length / 4``.

    Raises:
      TypeError: a size is not an int.
      ValueError: `power` is neither 1 nor 2, or as in :func:`stft`.

    Properties:
      Differentiable in `audio`. The magnitude has a cone's tip at zero, where its gradient is
      defined as zero: silence gives zero gradients, not NaN. Static: all but `audio`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> tone = jnp.cos(2 * jnp.pi * jnp.arange(64) / 8)
      >>> magnitude = core.spectrogram(tone, n_fft=16, hop_length=8)
      >>> [round(v, 2) for v in magnitude[4].tolist()]
      [0.0, 2.0, 4.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]

    References:
      ``abs(librosa.stft(...)) ** power`` transposed.
    """
    one_of("power", power, (1, 2))
    spectrum = stft(audio, n_fft=n_fft, hop_length=hop_length, win_length=win_length)
    squared = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    return squared if power == 2 else safe_sqrt(squared)
