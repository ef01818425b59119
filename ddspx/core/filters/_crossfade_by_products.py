r"""Filters that fade from frame to frame, for a TPU: as products of matrices.

The hops around a frame, times one matrix, are K bins of their spectrum; times the filter's response
and another matrix, they are its filtered hops, already faded. Products with a few neighbouring hops
are convolutions along the hops, so that no overlapping frames are stored. The bins are at odd
multiples of 1 / 4K cycles per sample: K complex numbers hold 2K samples exactly, and there is no
bin at 0 Hz that would need another weight.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array, Float
from ddspx.core._fourier import rotations
from ddspx.core._numerics import varying_alike
from ddspx.core._upsampling import interpolation_weights

# The number of bins is a multiple of this, as the rows of an array are stored in such groups.
_ROWS = 8
# Frames of examples that are filtered at the same time.
_SHORT = 128


def crossfaded_by_products(
    hops: Float[Array, "*batch more_hops hop_length"],
    magnitudes: Float[Array, "*filter_batch frames bands"],
    taps: Float[np.ndarray, "bands taps"],
) -> Float[Array, "*out_batch hops hop_length"]:
    """Filters hops of audio and fades from each frame's filter to the next.

    One example after the other, unless they are short: the program compiles in a fifth of the time,
    and what it keeps fits into the chip.

    Args:
      hops: those between the frames, and those that the filters reach before and after: one more
        on each side than the reach is long.
      magnitudes: the frames, with as many axes as `hops`.
      taps: the matrix from magnitudes to the middle tap and the later ones.
    """
    if magnitudes.shape[-2] <= _SHORT:
        return _filtered(hops, magnitudes, taps)
    batch = jnp.broadcast_shapes(hops.shape[:-2], magnitudes.shape[:-2])
    pair = [
        jnp.broadcast_to(x, (*batch, *x.shape[-2:])).reshape(math.prod(batch), *x.shape[-2:])
        for x in (hops, magnitudes)
    ]
    one = jax.checkpoint(lambda pair: _filtered(pair[0][None], pair[1][None], taps)[0])
    out = jax.lax.map(one, varying_alike(*pair))
    return out.reshape(*batch, *out.shape[-2:])


def _filtered(hops: Array, magnitudes: Array, taps: np.ndarray) -> Array:
    """Computes :func:`crossfaded_by_products` for all examples at once."""
    hop_length, reach, dtype = hops.shape[-1], taps.shape[-1] - 1, magnitudes.dtype
    n_bins = -(-(hop_length + reach) // _ROWS) * _ROWS
    # The filter is even, so that its response is real.
    both_sides = taps * np.where(np.arange(reach + 1) == 0, 1.0, 2.0)
    angles = np.outer(np.arange(reach + 1), 2 * np.arange(n_bins) + 1) * (np.pi / (2 * n_bins))
    design = (both_sides @ np.cos(angles)).astype(dtype)
    response = jnp.matmul(magnitudes, design, precision=jax.lax.Precision.HIGHEST)
    spectra = _along_hops(hops, _analysis(hop_length, 1 + -(-reach // hop_length), n_bins, dtype))
    products = spectra * jnp.concatenate([response, response], axis=-1)
    return _along_hops(products, _synthesis(hop_length, n_bins, dtype))


def _analysis(hop_length: int, per_side: int, n_bins: int, dtype: np.dtype) -> Array:
    """From the samples around a frame to real parts and imaginary parts: ``(2 bins, hops, hop)``.

    Only K samples before the frame and K after it count. They are more than two hops and the reach.
    """
    n = jnp.arange(-per_side * hop_length, per_side * hop_length, dtype=jnp.int32)
    odd = 2 * jnp.arange(n_bins, dtype=jnp.int32) + 1
    matrix = jnp.concatenate(rotations(odd, n, 4 * n_bins, dtype))
    matrix = jnp.where((n >= -n_bins) & (n < n_bins), matrix, 0)
    return matrix.reshape(2 * n_bins, 2 * per_side, hop_length)


def _synthesis(hop_length: int, n_bins: int, dtype: np.dtype) -> Array:
    """From the bins of a hop's two frames to its faded samples: ``(hop_length, 2, 2 bins)``."""
    _, fades = interpolation_weights(hop_length, "hann")
    n = jnp.arange(hop_length, dtype=jnp.int32)
    odd = 2 * jnp.arange(n_bins, dtype=jnp.int32) + 1
    each = [
        jnp.concatenate(rotations(n - start, odd, 4 * n_bins, dtype), axis=-1)
        * (fade / n_bins).astype(dtype)[:, None]
        for start, fade in zip((0, hop_length), fades, strict=True)
    ]
    return jnp.stack(each, axis=1)


def _along_hops(x: Array, matrix: Array) -> Array:
    """Multiplies each few neighbours by a matrix ``(outputs, neighbours, inputs)``."""
    # Without a barrier XLA would compute the matrix again for each tile of the product.
    matrix = jax.lax.optimization_barrier(matrix)
    out = jax.lax.conv_general_dilated(
        x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]),
        matrix,
        window_strides=(1,),
        padding="VALID",
        dimension_numbers=("NWC", "OWI", "NWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    return out.reshape(*x.shape[:-2], *out.shape[-2:])
