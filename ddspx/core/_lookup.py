r"""Reading tables at computed places on a TPU, as products of matrices.

A TPU has no unit for gathers: it moves 4 KB for each number that it reads. But a product with a
matrix that has a single one in each column selects too. With the entries in A rows of B, a product
selects the row in which a place lies, and weights that are zero for all others select the entries
of this row. So for each place the unit for products multiplies A B numbers, A + B are compared, and
only tables, places and results are moved.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array, Float, Int
from ddspx.core._numerics import varying_alike, with_ndim

# The unit for products has so many rows.
_ROWS = 128
# Of each example, in a loop: what it keeps fits into the chip.
PLACES_AT_ONCE = 2048


def weighted_sums(
    tables: Float[Array, "*table_batch one_or_blocks entries"],
    first: Int[Array, "*batch blocks places"],
    weights: Sequence[Float[Array, "*batch blocks places"]],
) -> Float[Array, "*out_batch blocks places"]:
    r"""Weighted sums of neighbouring entries.

    .. math:: y[i, n] = \sum_j w_j[i, n]\, T_i[f[i, n] + j]

    Args:
      tables: one for each block, or one for all; the first entry follows the last one.
      first: the first entry of each sum, from 0 to the last one.
      weights: as many as the sums have entries, with as many axes as `tables` and `first`.

    Returns:
      The sums. A number in a table that is not finite spreads over the whole block.
    """
    tables, first, *weights = varying_alike(tables, first, *weights)
    blocks, places = first.shape[-2:]
    at_once = max(1, min(blocks, PLACES_AT_ONCE // places))
    rounds = -(-blocks // at_once)

    def grouped(x: Array) -> Array:
        edges = [(0, 0)] * (x.ndim - 2) + [(0, rounds * at_once - blocks), (0, 0)]
        groups = jnp.pad(x, edges).reshape(*x.shape[:-2], rounds, at_once, x.shape[-1])
        return jnp.moveaxis(groups, -3, 0)

    reads = grouped(first), [grouped(w) for w in weights]
    if tables.shape[-2] == 1:
        out = jax.lax.map(lambda read: _sums(tables, *read), reads)
    else:
        out = jax.lax.map(lambda group: _sums(*group), (grouped(tables), *reads))
    out = jnp.moveaxis(out, 0, -3)
    return out.reshape(*out.shape[:-3], rounds * at_once, places)[..., :blocks, :]


@jax.checkpoint
def _sums(tables: Array, first: Array, weights: list[Array]) -> Array:
    """Computes :func:`weighted_sums`; places are along the last axis of all arrays."""
    rows = _rows(tables, len(weights) - 1)
    count, length = rows.shape[-2], rows.shape[-1] - len(weights) + 1
    first = first[..., None, :]
    row = jax.lax.div(first, np.int32(length))
    entry = first - length * row
    is_row = row == with_ndim(jnp.arange(count, dtype=jnp.int32)[:, None], row.ndim)
    highest = jax.lax.Precision.HIGHEST
    selected = jnp.einsum("...ab,...an->...bn", rows, is_row.astype(rows.dtype), precision=highest)
    entries = with_ndim(jnp.arange(rows.shape[-1], dtype=jnp.int32)[:, None], row.ndim)
    spread = jnp.zeros((), rows.dtype)
    for j, weight in enumerate(weights):
        spread = jnp.where(entries == entry + j, weight[..., None, :], spread)
    return jnp.sum(selected * spread, axis=-2)


def _rows(tables: Array, overlap: int) -> Array:
    """The entries in rows, each of which goes on with the first entries of the next."""
    entries = tables.shape[-1]
    count = min(entries, _ROWS * -(-math.isqrt(entries) // _ROWS))
    length = max(overlap, -(-entries // count))
    count = -(-entries // length)
    fill = [(0, 0)] * (tables.ndim - 1) + [(0, (count + 1) * length - entries)]
    grid = jnp.pad(tables, fill, mode="wrap").reshape(*tables.shape[:-1], count + 1, length)
    return jnp.concatenate([grid[..., :-1, :], grid[..., 1:, :overlap]], axis=-1)
