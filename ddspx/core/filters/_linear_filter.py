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


class _Power(NamedTuple):
    """Powers of the matrix of a filter: their diagonal matrices, and the rest."""

    diagonal: Array
    change: Array

    def times(self, other: "_Power") -> "_Power":
        left = self.diagonal[..., None] * other.change
        right = self.change * other.diagonal[..., None, :]
        change = left + right + _small_matmul(self.change, other.change)
        return _Power(self.diagonal * other.diagonal, change)

    def part(self, number: int | slice) -> "_Power":
        """One of several powers, or some of them."""
        return _Power(self.diagonal[..., number, :], self.change[..., number, :, :])

    def after(self, states: Float[Array, "*batch states order"]) -> Array:
        """The states, so many samples later."""
        stay = states * with_ndim(self.diagonal[..., None, :], states.ndim)
        return stay + _small_matmul(states, self.change)


def run_linear_filter(
    filter: LinearFilter, state: Float[Array, "*batch order"], audio: Float[Array, "*batch samples"]
) -> tuple[Float[Array, "*batch order"], Float[Array, "*batch samples"]]:
    """Filters the audio; returns the state after it, and the result."""
    *batch, samples = audio.shape
    if samples == 0:
        return state, audio
    length = min(_BLOCK, samples)
    n_blocks = -(-samples // length)
    blocks = jnp.pad(audio, [(0, 0)] * len(batch) + [(0, n_blocks * length - samples)])
    blocks = blocks.reshape(*batch, n_blocks, length)
    powers = _powers(filter, length)
    # What an impulse adds to the state n samples later, and a state to the output: b P^n, P^n c.
    diagonal, change = powers.part(slice(length - 1))
    first, last = filter.into[..., None, :], filter.out[..., None, :]
    into = first * diagonal + jnp.sum(first[..., None] * change, axis=-2)
    into = jnp.concatenate([first, into], axis=-2)
    out = last * diagonal + jnp.sum(last[..., None, :] * change, axis=-1)
    out = jnp.concatenate([last, out], axis=-2)
    impulse = jnp.sum(into[..., :-1, :] * last, axis=-1)
    impulse = jnp.concatenate([filter.through[..., None], impulse], axis=-1)
    # The initial state is one more term of the sum; after the first block it has decayed by one
    # block.
    arrived = _matmul(blocks, into[..., ::-1, :])
    entering = jnp.concatenate([state[..., None, :], arrived], axis=-2)
    entering = _running_sum(entering, powers.part(-1))
    audio = _matmul(blocks, _toeplitz(impulse))
    audio = audio + _matmul(entering[..., :-1, :], jnp.swapaxes(out, -1, -2))
    audio = audio.reshape(*batch, n_blocks * length)[..., :samples]
    left = samples - (n_blocks - 1) * length
    if left == length:
        return entering[..., -1, :], audio
    # The rest of the last block is padding.
    last = powers.part(left - 1).after(entering[..., -2:-1, :])
    last = last + _matmul(blocks[..., -1:, :left], into[..., left - 1 :: -1, :])
    return last[..., 0, :], audio


def _powers(filter: LinearFilter, length: int) -> _Power:
    """The powers 1 to `length`, along a new axis before those of a matrix."""
    odd = np.arange(1, length + 1)[:, None] % 2 == 1
    diagonal = filter.diagonal[..., None, :]
    diagonal = jnp.where(odd, diagonal, diagonal**2)
    change = filter.change[..., None, :, :]
    while (number := change.shape[-3]) < length:
        powers = _Power(diagonal[..., :number, :], change)
        more = powers.part(slice(length - number)).times(powers.part(slice(-1, None)))
        change = jnp.concatenate([change, more.change], axis=-3)
    return _Power(diagonal, change)


def _running_sum(arrived: Float[Array, "*batch blocks order"], power: _Power) -> Array:
    """The states :math:`s_i = s_{i-1} P + a_i`, with the derivatives of that equation.

    After step j each holds the contributions of the last :math:`2^j` blocks, and the next step adds
    the sum that is :math:`2^j` blocks earlier, times :math:`P^{2^j}`. The transpose is the same
    backward in time.
    """
    n_blocks, powers = arrived.shape[-2], [power]
    while 2 ** len(powers) < n_blocks:
        powers.append(powers[-1].times(powers[-1]))

    def shifted(states: Array, ahead: int) -> Array:
        fill = [(max(ahead, 0), max(-ahead, 0)), (0, 0)]
        padded = jnp.pad(states, [(0, 0)] * (states.ndim - 2) + fill)
        return jax.lax.slice_in_dim(padded, fill[0][1], fill[0][1] + n_blocks, axis=-2)

    def equation(states: Array) -> Array:
        return states - power.after(shifted(states, 1))

    def solve(_, states: Array) -> Array:
        for j, reach in enumerate(powers):
            states = states + reach.after(shifted(states, 2**j))
        return states

    def transposed(_, states: Array) -> Array:
        for j, (diagonal, change) in enumerate(powers):
            turned = _Power(diagonal, jnp.swapaxes(change, -1, -2))
            states = states + turned.after(shifted(states, -(2**j)))
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


def _small_matmul(left: Array, right: Array) -> Array:
    ndim = max(left.ndim, right.ndim)
    left, right = with_ndim(left, ndim), with_ndim(right, ndim)
    return jnp.sum(left[..., None] * right[..., None, :, :], axis=-2)


def _matmul(left: Array, right: Array) -> Array:
    """Matrix product over broadcast batch axes, in full precision."""
    ndim = max(left.ndim, right.ndim)
    left, right = with_ndim(left, ndim), with_ndim(right, ndim)
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
