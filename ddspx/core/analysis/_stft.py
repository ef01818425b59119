"""Short-time Fourier transform, its inverse, and spectrograms."""

import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, floats, one_of, positive_int
from ddspx._typing import Array, ArrayLike, Complex, Float
from ddspx.core._fourier import irfft_of_frames, rfft_of_frames
from ddspx.core._framing import frame, hann_window, n_samples_of, overlap_add
from ddspx.core._numerics import safe_sqrt, with_ndim


def stft(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
) -> Complex[Array, "*batch frames bins"]:
    r"""Short-time Fourier transform with a periodic Hann window, not normalized.

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
      TypeError: a size is not an int, or `audio` is neither float32 nor float64.
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
      exchanged. DDSP's frames are not centred, and it pads at the end only, so its frames are half
      a window later than these; magenta also rounds `n_fft` up to a power of two.
    """
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    n_fft = positive_int("n_fft", n_fft)
    hop_length = positive_int("hop_length", hop_length)
    window = _centred_window(n_fft, win_length).astype(audio.dtype)
    frames = frame(audio, frame_length=n_fft, hop_length=hop_length)
    return rfft_of_frames(frames * with_ndim(window, audio.ndim + 1), n_fft)


def istft(
    spectrum: Complex[ArrayLike, "*batch frames bins"],
    *,
    hop_length: int,
    n_fft: int | None = None,
    win_length: int | None = None,
    n_samples: int | None = None,
) -> Float[Array, "*batch samples"]:
    r"""Inverse transform: the audio whose short-time Fourier transform is nearest to a spectrum.

    .. math:: y[n] = \frac{\sum_i w[m_i]\, x_i[m_i]}{\sum_i w[m_i]^2}, \qquad
        m_i = n - iH + N/2

    with :math:`x_i` the inverse transform of frame `i` and the window of :func:`stft`. It is the
    minimum of :math:`\lVert \mathrm{stft}(y) - X \rVert` over all audio (every bin counted with
    its mirror image). So it inverts :func:`stft`, and is the best approximation for a spectrum that
    is not the transform of any signal. Samples that no window covers are zero.

    Args:
      spectrum: ``n_fft // 2 + 1`` bins per frame; the imaginary parts of the bins at 0 Hz and at
        Nyquist are ignored.
      hop_length: distance between frames, in samples. Static.
      n_fft: length of the Fourier transform; the default is the even length with this number of
        bins, ``2 * (bins - 1)``. Static.
      win_length: as in :func:`stft`. Static.
      n_samples: length of the result; any length that has this many frames. The default is
        the least, ``(frames - 1) * hop_length``. Static.

    Returns:
      Audio in linear amplitude, of the precision of the spectrum.

    Raises:
      TypeError: a size is not an int, or `spectrum` is not complex.
      ValueError: a size is below 1, `n_fft` does not have this number of bins, `win_length`
        exceeds `n_fft`, or `n_samples` samples do not have this number of frames.

    Properties:
      Linear in `spectrum`, so differentiable everywhere. ``istft(stft(x)) = x`` up to rounding if
      ``hop_length <= win_length / 2`` and `n_samples` is the length of x. Static: all sizes.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> spectrum = core.stft(jnp.arange(6.0), n_fft=4, hop_length=2)
      >>> [abs(round(v, 3)) for v in core.istft(spectrum, hop_length=2).tolist()]
      [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]

    References:
      Griffin and Lim, Signal estimation from modified short-time Fourier transform, IEEE Trans.
      ASSP 32(2), 1984. Equals ``librosa.istft`` with the last two axes exchanged.
    """
    spectrum = jnp.asarray(spectrum)
    if not jnp.issubdtype(spectrum.dtype, jnp.complexfloating):
        raise TypeError(
            f"`spectrum` must be complex, got {spectrum.dtype}; a magnitude has no phase to "
            "resynthesize."
        )
    at_least_ndim("spectrum", spectrum.shape, 2, "(*batch, frames, bins)")
    hop_length = positive_int("hop_length", hop_length)
    *batch, frames, bins = spectrum.shape
    n_fft = 2 * (bins - 1) if n_fft is None else n_fft
    if positive_int("n_fft", n_fft) // 2 + 1 != bins:
        raise ValueError(
            f"`n_fft` must be {2 * bins - 2} or {2 * bins - 1} for {bins} bins, got {n_fft}."
        )
    n_samples = n_samples_of(frames, hop_length=hop_length, n_samples=n_samples)
    window = _centred_window(n_fft, win_length)
    dtype = spectrum.real.dtype
    rows = with_ndim(window.astype(dtype), spectrum.ndim)
    segments = irfft_of_frames(spectrum, n_fft) * rows
    audio = overlap_add(segments, hop_length=hop_length, n_samples=n_samples)
    gains = _overlap_gains(window, frames, hop_length).astype(dtype)[:n_samples]
    return audio * with_ndim(gains, len(batch) + 1)


def spectrogram(
    audio: Float[ArrayLike, "*batch samples"],
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
      Differentiable in `audio`. The magnitude has no derivative at zero, where its gradient is
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


def _centred_window(n_fft: int, win_length: int | None) -> np.ndarray:
    """The window in the middle of a frame, in float64."""
    win_length = n_fft if win_length is None else positive_int("win_length", win_length)
    if win_length > n_fft:
        raise ValueError(
            f"`win_length` must be at most `n_fft` ({n_fft}), got {win_length}; "
            "raise `n_fft` to zero-pad each frame."
        )
    margin = n_fft - win_length
    return np.pad(hann_window(win_length), (margin // 2, margin - margin // 2))


def _overlap_gains(window: np.ndarray, frames: int, hop_length: int) -> Array:
    """The reciprocal of the sum of the squared windows at each sample, or zero if that is zero.

    Away from the ends it repeats every hop, so the compiled program holds one hop of it as a
    constant, not an array of the length of the audio.
    """
    per_frame = -(-len(window) // hop_length)
    few = min(frames, 2 * per_frame + 1)
    squares = np.zeros((few + per_frame) * hop_length)
    for i in range(few):
        squares[i * hop_length : i * hop_length + len(window)] += window**2
    # One hop for each frame, because up to a hop of audio may follow the last frame.
    squares = np.pad(squares[len(window) // 2 :], (0, hop_length))[: few * hop_length]
    covered = squares > np.finfo(np.float32).tiny
    gains = np.where(covered, 1 / np.where(covered, squares, 1), 0).reshape(few, hop_length)
    middle = few // 2
    repeated = jnp.broadcast_to(gains[middle], (frames - few, hop_length))
    return jnp.concatenate([gains[:middle], repeated, gains[middle:]]).reshape(-1)
