r"""Fourier transforms of real signals: FFTs, and on a TPU products with matrices.

A TPU has units for products of matrices and none for FFTs: there XLA expands a size that is no
power of two into a program of many times its memory, and compiles each size for up to a minute.
As products, a transform of any usual size compiles in seconds and moves a fraction of the bytes.

A size n = p q above `_LARGEST_MATRIX` is done in two products and a rotation between them:
with sample ``q a + b`` and bin ``c + p d``,

.. math:: X[c + p d] = \sum_b e^{-2\pi j b d / q} \Bigl( e^{-2\pi j b c / n}
    \sum_a e^{-2\pi j a c / p}\, x[q a + b] \Bigr)
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array, Complex, Float

# The matrix of a transform of this size has 16 MB.
_LARGEST_MATRIX = 2048


def next_fast_length(n: int) -> int:
    """Smallest product of powers of 2, 3 and 5 that is at least n."""
    odd = (3**b * 5**c for b in range(n.bit_length()) for c in range(n.bit_length()))
    return min(m << max(0, (-(-n // m) - 1).bit_length()) for m in odd)


@partial(jax.jit, static_argnums=1)
def rfft(x: Float[Array, "*batch samples"], n: int) -> Complex[Array, "*batch bins"]:
    """Transform of the last axis, cropped or filled with zeros to n samples."""
    by_fft = partial(jnp.fft.rfft, n=n)
    if not _has_products(n):
        return by_fft(x)
    by_products = partial(rfft_by_products, n=n)
    return jax.lax.platform_dependent(x, tpu=by_products, default=by_fft)


@partial(jax.jit, static_argnums=1)
def irfft(spectrum: Complex[Array, "*batch bins"], n: int) -> Float[Array, "*batch n"]:
    """Inverse of :func:`rfft` for all of its ``n // 2 + 1`` bins."""
    by_fft = partial(jnp.fft.irfft, n=n)
    if not _has_products(n):
        return by_fft(spectrum)
    by_products = partial(irfft_by_products, n=n)
    return jax.lax.platform_dependent(spectrum, tpu=by_products, default=by_fft)


def rfft_by_products(x: Array, *, n: int) -> Array:
    """Computes :func:`rfft` as products with matrices."""
    x = x[..., :n]
    samples = x.shape[-1]
    if n <= _LARGEST_MATRIX:
        return jax.lax.complex(*_product("...a,ac->...c", x, samples, n // 2 + 1, n))
    p, q = _factors(n)
    rows = -(-samples // q)
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, rows * q - samples)])
    x = x.reshape(*x.shape[:-1], rows, q)
    # The sums over a are those of real numbers, so only half of them are computed: the others are
    # their conjugates in the opposite order.
    half = p // 2 + 1
    sums = jax.lax.complex(*_product("...ab,ac->...bc", x, rows, half, p))
    sums *= jax.lax.complex(*_rotations(q, half, n, x.dtype))
    both = jnp.concatenate([sums.real, sums.imag], axis=-1)
    cos, sin = _product("...bc,bd->...dc", both, q, q, q)
    real = cos[..., :half] - sin[..., half:]
    imaginary = sin[..., :half] + cos[..., half:]
    first = jax.lax.complex(real, imaginary)
    count = q // 2 + 1
    second = jnp.flip(first[..., q - count :, 1 : (p + 1) // 2], (-2, -1)).conj()
    bins = jnp.concatenate([first[..., :count, :], second], axis=-1)
    return bins.reshape(*bins.shape[:-2], count * p)[..., : n // 2 + 1]


def irfft_by_products(spectrum: Array, *, n: int) -> Array:
    """Computes :func:`irfft` as products with matrices: the transpose of :func:`rfft`."""
    bins = n // 2 + 1
    # All bins but that of 0 Hz and that of an even n's Nyquist count twice.
    weights = np.full(bins, 2 / n)
    weights[0] = 1 / n
    weights[n // 2 :] /= 2 - n % 2
    real, imaginary = (x * weights.astype(x.dtype) for x in (spectrum.real, spectrum.imag))
    signal = jax.ShapeDtypeStruct((*spectrum.shape[:-1], n), real.dtype)
    transpose = jax.linear_transpose(partial(rfft_by_products, n=n), signal)
    return transpose(jax.lax.complex(real, -imaginary))[0]


def _has_products(n: int) -> bool:
    return max(_factors(n)) <= _LARGEST_MATRIX


def _factors(n: int) -> tuple[int, int]:
    """The two factors of n that are nearest to its root, the smaller one first."""
    p = max(p for p in range(1, math.isqrt(n) + 1) if n % p == 0)
    return p, n // p


def _product(axes: str, x: Array, rows: int, columns: int, n: int) -> tuple[Array, Array]:
    """Products of real numbers with both parts of rotations, as one of twice the columns."""
    matrix = jnp.concatenate(_rotations(rows, columns, n, x.dtype), axis=-1)
    # Without a barrier XLA computes the rotations again for each tile of the product, and compiles
    # that for minutes.
    matrix = jax.lax.optimization_barrier(matrix)
    product = jnp.einsum(axes, x, matrix, precision=jax.lax.Precision.HIGHEST)
    axis = axes.split(">")[1].index(axes[axes.index(",") + 2]) - len(axes.split(">")[1])
    return tuple(jnp.split(product, 2, axis=axis))


def _rotations(rows: int, columns: int, n: int, dtype: np.dtype) -> tuple[Array, Array]:
    r"""Real and imaginary part of :math:`e^{-2\pi j a c / n}` for each row a and column c.

    The numbers are computed where they are used, because programs with such matrices as constants
    are large. The eighth of a turn next to a multiple of a quarter is exact in integers.
    """
    turn = jnp.arange(rows, dtype=jnp.int32)[:, None] * jnp.arange(columns, dtype=jnp.int32) % n
    quarter = (4 * turn + n // 2) // n
    angle = (4 * turn - quarter * n).astype(dtype) * (math.pi / (2 * n))
    square = angle * angle
    cos, sin = (
        sum_of_powers(square, [(-1) ** i / math.factorial(2 * i + odd) for i in range(9)])
        for odd in (0, 1)
    )
    sin = angle * sin
    is_odd, is_upper = quarter % 2 == 1, quarter % 4 >= 2
    real, imaginary = jnp.where(is_odd, sin, cos), jnp.where(is_odd, cos, sin)
    # cos is negative in the quarters 1 and 2, sin in 2 and 3; the imaginary part is -sin.
    real = jnp.where(is_odd ^ is_upper, -real, real)
    imaginary = jnp.where(is_upper, imaginary, -imaginary)
    return real, imaginary


def sum_of_powers(x: Array, coefficients: list[float]) -> Array:
    """The polynomial with these coefficients, lowest first, by Horner's rule."""
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
