r"""A recursive filter with fixed coefficients, as products of blocks.

The output of a block is :math:`T x + O s` and its last state :math:`V x + P s`, with the input x
and the first state s of the block. All four matrices are made of powers of one small matrix, which
are computed by doubling. The states at the borders of blocks, :math:`s_{i+1} = P s_i + V x_i`, are
computed by doubling too. So a signal takes about twenty wide steps instead of one for each sample.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array, Float
from ddspx.core._numerics import with_ndim

# Length of a block, in samples. Longer blocks need more products and shorter ones more blocks;
# forward and backward pass are fastest near this length.
_BLOCK = 64
# Largest order whose matrices are multiplied by sums. The derivative stores the terms of a sum,
# whose number is the cube of the order: beyond this they would be larger than the audio.
_SMALL = 8


class LinearFilter(NamedTuple):
    r"""One sample of a filter: :math:`s' = s (\Sigma + E) + x b, y = s c + x d`; s and b are rows.

    The diagonal matrix :math:`\Sigma` is kept apart from E, because in a low filter E is small, and
    powers of the sum would lose its digits.

    Attributes:
      diagonal: that of :math:`\Sigma`, each 1, -1 or 0, ``(*batch, order)``.
      change: :math:`E`, ``(*batch, order, order)``.
      into: :math:`b`, ``(*batch, order)``.
      out: :math:`c`, ``(*batch, order)``.
      through: :math:`d`, ``(*batch,)``.
    """

    diagonal: Array
    change: Array
    into: Array
    out: Array
    through: Array


def _matmul(left: Array, right: Array) -> Array:
    """Matrix product over broadcast batch axes, in full precision."""
    ndim = max(left.ndim, right.ndim)
    left, right = with_ndim(left, ndim), with_ndim(right, ndim)
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def _small_matmul(left: Array, right: Array) -> Array:
    """The same; of small matrices by a sum, which XLA fuses with what is before and after it."""
    if right.shape[-1] > _SMALL:
        return _matmul(left, right)
    ndim = max(left.ndim, right.ndim)
    left, right = with_ndim(left, ndim), with_ndim(right, ndim)
    return jnp.sum(left[..., None] * right[..., None, :, :], axis=-2)


class _Power(NamedTuple):
    """A power of the matrix of a filter: its diagonal matrix, and the rest."""

    diagonal: Array
    change: Array

    @property
    def squared(self) -> "_Power":
        diagonal = self.diagonal**2
        both_sides = self.diagonal[..., None] + self.diagonal[..., None, :]
        change = both_sides * self.change + _small_matmul(self.change, self.change)
        return _Power(diagonal, change)

    @property
    def turned(self) -> "_Power":
        return _Power(self.diagonal, jnp.swapaxes(self.change, -1, -2))

    @property
    def whole(self) -> Array:
        """The sum of the two."""
        unit = np.eye(self.diagonal.shape[-1], dtype=self.change.dtype)
        return self.change + self.diagonal[..., None] * with_ndim(unit, self.change.ndim)

    def after(self, states: Float[Array, "*batch states order"]) -> Array:
        """States, which are rows, so many samples later."""
        stay = states * with_ndim(self.diagonal[..., None, :], states.ndim)
        return stay + _small_matmul(states, self.change)


def run_linear_filter(
    filter: LinearFilter, state: Float[Array, "*batch order"], audio: Float[Array, "*batch samples"]
) -> tuple[Float[Array, "*batch order"], Float[Array, "*batch samples"]]:
    """Filters the audio; returns the state after it, and the result."""
    *batch, samples = audio.shape
    if samples == 0:
        return state, audio
    length = min(_BLOCK, 1 << (samples - 1).bit_length())
    n_blocks = -(-samples // length)
    blocks = jnp.pad(audio, [(0, 0)] * len(batch) + [(0, n_blocks * length - samples)])
    blocks = blocks.reshape(*batch, n_blocks, length)
    # What an impulse adds to the state n samples later, and a state to the output: b P^n, P^n c.
    into, out = filter.into[..., None, :], filter.out[..., None, :]
    powers = [_Power(filter.diagonal, filter.change)]
    while into.shape[-2] < length:
        into = jnp.concatenate([into, powers[-1].after(into)], axis=-2)
        out = jnp.concatenate([out, powers[-1].turned.after(out)], axis=-2)
        powers.append(powers[-1].squared)
    impulse = jnp.sum(into[..., :-1, :] * filter.out[..., None, :], axis=-1)
    impulse = jnp.concatenate([filter.through[..., None], impulse], axis=-1)
    # The initial state is one more term of the sum; after the first block it has decayed by one
    # block.
    arrived = _matmul(blocks, into[..., ::-1, :])
    entering = jnp.concatenate([state[..., None, :], arrived], axis=-2)
    entering = _running_sum(entering, powers[-1].whole)
    audio = _matmul(blocks, _toeplitz(impulse))
    audio = audio + _matmul(entering[..., :-1, :], jnp.swapaxes(out, -1, -2))
    audio = audio.reshape(*batch, n_blocks * length)[..., :samples]
    left = samples - (n_blocks - 1) * length
    if left == length:
        return entering[..., -1, :], audio
    # The rest of the last block is padding.
    last = entering[..., -2:-1, :]
    for j, power in enumerate(powers):
        if left >> j & 1:
            last = power.after(last)
    last = last + _matmul(blocks[..., -1:, :left], into[..., left - 1 :: -1, :])
    return last[..., 0, :], audio


def _running_sum(arrived: Float[Array, "*batch blocks order"], power: Array) -> Array:
    """The states :math:`s_i = s_{i-1} P + a_i`, with the derivatives of that equation.

    After step j each holds the contributions of the last :math:`2^j` blocks, and the next step adds
    the sum that is :math:`2^j` blocks earlier, times :math:`P^{2^j}`. The transpose is the same
    backward in time.
    """
    n_blocks, powers = arrived.shape[-2], [power]
    while 2 ** len(powers) < n_blocks:
        powers.append(_matmul(powers[-1], powers[-1]))

    def later(states: Array, power: Array, blocks: int) -> Array:
        """The states so many blocks later, at the places of those that are there."""
        fill = [(0, 0)] * (states.ndim - 2) + [(max(blocks, 0), max(-blocks, 0)), (0, 0)]
        start = max(-blocks, 0)
        moved = jax.lax.slice_in_dim(jnp.pad(states, fill), start, start + n_blocks, axis=-2)
        return _matmul(moved, power)

    def equation(states: Array) -> Array:
        return states - later(states, power, 1)

    def solve(_, states: Array) -> Array:
        for j, reach in enumerate(powers):
            states = states + later(states, reach, 2**j)
        return states

    def transposed(_, states: Array) -> Array:
        for j, reach in enumerate(powers):
            states = states + later(states, jnp.swapaxes(reach, -1, -2), -(2**j))
        return states

    return jax.lax.custom_linear_solve(equation, arrived, solve, transposed)


def _toeplitz(impulse: Float[Array, "*batch length"]) -> Float[Array, "*batch length length"]:
    """The matrix whose row n is the impulse response of n samples later.

    Each row of a table of equal rows begins one place later if the table is one column narrower.
    """
    *batch, length = impulse.shape
    row = jnp.concatenate([impulse, jnp.zeros_like(impulse)], axis=-1)
    table = jnp.broadcast_to(row[..., None, :], (*batch, length, 2 * length))
    table = table.reshape(*batch, 2 * length**2)[..., : length * (2 * length - 1)]
    return table.reshape(*batch, length, 2 * length - 1)[..., :length]
