"""Gammatone filters: a low-pass of a few equal poles, shifted in frequency to a band."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, broadcast_batch, floats, size
from ddspx._typing import Array, ArrayLike, Complex, Float, UInt
from ddspx.core._numerics import with_ndim
from ddspx.core.bands._bandpass import band_arrays
from ddspx.core.filters._iir import sos_filter_step


def gammatone_response(
    frequencies_hz: Float[ArrayLike, " frequencies"],
    centers_hz: Float[ArrayLike, "*batch bands"],
    bandwidths_hz: Float[ArrayLike, "*batch bands"],
    *,
    sample_rate: int,
    order: int = 4,
) -> Complex[Array, "*batch bands frequencies"]:
    r"""Frequency response of complex gammatone filters with a gain of 1 at their centres.

    .. math:: G(f) = \left( \frac{1 - \rho}{1 - \rho\, e^{2 \pi j (c - f) / f_s}} \right)^n,
        \qquad \rho = e^{-2 \pi b / f_s}

    with :math:`b = \beta_n B`, where :math:`1 / \beta_n = \pi (2n - 2)!\, 2^{2 - 2n} / (n - 1)!^2`
    makes B the equivalent rectangular bandwidth; :math:`\beta_4 = 1.019`.

    Args:
      frequencies_hz: where the response is evaluated, in Hz, of either sign.
      centers_hz: centre of each band, in Hz.
      bandwidths_hz: equivalent rectangular bandwidth of each, in Hz, above 0 and well below
        `sample_rate`; :func:`hz_to_erb` gives that of hearing.
      sample_rate: samples per second. Static.
      order: number of poles, n. Static.

    Returns:
      The response, complex of the inputs' precision. Its squared modulus is the gain of the band
      for a power spectrum; its phase is that of :func:`gammatone_filter`.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: a size is not positive, or the batch axes do not broadcast.

    Properties:
      Differentiable in all arrays. The response is nowhere zero, so gradient descent can move a
      centre to a distant peak. Static: `sample_rate`, `order`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f, c, b = jnp.array([900.0, 1000.0]), jnp.array([1000.0]), jnp.array([100.0])
      >>> response = core.gammatone_response(f, c, b, sample_rate=16000)
      >>> [round(v, 3) for v in jnp.abs(response)[0].tolist()]
      [0.259, 1.0]

    References:
      Hohmann, Frequency analysis and synthesis using a gammatone filterbank, Acta Acustica 88,
      2002: the all-pole form, which a recursion computes exactly. SpectNet and most others sample
      :math:`t^{n-1} e^{-2 \pi b t}` instead, see :func:`spectnet_impulse_response`.
    """
    pole, centers_hz = _poles(centers_hz, bandwidths_hz, sample_rate, order)
    (frequencies_hz,) = floats(frequencies_hz=frequencies_hz)
    row = with_ndim(frequencies_hz, centers_hz.ndim + 1).astype(centers_hz.dtype)
    angle = (2 * math.pi / sample_rate) * (centers_hz[..., None] - row)
    # 1 - cos is computed as a square, because the difference would lose its digits near the centre.
    near = pole.less[..., None]
    real = near + (1 - near) * 2 * jnp.sin(angle / 2) ** 2
    imaginary = (near - 1) * jnp.sin(angle)
    return jax.lax.integer_pow(near / jax.lax.complex(real, imaginary), order)


def gammatone_impulse_response(
    centers_hz: Float[ArrayLike, "*batch bands"],
    bandwidths_hz: Float[ArrayLike, "*batch bands"],
    *,
    sample_rate: int,
    n_taps: int,
    order: int = 4,
) -> Complex[Array, "*batch bands taps"]:
    r"""Impulse response of the filters of :func:`gammatone_response`.

    .. math:: g[k] = (1 - \rho)^n \binom{k + n - 1}{n - 1} \rho^k e^{2 \pi j c k / f_s}

    Args:
      centers_hz: centre of each band, in Hz.
      bandwidths_hz: equivalent rectangular bandwidth of each, in Hz.
      sample_rate: samples per second. Static.
      n_taps: number of taps; the response falls by 8.7 dB every
        ``sample_rate / (6.4 * bandwidth)`` samples. Static.
      order: number of poles, n. Static.

    Returns:
      Taps, complex of the inputs' precision: the real part is the audible filter, the modulus
      its envelope.

    Raises:
      TypeError: as :func:`gammatone_response`.
      ValueError: as :func:`gammatone_response`.

    Properties:
      Differentiable in both arrays. Static: the sizes.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> taps = core.gammatone_impulse_response(
      ...     jnp.array([1000.0]), jnp.array([100.0]), sample_rate=16000, n_taps=4096
      ... )
      >>> turn = jnp.exp(-2j * jnp.pi * 1000 / 16000 * jnp.arange(4096))
      >>> round(float(abs((taps[0] * turn).sum())), 3)
      1.0
    """
    pole, centers_hz = _poles(centers_hz, bandwidths_hz, sample_rate, order)
    k = np.arange(size("n_taps", n_taps), dtype=np.float64)
    count = np.ones_like(k)
    for i in range(1, order):
        count *= (k + i) / i
    shape = (1,) * centers_hz.ndim + (-1,)
    k, count = (x.reshape(shape).astype(centers_hz.dtype) for x in (k, count))
    envelope = pole.less[..., None] ** order * count * jnp.exp(-pole.rate[..., None] * k)
    samples = jnp.arange(n_taps, dtype=jnp.uint32)
    cosine, sine = _carrier(centers_hz, samples, sample_rate)
    return jax.lax.complex(envelope * cosine, envelope * sine)


class GammatoneState(NamedTuple):
    """State of a stream of :func:`gammatone_filter_step`.

    Attributes:
      sample: number of samples so far, modulo 2**32.
      real: state of the low-pass of the real parts, see :func:`sos_filter_init`.
      imaginary: that of the imaginary parts.
    """

    sample: UInt[Array, ""]
    real: Float[Array, "*batch bands sections 3"]
    imaginary: Float[Array, "*batch bands sections 3"]


def gammatone_filter(
    audio: Float[ArrayLike, "*batch samples"],
    centers_hz: Float[ArrayLike, "*filter_batch bands"],
    bandwidths_hz: Float[ArrayLike, "*filter_batch bands"],
    *,
    sample_rate: int,
    order: int = 4,
) -> Complex[Array, "*out_batch bands samples"]:
    r"""Bands of audio through complex gammatone filters, by recursion, from rest.

    .. math:: y_i = g_i * x = e^{2 \pi j c_i n / f_s} \cdot
        \bigl[ \ell_i * (e^{-2 \pi j c_i n / f_s} \cdot x) \bigr]

    where :math:`\ell_i` is the low-pass of n equal poles :math:`\rho_i`: the band is moved down
    to 0 Hz, filtered there by :func:`sos_filter`, and moved back.

    Args:
      audio: any signal.
      centers_hz: centre of each band, in Hz. The batch axes broadcast against those of `audio`.
      bandwidths_hz: equivalent rectangular bandwidth of each, in Hz; see
        :func:`gammatone_response`.
      sample_rate: samples per second. Static.
      order: number of poles, n. Static.

    Returns:
      One complex signal for each band, of the audio's length: the real part is the band, the
      modulus its envelope.

    Raises:
      TypeError: as :func:`gammatone_response`.
      ValueError: as :func:`gammatone_response`.

    Properties:
      Linear in `audio`, differentiable in all arrays. The response is infinite, and takes the same
      time for every bandwidth. :func:`gammatone_filter_step` gives the same result block by block.
      Static: `sample_rate`, `order`.

    Example:
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> from ddspx import core
      >>> tone = np.cos(2 * np.pi * 1000 * np.arange(4000) / 16000)
      >>> centers_hz, bandwidths_hz = jnp.array([1000.0, 3000.0]), jnp.array([130.0, 350.0])
      >>> bands = core.gammatone_filter(
      ...     jnp.asarray(tone, jnp.float32), centers_hz, bandwidths_hz, sample_rate=16000
      ... )
      >>> [round(v, 2) for v in jnp.abs(bands[:, -1]).tolist()]
      [0.5, 0.0]

    References:
      :func:`gammatone_response`.
    """
    audio, centers_hz, bandwidths_hz = floats(
        audio=audio, centers_hz=centers_hz, bandwidths_hz=bandwidths_hz
    )
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    state = gammatone_filter_init(centers_hz, order=order)
    arrays = audio, centers_hz, bandwidths_hz
    return gammatone_filter_step(state, *arrays, sample_rate=sample_rate, order=order)[1]


def gammatone_filter_init(
    centers_hz: Float[ArrayLike, "*filter_batch bands"],
    *,
    order: int = 4,
    batch_shape: tuple[int, ...] = (),
) -> GammatoneState:
    """The state at rest, before the first block of :func:`gammatone_filter_step`.

    Args:
      centers_hz: of the bands.
      order: number of poles, n. Static.
      batch_shape: batch axes of the audio to come, broadcast with those of the bands. Static.

    Returns:
      The state, in the dtype of `centers_hz`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.gammatone_filter_init(jnp.ones(40), batch_shape=(2,)).real.shape
      (2, 40, 4, 3)
    """
    (centers_hz,) = floats(centers_hz=centers_hz)
    at_least_ndim("centers_hz", centers_hz.shape, 1, "(*batch, bands)")
    batch = broadcast_batch(batch_shape=tuple(batch_shape), centers_hz=centers_hz.shape[:-1])
    shape = (*batch, centers_hz.shape[-1], size("order", order), 3)
    # Two separate arrays, because a state that holds one buffer twice cannot be donated.
    real, imaginary = (jnp.zeros(shape, centers_hz.dtype) for _ in range(2))
    return GammatoneState(jnp.zeros((), jnp.uint32), real, imaginary)


def gammatone_filter_step(
    state: GammatoneState,
    audio: Float[ArrayLike, "*batch samples"],
    centers_hz: Float[ArrayLike, "*filter_batch bands"],
    bandwidths_hz: Float[ArrayLike, "*filter_batch bands"],
    *,
    sample_rate: int,
    order: int = 4,
) -> tuple[GammatoneState, Complex[Array, "*out_batch bands samples"]]:
    """Next block of :func:`gammatone_filter`, without latency.

    Args:
      state: from :func:`gammatone_filter_init` or the step before.
      audio: the next block, of any size.
      centers_hz: as in :func:`gammatone_filter`, the same in all steps.
      bandwidths_hz: as in :func:`gammatone_filter`, the same in all steps.
      sample_rate: samples per second. Static.
      order: number of poles, n. Static.

    Returns:
      The state after the block, and the bands of the block.

    Raises:
      TypeError: as :func:`gammatone_filter`.
      ValueError: as :func:`gammatone_filter`.

    Properties:
      Concatenated blocks of any sizes equal :func:`gammatone_filter` of the whole input (up to
      rounding), for any length of stream. Differentiable within the block. Static: `sample_rate`,
      `order`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> c, b, rate = jnp.array([100.0]), jnp.array([40.0]), {"sample_rate": 1000}
      >>> audio = jnp.ones(20)
      >>> state = core.gammatone_filter_init(c)
      >>> state, head = core.gammatone_filter_step(state, audio[:7], c, b, **rate)
      >>> state, tail = core.gammatone_filter_step(state, audio[7:], c, b, **rate)
      >>> whole = core.gammatone_filter(audio, c, b, **rate)
      >>> bool(jnp.allclose(jnp.concatenate([head, tail], -1), whole, atol=1e-5))
      True
    """
    audio, centers_hz, bandwidths_hz = floats(
        audio=audio, centers_hz=centers_hz, bandwidths_hz=bandwidths_hz
    )
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)", is_block=True)
    pole, centers_hz = _poles(centers_hz, bandwidths_hz, sample_rate, order)
    broadcast_batch(audio=audio.shape[:-1], centers_hz=centers_hz.shape[:-1])
    one, zero = jnp.ones_like(pole.less), jnp.zeros_like(pole.less)
    # One section for each pole, because float32 coefficients of two poles in one section would
    # round off their distance from 1.
    section = jnp.stack([pole.less, zero, zero, one, pole.less - 1, zero], axis=-1)
    sections = jnp.stack([section] * order, axis=-2)
    samples = state.sample + jnp.arange(audio.shape[-1], dtype=jnp.uint32)
    cosine, sine = _carrier(centers_hz, samples, sample_rate)
    ndim = max(audio.ndim, centers_hz.ndim) + 1
    wide = jnp.expand_dims(audio, -2)
    wide, cosine, sine = (with_ndim(x, ndim) for x in (wide, cosine, sine))
    real_state, real = sos_filter_step(state.real, wide * cosine, sections)
    imaginary_state, imaginary = sos_filter_step(state.imaginary, wide * -sine, sections)
    bands = jax.lax.complex(real, imaginary) * jax.lax.complex(
        *(jnp.broadcast_to(x, real.shape) for x in (cosine, sine))
    )
    after = state.sample + np.uint32(audio.shape[-1])
    return GammatoneState(after, real_state, imaginary_state), bands


def spectnet_impulse_response(
    centers_hz: Float[ArrayLike, "*batch bands"],
    bandwidths_hz: Float[ArrayLike, "*batch bands"],
    amplitudes: Float[ArrayLike, "*batch bands"],
    *,
    sample_rate: int,
    n_taps: int = 81,
    order: int = 4,
) -> Float[Array, "*batch bands taps"]:
    r"""Gammatone taps in SpectNet's parametrization, for its weights and for comparison.

    .. math:: g[k] = a\, t^{n-1} e^{-2 \pi \beta t} \cos 2 \pi f t, \qquad t = k / f_s

    Args:
      centers_hz: f of each band, in Hz.
      bandwidths_hz: :math:`\beta` of each, in Hz: the decay rate in the formula, not the equivalent
        rectangular bandwidth; SpectNet initializes every band to 100.
      amplitudes: a of each; SpectNet initializes it to 1e4.
      sample_rate: samples per second; SpectNet's is 1000. Static.
      n_taps: number of taps. Static.
      order: n. Static.

    Returns:
      Taps, the first of them zero.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: a size is not positive.

    Properties:
      Differentiable in all arrays. The gradient in f is exactly 0 at 0 Hz and, because of
      :math:`\sin \pi k = 0`, at Nyquist, so filters there do not learn. Static: the sizes.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> one = jnp.ones(1)
      >>> taps = core.spectnet_impulse_response(0 * one, 100 * one, 1e4 * one, sample_rate=1000)
      >>> [round(1e6 * v, 2) for v in taps[0, :3].tolist()]
      [0.0, 5.33, 22.77]

    References:
      Ansari and Hasan, `SpectNet <https://arxiv.org/abs/2211.09352>`_, 2022, as in its published
      code. Its layer computes a correlation, so its filters are reversed in time.
    """
    centers_hz, bandwidths_hz, amplitudes = band_arrays(
        centers_hz=centers_hz, bandwidths_hz=bandwidths_hz, amplitudes=amplitudes
    )
    size("sample_rate", sample_rate)
    size("order", order)
    k = np.arange(size("n_taps", n_taps), dtype=np.float64) / sample_rate
    shape = (1,) * centers_hz.ndim + (-1,)
    time_s, power = (x.reshape(shape).astype(centers_hz.dtype) for x in (k, k ** (order - 1)))
    decay = jnp.exp(-2 * math.pi * bandwidths_hz[..., None] * time_s)
    return (
        amplitudes[..., None]
        * power
        * decay
        * jnp.cos(2 * math.pi * centers_hz[..., None] * time_s)
    )


class _Pole(NamedTuple):
    r"""The pole :math:`\rho` of each band.

    It is stored as :math:`-\ln \rho` (`rate`) and :math:`1 - \rho` (`less`), because the pole of a
    narrow band is so close to 1 that rounding would lose the difference.
    """

    rate: Array
    less: Array


def _poles(
    centers_hz: ArrayLike, bandwidths_hz: ArrayLike, sample_rate: int, order: int
) -> tuple[_Pole, Array]:
    size("sample_rate", sample_rate)
    size("order", order)
    centers_hz, bandwidths_hz = band_arrays(centers_hz=centers_hz, bandwidths_hz=bandwidths_hz)
    area = math.pi * math.factorial(2 * order - 2) * 4.0 ** (1 - order)
    scale = math.factorial(order - 1) ** 2 / area
    rate = (2 * math.pi * scale / sample_rate) * bandwidths_hz
    return _Pole(rate, -jnp.expm1(-rate)), centers_hz


def _carrier(centers_hz: Array, samples: Array, sample_rate: int) -> tuple[Array, Array]:
    """Cosine and sine of each centre's phase at each sample, accurate in streams of any length."""
    shape = (1,) * centers_hz.ndim + (-1,)
    count = samples.reshape(shape)
    step = centers_hz[..., None] / sample_rate
    moving = 2 * math.pi * (step * count.astype(step.dtype))
    step = jax.lax.stop_gradient(step - jnp.floor(step))
    if step.dtype == jnp.float64:
        cycles = step * count
        exact = cycles - jnp.round(cycles)
    else:
        # The step is converted to a 32-bit fraction, whose multiples wrap exactly. It is converted
        # in two halves, because a float32 does not hold 32 bits.
        high = jnp.floor(step * 2.0**16)
        low = (step * 2.0**16 - high) * 2.0**16
        cycles = ((high.astype(jnp.uint32) << 16) + low.astype(jnp.uint32)) * count
        exact = jax.lax.bitcast_convert_type(cycles, jnp.int32).astype(step.dtype) * 2.0**-32
    # The value is that of `exact`, which does not drift, and the derivative that of `moving`.
    phase = 2 * math.pi * exact + (moving - jax.lax.stop_gradient(moving))
    return jnp.cos(phase), jnp.sin(phase)
