"""Phase at every sample of one pitch that glides from frame to frame."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array, Float, UInt
from ddspx.core.synthesis._phase import (
    Phase,
    frame_increments,
    from_float_cycles,
    initial_phase_of,
    joined_limbs,
    running_sum,
    sample_increments,
    to_float_cycles,
)


def gliding_cycles(
    f0_hz: Float[Array, "*batch frames"],
    start: Phase,
    hop_length: int,
    sample_rate: int,
    n_hops: int,
    inclusive: bool,
) -> UInt[Array, "*batch hops hop_length"]:
    r"""Cycles at every sample in fixed point, as wide as the float type; f is linear, then held.

    The sum of ``f / sample_rate`` over all samples before this one, and it too if `inclusive`:
    at sample j of hop i, with e = 1 if inclusive and 0 if not, the sum before the hop plus
    :math:`(j + e) f_i + (f_{i+1} - f_i)\, j (j - 1 + 2e) / 2h`. What is before the hop and the
    first product are exact. What is left is a few cycles at most unless the pitch jumps over a
    long hop, and one float holds it: random jumps of up to 4 kHz at 16 kHz leave the second
    harmonic at -122 dB for a hop of 64 in float32, at -91 dB for one of 2048. Nothing of this
    error reaches the next hop.
    """
    rates = {"hop_length": hop_length, "sample_rate": sample_rate}
    before = running_sum(frame_increments(f0_hz, **rates), start)
    before = Phase(before.cycles[..., :n_hops], before.remainder[..., :n_hops])
    now, glide = _hops(f0_hz, n_hops)
    step = sample_increments(now, sample_rate=sample_rate)
    count, bend = _within_hop(f0_hz, hop_length, inclusive)
    fine = (glide / sample_rate)[..., None] * bend
    if f0_hz.dtype == jnp.float64:
        first, advance = (joined_limbs(phase)[..., None] for phase in (before, step))
    else:
        first, advance = before.cycles[..., None], step.cycles[..., None]
        fine += before.remainder.astype(f0_hz.dtype)[..., None] * 2.0**-64
        fine += step.remainder.astype(f0_hz.dtype)[..., None] * (count * 2.0**-64)
    return first + advance * count.astype(first.dtype) + from_float_cycles(fine)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3, 4))
def gliding_phase(
    f0_hz: Float[Array, "*batch frames"],
    hop_length: int,
    sample_rate: int,
    n_samples: int,
    inclusive: bool,
) -> Float[Array, "*batch samples"]:
    """Cycles in [-1/2, 1/2) at each sample, see :func:`gliding_cycles`, from phase zero.

    Differentiable in `f0_hz` as the unwrapped sum is, in both modes and to any order.
    """
    n_hops = -(-n_samples // hop_length)
    start = initial_phase_of(None, f0_hz.shape[:-1])
    cycles = gliding_cycles(f0_hz, start, hop_length, sample_rate, n_hops, inclusive)
    cycles = cycles.reshape(*f0_hz.shape[:-1], n_hops * hop_length)[..., :n_samples]
    return to_float_cycles(cycles, f0_hz.dtype)


@gliding_phase.defjvp
def _gliding_phase_jvp(hop_length, sample_rate, n_samples, inclusive, primals, tangents):
    (f0_hz,), (tangent,) = primals, tangents
    out = gliding_phase(f0_hz, hop_length, sample_rate, n_samples, inclusive)
    return out, linear_cycles(tangent, hop_length, sample_rate, n_samples, inclusive)


def linear_cycles(
    f0_hz: Float[Array, "*batch frames"],
    hop_length: int,
    sample_rate: int,
    n_samples: int,
    inclusive: bool,
) -> Float[Array, "*batch samples"]:
    """The sum that :func:`gliding_phase` wraps, in floats: linear, and so its derivative."""
    now, glide = _hops(f0_hz, -(-n_samples // hop_length))
    in_hop = ((hop_length + 1) * f0_hz[..., :-1] + (hop_length - 1) * f0_hz[..., 1:]) / 2
    pad = [(0, 0)] * (f0_hz.ndim - 1)
    before = jnp.pad(jnp.cumsum(in_hop, axis=-1), [*pad, (1, 0)])[..., : now.shape[-1]]
    count, bend = _within_hop(f0_hz, hop_length, inclusive)
    cycles = before[..., None] + now[..., None] * count + glide[..., None] * bend
    return cycles.reshape(*cycles.shape[:-2], -1)[..., :n_samples] / sample_rate


def _hops(f0_hz: Array, n_hops: int) -> tuple[Array, Array]:
    """The frequency at the start of each hop, and by how much it rises until the next."""
    glide = jnp.diff(f0_hz, append=f0_hz[..., -1:])
    return f0_hz[..., :n_hops], glide[..., :n_hops]


def _within_hop(f0_hz: Array, hop_length: int, inclusive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the frequency and of its glide at each sample of a hop."""
    j = np.arange(hop_length, dtype=np.float64).reshape(*(1,) * f0_hz.ndim, -1)
    count = j + inclusive
    return count.astype(f0_hz.dtype), (j * (j - 1 + 2 * inclusive) / (2 * hop_length)).astype(
        f0_hz.dtype
    )
