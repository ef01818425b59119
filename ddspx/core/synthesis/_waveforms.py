"""The classic waveforms, band-limited: sawtooth, square, triangle, pulse.

Each is the sum of its harmonics below Nyquist, so it has no aliases. A loop adds one harmonic after
the other, in arrays of the size of the audio, up to the last harmonic of the lowest pitch.
"""

import math
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from ddspx._checks import at_least_ndim, broadcast_batch, floats, same_size, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import n_samples_of
from ddspx.core._numerics import with_ndim
from ddspx.core._upsampling import upsample
from ddspx.core.synthesis._frame_phase import gliding_hz, gliding_phase, hops_of
from ddspx.core.synthesis._phase import check_rates, has_pitch

# Width of the range below Nyquist in which harmonics fade out, relative to Nyquist.
_FADE = 0.05
# Harmonics in one iteration of the loop, which is one pass through memory; an even number.
_UNROLL = 16

_Series = Literal["all", "odd", "alternating"]


def sawtooth(
    f0_hz: Float[ArrayLike, "*batch frames"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames"],
    *,
    hop_length: int,
    sample_rate: int,
    n_samples: int | None = None,
    n_harmonics: int | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""Sawtooth without aliasing: it rises from -1 to 1 in each period, then falls.

    .. math:: y[n] = -\frac{2}{\pi} A[n] \sum_{k=1}^{K} \frac{g_k}{k} \sin(2 \pi k \phi[n]),
        \qquad \phi[n] = \sum_{m \le n} f_0[m] / f_s

    with :math:`f_0` linear between frames and A interpolated by raised cosines (``hann``). The
    gain :math:`g_k` is 1 up to 95 % of Nyquist, and falls linearly to 0 at Nyquist. A frame without
    a pitch (0 Hz, NaN, infinite) is silent, and the hops beside it keep the pitch of their other
    frame: a note begins and ends at its own pitch.

    Args:
      f0_hz: fundamental at each frame, in Hz; the phase of a negative one runs backwards.
      amplitudes: half the height of the waveform at each frame, linear.
      hop_length: samples between frames, below 2**16. Static.
      sample_rate: samples per second; ``(hop_length + 1) * sample_rate`` below 2**31. Static.
      n_samples: length of the result; any length that has this many frames. The default is
        ``(frames - 1) * hop_length``. Static.
      n_harmonics: largest number of harmonics; by default as many as a pitch of 20 Hz has. Lower
        pitches lack their highest harmonics. Static.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs; without an offset.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: a size is not positive, `n_samples` samples do not have this number of frames,
        or the frames or batch axes of the arrays do not fit.

    Properties:
      Everything except the harmonics adds up to less than -130 dB of the tone in float32 (rounding
      errors; there are no aliases), at pitches up to 4 kHz at 16 and 44.1 kHz. The waveform
      overshoots at the edges by up to 18 %, like every band-limited edge. Differentiable in the
      arrays, in forward and reverse mode and to any order; the gain :math:`g_k` counts as a
      constant. It needs memory for a few arrays of the size of the audio; the time is proportional
      to the number of harmonics of the lowest pitch in the batch. Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f0_hz, amplitudes = jnp.full(2, 1000.0), jnp.ones(2)
      >>> y = core.sawtooth(f0_hz, amplitudes, hop_length=8, sample_rate=8000)
      >>> [round(v, 2) for v in y[:3].tolist()]
      [-0.92, -0.42, -0.28]

    References:
      ``scipy.signal.sawtooth`` has the same phase, and aliases. Välimäki and Huovilainen,
      Antialiasing oscillators in subtractive synthesis, IEEE Signal Processing Magazine 24(2),
      2007, compare cheaper forms, which leave some aliases.
    """
    cycles, gain, limit, most = _controls(
        f0_hz, amplitudes, hop_length, sample_rate, n_samples, n_harmonics
    )
    return (-2 / math.pi) * gain * _series(cycles, limit, most, "all", 1, 0)


def square(
    f0_hz: Float[ArrayLike, "*batch frames"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames"],
    *,
    hop_length: int,
    sample_rate: int,
    n_samples: int | None = None,
    n_harmonics: int | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""Square wave without aliasing: 1 in the first half of each period, then -1.

    .. math:: y[n] = \frac{4}{\pi} A[n] \sum_{k = 1, 3, \dots}^{K} \frac{g_k}{k}
        \sin(2 \pi k \phi[n])

    with the phase, gains and interpolation of :func:`sawtooth`.

    Args:
      f0_hz: fundamental at each frame, in Hz.
      amplitudes: half the height of the waveform at each frame, linear.
      hop_length: see :func:`sawtooth`. Static.
      sample_rate: samples per second, see :func:`sawtooth`. Static.
      n_samples: see :func:`sawtooth`. Static.
      n_harmonics: the highest harmonic, see :func:`sawtooth`. Static.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs; without an offset.

    Raises:
      TypeError: as :func:`sawtooth`.
      ValueError: as :func:`sawtooth`.

    Properties:
      As :func:`sawtooth`: everything except the harmonics is below -130 dB in float32.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f0_hz, amplitudes = jnp.full(2, 1000.0), jnp.ones(2)
      >>> y = core.square(f0_hz, amplitudes, hop_length=8, sample_rate=8000)
      >>> [round(v, 2) for v in y[:3].tolist()]
      [1.2, 0.85, 1.2]
    """
    cycles, gain, limit, most = _controls(
        f0_hz, amplitudes, hop_length, sample_rate, n_samples, n_harmonics
    )
    return (4 / math.pi) * gain * _series(cycles, limit, most, "odd", 1, 0)


def triangle(
    f0_hz: Float[ArrayLike, "*batch frames"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames"],
    *,
    hop_length: int,
    sample_rate: int,
    n_samples: int | None = None,
    n_harmonics: int | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""Triangle wave without aliasing: from 0 up to 1, down to -1 and back in each period.

    .. math:: y[n] = \frac{8}{\pi^2} A[n] \sum_{k = 1, 3, \dots}^{K}
        (-1)^{(k-1)/2} \frac{g_k}{k^2} \sin(2 \pi k \phi[n])

    with the phase, gains and interpolation of :func:`sawtooth`.

    Args:
      f0_hz: fundamental at each frame, in Hz.
      amplitudes: half the height of the waveform at each frame, linear.
      hop_length: see :func:`sawtooth`. Static.
      sample_rate: samples per second, see :func:`sawtooth`. Static.
      n_samples: see :func:`sawtooth`. Static.
      n_harmonics: the highest harmonic, see :func:`sawtooth`. Static.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs; without an offset.

    Raises:
      TypeError: as :func:`sawtooth`.
      ValueError: as :func:`sawtooth`.

    Properties:
      As :func:`sawtooth`: everything except the harmonics is below -130 dB in float32. It never
      overshoots.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f0_hz, amplitudes = jnp.full(2, 1000.0), jnp.ones(2)
      >>> y = core.triangle(f0_hz, amplitudes, hop_length=8, sample_rate=8000)
      >>> [round(v, 2) for v in y[:3].tolist()]
      [0.51, 0.9, 0.51]
    """
    cycles, gain, limit, most = _controls(
        f0_hz, amplitudes, hop_length, sample_rate, n_samples, n_harmonics
    )
    return (8 / math.pi**2) * gain * _series(cycles, limit, most, "alternating", 2, 0)


def pulse(
    f0_hz: Float[ArrayLike, "*batch frames"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames"],
    width: Float[ArrayLike, "*width_batch frames"],
    *,
    hop_length: int,
    sample_rate: int,
    n_samples: int | None = None,
    n_harmonics: int | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""Pulse wave without aliasing: high for a part of each period, then lower by 2.

    .. math:: y[n] = \frac{2}{\pi} A[n] \sum_{k=1}^{K} \frac{g_k}{k}
        \bigl[\sin 2 \pi k \phi[n] - \sin 2 \pi k (\phi[n] - w[n])\bigr]

    with the phase, gains and interpolation of :func:`sawtooth`, and w linear between frames. Its
    levels are :math:`2 - 2w` and :math:`-2w` (times A), so that its mean is 0 for every width. At
    w = 1/2 it is :func:`square`; at 0 and 1 it is silent.

    Args:
      f0_hz: fundamental at each frame, in Hz.
      amplitudes: half the height of the waveform at each frame, linear.
      width: part of the period, from 0 to 1, that is high, at each frame.
      hop_length: see :func:`sawtooth`. Static.
      sample_rate: samples per second, see :func:`sawtooth`. Static.
      n_samples: see :func:`sawtooth`. Static.
      n_harmonics: see :func:`sawtooth`. Static.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs.

    Raises:
      TypeError: as :func:`sawtooth`.
      ValueError: as :func:`sawtooth`.

    Properties:
      As :func:`sawtooth`: at a constant width, everything except the harmonics is below -130 dB.
      Differentiable in `width` too.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f0_hz, amplitudes, width = jnp.full(2, 500.0), jnp.ones(2), jnp.full(2, 0.25)
      >>> y = core.pulse(f0_hz, amplitudes, width, hop_length=16, sample_rate=8000)
      >>> [round(v, 1) for v in y[::2].tolist()]
      [1.7, 1.7, -0.7, -0.6, -0.5, -0.5, -0.6, -0.7]

    References:
      ``scipy.signal.square`` with ``duty=width`` has the same phase, aliases, and has an offset
      of ``2 * width - 1``.
    """
    f0_hz, amplitudes, width = floats(f0_hz=f0_hz, amplitudes=amplitudes, width=width)
    cycles, gain, limit, most = _controls(
        f0_hz, amplitudes, hop_length, sample_rate, n_samples, n_harmonics, width
    )
    width = upsample(width, hop_length=hop_length, method="linear", n_samples=cycles.shape[-1])
    later = cycles - with_ndim(width, cycles.ndim)
    edges = [_series(phase, limit, most, "all", 1, 0) for phase in (cycles, later)]
    return (2 / math.pi) * gain * (edges[0] - edges[1])


def _controls(
    f0_hz: ArrayLike,
    amplitudes: ArrayLike,
    hop_length: int,
    sample_rate: int,
    n_samples: int | None,
    n_harmonics: int | None,
    width: Array | None = None,
) -> tuple[Array, Array, Array, int]:
    """Cycles, amplitude and number of harmonics up to Nyquist at each sample, and `n_harmonics`."""
    f0_hz, amplitudes = floats(f0_hz=f0_hz, amplitudes=amplitudes)
    check_rates(hop_length=hop_length, sample_rate=sample_rate)
    most = max(1, sample_rate // 40) if n_harmonics is None else n_harmonics
    size("n_harmonics", most)
    arrays = {"f0_hz": f0_hz, "amplitudes": amplitudes}
    if width is not None:
        arrays["width"] = width
    for name, array in arrays.items():
        at_least_ndim(name, array.shape, 1, "(*batch, frames)")
        same_size(f"`f0_hz` and `{name}`", f0_hz.shape[-1], array.shape[-1], "frames")
    shapes = {name: array.shape[:-1] for name, array in arrays.items()}
    batch = broadcast_batch(**shapes)
    frames = f0_hz.shape[-1]
    n_samples = n_samples_of(frames, hop_length=hop_length, n_samples=n_samples)
    cycles = gliding_phase(f0_hz, hop_length, sample_rate, n_samples, True)
    n_hops = -(-n_samples // hop_length)
    ends = hops_of(jax.lax.stop_gradient(f0_hz), n_hops)
    # Without a pitch, the frequency is set to the sample rate: no harmonic is below Nyquist, so
    # silence does not prolong the loop.
    speed = jnp.where(ends[0][..., None] != 0, jnp.abs(gliding_hz(*ends, hop_length)), sample_rate)
    speed = speed.reshape(*f0_hz.shape[:-1], n_hops * hop_length)[..., :n_samples]
    limit = sample_rate / (2 * jnp.maximum(speed, sample_rate / (4 * most)))
    shape = (*batch, n_samples)
    pitched, amplitudes = (
        jnp.broadcast_to(x, (*batch, frames)) for x in (has_pitch(f0_hz), amplitudes)
    )
    amplitudes = jnp.where(pitched, amplitudes, 0)
    gain = upsample(amplitudes, hop_length=hop_length, method="hann", n_samples=n_samples)
    cycles, gain, limit = (jnp.broadcast_to(x, shape) for x in (cycles, gain, limit))
    return cycles, gain, limit, most


@partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4, 5))
def _series(
    cycles: Array, limit: Array, most: int, series: _Series, power: int, order: int
) -> Array:
    r"""The sum :math:`\sum_k \pm g_k k^{d - p} \sin(2\pi k x + \pi d / 2)`, p power, d order.

    It is the d-th derivative, with respect to the angle, of the sum with d = 0. Each iteration of
    the loop computes one sine and cosine, and rotates them by a fixed angle from harmonic to
    harmonic. So errors do not accumulate over iterations, and the loop carries only the sum.
    """
    stride = 1 if series == "all" else 2
    dtype = cycles.dtype
    ramp = 1 / (_FADE * limit)
    step_sine, step_cosine = _sine_and_cosine(stride * cycles)

    def turn(i: Array, total: Array) -> Array:
        first = 1 + i * (_UNROLL * stride)
        sine, cosine = _sine_and_cosine(first.astype(dtype) * cycles)
        for j in range(_UNROLL):
            k = (first + j * stride).astype(dtype)
            weight = jnp.where(k <= most, k ** (order - power), 0)
            if series == "alternating" and j % 2:
                weight = -weight
            audible = jnp.clip(1 / _FADE - k * ramp, 0, 1)
            wave = (sine, cosine, -sine, -cosine)[order % 4]
            total = total + weight * audible * wave
            sine, cosine = (
                sine * step_cosine + cosine * step_sine,
                cosine * step_cosine - sine * step_sine,
            )
        return total

    highest = jnp.minimum(jnp.max(limit, initial=1), most)
    turns = jnp.ceil(highest / (_UNROLL * stride)).astype(jnp.int32)
    return jax.lax.fori_loop(0, turns, turn, jnp.zeros_like(cycles))


@_series.defjvp
def _series_jvp(most, series, power, order, primals, tangents):
    (cycles, limit), (tangent, _) = primals, tangents
    slope = 2 * jnp.pi * _series(cycles, limit, most, series, power, order + 1)
    return _series(cycles, limit, most, series, power, order), slope * tangent


def _sine_and_cosine(cycles: Array) -> tuple[Array, Array]:
    """Sine and cosine of an angle in cycles; whole cycles are removed first, for accuracy."""
    angle = 2 * jnp.pi * (cycles - jnp.round(cycles))
    return jnp.sin(angle), jnp.cos(angle)
