"""Phase at every sample of a pitch that glides from frame to frame."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array, ArrayLike, Float, UInt
from ddspx.core._numerics import varying_alike, with_ndim
from ddspx.core.synthesis._phase import (
    Phase,
    from_float_cycles,
    hop_ends,
    hop_increments,
    initial_phase_of,
    joined_limbs,
    radians_of,
    running_sum,
    sample_increments,
    to_float_cycles,
)


def hops_of(
    f0_hz: Float[Array, "*batch frames"], n_hops: int
) -> tuple[Float[Array, "*batch hops"], Float[Array, "*batch hops"]]:
    """Frequency at the start and the end of the first hops, see :func:`hop_ends`."""
    start_hz, end_hz = hop_ends(f0_hz)
    return start_hz[..., :n_hops], end_hz[..., :n_hops]


def gliding_cycles(
    start_hz: Float[Array, "*batch hops"],
    end_hz: Float[Array, "*batch hops"],
    start: Phase,
    hop_length: int,
    sample_rate: int,
    inclusive: bool,
) -> UInt[Array, "*batch hops hop_length"]:
    r"""Phase at every sample, in cycles in fixed point as wide as the float type.

    f is linear within a hop. The phase is the sum of ``f / sample_rate`` over all samples before
    this one, and with `inclusive` over this one too. Let a be the frequency at the start of the
    hop, b at its end, h its length, and e = 1 if inclusive and 0 if not. At sample j of the hop,
    the phase is the sum before the hop plus :math:`(j + e) a + (b - a)\, j (j - 1 + 2e) / 2h` (with
    frequencies in cycles per sample).

    The sum before the hop and the first product are exact. The second product is computed as one
    float. It is a few cycles at most unless the pitch jumps within a long hop. Random jumps of up
    to 4 kHz at 16 kHz cause errors of -122 dB in the second harmonic for a hop of 64 in float32,
    and of -91 dB for a hop of 2048. The error does not propagate to the next hop.
    """
    rates = {"hop_length": hop_length, "sample_rate": sample_rate}
    before = running_sum(hop_increments(start_hz, end_hz, **rates), start)
    before = Phase(before.cycles[..., :-1], before.remainder[..., :-1])
    step = sample_increments(start_hz, sample_rate=sample_rate)
    count, bend = _within_hop(start_hz, hop_length, inclusive)
    fine = ((end_hz - start_hz) / sample_rate)[..., None] * bend
    if start_hz.dtype == jnp.float64:
        first, advance = (joined_limbs(phase)[..., None] for phase in (before, step))
    else:
        first, advance = before.cycles[..., None], step.cycles[..., None]
        fine += before.remainder.astype(start_hz.dtype)[..., None] * 2.0**-64
        fine += step.remainder.astype(start_hz.dtype)[..., None] * (count * 2.0**-64)
    return first + advance * count.astype(first.dtype) + from_float_cycles(fine)


def gliding_phase(
    f0_hz: Float[Array, "*batch frames"],
    hop_length: int,
    sample_rate: int,
    n_samples: int,
    inclusive: bool,
    *,
    initial_phase: Phase | Float[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch samples"]:
    """Phase at each sample, in cycles in [-1/2, 1/2), see :func:`gliding_cycles`.

    Differentiable in `f0_hz` and in an initial phase in radians, like the unwrapped sum, in forward
    and reverse mode and to any order.
    """
    batch = f0_hz.shape[:-1]
    ends = hops_of(f0_hz, -(-n_samples // hop_length))
    start = initial_phase_of(initial_phase, batch)
    exact = _gliding_phase(
        *varying_alike(*ends, start), hop_length, sample_rate, n_samples, inclusive
    )
    # The value of the initial phase is in `start`; its derivative is added here.
    moving = radians_of(initial_phase, batch, f0_hz.dtype) / (2 * jnp.pi)
    return exact + (moving - jax.lax.stop_gradient(moving))[..., None]


@partial(jax.custom_jvp, nondiff_argnums=(3, 4, 5, 6))
def _gliding_phase(
    start_hz: Array,
    end_hz: Array,
    start: Phase,
    hop_length: int,
    sample_rate: int,
    n_samples: int,
    inclusive: bool,
) -> Array:
    cycles = gliding_cycles(start_hz, end_hz, start, hop_length, sample_rate, inclusive)
    cycles = cycles.reshape(*cycles.shape[:-2], cycles.shape[-2] * hop_length)[..., :n_samples]
    return to_float_cycles(cycles, start_hz.dtype)


@_gliding_phase.defjvp
def _gliding_phase_jvp(hop_length, sample_rate, n_samples, inclusive, primals, tangents):
    sizes = (hop_length, sample_rate, n_samples, inclusive)
    start, end, _ = tangents
    return _gliding_phase(*primals, *sizes), linear_cycles(start, end, *sizes)


def linear_cycles(
    start_hz: Float[Array, "*batch hops"],
    end_hz: Float[Array, "*batch hops"],
    hop_length: int,
    sample_rate: int,
    n_samples: int,
    inclusive: bool,
) -> Float[Array, "*batch samples"]:
    """The unwrapped sum of :func:`gliding_phase`, in floats; linear, so its own derivative."""
    in_hop = ((hop_length + 1) * start_hz + (hop_length - 1) * end_hz) / 2
    pad = [(0, 0)] * (start_hz.ndim - 1)
    before = jnp.pad(jnp.cumsum(in_hop[..., :-1], axis=-1), [*pad, (1, 0)])
    before = before[..., : start_hz.shape[-1]]
    count, bend = _within_hop(start_hz, hop_length, inclusive)
    cycles = before[..., None] + start_hz[..., None] * count
    cycles += (end_hz - start_hz)[..., None] * bend
    cycles = cycles.reshape(*cycles.shape[:-2], cycles.shape[-2] * hop_length)
    return cycles[..., :n_samples] / sample_rate


def gliding_hz(
    start_hz: Float[Array, "*batch hops"], end_hz: Float[Array, "*batch hops"], hop_length: int
) -> Float[Array, "*batch hops hop_length"]:
    """The frequency at each sample of each hop."""
    u = with_ndim(np.arange(hop_length) / hop_length, start_hz.ndim + 1)
    return start_hz[..., None] + (end_hz - start_hz)[..., None] * u.astype(start_hz.dtype)


def _within_hop(f0_hz: Array, hop_length: int, inclusive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights, at each sample of a hop, of the start frequency and of its change over the hop."""
    j = with_ndim(np.arange(hop_length, dtype=np.float64), f0_hz.ndim + 1)
    count = j + inclusive
    return count.astype(f0_hz.dtype), (j * (j - 1 + 2 * inclusive) / (2 * hop_length)).astype(
        f0_hz.dtype
    )
