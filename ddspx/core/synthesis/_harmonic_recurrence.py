"""Sums of harmonics on a CPU, by a recurrence over the harmonics.

In this file the axis of hops comes first, so that loops over parts of the hops split an axis of
known size, even if the size of the batch is unknown.
"""

import math
import operator
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array, Float, UInt
from ddspx.core.synthesis._phase import to_float_cycles

# The backward pass processes the hops in blocks. There are at least 16, so that temporary arrays
# stay below a few times the audio, and they have at most about 256 rows, so that these arrays stay
# in a core's cache.
_MIN_BLOCKS, _MAX_BLOCK_ROWS = 16, 256
# Largest number of harmonics times taps in one fused loop. Two smaller loops would compile faster
# but run slower.
_MAX_UNROLLED = 256


def sum_of_harmonics(
    cycles: UInt[Array, "*batch hops hop_length"],
    taps: tuple[Float[Array, "*batch hops harmonics"], ...],
    weights: Float[Array, "taps hop_length"],
    *,
    slope: bool,
) -> Float[Array, "*batch hops hop_length"]:
    r""":math:`\sum_k A_k \sin k\phi`, or its derivative :math:`\sum_k k A_k \cos k\phi`."""
    cycles, stacked = jnp.moveaxis(cycles, -2, 0), jnp.stack([jnp.moveaxis(x, -2, 0) for x in taps])
    return jnp.moveaxis(_sum_of_taps(cycles, stacked, weights, slope=slope), 0, -2)


def taps_adjoint(
    cycles: UInt[Array, "*batch hops hop_length"],
    cotangent: Float[Array, "*batch hops hop_length"],
    weights: Float[Array, "taps hop_length"],
    *,
    n_harmonics: int,
) -> tuple[Float[Array, "*batch hops harmonics"], ...]:
    r"""Cotangent of the taps: :math:`\sum_j g_j w_t[j] \sin k\phi_j` for each hop, tap and k."""
    cycles, cotangent = (jnp.moveaxis(x, -2, 0) for x in (cycles, cotangent))
    taps = _taps_adjoint(cycles, cotangent, n_harmonics, weights)
    return tuple(jnp.moveaxis(tap, 0, -2) for tap in taps)


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
def _sum_of_taps(cycles: Array, taps: Array, weights: Array, *, slope: bool = False) -> Array:
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
