"""Phase that does not drift: cycles as 64-bit fixed point, in two uint32 limbs.

A running sum of f / sample_rate in float32 loses its fraction as it grows. A sum in integers wraps
by itself and is exact. One cycle is 2**64 units. The upper 32 bits are in one limb (the accumulator
of a numerically controlled oscillator), the lower 32 in another. An increment is rounded by at most
2**-65 cycles, which becomes audible only after centuries. Two limbs of 32 bits work in the same way
with and without x64, on CPU, GPU and TPU.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ddspx._checks import at_least_ndim, floats, one_of, positive_int, size
from ddspx._typing import Array, ArrayLike, Bool, Float, UInt

# Frequencies in Hz from here on do not fit into 32 bits and count as infinite.
_UNBOUNDED_HZ = 2.0**31


class Phase(NamedTuple):
    """A phase in fixed point: exactly ``(cycles + remainder / 2**32) / 2**32`` of a cycle.

    Attributes:
      cycles: upper 32 bits of the fraction of a cycle.
      remainder: the 32 bits below them.
    """

    cycles: UInt[Array, "..."]
    remainder: UInt[Array, "..."]


def initial_phase_of(
    initial_phase: Phase | Float[ArrayLike, "*batch"] | None, shape: tuple[int, ...]
) -> Phase:
    """Converts an initial phase (radians, a Phase, or None for zero) to a Phase of this shape."""
    if initial_phase is None:
        # Two separate arrays, because a state that holds one buffer twice cannot be donated.
        return Phase(jnp.zeros(shape, jnp.uint32), jnp.zeros(shape, jnp.uint32))
    if not isinstance(initial_phase, Phase):
        cycles = jax.lax.stop_gradient(jnp.asarray(initial_phase)) / (2 * jnp.pi)
        initial_phase = _fraction_limbs(cycles)
    return Phase(*(jnp.broadcast_to(limb, shape) for limb in initial_phase))


def radians_of(
    initial_phase: Phase | Float[ArrayLike, "*batch"] | None,
    shape: tuple[int, ...],
    dtype: DTypeLike,
) -> Float[Array, "..."]:
    """The differentiable part of an initial phase: its radians, or zeros if it is a Phase."""
    if initial_phase is None or isinstance(initial_phase, Phase):
        return jnp.zeros(shape, dtype)
    return jnp.broadcast_to(jnp.asarray(initial_phase, dtype), shape)


def has_pitch(f0_hz: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    """Whether a frequency is a pitch: 0 Hz, NaN and infinity mean "no pitch"."""
    return (f0_hz != 0) & (jnp.abs(f0_hz) < _UNBOUNDED_HZ)


def hop_ends(
    f0_hz: Float[Array, "*batch frames"],
) -> tuple[Float[Array, "*batch frames"], Float[Array, "*batch frames"]]:
    """Frequency at the start and at the end of the hop after each frame; the last frame is held.

    If one of its two frames has no pitch, a hop keeps the pitch of the other frame. So no pitch
    glides to or from 0 Hz, and a note begins at its own pitch. If neither frame has a pitch, both
    ends are 0. A hop depends on its two frames only, so it is the same in a stream of blocks.
    """

    def after(x: Array) -> Array:
        return jnp.concatenate([x[..., 1:], x[..., -1:]], axis=-1)

    pitched = has_pitch(f0_hz)
    # NaN is replaced by zero, because its derivative would be NaN too.
    here = jnp.where(pitched, f0_hz, 0)
    return jnp.where(pitched, here, after(here)), jnp.where(after(pitched), after(here), here)


def hop_increments(
    start_hz: Float[Array, "*batch hops"],
    end_hz: Float[Array, "*batch hops"],
    *,
    hop_length: int,
    sample_rate: int,
) -> Phase:
    r"""Advance of the phase over each hop, from its first frame to just before its second.

    f is linear from a at the start to b at the end, so the samples add up to
    :math:`\sum_{j=0}^{h-1} [a + (b - a) j / h] = [(h+1) a + (h-1) b] / 2`.
    """
    if start_hz.dtype == jnp.float64:
        cycles = (hop_length + 1) * start_hz + (hop_length - 1) * end_hz
        return _fraction_limbs(cycles / (2 * sample_rate))
    modulus = 2 * sample_rate
    whole, fraction = _fixed_product(start_hz, hop_length + 1, modulus)
    whole_after, fraction_after = _fixed_product(end_hz, hop_length - 1, modulus)
    total = fraction + fraction_after
    carry = (total < fraction).astype(jnp.uint32)
    return _long_division((whole + whole_after + carry) % modulus, total, modulus)


def sample_increments(f0_hz: Float[Array, "..."], *, sample_rate: int) -> Phase:
    """Advance of the phase over one sample at this frequency."""
    if f0_hz.dtype == jnp.float64:
        return _fraction_limbs(f0_hz / sample_rate)
    return _long_division(*_fixed_product(f0_hz, 1, sample_rate), sample_rate)


def running_sum(increments: Phase, start: Phase, *, axis: int = -1) -> Phase:
    """The phases before each increment along `axis`, and after the last of them."""
    low = jnp.concatenate([jnp.expand_dims(start.remainder, axis), increments.remainder], axis)
    high = jnp.concatenate([jnp.expand_dims(start.cycles, axis), increments.cycles], axis)
    low_sum = jnp.cumsum(low, axis, dtype=jnp.uint32)
    # The low limb wrapped at a step if and only if its sum is below what was added.
    carry = (low_sum < low).astype(jnp.uint32)
    return Phase(jnp.cumsum(high + carry, axis, dtype=jnp.uint32), low_sum)


def advance_phase(
    f0_hz: Float[ArrayLike, "*batch frames"],
    *,
    hop_length: int,
    sample_rate: int,
    initial_phase: Phase | Float[ArrayLike, "*batch"] | None = None,
) -> Phase:
    r"""Phase of an oscillator after ``(frames - 1) * hop_length`` samples.

    .. math:: \phi = \phi_0 + \sum_{n=0}^{(F-1)h-1} f[n] / f_s \pmod 1

    with f linear between frames. If one of two frames has no pitch (0 Hz, NaN, infinite), the hop
    between them keeps the pitch of the other; if neither has one, the phase does not advance. The
    result is the `initial_phase` with which :func:`harmonic_synthesis` continues in a block whose
    first frame is the last of this block.

    Args:
      f0_hz: frequency at each frame, in Hz, of either sign; with a single frame the phase does not
        advance.
      hop_length: samples between frames, below 2**16. Static.
      sample_rate: samples per second; ``(hop_length + 1) * sample_rate`` below 2**31. Static.
      initial_phase: phase before the first sample: a Phase, or radians, or None for zero.

    Returns:
      The phase in fixed point.

    Raises:
      TypeError: a size is not an int, or `f0_hz` is neither float32 nor float64.
      ValueError: a size is not positive or too large, or `f0_hz` has no frame axis.

    Properties:
      Exact for float32 frequencies: blocks of any sizes give the same bits as one long block. Not
      differentiable (the gradient of a synthesized block does not reach earlier blocks).

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> phase = core.advance_phase(jnp.array([250.0, 250.0]), hop_length=16, sample_rate=16000)
      >>> int(phase.cycles) / 2**32
      0.25

    References:
      DDSP's streaming bank adds the wrapped phase of a block to the initial one without wrapping
      the sum, so it grows and loses precision over a stream.
    """
    (f0_hz,) = floats(f0_hz=f0_hz)
    check_rates(hop_length=hop_length, sample_rate=sample_rate)
    at_least_ndim("f0_hz", f0_hz.shape, 1, "(*batch, frames)", is_block=True)
    start = initial_phase_of(initial_phase, f0_hz.shape[:-1])
    ends = (hz[..., :-1] for hz in hop_ends(f0_hz))
    steps = hop_increments(*ends, hop_length=hop_length, sample_rate=sample_rate)
    total = running_sum(steps, start)
    return Phase(total.cycles[..., -1], total.remainder[..., -1])


def cumulative_phase(
    frequencies_hz: Float[ArrayLike, "..."], *, sample_rate: int, axis: int = -1
) -> Float[Array, "..."]:
    r"""Phase of sinusoids whose frequency is given at every sample, without drift.

    .. math:: \phi[n] = 2 \pi \sum_{m \le n} f[m] / f_s \pmod{2\pi}

    The phase does not advance at a sample whose frequency is 0, NaN or infinite.

    Args:
      frequencies_hz: ``(*batch, samples)``, or ``(*batch, samples, sinusoids)`` with ``axis=-2``.
      sample_rate: samples per second. Static.
      axis: the axis of the samples, -1 or -2. Static.

    Returns:
      Radians in [-pi, pi), of the shape and dtype of `frequencies_hz`.

    Raises:
      TypeError: `sample_rate` is not an int, or the array is neither float32 nor float64.
      ValueError: `sample_rate` is not positive or above a million, or `axis` is neither -1 nor -2.

    Properties:
      Differentiable in `frequencies_hz` (in forward and reverse mode), like the unwrapped sum. The
      sum is exact in fixed point: at any length the error is that of rounding one float.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> phase = core.cumulative_phase(jnp.full(5, 2000.0), sample_rate=16000)
      >>> [round(v, 3) for v in phase.tolist()]
      [0.785, 1.571, 2.356, -3.142, -2.356]

    References:
      DDSP's ``angular_cumsum`` wraps a float32 sum chunk by chunk: after one minute at 48 kHz
      its phase is off by more than a radian.
    """
    (frequencies_hz,) = floats(frequencies_hz=frequencies_hz)
    check_rates(hop_length=1, sample_rate=sample_rate)
    one_of("axis", axis, (-1, -2))
    at_least_ndim("frequencies_hz", frequencies_hz.shape, -axis, "(*batch, samples[, sinusoids])")
    pitched = jnp.where(has_pitch(frequencies_hz), frequencies_hz, 0)
    return _cumulative_phase(pitched, sample_rate, axis)


def joined_limbs(phase: Phase) -> UInt[Array, "..."]:
    """The two limbs as one uint64; needs x64."""
    return (phase.cycles.astype(jnp.uint64) << 32) | phase.remainder.astype(jnp.uint64)


def to_float_cycles(cycles: UInt[Array, "..."], dtype: jnp.dtype) -> Float[Array, "..."]:
    """Fixed-point cycles, 32 or 64 bits wide, as a float in [-1/2, 1/2)."""
    bits = jnp.iinfo(cycles.dtype).bits
    return jax.lax.bitcast_convert_type(cycles, f"int{bits}").astype(dtype) * 2.0**-bits


def from_float_cycles(cycles: Float[Array, "..."]) -> UInt[Array, "..."]:
    """A float number of cycles, of any size and sign, modulo one, as wide as the float type."""
    bits = jnp.finfo(cycles.dtype).bits
    wrapped = (cycles - jnp.round(cycles)) * 2.0**bits
    return jax.lax.bitcast_convert_type(wrapped.astype(f"int{bits}"), f"uint{bits}")


def check_rates(*, hop_length: int, sample_rate: int) -> None:
    """Raises a ValueError unless the exact arithmetic of increments fits 32 bits."""
    positive_int("hop_length", hop_length)
    size("sample_rate", sample_rate)
    if hop_length >= 2**16 or (hop_length + 1) * sample_rate >= 2**31:
        raise ValueError(
            "`hop_length` must be below 2**16, and `(hop_length + 1) * sample_rate` below 2**31, "
            f"got {hop_length} at {sample_rate} Hz; use a shorter hop."
        )


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _cumulative_phase(frequencies_hz: Array, sample_rate: int, axis: int) -> Array:
    steps = sample_increments(frequencies_hz, sample_rate=sample_rate)
    shape = list(frequencies_hz.shape)
    del shape[axis]
    start = initial_phase_of(None, tuple(shape))
    total = running_sum(steps, start, axis=axis)
    dtype = frequencies_hz.dtype
    after = [jax.lax.slice_in_dim(limb, 1, None, axis=limb.ndim + axis) for limb in total]
    fine = after[1].astype(dtype) * 2.0**-64
    return 2 * jnp.pi * (to_float_cycles(after[0], dtype) + fine)


@_cumulative_phase.defjvp
def _cumulative_phase_jvp(sample_rate: int, axis: int, primals, tangents):
    (frequencies_hz,), (tangent,) = primals, tangents
    slope = 2 * jnp.pi / sample_rate
    out = _cumulative_phase(frequencies_hz, sample_rate, axis)
    return out, slope * jnp.cumsum(tangent, axis)


def _fixed_product(f_hz: Array, factor: int, modulus: int) -> tuple[Array, Array]:
    """``f_hz * factor`` as an integer modulo `modulus` and a fraction of 32 bits, exactly.

    A float32 of at least 2**-8 has no bits below 2**-32, so the split is exact.
    """
    whole_hz = jnp.floor(f_hz)
    fraction = ((f_hz - whole_hz) * 2.0**32).astype(jnp.uint32)
    whole = jnp.mod(whole_hz.astype(jnp.int32), modulus).astype(jnp.uint32)
    low = factor * (fraction & 0xFFFF)
    high = factor * (fraction >> 16) + (low >> 16)
    return (factor * whole + (high >> 16)) % modulus, (high << 16) | (low & 0xFFFF)


def _long_division(rest: Array, fraction: Array, denominator: int) -> Phase:
    """``(rest + fraction / 2**32) / denominator`` for ``rest < denominator``, to 2**-64.

    A digit of the quotient has as many bits as fit beside the rest into 32: four or five digits.
    """
    width = 32 - denominator.bit_length()
    high = low = jnp.zeros_like(fraction)
    for done in range(0, 64, width):
        rest = rest << width
        if done < 32:
            rest |= (fraction << done) >> (32 - width)
        digit = rest // denominator
        rest -= digit * denominator
        high |= _shift(digit, 32 - width - done)
        low |= _shift(digit, 64 - width - done)
    return Phase(high, low)


def _shift(digit: Array, left: int) -> Array:
    """`digit` shifted to the left, or to the right for a negative number of bits."""
    if left >= 0:
        return digit << left if left < 32 else jnp.zeros_like(digit)
    return digit >> -left if left > -32 else jnp.zeros_like(digit)


def _fraction_limbs(cycles: Array) -> Phase:
    """The fractional part of a float number of cycles, as a Phase."""
    scaled = (cycles - jnp.floor(cycles)) * 2.0**32
    high = jnp.floor(scaled)
    low = (scaled - high) * 2.0**32
    return Phase(high.astype(jnp.uint32), low.astype(jnp.uint32))
