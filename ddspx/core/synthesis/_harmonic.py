"""Synthesis of the harmonics of one pitch, by a recurrence with a hand-written derivative."""

import math
import operator
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ddspx._checks import at_least_ndim, broadcast_batch, floats, one_of, positive_int, same_size
from ddspx._choices import UpsamplingMethod
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import n_samples_of
from ddspx.core._numerics import linear_map, varying_alike, with_ndim
from ddspx.core._upsampling import METHODS, interpolation_weights
from ddspx.core.synthesis._frame_phase import gliding_cycles, hops_of, linear_cycles
from ddspx.core.synthesis._oscillators import (
    harmonic_frequencies,
    highest_within_reach,
    remove_above_nyquist,
)
from ddspx.core.synthesis._phase import (
    Phase,
    advance_phase,
    check_rates,
    initial_phase_of,
    radians_of,
    to_float_cycles,
)

# The backward pass processes the hops in blocks. There are at least 16, so that temporary arrays
# stay below a few times the audio, and they have at most about 256 rows, so that these arrays stay
# in a core's cache.
_MIN_BLOCKS, _MAX_BLOCK_ROWS = 16, 256
# Largest number of harmonics times taps in one fused loop. Two smaller loops would compile faster
# but run slower.
_MAX_UNROLLED = 256


def harmonic_synthesis(
    f0_hz: Float[ArrayLike, "*batch frames"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames"],
    harmonic_distribution: Float[ArrayLike, "*distribution_batch frames harmonics"],
    *,
    hop_length: int,
    sample_rate: int,
    n_samples: int | None = None,
    amplitude_upsampling: UpsamplingMethod = "hann",
    initial_phase: Phase | Float[ArrayLike, "*phase_batch"] | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""Harmonics of one gliding pitch, from frame-rate controls.

    .. math::
        y[n] = \sum_{k=1}^{K} A_k[n] \sin(k \phi[n]), \qquad
        \phi[n] = \phi_0 + 2\pi \sum_{m \le n} f_0[m] / f_s

    :math:`f_0` is linear between frames and :math:`A_k` interpolates the product
    ``amplitudes * harmonic_distribution[..., k - 1]`` as given, without normalization. A harmonic
    is silent at and above Nyquist: its amplitude is set to 0 in every frame that influences a hop
    in which :math:`k |f_0|` reaches Nyquist, so it fades out in the hop before instead of clicking.
    A frame without a pitch (0 Hz, NaN, infinite) is silent, and the hops beside it keep the pitch
    of their other frame: a note begins and ends at its own pitch.

    All harmonics share :math:`\phi`, so they are computed by a recurrence instead of a sine for
    each: :math:`\sin (k+4)\phi = 2 \cos 4\phi \sin k\phi - \sin (k-4)\phi`.

    Args:
      f0_hz: fundamental at each frame, in Hz; the phase of a negative one runs backwards.
      amplitudes: linear amplitude at each frame.
      harmonic_distribution: weight of harmonics 1, 2, ... at each frame.
      hop_length: samples between frames, below 2**16. Static.
      sample_rate: samples per second; ``(hop_length + 1) * sample_rate`` below 2**31. Static.
      n_samples: length of the result; any length that has this many frames (after the last one
        everything is held). The default is ``(frames - 1) * hop_length``. Static.
      amplitude_upsampling: ``nearest``, ``linear``, ``cubic`` or ``hann``. Static.
      initial_phase: phase before the first sample: radians, or the Phase that
        :func:`advance_phase` returned for the block before, or None for zero.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: a size is not positive, `n_samples` samples do not have this number of frames,
        the frames of the three arrays differ, or their batch axes do not broadcast.

    Properties:
      Differentiable in the three arrays and in an `initial_phase` in radians, in forward and
      reverse mode and to any order: the first derivative is written by hand. Value and first
      derivative need memory for a few arrays of the size of the audio; a second derivative needs
      one for each harmonic. The batch axes broadcast. The phase is summed in fixed point
      and does not drift. :func:`harmonic_synthesis_step` gives the same result block by block.
      Static: the rest.

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
    return _synthesize(
        _checked_controls(f0_hz, amplitudes, harmonic_distribution),
        initial_phase,
        None,
        n_samples,
        hop_length=hop_length,
        sample_rate=sample_rate,
        method=amplitude_upsampling,
    )


class HarmonicState(NamedTuple):
    """State of a stream of :func:`harmonic_synthesis_step`.

    Attributes:
      phase: phase of the fundamental at the frame that the blocks share.
      previous_f0_hz: pitch of the frame before that one, in Hz; 0 if there is none.
    """

    phase: Phase
    previous_f0_hz: Float[Array, "*batch"]


def harmonic_synthesis_init(
    *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
) -> HarmonicState:
    """Start of a stream of :func:`harmonic_synthesis_step`, at phase zero.

    Args:
      batch_shape: batch axes of the controls. Static.
      dtype: of the controls. Static.

    Returns:
      The state before frame 0.

    Example:
      >>> from ddspx import core
      >>> core.harmonic_synthesis_init(batch_shape=(2,)).previous_f0_hz.tolist()
      [0.0, 0.0]
    """
    return HarmonicState(initial_phase_of(None, batch_shape), jnp.zeros(batch_shape, dtype))


def harmonic_synthesis_step(
    state: HarmonicState,
    f0_hz: Float[ArrayLike, "*batch frames"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames"],
    harmonic_distribution: Float[ArrayLike, "*distribution_batch frames harmonics"],
    *,
    hop_length: int,
    sample_rate: int,
    next_f0_hz: Float[ArrayLike, "*next_batch"] | None = None,
    n_samples: int | None = None,
    amplitude_upsampling: UpsamplingMethod = "hann",
) -> tuple[HarmonicState, Float[Array, "*out_batch samples"]]:
    """Next block of :func:`harmonic_synthesis`: from its first frame up to its last.

    Given frames a to b, both included, it returns samples ``a * hop_length`` up to, not
    including, ``b * hop_length``. The next block begins with frame b again.

    Args:
      state: from :func:`harmonic_synthesis_init` or the step before.
      f0_hz: fundamental at frames a to b, in Hz.
      amplitudes: linear amplitude at each.
      harmonic_distribution: weight of harmonics 1, 2, ... at each.
      hop_length: samples between frames, the same in all steps. Static.
      sample_rate: samples per second, the same in all steps. Static.
      next_f0_hz: pitch of frame b + 1, if it is known: a harmonic that reaches Nyquist there is
        silent at frame b. Without it, such a harmonic stops abruptly between the blocks. None for
        the last block.
      n_samples: see :func:`harmonic_synthesis`; only the last block may hold its last frame.
        Static.
      amplitude_upsampling: ``nearest``, ``linear`` or ``hann``; ``cubic`` would need frames of
        the next block. Static.

    Returns:
      The state at frame b, and the audio.

    Raises:
      TypeError: as :func:`harmonic_synthesis`.
      ValueError: as :func:`harmonic_synthesis`, or `amplitude_upsampling` is ``cubic``.

    Properties:
      Concatenated blocks of any sizes equal :func:`harmonic_synthesis` of all frames,
      up to rounding; the phase is the same to the bit. Differentiable as that is, within the block.
      Static: the sizes and the method.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> rates = {"hop_length": 16, "sample_rate": 16000}
      >>> f0_hz, one, bank = jnp.linspace(200.0, 400.0, 5), jnp.ones(5), jnp.ones((5, 3))
      >>> state, head = core.harmonic_synthesis_step(
      ...     core.harmonic_synthesis_init(), f0_hz[:3], one[:3], bank[:3], **rates
      ... )
      >>> state, tail = core.harmonic_synthesis_step(
      ...     state, f0_hz[2:], one[2:], bank[2:], **rates
      ... )
      >>> offline = core.harmonic_synthesis(f0_hz, one, bank, **rates)
      >>> bool(jnp.allclose(jnp.concatenate([head, tail]), offline, atol=1e-5))
      True
    """
    one_of("amplitude_upsampling", amplitude_upsampling, ("nearest", "linear", "hann"))
    f0_hz, products = _checked_controls(f0_hz, amplitudes, harmonic_distribution, is_block=True)
    before = jnp.broadcast_to(state.previous_f0_hz, f0_hz.shape[:-1]).astype(f0_hz.dtype)
    after = jnp.zeros_like(before) if next_f0_hz is None else next_f0_hz
    rates = {"hop_length": hop_length, "sample_rate": sample_rate}
    audio = _synthesize(
        (f0_hz, products),
        state.phase,
        (before, jnp.broadcast_to(after, before.shape)),
        n_samples,
        **rates,
        method=amplitude_upsampling,
    )
    phase = advance_phase(f0_hz, **rates, initial_phase=state.phase)
    previous = jnp.concatenate([before[..., None], f0_hz], axis=-1)[..., -2]
    return HarmonicState(phase, previous), audio


def _synthesize(
    controls: tuple[Array, Array],
    initial_phase: Phase | ArrayLike | None,
    neighbours_hz: tuple[Array, Array] | None,
    n_samples: int | None,
    *,
    hop_length: int,
    sample_rate: int,
    method: UpsamplingMethod,
) -> Array:
    """Audio from the pitch and the product of amplitudes and distribution.

    `neighbours_hz` are the pitches before the first frame and after the last if these frames are a
    block of a longer sound (0 if there is no such frame).
    """
    check_rates(hop_length=hop_length, sample_rate=sample_rate)
    one_of("amplitude_upsampling", method, METHODS)
    f0_hz, products = controls
    *batch, frames = f0_hz.shape
    n_samples = n_samples_of(frames, hop_length=hop_length, n_samples=n_samples)
    offsets, _ = interpolation_weights(hop_length, method)
    highest = highest_within_reach(f0_hz, offsets, neighbours_hz=neighbours_hz)
    harmonics_hz = harmonic_frequencies(highest, products.shape[-1])
    products = remove_above_nyquist(products, harmonics_hz, sample_rate=sample_rate)
    n_blocks = -(-n_samples // hop_length)
    ends = hops_of(f0_hz, n_blocks)
    taps = _taps(products, offsets, n_blocks, ends[0] != 0)
    start = initial_phase_of(initial_phase, tuple(batch))
    radians = radians_of(initial_phase, tuple(batch), f0_hz.dtype)
    size = _Size(hop_length, sample_rate, method)
    blocks = jnp.asarray(_harmonics(*varying_alike(ends, taps, radians, start), size))
    audio = jnp.moveaxis(blocks, 0, -2).reshape(*batch, n_blocks * hop_length)
    return audio[..., :n_samples]


class _Size(NamedTuple):
    """The static parameters of a synthesis."""

    hop_length: int
    sample_rate: int
    method: UpsamplingMethod


def _checked_controls(
    f0_hz: ArrayLike,
    amplitudes: ArrayLike,
    harmonic_distribution: ArrayLike,
    *,
    is_block: bool = False,
) -> tuple[Array, Array]:
    """Checks the controls; returns the pitch and the amplitudes of all harmonics."""
    f0_hz, amplitudes, distribution = floats(
        f0_hz=f0_hz, amplitudes=amplitudes, harmonic_distribution=harmonic_distribution
    )
    for name, array in (("f0_hz", f0_hz), ("amplitudes", amplitudes)):
        at_least_ndim(name, array.shape, 1, "(*batch, frames)", is_block=is_block)
    at_least_ndim("harmonic_distribution", distribution.shape, 2, "(*batch, frames, harmonics)")
    frames, n_harmonics = distribution.shape[-2:]
    positive_int("harmonic_distribution.shape[-1]", n_harmonics)
    same_size("`f0_hz` and `amplitudes`", f0_hz.shape[-1], amplitudes.shape[-1], "frames")
    same_size("`f0_hz` and `harmonic_distribution`", f0_hz.shape[-1], frames, "frames")
    batch = broadcast_batch(
        f0_hz=f0_hz.shape[:-1],
        amplitudes=amplitudes.shape[:-1],
        harmonic_distribution=distribution.shape[:-2],
    )
    products = jnp.broadcast_to(amplitudes[..., None] * distribution, (*batch, frames, n_harmonics))
    return jnp.broadcast_to(f0_hz, (*batch, frames)), products


def _taps(products: Array, offsets: tuple[int, ...], n_blocks: int, pitched: Array) -> Array:
    """The frames between which each hop interpolates, ``(taps, blocks, *batch, harmonics)``.

    The edge frames are repeated outward, and a hop that starts at the last frame holds it. A hop
    without a pitch lies between silent frames, but cubic interpolation also reads the frames beyond
    those, so its taps are masked. The loop makes XLA store its result. Fused into the sum of
    harmonics, products and masks would be computed again for each sample, at ten times the cost of
    the sum.
    """
    frames = products.shape[-2]
    products = jnp.moveaxis(products, -2, 0)
    index = np.arange(n_blocks) + np.array(offsets)[:, None]
    index = np.where(np.arange(n_blocks) == frames - 1, frames - 1, index).clip(0, frames - 1)
    pitched = jnp.moveaxis(pitched, -1, 0)[..., None]

    def tap(row: Array) -> Array:
        taken = jnp.take(products, row, axis=0)
        return jnp.where(pitched, taken, 0) if len(offsets) > 2 else taken

    return jax.lax.map(tap, jnp.asarray(index))


@partial(jax.custom_jvp, nondiff_argnums=(4,))
def _harmonics(
    ends: tuple[Array, Array], taps: Array, radians: Array, start: Phase, size: _Size
) -> Array:
    """The sum of harmonics, ``(blocks, *batch, hop)``.

    `start` holds the initial phase with `radians` included; `radians` is passed for its derivative.
    The axis of hops comes first, so that loops over parts of the hops split an axis of known size,
    even if the size of the batch is unknown.
    """
    return _sum_of_harmonics(_phase_blocks(ends, start, size), taps, _weights(taps, size))


@_harmonics.defjvp
def _harmonics_jvp(size, primals, tangents):
    """Written by hand, because JAX's transpose of the recurrence would store all harmonics."""
    ends, taps, radians, start = primals
    cycles, weights = _phase_blocks(ends, start, size), _weights(taps, size)
    phase = 2 * jnp.pi * to_float_cycles(cycles, taps.dtype)
    # The value is that of the fixed point, which does not drift, and the derivative that of
    # `moving`.
    moving = _linear_radians(ends, radians, size)
    phase = phase + (moving - jax.lax.stop_gradient(moving))

    def definition(along):
        return jax.jvp(partial(_harmonics_by_definition, weights=weights), (phase, taps), along)[1]

    def forward(along):
        slope = _sum_of_harmonics(cycles, taps, weights, slope=True)
        return along[0] * slope + _sum_of_harmonics(cycles, along[1], weights)

    def backward(cotangent):
        slope = _sum_of_harmonics(cycles, taps, weights, slope=True)
        return cotangent * slope, _taps_adjoint(cycles, cotangent, taps.shape[-1], weights)

    # The value is computed by `_harmonics`, so that it has this rule in higher derivatives too.
    audio = _harmonics(ends, taps, radians, start, size)
    along = _linear_radians(tangents[0], tangents[2], size), tangents[1]
    return audio, linear_map(definition, forward, backward, along, audio)


def _harmonics_by_definition(phase: Array, taps: Array, *, weights: Array) -> Array:
    """The sum with a sine for each harmonic and sample; JAX derives higher derivatives from it."""
    k = jnp.arange(1, taps.shape[-1] + 1, dtype=phase.dtype)
    sines = jnp.sin(with_ndim(k, phase.ndim + 1) * phase[..., None])
    return jnp.einsum("tj,t...k,...jk->...j", weights, taps, sines)


def _phase_blocks(ends: tuple[Array, Array], start: Phase, size: _Size) -> Array:
    """Phase in cycles in fixed point, ``(blocks, *batch, hop)``."""
    cycles = gliding_cycles(*ends, start, size.hop_length, size.sample_rate, inclusive=True)
    return jnp.moveaxis(cycles, -2, 0)


def _linear_radians(ends: tuple[Array, Array], radians: Array, size: _Size) -> Array:
    """Phase in floats, ``(blocks, *batch, hop)``, which is linear in `ends` and `radians`."""
    n_samples = ends[0].shape[-1] * size.hop_length
    cycles = linear_cycles(*ends, size.hop_length, size.sample_rate, n_samples, True)
    cycles = cycles.reshape(*ends[0].shape, size.hop_length)
    return jnp.moveaxis(2 * jnp.pi * cycles + radians[..., None, None], -2, 0)


def _weights(taps: Array, size: _Size) -> Array:
    """Weights ``(taps, hop)`` of the frames that a hop interpolates between."""
    weights = interpolation_weights(size.hop_length, size.method)[1]
    return varying_alike(jnp.asarray(weights, taps.dtype), taps)[0]


class _Fold(NamedTuple):
    r"""A phase :math:`x = r + \pi q / 4`, divided in fixed point into q eighths of a turn and r.

    So :math:`|r| \le \pi / 8` is accurate, and :math:`\sin 4x` and :math:`\cos 4x` are those of
    :math:`4r` times the sign :math:`(-1)^q`. Angles are stored as pairs of a sine and a cosine.

    Attributes:
      rest: angle :math:`r`.
      once: angle :math:`\pi q / 4`.
      twice: angle :math:`\pi q / 2`.
      sign: :math:`(-1)^q`.
    """

    rest: tuple[Array, Array]
    once: tuple[Array, Array]
    twice: tuple[Array, Array]
    sign: Array


def _fold(cycles: Array, dtype: jnp.dtype) -> _Fold:
    """Splits a phase in fixed point into eighths of a turn and a rest."""
    bits = jnp.iinfo(cycles.dtype).bits
    eighth = (cycles + (1 << (bits - 4))) >> (bits - 3)
    rest = to_float_cycles(cycles - (eighth << (bits - 3)), dtype) * (2 * np.pi)
    sine, cosine = _quarter_turns(eighth >> 1, dtype)
    half_root = jnp.asarray(math.sqrt(0.5), dtype)
    between = half_root * (sine + cosine), half_root * (cosine - sine)
    odd = (eighth & 1) == 1
    once = jnp.where(odd, between[0], sine), jnp.where(odd, between[1], cosine)
    sign = 1 - 2 * (eighth & 1).astype(dtype)
    return _Fold((jnp.sin(rest), jnp.cos(rest)), once, _quarter_turns(eighth, dtype), sign)


def _quarter_turns(quarter: Array, dtype: jnp.dtype) -> tuple[Array, Array]:
    odd = (quarter & 1).astype(dtype)
    toward = 1 - (quarter & 2).astype(dtype)
    return odd * toward, (1 - odd) * toward


@partial(jax.jit, static_argnames="slope")
def _sum_of_harmonics(cycles: Array, taps: Array, weights: Array, *, slope: bool = False) -> Array:
    r""":math:`\sum_k A_k \sin k\phi`, or its derivative :math:`\sum_k k A_k \cos k\phi`.

    A loop computes the hops in two halves, to make XLA store its result. Otherwise XLA moves the
    reshape that follows into the fused loop over samples, which then has to divide to find its hop
    and is not vectorized, at five times the cost. The same loop goes through chunks of harmonics,
    so that the compile time does not grow with their number.
    """
    (n_taps, hop_length), n_harmonics = weights.shape, taps.shape[-1]
    n_blocks, *batch, _ = cycles.shape
    n_chunks = -(-n_harmonics * n_taps // _MAX_UNROLLED)
    chunk = -(-n_harmonics // n_chunks)
    even = n_blocks + n_blocks % 2
    cycles = _padded(cycles, even, axis=0)
    taps = _padded(_padded(taps, even, axis=1), n_chunks * chunk, axis=-1)
    rows = even // 2 * math.prod(batch)
    cycles = cycles.reshape(2, rows, hop_length)
    taps = taps.reshape(n_taps, 2, rows, n_chunks * chunk)

    def sum_of_part(i):
        half, below = i % 2, i // 2 * chunk
        part = jax.lax.dynamic_index_in_dim(taps, half, 1, False)
        part = jax.lax.dynamic_slice_in_dim(part, below, chunk, axis=-1)
        x = jax.lax.dynamic_index_in_dim(cycles, half, 0, False)
        return _sum_of_rows(x, part, below if n_chunks > 1 else None, weights, slope)

    parts = jax.lax.map(sum_of_part, jnp.arange(2 * n_chunks))
    total = reduce(operator.add, parts.reshape(n_chunks, even, *batch, hop_length))
    return total[:n_blocks]


def _padded(array: Array, size: int, *, axis: int) -> Array:
    """The array with zeros at the end of an axis."""
    fill = [(0, 0)] * array.ndim
    fill[axis] = 0, size - array.shape[axis]
    return jnp.pad(array, fill)


def _sum_of_rows(
    cycles: Array, taps: Array, below: Array | None, weights: Array, slope: bool
) -> Array:
    r"""Rows ``(rows, hop)`` of `_sum_of_harmonics`, by one fused loop over the samples.

    The taps are those of the harmonics from ``below + 1`` on; None means a `below` of 0.

    Harmonics k, k + 4, k + 8, ... are a recurrence with the stride 4x. There are four such
    recurrences, so that the processor can work on three while the sum of the fourth is in progress.
    With :math:`x = r + \pi q / 4` the stride is :math:`4r` and a sign :math:`(-1)^q`. Reinsch's
    form, :math:`\delta \leftarrow \delta - \kappa v` and :math:`v \leftarrow v + \delta` with
    :math:`\kappa = 4 \sin^2 2r`, is stable because :math:`|4r| \le \pi/2`. The sign applies to
    every second step. Each tap has one accumulator for the steps with the sign and one for the
    others, so a harmonic costs one multiply-add for each tap and two for the recurrence.
    """
    fold = _fold(cycles, taps.dtype)
    angle = None
    if below is not None:
        under = _fold(cycles * below.astype(cycles.dtype), taps.dtype)
        angle = _turned(under.rest, under.once)
    values, steps, kappa = _first_harmonics(fold, angle, slope)
    number = 1 if below is None else 1 + below.astype(taps.dtype)
    sums = [[jnp.zeros_like(kappa)] * len(taps) for _ in range(2)]
    for k in range(taps.shape[-1]):
        chain, step = k % 4, k // 4 % 2
        scaled = values[chain] * (k + number) if slope else values[chain]
        parts = [jax.lax.slice_in_dim(tap, k, k + 1, axis=1) for tap in taps]
        sums[step] = [total + part * scaled for total, part in zip(sums[step], parts, strict=True)]
        steps[chain] = steps[chain] - kappa * values[chain]
        values[chain] = values[chain] + steps[chain]
    audio = jnp.zeros_like(kappa)
    for weight, same, other in zip(weights[:, None], *sums, strict=True):
        audio = audio + weight * (same + fold.sign * other)
    return audio


def _first_harmonics(
    fold: _Fold, below: tuple[Array, Array] | None, slope: bool
) -> tuple[list[Array], list[Array], Array]:
    r"""The first four harmonics, their differences from the harmonics four lower, and kappa.

    At half of the stride, :math:`a_k = k x - 2r = (k - 2) r + k \pi q / 4`, the difference is
    :math:`2 \cos a_k \sin 2r`, without cancellation, and the harmonic is :math:`\sin(a_k + 2r)`;
    with `slope`, the same holds with the cosine. The angle `below` is added to all of them.
    """
    (s, c), (turn_s, turn_c), sign = fold.rest, fold.once, fold.sign
    zero, one = jnp.zeros_like(s), jnp.ones_like(s)
    double = 2 * s * c, 1 - 2 * s * s
    # Sine and cosine of 3 pi q / 4 are those of pi q / 4, except for a sign.
    turns = fold.once, fold.twice, (-sign * turn_s, sign * turn_c), (zero, sign)
    rests = (-s, c), (zero, one), (s, c), double
    halfway = [_turned(rest, turn) for rest, turn in zip(rests, turns, strict=True)]
    if below is not None:
        halfway = [_turned(angle, below) for angle in halfway]
    values = [_turned(angle, double)[slope] for angle in halfway]
    steps = [-2 * s * double[0] if slope else 2 * c * double[0] for s, c in halfway]
    return values, steps, 4 * double[0] * double[0]


def _taps_adjoint(cycles: Array, cotangent: Array, n_harmonics: int, weights: Array) -> Array:
    r"""Cotangent of the taps: :math:`\sum_j g_j w_t[j] \sin k\phi_j` for each hop, tap and k.

    With :math:`k = p + q` and the angle addition
    :math:`\sin p\phi \cos q\phi + \cos p\phi \sin q\phi`, the K sums over a hop are a product of
    two small matrices of about :math:`\sqrt K` rows each. So 2 sqrt(K) sinusoids are computed
    instead of K, and matrix units compute the product.
    """
    (n_taps, hop_length), (n_blocks, *batch, _) = weights.shape, cycles.shape
    # Each example adds a row to a block for each hop. A batch of unknown size counts as one.
    examples = math.prod(n for n in batch if isinstance(n, int))
    longest = max(1, _MAX_BLOCK_ROWS // max(1, examples))
    block = max(1, min(n_blocks // _MIN_BLOCKS, longest))
    n_parts = -(-n_blocks // block)
    shape = n_parts, block * math.prod(batch), hop_length
    parts = [_padded(x, n_parts * block, axis=0).reshape(shape) for x in (cycles, cotangent)]
    correlate = jax.vmap(lambda c, g: _correlate(c, g, weights, n_harmonics))
    out = jax.lax.map(lambda part: correlate(*part), parts)
    out = out.reshape(n_parts * block, *batch, n_taps, n_harmonics)[:n_blocks]
    return jnp.moveaxis(out, -2, 0)


def _correlate(cycles: Array, cotangent: Array, weights: Array, n_harmonics: int) -> Array:
    """The adjoint ``(taps, harmonics)`` of one hop, see `_taps_adjoint`."""
    n_fine = max(2, math.ceil(math.sqrt(n_harmonics * len(weights))))
    n_coarse = -(-n_harmonics // n_fine)
    fold = _fold(cycles, cotangent.dtype)
    first = _turned(fold.rest, fold.once)
    fine = [(jnp.zeros_like(first[0]), jnp.ones_like(first[0])), first]
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
