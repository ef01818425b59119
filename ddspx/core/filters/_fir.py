"""FIR filters by FFT: convolution, and filters designed from their frequency response."""

from functools import lru_cache, partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import (
    at_least_ndim,
    broadcast_batch,
    floats,
    one_of,
    positive_int,
    same_size,
    size,
)
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._fourier import convolve, irfft_of_frames, next_fast_length, rfft_of_frames
from ddspx.core._framing import frame, n_frames, overlap_add
from ddspx.core._numerics import sinc, with_ndim
from ddspx.core._upsampling import interpolation_weights
from ddspx.core.filters._crossfade_by_products import crossfaded_by_products

# Moving filters whose hop and reach have more samples are applied by FFT on a TPU too.
_LARGEST_PRODUCT = 512

ConvolutionMode = Literal["full", "same", "valid"]


def fft_convolve(
    audio: Float[ArrayLike, "*batch samples"],
    impulse_response: Float[ArrayLike, "*ir_batch taps"],
    *,
    mode: ConvolutionMode,
    hop_length: int | None = None,
) -> Float[Array, "*out_batch out_samples"]:
    r"""Linear convolution along the last axis, with one filter or with one for each frame.

    .. math:: y[n] = \sum_k h_{n - k}[k]\, x[n - k]

    where :math:`h_m` is the filter for sample m of the input: the one filter or, with
    `hop_length`, a cross-fade of the filters of the two frames around the sample,
    :math:`h_m = (1 - v_m)\, h_i + v_m\, h_{i+1}` with i = ``m // hop_length`` and
    :math:`v_m = \tfrac12 - \tfrac12 \cos(\pi (m - i h) / h)`; the last filter is held. So the
    response to a sample is that of its own time, even if it rings on when the filter has changed.

    Args:
      audio: any signal.
      impulse_response: the filter, ``(*batch, taps)``, or ``(*batch, frames, taps)`` with
        `hop_length`. Its batch axes broadcast against those of `audio`; one without batch axes is
        shared by all.
      mode: ``"full"`` is the whole convolution, ``samples + taps - 1``;
        ``"same"`` is the ``samples`` in the middle of it, from ``(taps - 1) // 2``, so that a
        filter centred on that tap has no delay; ``"valid"`` is where the shorter of the two
        lies wholly inside the longer. Static.
      hop_length: samples between frames of the filter; there must be ``n_frames(samples)`` of
        them. None, the default, for a filter that does not change. Static.

    Returns:
      The convolution, in the dtype of the inputs.

    Raises:
      TypeError: an array is neither float32 nor float64, or `hop_length` is not an int.
      ValueError: `mode` is unknown, an input is empty, an axis is missing, the number of frames
        differs from that of `audio`, or the batch axes do not broadcast.

    Properties:
      Linear, and differentiable, in both inputs. The size of the FFT is the next of the form
      :math:`2^a 3^b 5^c` that holds the whole convolution, so that it is not circular; a TPU
      multiplies matrices instead. With
      `hop_length` there is one FFT of ``2 * hop_length + taps - 1`` samples for each frame. Static:
      `mode`, `hop_length`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> y = core.fft_convolve(jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 1.0]), mode="full")
      >>> [round(v, 3) for v in y.tolist()]
      [1.0, 3.0, 5.0, 3.0]

      A tone of 2 kHz under a cutoff that falls from 3.9 kHz to 0.1 kHz:

      >>> tone = jnp.sin(jnp.arange(400) * (jnp.pi / 2))
      >>> cutoffs_hz = jnp.linspace(3900.0, 100.0, 5)
      >>> taps = core.sinc_lowpass(cutoffs_hz, sample_rate=8000, win_length=65)
      >>> y = core.fft_convolve(tone, taps, mode="same", hop_length=100)
      >>> [round(float(abs(y[i : i + 100]).max()), 1) for i in (100, 200, 300)]
      [1.0, 0.5, 0.0]

    References:
      ``scipy.signal.convolve`` has the same three modes. DDSP crops by a negative end index, and
      returns an empty array if that index is zero; it switches filters abruptly between two
      samples.
    """
    audio, impulse_response = floats(audio=audio, impulse_response=impulse_response)
    one_of("mode", mode, ("full", "same", "valid"))
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    at_least_ndim("impulse_response", impulse_response.shape, 1, "(*batch, taps)")
    samples = positive_int("audio.shape[-1]", audio.shape[-1])
    taps = positive_int("impulse_response.shape[-1]", impulse_response.shape[-1])
    if hop_length is None:
        broadcast_batch(
            audio=audio.shape[:-1],
            **{"impulse_response` without `hop_length": impulse_response.shape[:-1]},
        )
        convolution = convolve(audio, impulse_response)
    else:
        convolution = _convolve_moving(audio, impulse_response, hop_length)
    start, length = {
        "full": (0, samples + taps - 1),
        "same": ((taps - 1) // 2, samples),
        "valid": (min(samples, taps) - 1, abs(samples - taps) + 1),
    }[mode]
    return convolution[..., start : start + length]


def _convolve_moving(audio: Array, impulse_response: Array, hop_length: int) -> Array:
    """The whole convolution with a filter for each frame.

    The filter of a frame is applied to the two hops around it, faded in and out. The result may be
    longer than the convolution, by the zeros that fill the audio up to whole hops.
    """
    at_least_ndim("impulse_response", impulse_response.shape, 2, "(*batch, frames, taps)")
    broadcast_batch(audio=audio.shape[:-1], impulse_response=impulse_response.shape[:-2])
    samples, taps = audio.shape[-1], impulse_response.shape[-1]
    frames = n_frames(samples, hop_length=hop_length)
    same_size("`impulse_response` and `audio`", impulse_response.shape[-2], frames, "frames")
    impulse_response = hold_last_frame(impulse_response, samples, hop_length)
    whole = (impulse_response.shape[-2] - 1) * hop_length
    audio = jnp.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(0, whole - samples)])
    segments = frame(audio, frame_length=2 * hop_length, hop_length=hop_length)
    _, (fade_out, fade_in) = interpolation_weights(hop_length, "hann")
    fades = with_ndim(np.concatenate([fade_in, fade_out]), segments.ndim)
    filtered = convolve(segments * fades.astype(audio.dtype), impulse_response)
    # `overlap_add` places the middle of each segment, which is the middle tap, at its frame. Empty
    # frames before and after make room for the parts of the segments outside of the audio.
    middle = (taps - 1) // 2
    around = -(-(taps - 1) // hop_length)
    filtered = jnp.pad(filtered, [(0, 0)] * (filtered.ndim - 2) + [(around, around), (0, 0)])
    return overlap_add(filtered, hop_length=hop_length)[..., around * hop_length - middle :]


def sinc_lowpass(
    cutoff_hz: Float[ArrayLike, "*batch"] | float, *, sample_rate: int, win_length: int = 513
) -> Float[Array, "*batch taps"]:
    r"""Low-pass filter with a cutoff in Hz: a windowed sinc.

    .. math:: h[k] \propto w[k] \operatorname{sinc}(2 f_c k / f_s), \qquad
        w[k] = 0.54 + 0.46 \cos(2 \pi k / W), \qquad |k| \le (W - 1) / 2

    scaled to a gain of 1 at 0 Hz.

    Args:
      cutoff_hz: where the gain is one half, in Hz, from 0 to half of `sample_rate`.
      sample_rate: samples per second. Static.
      win_length: number of taps, odd. The transition is ``3.3 * sample_rate / win_length`` Hz
        wide, and the stop band 53 dB down. Static.

    Returns:
      Taps, symmetric around the middle one: ``fft_convolve(audio, taps, mode="same")`` has no
      delay. With a cutoff for each frame, ``(*batch, frames)``, it takes them by `hop_length`.

    Raises:
      TypeError: a size is not an int, or `cutoff_hz` is neither float32 nor float64.
      ValueError: `win_length` is even, or a size is not positive.

    Properties:
      Differentiable in `cutoff_hz`. Static: `sample_rate`, `win_length`.

    Example:
      >>> from ddspx import core
      >>> taps = core.sinc_lowpass(2000.0, sample_rate=8000, win_length=5)
      >>> [round(v, 3) for v in taps.tolist()[1:4]]
      [0.232, 0.535, 0.232]

    References:
      DDSP's ``sinc_impulse_response``; its ``sinc_filter`` delays the audio by one sample.
    """
    size("sample_rate", sample_rate)
    if positive_int("win_length", win_length) % 2 == 0:
        raise ValueError(
            f"`win_length` must be odd, got {win_length}; the middle tap has no delay."
        )
    (cutoff_hz,) = floats(cutoff_hz=cutoff_hz)
    lags = np.arange(win_length) - win_length // 2
    window = 0.54 + 0.46 * np.cos(2 * np.pi * lags / win_length)
    lags, window = (
        with_ndim(x, cutoff_hz.ndim + 1).astype(cutoff_hz.dtype) for x in (lags, window)
    )
    taps = sinc(2 * cutoff_hz[..., None] / sample_rate * lags) * window
    return taps / jnp.sum(taps, axis=-1, keepdims=True)


def sinc_highpass(
    cutoff_hz: Float[ArrayLike, "*batch"] | float, *, sample_rate: int, win_length: int = 513
) -> Float[Array, "*batch taps"]:
    r"""High-pass filter with a cutoff in Hz: the complement of :func:`sinc_lowpass`.

    .. math:: h[k] = [k = 0] - h_\mathrm{low}[k]

    Args:
      cutoff_hz: see :func:`sinc_lowpass`.
      sample_rate: samples per second. Static.
      win_length: see :func:`sinc_lowpass`. Static.

    Returns:
      Taps, symmetric around the middle one; the gain at 0 Hz is 0.

    Raises:
      TypeError: see :func:`sinc_lowpass`.
      ValueError: see :func:`sinc_lowpass`.

    Properties:
      Differentiable in `cutoff_hz`. Static: `sample_rate`, `win_length`.

    Example:
      >>> from ddspx import core
      >>> taps = core.sinc_highpass(2000.0, sample_rate=8000, win_length=5)
      >>> [round(v, 3) for v in taps.tolist()[1:4]]
      [-0.232, 0.465, -0.232]
    """
    low = sinc_lowpass(cutoff_hz, sample_rate=sample_rate, win_length=win_length)
    return (-low).at[..., win_length // 2].add(1)


def frequency_impulse_response(
    magnitudes: Float[ArrayLike, "*batch bands"], *, win_length: int | None = None
) -> Float[Array, "*batch taps"]:
    r"""Linear-phase FIR filter with given magnitudes at equally spaced frequencies.

    .. math::

        h[c + k] = w[k]\, \frac{1}{N} \sum_{b=0}^{N-1} m[b] \cos(2 \pi b k / N), \qquad
        w[k] = \cos^2(\pi k / W), \quad |k| < W / 2

    with N = 2 (bands - 1) and m continued symmetrically beyond Nyquist: the zero-phase
    response, under a Hann window of period W centred exactly on its peak.

    Args:
      magnitudes: gain at ``linspace(0, sample_rate / 2, bands)``; 2 bands or more. A negative
        gain inverts the phase.
      win_length: period W of the window, in samples, from 1 to N, which is the default. A
        smaller one smooths the response over frequency and shortens the filter. Static.

    Returns:
      An odd number of taps, ``2 * ((W - 1) // 2) + 1``: the window is zero at its ends, so an
      even W leaves W - 1. They are symmetric around the middle one, c = ``(W - 1) // 2``, which
      is the filter's delay in samples at every frequency.

    Raises:
      TypeError: `win_length` is not a Python int.
      ValueError: there are fewer than 2 bands, or `win_length` is outside 1 to N.

    Properties:
      Linear, and differentiable, in `magnitudes`. Flat magnitudes give exactly one tap that is not
      zero, because the window is 1 at the peak. Static: `win_length`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> low_pass = core.frequency_impulse_response(jnp.array([1.0, 0.5, 0.0]))
      >>> [round(v, 3) for v in low_pass.tolist()]
      [0.125, 0.5, 0.125]

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, section 3.4. DDSP's response has an even
      length unless it is cropped, and an odd window then sits one sample beside the peak.
    """
    (magnitudes,) = floats(magnitudes=magnitudes)
    half = filter_reach(magnitudes.shape, win_length)
    later = _zero_phase_taps(magnitudes, win_length)
    return jnp.concatenate([jnp.flip(later[..., 1:], -1), later], -1) if half else later


def frequency_filter(
    audio: Float[ArrayLike, "*batch samples"],
    magnitudes: Float[ArrayLike, "*filter_batch bands"],
    *,
    hop_length: int | None = None,
    win_length: int | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""Filters with given magnitudes at equally spaced frequencies, without any delay.

    .. math:: y[n] = \sum_k \bigl[ (1 - v_n)\, h_i[k] + v_n\, h_{i+1}[k] \bigr] x[n - k], \qquad
        v_n = \tfrac12 - \tfrac12 \cos(\pi (n - i h) / h)

    where :math:`h_i` is the zero-phase filter of frame i = ``n // hop_length``
    (:func:`frequency_impulse_response` around its middle). At sample ``i * hop_length`` exactly the
    filter of frame i is active; between frames the filters are cross-faded, and the last one is
    held. With one filter for the whole signal, :math:`y = h * x`.

    Args:
      audio: any signal; outside of it the signal counts as zero.
      magnitudes: gain at ``linspace(0, sample_rate / 2, bands)``: ``(*batch, bands)`` for a
        filter that does not change, ``(*batch, frames, bands)`` with `hop_length`. The batch
        axes broadcast against those of `audio`.
      hop_length: samples between frames; there must be ``n_frames(samples)`` of them. None, the
        default, for a filter that does not change. Static.
      win_length: see :func:`frequency_impulse_response`. Static.

    Returns:
      Audio of the input's length, dtype and timing.

    Raises:
      TypeError: a size is not a Python int, or an array is neither float32 nor float64.
      ValueError: the number of frames differs from that of `audio`, the batch axes do not
        broadcast, there are fewer than 2 bands, or `win_length` is out of range.

    Properties:
      Linear, and differentiable, in `audio` and in `magnitudes`. Sample n depends on the audio
      from ``n - (win_length - 1) // 2`` to ``n + (win_length - 1) // 2`` and on two frames.
      Static: `hop_length`, `win_length`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> impulse = jnp.zeros(9).at[4].set(1.0)
      >>> y = core.frequency_filter(impulse, jnp.array([1.0, 0.5, 0.0]))
      >>> [round(abs(v), 3) for v in y.tolist()]
      [0.0, 0.0, 0.0, 0.125, 0.5, 0.125, 0.0, 0.0, 0.0]

    References:
      DDSP's ``frequency_filter`` delays the audio by two samples unless the window is cropped, and
      switches filters abruptly at the edges of frames, where this one cross-fades.
    """
    audio, magnitudes = floats(audio=audio, magnitudes=magnitudes)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    if hop_length is None:
        at_least_ndim("magnitudes", magnitudes.shape, 1, "(*batch, bands)")
        broadcast_batch(
            audio=audio.shape[:-1],
            **{"magnitudes` without `hop_length": magnitudes.shape[:-1]},
        )
        response = frequency_impulse_response(magnitudes, win_length=win_length)
        return fft_convolve(audio, response, mode="same")
    at_least_ndim("magnitudes", magnitudes.shape, 2, "(*batch, frames, bands)")
    broadcast_batch(audio=audio.shape[:-1], magnitudes=magnitudes.shape[:-2])
    samples = audio.shape[-1]
    frames = n_frames(samples, hop_length=hop_length)
    same_size("`magnitudes` and `audio`", magnitudes.shape[-2], frames, "frames")
    magnitudes = hold_last_frame(magnitudes, samples, hop_length)
    rest = (magnitudes.shape[-2] - 1) * hop_length - samples
    around = crossfade_reach(magnitudes.shape, hop_length, win_length) * hop_length
    audio = jnp.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(around, around + rest)])
    hops = audio.reshape(*audio.shape[:-1], audio.shape[-1] // hop_length, hop_length)
    return crossfaded_filter(hops, magnitudes, win_length)[..., :samples]


def filter_reach(shape: tuple[int, ...], win_length: int | None) -> int:
    """Taps on each side of the middle one, for magnitudes of this shape."""
    at_least_ndim("magnitudes", shape, 1, "(*batch, bands)")
    if shape[-1] < 2:
        raise ValueError(f"`magnitudes` must have at least 2 bands, got shape {shape}.")
    longest = 2 * (shape[-1] - 1)
    win_length = longest if win_length is None else positive_int("win_length", win_length)
    if win_length > longest:
        raise ValueError(
            f"`win_length` must be at most 2 * (bands - 1) = {longest}, got {win_length}; a "
            "longer filter needs more bands."
        )
    return (win_length - 1) // 2


def hold_last_frame(
    magnitudes: Float[Array, "*batch frames bands"], n_samples: int, hop_length: int
) -> Float[Array, "*batch frames_and_end bands"]:
    """Repeats the last frame if audio of this length ends between two frames."""
    if n_samples % hop_length == 0:
        return magnitudes
    return jnp.concatenate([magnitudes, magnitudes[..., -1:, :]], -2)


def crossfade_reach(shape: tuple[int, ...], hop_length: int, win_length: int | None) -> int:
    """Hops that :func:`crossfaded_filter` reads before the first frame and after the last."""
    return 1 + -(-filter_reach(shape, win_length) // hop_length)


def crossfaded_filter(
    hops: Float[Array, "*batch more_hops hop_length"],
    magnitudes: Float[Array, "*filter_batch frames bands"],
    win_length: int | None,
) -> Float[Array, "*out_batch samples"]:
    """Filters the audio around each frame with its own filter and fades from one to the next.

    There are :func:`crossfade_reach` hops before the first frame and after the last.
    """
    hops, magnitudes = _align_batch(hops, magnitudes)
    by_fft = partial(crossfaded_by_fft, win_length=win_length)
    if hops.shape[-1] + filter_reach(magnitudes.shape, win_length) > _LARGEST_PRODUCT:
        out = by_fft(hops, magnitudes)
    else:
        taps = _zero_phase_taps(np.eye(magnitudes.shape[-1]), win_length, xp=np)
        by_products = partial(crossfaded_by_products, taps=taps)
        out = jax.lax.platform_dependent(hops, magnitudes, tpu=by_products, default=by_fft)
    return out.reshape(*out.shape[:-2], out.shape[-2] * out.shape[-1])


def crossfaded_by_fft(hops: Array, magnitudes: Array, *, win_length: int | None) -> Array:
    """Computes :func:`crossfaded_filter`, in hops.

    The product of spectra is a circular convolution. It is wrong within the filter's reach from the
    ends of the segment; only the two hops in the middle are used, which that does not affect.
    """
    hop_length, frames = hops.shape[-1], magnitudes.shape[-2]
    around = crossfade_reach(magnitudes.shape, hop_length, win_length)
    n_fft = next_fast_length(2 * (hop_length + filter_reach(magnitudes.shape, win_length)))
    audio = hops.reshape(*hops.shape[:-2], hops.shape[-2] * hop_length)
    segments = frame(audio, frame_length=n_fft, hop_length=hop_length)
    segments = segments[..., around : around + frames, :]
    design = _response_design(magnitudes.shape[-1], win_length, n_fft).astype(magnitudes.dtype)
    response = jnp.matmul(magnitudes, design, precision=jax.lax.Precision.HIGHEST)
    filtered = irfft_of_frames(rfft_of_frames(segments, n_fft) * response, n_fft)
    centre = n_fft // 2
    _, (fade_out, fade_in) = interpolation_weights(hop_length, "hann")
    shape = (1,) * (filtered.ndim - 1) + (hop_length,)
    return filtered[..., :-1, centre : centre + hop_length] * jnp.asarray(
        fade_out.reshape(shape), filtered.dtype
    ) + filtered[..., 1:, centre - hop_length : centre] * jnp.asarray(
        fade_in.reshape(shape), filtered.dtype
    )


@lru_cache(maxsize=32)
def _response_design(bands: int, win_length: int | None, n_fft: int) -> np.ndarray:
    """Matrix from magnitudes to the filter's response, which is real, at the bins of an FFT."""
    taps = _zero_phase_taps(np.eye(bands), win_length, xp=np)
    # The filter is a real even sequence of which only one half is given, so that every tap but the
    # middle one counts twice in the real DFT.
    doubled = taps * np.where(np.arange(taps.shape[-1]) == 0, 1.0, 2.0)
    return np.fft.rfft(doubled, n_fft).real


def _zero_phase_taps(magnitudes, win_length: int | None, *, xp=jnp):
    """The middle tap and the later ones, windowed; `xp` is NumPy for tables and JAX for data."""
    bands = magnitudes.shape[-1]
    length = 2 * (bands - 1)
    later = np.arange(filter_reach(magnitudes.shape, win_length) + 1)
    window = np.cos(np.pi * later / (win_length or length)) ** 2
    taps = xp.fft.irfft(magnitudes, length)[..., : len(later)]
    return taps * with_ndim(window, taps.ndim).astype(taps.dtype)


def _align_batch(left: Array, right: Array) -> tuple[Array, Array]:
    """Adds leading axes so that both have the same number, and their batch axes broadcast."""
    ndim = max(left.ndim, right.ndim)
    return with_ndim(left, ndim), with_ndim(right, ndim)
