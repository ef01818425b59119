"""Oscillators: banks of free sinusoids, and harmonics of one pitch by a recurrence."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, positive_int, same_size
from ddspx._typing import Array, Float
from ddspx.core._framing import n_samples_of
from ddspx.core._numerics import safe_divide
from ddspx.core._upsampling import UpsamplingMethod, interpolation_weights
from ddspx.core.synthesis._phase import (
    Phase,
    check_rates,
    cumulative_phase,
    frame_increments,
    from_float_cycles,
    initial_phase_of,
    joined_limbs,
    running_sum,
    sample_increments,
    to_float_cycles,
)

# The backward pass goes through the hops in at least 16 blocks, so that its temporaries stay below
# a few times the audio, and in blocks of at most 256, so that they stay in a core's cache.
_MIN_BLOCKS, _MAX_BLOCK_ROWS = 16, 256


def remove_above_nyquist(
    amplitudes: Float[Array, "*batch sinusoids"],
    frequencies_hz: Float[Array, "*batch sinusoids"],
    *,
    sample_rate: int,
) -> Float[Array, "*batch sinusoids"]:
    r"""Amplitudes with every sinusoid at or above Nyquist silenced.

    .. math:: a'_k = a_k \text{ if } f_k < f_s / 2 \text{ else } 0

    Args:
      amplitudes: linear peak amplitudes, at any rate.
      frequencies_hz: the frequency of each, in Hz, of the same shape.
      sample_rate: samples per second. Static.

    Returns:
      Amplitudes in their dtype.

    Raises:
      ValueError: `sample_rate` is not positive.

    Properties:
      Differentiable in `amplitudes`; silenced sinusoids get zero gradient. Static:
      `sample_rate`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f = jnp.array([3999.0, 4000.0])
      >>> core.remove_above_nyquist(jnp.ones(2), f, sample_rate=8000).tolist()
      [1.0, 0.0]
    """
    positive_int("sample_rate", sample_rate)
    return jnp.where(jnp.asarray(frequencies_hz) < sample_rate / 2, amplitudes, 0)


def normalize_harmonics(
    harmonic_distribution: Float[Array, "*batch harmonics"],
    f0_hz: Float[Array, "*batch"],
    *,
    sample_rate: int,
) -> Float[Array, "*batch harmonics"]:
    r"""Distribution over the harmonics below Nyquist, adding up to 1.

    .. math:: d'_k = m_k d_k \Big/ \sum_j m_j d_j, \qquad m_k = [k f_0 < f_s / 2]

    Args:
      harmonic_distribution: non-negative weights of harmonics 1, 2, ... of each frame.
      f0_hz: fundamental of each frame, in Hz.
      sample_rate: samples per second. Static.

    Returns:
      The distribution in its dtype; all zeros where nothing lies below Nyquist.

    Raises:
      ValueError: `sample_rate` is not positive.

    Properties:
      Differentiable in `harmonic_distribution`. Static: `sample_rate`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> weights = jnp.array([1.0, 3.0, 5.0])
      >>> core.normalize_harmonics(weights, jnp.array(1500.0), sample_rate=8000).tolist()
      [0.25, 0.75, 0.0]
    """
    harmonic_distribution = jnp.asarray(harmonic_distribution)
    frequencies_hz = _harmonic_frequencies(jnp.asarray(f0_hz), harmonic_distribution.shape[-1])
    audible = remove_above_nyquist(harmonic_distribution, frequencies_hz, sample_rate=sample_rate)
    return safe_divide(audible, jnp.sum(audible, -1, keepdims=True))


def oscillator_bank(
    frequencies_hz: Float[Array, "*batch samples sinusoids"],
    amplitudes: Float[Array, "*batch samples sinusoids"],
    *,
    sample_rate: int,
) -> Float[Array, "*batch samples"]:
    r"""Sum of sinusoids whose frequency and amplitude are given at every sample.

    .. math:: y[n] = \sum_k a_k[n] \sin\Bigl(2\pi \sum_{m \le n} f_k[m] / f_s\Bigr)

    Sinusoids are silent while at or above Nyquist, so the output never aliases.

    Args:
      frequencies_hz: instantaneous frequency of each sinusoid, in Hz.
      amplitudes: linear peak amplitude of each sinusoid (1.0 is full scale).
      sample_rate: samples per second. Static.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs.

    Raises:
      ValueError: `sample_rate` is not positive, or an axis is missing or differs.

    Properties:
      Differentiable in both arrays. The phase does not drift: it is summed in fixed point.
      Memory is that of the inputs; for harmonics of one pitch :func:`harmonic_synthesis` needs
      hundreds of times less. Static: `sample_rate`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f = jnp.full((4, 1), 2000.0)
      >>> y = core.oscillator_bank(f, jnp.ones_like(f), sample_rate=8000)
      >>> [round(v) for v in y.tolist()]
      [1, 0, -1, 0]

    References:
      Engel et al., `DDSP <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, section 3.2.
    """
    frequencies_hz, amplitudes = jnp.asarray(frequencies_hz), jnp.asarray(amplitudes)
    axes = "(*batch, samples, sinusoids)"
    at_least_ndim("frequencies_hz", frequencies_hz.shape, 2, axes)
    at_least_ndim("amplitudes", amplitudes.shape, 2, axes)
    names = "`frequencies_hz` and `amplitudes`"
    same_size(names, frequencies_hz.shape[-2], amplitudes.shape[-2], "samples")
    same_size(names, frequencies_hz.shape[-1], amplitudes.shape[-1], "sinusoids")
    phase = cumulative_phase(frequencies_hz, sample_rate=sample_rate, axis=-2)
    audible = remove_above_nyquist(amplitudes, frequencies_hz, sample_rate=sample_rate)
    return jnp.sum(audible * jnp.sin(phase), axis=-1)


def harmonic_synthesis(
    f0_hz: Float[Array, "*batch frames"],
    amplitudes: Float[Array, "*batch frames"],
    harmonic_distribution: Float[Array, "*batch frames harmonics"],
    *,
    hop_length: int,
    sample_rate: int,
    n_samples: int | None = None,
    amplitude_upsampling: UpsamplingMethod = "hann",
    initial_phase: Phase | Float[Array, "*batch"] | None = None,
    neighbours_hz: tuple[Float[Array, "*batch"], Float[Array, "*batch"]] | None = None,
) -> Float[Array, "*batch samples"]:
    r"""Harmonics of one gliding pitch, from frame-rate controls.

    .. math::
        y[n] = \sum_{k=1}^{K} A_k[n] \sin(k \phi[n]), \qquad
        \phi[n] = \phi_0 + 2\pi \sum_{m \le n} f_0[m] / f_s

    :math:`f_0` is linear between frames and :math:`A_k` interpolates the product
    ``amplitudes * harmonic_distribution[..., k - 1]``, as given: nothing is normalised here.
    A harmonic is silent at and above Nyquist: every frame whose amplitude reaches a stretch
    in which :math:`k f_0` does is silenced, so it fades over the hop below instead of clicking.

    All harmonics share :math:`\phi`, so none needs a sine of its own: :math:`\sin (k+2)\phi =
    2 \cos 2\phi \sin k\phi - \sin (k-2)\phi`.

    Args:
      f0_hz: fundamental at each frame, in Hz.
      amplitudes: linear amplitude at each frame.
      harmonic_distribution: weight of harmonics 1, 2, ... at each frame.
      hop_length: samples between frames. Static.
      sample_rate: samples per second; ``(hop_length + 1) * sample_rate`` below 2**31. Static.
      n_samples: length of the result; any length that has this many frames (after the last one
        everything is held). The default is ``(frames - 1) * hop_length``. Static.
      amplitude_upsampling: ``nearest``, ``linear``, ``cubic`` or ``hann``. Static.
      initial_phase: phase before the first sample: radians, or the Phase that
        :func:`advance_phase` returned for the block before, or None for zero.
      neighbours_hz: pitch of the frames before the first and after the last, in Hz, where these
        frames are a block of a longer sound (0 where there is none); they silence harmonics
        that reach Nyquist just outside the block.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs.

    Raises:
      ValueError: a size is not positive, `n_samples` samples do not have this number of frames,
        or the frames of the three arrays differ.

    Properties:
      Differentiable in the three arrays and in an `initial_phase` in radians, by a derivative
      written by hand (reverse mode). Neither pass holds more than a few arrays of the size of
      the audio. The phase is summed in fixed point and does not drift. Blocks that share their
      boundary frame, with the phase carried and their neighbours given, equal the whole to
      rounding (``cubic`` reads beyond its block and does not). Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f0_hz, amplitudes = jnp.full(3, 1000.0), jnp.ones(3)
      >>> odd = jnp.tile(jnp.array([1.0, 0.0, 0.5]), (3, 1))
      >>> y = core.harmonic_synthesis(f0_hz, amplitudes, odd, hop_length=4, sample_rate=8000)
      >>> [round(v, 3) for v in y.tolist()[:3]]
      [1.061, 0.5, 1.061]

    References:
      Engel et al., `DDSP <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, section 3.2. The
      recurrence is Goertzel's in Reinsch's form, stable near :math:`\phi = 0`. DDSP silences
      harmonics sample by sample, which clicks when a glide crosses Nyquist.
    """
    f0_hz, amplitudes = jnp.asarray(f0_hz), jnp.asarray(amplitudes)
    harmonic_distribution = jnp.asarray(harmonic_distribution)
    check_rates(hop_length=hop_length, sample_rate=sample_rate)
    at_least_ndim("f0_hz", f0_hz.shape, 1, "(*batch, frames)")
    at_least_ndim(
        "harmonic_distribution", harmonic_distribution.shape, 2, "(*batch, frames, harmonics)"
    )
    *batch, frames = f0_hz.shape
    same_size("`f0_hz` and `amplitudes`", frames, amplitudes.shape[-1], "frames")
    names = "`f0_hz` and `harmonic_distribution`"
    same_size(names, frames, harmonic_distribution.shape[-2], "frames")
    n_samples = n_samples_of(frames, hop_length=hop_length, n_samples=n_samples)
    offsets, _ = interpolation_weights(hop_length, amplitude_upsampling)

    products = amplitudes[..., None] * harmonic_distribution
    products = _silence_above_nyquist(products, f0_hz, neighbours_hz, offsets, sample_rate)
    n_blocks = -(-n_samples // hop_length)
    taps = _taps(products, offsets, n_blocks)
    start = initial_phase_of(initial_phase, tuple(batch))
    radians = jnp.zeros(batch, f0_hz.dtype)
    if initial_phase is not None and not isinstance(initial_phase, Phase):
        radians = jnp.broadcast_to(jnp.asarray(initial_phase, f0_hz.dtype), batch)
    size = _Size(hop_length, sample_rate, n_blocks, amplitude_upsampling)
    blocks = jnp.asarray(_harmonics(f0_hz, taps, radians, start, size))
    return blocks.reshape(*batch, n_blocks * hop_length)[..., :n_samples]


class _Size(NamedTuple):
    """The static facts of one synthesis."""

    hop_length: int
    sample_rate: int
    n_blocks: int
    method: UpsamplingMethod

    @property
    def weights(self) -> np.ndarray:
        return interpolation_weights(self.hop_length, self.method)[1]


def _harmonic_frequencies(f0_hz: Array, n_harmonics: int) -> Array:
    """``(..., harmonics)``: the integer multiples of ``f0_hz``."""
    harmonics = jnp.arange(1, n_harmonics + 1, dtype=f0_hz.dtype)
    return f0_hz[..., None] * harmonics.reshape(*(1,) * f0_hz.ndim, -1)


def _silence_above_nyquist(
    products: Array,
    f0_hz: Array,
    neighbours_hz: tuple[Array, Array] | None,
    offsets: tuple[int, ...],
    sample_rate: int,
) -> Array:
    """Zeroes a frame's harmonic if any hop that interpolates from the frame reaches Nyquist.

    Hop i glides from frame i to i + 1 and reads the frames i + offset, so frame m is read by the
    hops m - offset, whose pitch is bounded by that of the frames from m - max to m - min + 1.
    """
    before, after = offsets[-1], 1 - offsets[0]
    if neighbours_hz is not None:
        first, last = (jnp.asarray(hz, f0_hz.dtype)[..., None] for hz in neighbours_hz)
        f0_hz = jnp.concatenate([first, f0_hz, last], axis=-1)
        before, after = before - 1, after - 1
    lead = f0_hz.ndim - 1
    highest = jax.lax.reduce_window(
        jax.lax.stop_gradient(f0_hz),
        -jnp.inf,
        jax.lax.max,
        (1,) * lead + (offsets[-1] + 2 - offsets[0],),
        (1,) * f0_hz.ndim,
        ((0, 0),) * lead + ((before, after),),
    )
    frequencies_hz = _harmonic_frequencies(highest, products.shape[-1])
    return remove_above_nyquist(products, frequencies_hz, sample_rate=sample_rate)


def _taps(products: Array, offsets: tuple[int, ...], n_blocks: int) -> Array:
    """``(taps, *batch, blocks, harmonics)``: what each hop interpolates between.

    The edge frames are repeated outward, and a hop that starts at the last frame holds it. The
    loop is there for its result, which XLA stores: fused into the sum of harmonics, products and
    masks would be computed again for each sample, at ten times the cost of the sum.
    """
    frames = products.shape[-2]
    index = np.arange(n_blocks) + np.array(offsets)[:, None]
    index = np.where(np.arange(n_blocks) == frames - 1, frames - 1, index).clip(0, frames - 1)
    return jax.lax.map(lambda row: jnp.take(products, row, axis=-2), jnp.asarray(index))


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _harmonics(f0_hz: Array, taps: Array, radians: Array, start: Phase, size: _Size) -> Array:
    """``(*batch, blocks, hop)``: the sum of harmonics, `radians` being part of `start`."""
    return _sum_of_harmonics(_phase_blocks(f0_hz, start, size), taps, size)


def _harmonics_forward(f0_hz, taps, radians, start, size):
    return _harmonics(f0_hz, taps, radians, start, size), (f0_hz, taps, start)


def _harmonics_backward(size, residuals, cotangent):
    f0_hz, taps, start = residuals
    cycles = _phase_blocks(f0_hz, start, size)
    per_cycle = cotangent * (2 * jnp.pi) * _sum_of_harmonics(cycles, taps, size, slope=True)
    f0_cotangent = _phase_adjoint(per_cycle, f0_hz.shape[-1], size)
    radians_cotangent = jnp.sum(per_cycle, (-2, -1)) / (2 * jnp.pi)
    taps_cotangent = _taps_adjoint(cycles, cotangent, taps.shape[-1], size)
    none = jax.tree.map(lambda limb: np.zeros(limb.shape, jax.dtypes.float0), start)
    return f0_cotangent, taps_cotangent, radians_cotangent, none


_harmonics.defvjp(_harmonics_forward, _harmonics_backward)


def _phase_blocks(f0_hz: Array, start: Phase, size: _Size) -> Array:
    r"""``(*batch, blocks, hop)`` cycles in fixed point, as wide as the float type.

    At sample j of hop i the phase is that before the hop plus :math:`(j+1) f_i + (f_{i+1} - f_i)
    j (j+1) / 2h`, over the sample rate. The first product is an integer multiple in fixed point;
    what is left is a fraction of a cycle, small enough for one float.
    """
    n_blocks, hop_length = size.n_blocks, size.hop_length
    rates = {"hop_length": hop_length, "sample_rate": size.sample_rate}
    before = running_sum(frame_increments(f0_hz, **rates), start)
    before = Phase(before.cycles[..., :n_blocks], before.remainder[..., :n_blocks])
    now = f0_hz[..., :n_blocks]
    glide = jnp.diff(f0_hz, append=f0_hz[..., -1:])[..., :n_blocks] / size.sample_rate
    step = sample_increments(now, sample_rate=size.sample_rate)

    j = np.arange(hop_length, dtype=np.float64).reshape(*(1,) * f0_hz.ndim, -1)
    dtype = f0_hz.dtype
    fine = glide[..., None] * (j * (j + 1) / (2 * hop_length)).astype(dtype)
    if dtype == jnp.float64:
        first, advance = (joined_limbs(phase)[..., None] for phase in (before, step))
    else:
        first, advance = before.cycles[..., None], step.cycles[..., None]
        fine += before.remainder.astype(dtype)[..., None] * 2.0**-64
        fine += step.remainder.astype(dtype)[..., None] * ((j + 1) * 2.0**-64).astype(dtype)
    return first + advance * (j + 1).astype(first.dtype) + from_float_cycles(fine)


def _phase_adjoint(per_cycle: Array, frames: int, size: _Size) -> Array:
    """Cotangent of ``f0_hz`` from that of the phase in cycles: `_phase_blocks` transposed."""
    hop_length, sample_rate = size.hop_length, size.sample_rate
    j = np.arange(hop_length, dtype=np.float64)
    ramp = (j + 1).astype(per_cycle.dtype)
    bend = (j * (j + 1) / (2 * hop_length)).astype(per_cycle.dtype)
    total = jnp.sum(per_cycle, -1)
    later = jax.lax.cumsum(total, axis=total.ndim - 1, reverse=True) - total
    to_next = per_cycle @ bend + later * ((hop_length - 1) / 2)
    to_this = per_cycle @ (ramp - bend) + later * ((hop_length + 1) / 2)
    # The hop after the last frame holds it: its bend belongs to the frame itself.
    pad = [(0, 0)] * (total.ndim - 1)
    this = jnp.pad(to_this, [*pad, (0, frames - size.n_blocks)])
    shifted = jnp.pad(to_next, [*pad, (1, frames - size.n_blocks)])
    after = shifted[..., :frames].at[..., -1].add(shifted[..., frames:].sum(-1))
    return (this + after) / sample_rate


def _fold(cycles: Array, dtype: jnp.dtype) -> tuple[Array, Array, Array, Array]:
    r"""The sine and cosine of r and of :math:`\pi q / 2`, for phase :math:`x = r + \pi q / 2`.

    The quarter turns q are taken off in fixed point, so :math:`|r| \le \pi / 4` is exact.
    """
    bits = jnp.iinfo(cycles.dtype).bits
    quarter = (cycles + (1 << (bits - 3))) >> (bits - 2)
    rest = to_float_cycles(cycles - (quarter << (bits - 2)), dtype) * (2 * np.pi)
    odd = (quarter & 1).astype(dtype)
    toward = 1 - (quarter & 2).astype(dtype)
    return jnp.sin(rest), jnp.cos(rest), odd * toward, (1 - odd) * toward


def _sum_of_harmonics(cycles: Array, taps: Array, size: _Size, *, slope: bool = False) -> Array:
    r""":math:`\sum_k A_k \sin k\phi`, or its derivative :math:`\sum_k k A_k \cos k\phi`.

    The hops are computed in two halves by a loop, again for its stored result: XLA otherwise
    moves the reshape that follows into the fused loop over samples, which then divides to find
    its hop and does not vectorise, at five times the cost.
    """
    n_taps, n_harmonics, shape = len(taps), taps.shape[-1], cycles.shape
    cycles = cycles.reshape(-1, size.hop_length)
    taps = taps.reshape(n_taps, -1, n_harmonics)
    rows = len(cycles)
    if odd := rows % 2:
        cycles = jnp.pad(cycles, ((0, odd), (0, 0)))
        taps = jnp.pad(taps, ((0, 0), (0, odd), (0, 0)))
    cycles = cycles.reshape(2, -1, size.hop_length)
    taps = taps.reshape(n_taps, 2, -1, n_harmonics)
    take = jax.lax.dynamic_index_in_dim
    halves = jax.lax.map(
        lambda i: _sum_of_rows(take(cycles, i, 0, False), take(taps, i, 1, False), size, slope),
        jnp.arange(2),
    )
    return halves.reshape(-1, size.hop_length)[:rows].reshape(shape)


def _sum_of_rows(cycles: Array, taps: Array, size: _Size, slope: bool) -> Array:
    r"""``(rows, hop)`` of `_sum_of_harmonics`, one fused loop over the samples.

    Odd and even harmonics are two recurrences of stride 2x, so that the processor works on one
    while the other's sum is under way. With :math:`x = r + \pi q/2` the stride is :math:`2r` and
    a sign :math:`(-1)^q`. Reinsch's form, :math:`\delta \leftarrow \delta - \kappa v` and
    :math:`v \leftarrow v + \delta` with :math:`\kappa = 4 \sin^2 r`, is stable as
    :math:`|2r| \le \pi/2`, and the sign belongs to every other step. Each tap has an accumulator
    of those steps and one of the others, so a harmonic costs one multiply-add for each tap and
    two for the recurrence.
    """
    sine, cosine, sine_q, cosine_q = _fold(cycles, taps.dtype)
    kappa = 4 * sine * sine
    sign = 1 - 2 * sine_q * sine_q
    if slope:
        values = [cosine * cosine_q - sine * sine_q, sign * (1 - 0.5 * kappa)]
        steps = [-2 * sine * sine_q, -0.5 * kappa * sign]
    else:
        values = [sine * cosine_q + cosine * sine_q, sign * 2 * sine * cosine]
        steps = [2 * sine * cosine_q, values[1]]
    sums = [[jnp.zeros_like(sine)] * len(taps) for _ in range(2)]
    for k in range(taps.shape[-1]):
        chain, step = k % 2, k // 2 % 2
        scaled = values[chain] * (k + 1) if slope else values[chain]
        sums[step] = [
            total + tap[:, k, None] * scaled for total, tap in zip(sums[step], taps, strict=True)
        ]
        steps[chain] = steps[chain] - kappa * values[chain]
        values[chain] = values[chain] + steps[chain]
    weights = size.weights.astype(taps.dtype)[:, None]
    audio = jnp.zeros_like(sine)
    for weight, same, other in zip(weights, *sums, strict=True):
        audio = audio + weight * (same + sign * other)
    return audio


def _taps_adjoint(cycles: Array, cotangent: Array, n_harmonics: int, size: _Size) -> Array:
    r"""Cotangent of the taps: :math:`\sum_j g_j w_t[j] \sin k\phi_j` for each hop, tap and k.

    With :math:`k = p + q` the angle addition :math:`\sin p\phi \cos q\phi + \cos p\phi \sin q\phi`
    makes the K sums over a hop a product of two small matrices, about :math:`\sqrt K` rows each:
    2 sqrt(K) sinusoids are computed instead of K, and matrix units do the rest.
    """
    shape, weights = cycles.shape, size.weights.astype(cotangent.dtype)
    cycles, cotangent = (x.reshape(-1, size.hop_length) for x in (cycles, cotangent))
    rows = len(cycles)
    block = max(1, min(rows // _MIN_BLOCKS, _MAX_BLOCK_ROWS))
    fill = ((0, -rows % block), (0, 0))
    blocks = tuple(
        jnp.pad(x, fill).reshape(-1, block, size.hop_length) for x in (cycles, cotangent)
    )
    correlate = jax.vmap(lambda c, g: _correlate(c, g, weights, n_harmonics))
    out = jax.lax.map(lambda cg: correlate(*cg), blocks)
    out = out.reshape(-1, len(weights), n_harmonics)[:rows]
    return jnp.moveaxis(out.reshape(*shape[:-1], len(weights), n_harmonics), -2, 0)


def _correlate(cycles: Array, cotangent: Array, weights: np.ndarray, n_harmonics: int) -> Array:
    """``(taps, harmonics)`` of one hop: see `_taps_adjoint`."""
    n_fine = max(2, math.ceil(math.sqrt(n_harmonics * len(weights))))
    n_coarse = -(-n_harmonics // n_fine)
    sine, cosine, sine_q, cosine_q = _fold(cycles, cotangent.dtype)
    first = _turned((sine, cosine), (sine_q, cosine_q))
    fine = [(jnp.zeros_like(sine), jnp.ones_like(sine)), first]
    while len(fine) <= n_fine:
        fine.append(_turned(fine[-1], first))
    stride = fine.pop()
    coarse = [first]
    while len(coarse) < n_coarse:
        coarse.append(_turned(coarse[-1], stride))

    left = jnp.stack([jnp.concatenate([s, c]) for s, c in coarse])
    left = left[None] * jnp.tile(cotangent[None] * weights, 2)[:, None]
    right = jnp.stack([jnp.concatenate([c, s]) for s, c in fine])
    out = jnp.matmul(left, right.T, precision=jax.lax.Precision.HIGHEST)
    return out.reshape(len(weights), n_coarse * n_fine)[:, :n_harmonics]


def _turned(angle: tuple[Array, Array], by: tuple[Array, Array]) -> tuple[Array, Array]:
    """Sine and cosine of the sum of two angles, given those of each."""
    (s, c), (ds, dc) = angle, by
    return s * dc + c * ds, c * dc - s * ds
