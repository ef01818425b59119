r"""Fourier transforms of real signals, and convolution: by FFT, and on a TPU by matrix products.

A TPU has units for products of matrices and none for FFTs: XLA expands a transform there, one whose
size is no power of two into a program of many times its memory, and compiles each size for up to a
minute. The matrices of short transforms fit into the chip. A longer one, of n = p q samples, is two
products with a rotation between them: with sample ``q a + b`` and bin ``c + p d``,

.. math:: X[c + p d] = \sum_b e^{-2\pi j b d / q} \Bigl( e^{-2\pi j b c / n}
    \sum_a e^{-2\pi j a c / p}\, x[q a + b] \Bigr)

A convolution does not need the bins in their order, and none at whole frequencies: it takes those
at c + 1/2, of which every second one is the conjugate of another. So half of the c are left out,
and there are exactly as many numbers as samples. (A product of such spectra is a convolution whose
end comes back at the beginning with the opposite sign; n has room for all of it.)
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array, Complex, Float
from ddspx.core._numerics import varying_alike, with_ndim

# Transforms up to the first size are one product; longer ones are two, with factors up to it. Those
# that have no such factors are one product up to the second size. Larger products compile slowly.
_LARGEST_FACTOR, _LARGEST_MATRIX = 512, 2048
# The factors of a convolution, whose loop makes smaller products of them.
_LARGEST_ROWS = 1024
# Of each example, in a loop over frames.
_SAMPLES_AT_ONCE = 8192
# Of the c of a convolution.
_BINS_AT_ONCE = 32


def next_fast_length(n: int) -> int:
    """Smallest product of powers of 2, 3 and 5 that is at least n."""
    odd = (3**b * 5**c for b in range(n.bit_length()) for c in range(n.bit_length()))
    return min(m << max(0, (-(-n // m) - 1).bit_length()) for m in odd)


# Compiled as a whole, because JAX does not keep a choice of platforms that runs outside of `jit`.
@partial(jax.jit, static_argnums=1)
def rfft(x: Float[Array, "*batch samples"], n: int) -> Complex[Array, "*batch bins"]:
    """Transform of the last axis, cropped or filled with zeros to n samples."""
    by_fft = partial(jnp.fft.rfft, n=n)
    if not _has_products(n):
        return by_fft(x)
    return jax.lax.platform_dependent(x, tpu=partial(rfft_by_products, n=n), default=by_fft)


@partial(jax.jit, static_argnums=1)
def irfft(spectrum: Complex[Array, "*batch bins"], n: int) -> Float[Array, "*batch n"]:
    """Inverse of :func:`rfft`, from all of its ``n // 2 + 1`` bins."""
    by_fft = partial(jnp.fft.irfft, n=n)
    if not _has_products(n):
        return by_fft(spectrum)
    by_products = partial(irfft_by_products, n=n)
    return jax.lax.platform_dependent(spectrum, tpu=by_products, default=by_fft)


@partial(jax.jit, static_argnums=1)
def rfft_of_frames(
    frames: Float[Array, "*batch frames samples"], n: int
) -> Complex[Array, "*batch frames bins"]:
    """Computes :func:`rfft` of many frames; a TPU does it in a loop, whose body compiles fast."""
    return _in_groups(partial(rfft, n=n), frames, n)


@partial(jax.jit, static_argnums=1)
def irfft_of_frames(
    spectra: Complex[Array, "*batch frames bins"], n: int
) -> Float[Array, "*batch frames n"]:
    """Inverse of :func:`rfft_of_frames`."""
    return _in_groups(partial(irfft, n=n), spectra, n)


def _in_groups(transform: Callable[[Array], Array], frames: Array, n: int) -> Array:
    *batch, count, length = frames.shape
    size = max(1, _SAMPLES_AT_ONCE // n)
    rounds = -(-count // size)
    if rounds <= 1:
        return transform(frames)

    def grouped(frames: Array) -> Array:
        edges = [(0, 0)] * len(batch) + [(0, rounds * size - count), (0, 0)]
        groups = jnp.pad(frames, edges).reshape(*batch, rounds, size, length)
        out = jnp.moveaxis(jax.lax.map(transform, jnp.moveaxis(groups, -3, 0)), 0, -3)
        return out.reshape(*batch, rounds * size, out.shape[-1])[..., :count, :]

    return jax.lax.platform_dependent(frames, tpu=grouped, default=transform)


@jax.jit
def convolve(
    x: Float[Array, "*x_batch samples"], taps: Float[Array, "*taps_batch taps"]
) -> Float[Array, "*batch longer"]:
    """The whole convolution, of ``samples + taps - 1`` samples."""
    ndim = max(x.ndim, taps.ndim)
    x, taps = with_ndim(x, ndim), with_ndim(taps, ndim)
    programs = {"tpu": convolve_by_products, "default": convolve_by_fft}
    return jax.lax.platform_dependent(x, taps, **programs)


def convolve_by_fft(x: Array, taps: Array, n: int | None = None) -> Array:
    """Computes :func:`convolve` as a product of spectra, by FFTs of a size that has room for it."""
    longer = x.shape[-1] + taps.shape[-1] - 1
    n = next_fast_length(longer) if n is None else n
    return jnp.fft.irfft(jnp.fft.rfft(x, n) * jnp.fft.rfft(taps, n), n)[..., :longer]


def convolve_by_products(x: Array, taps: Array) -> Array:
    """Computes :func:`convolve` as products with matrices.

    A loop over a few of the c at a time: what it keeps fits into the chip, and so small a program
    compiles in a tenth of the time.
    """
    longer = x.shape[-1] + taps.shape[-1] - 1
    exponent = max(2, (longer - 1).bit_length())
    p, q = 1 << (exponent + 1) // 2, 1 << exponent // 2
    if p > _LARGEST_ROWS:
        # A power of two, for which XLA has a program that fits.
        return convolve_by_fft(x, taps, p * q)
    x, taps = varying_alike(_rows(x, q), _rows(taps, q))
    batch = jnp.broadcast_shapes(x.shape[:-2], taps.shape[:-2])
    silence = jnp.zeros_like(x, shape=(*batch, -(-longer // q), q))
    matrix = _inner_matrix(q, x.dtype)
    at_once = min(p // 2, _BINS_AT_ONCE)

    def add(total: Array, first: Array) -> tuple[Array, None]:
        # The bins c + 1/2 for the first half of the c.
        c = 2 * (first + jnp.arange(at_once, dtype=jnp.int32)) + 1
        bins = partial(_bins, c=c, p=2 * p, matrix=matrix)
        (a, b), (c, d) = (jnp.split(bins(y), 2, axis=-1) for y in (x, taps))
        product = jnp.concatenate([a * c - b * d, a * d + b * c], axis=-1) * (2 / (p * q))
        return total + _transpose(bins, silence, product), None

    total, _ = jax.lax.scan(add, silence, at_once * jnp.arange(p // 2 // at_once, dtype=jnp.int32))
    return total.reshape(*batch, -(-longer // q) * q)[..., :longer]


@partial(jax.jit, static_argnames="n")
def rfft_by_products(x: Array, *, n: int) -> Array:
    """Computes :func:`rfft` as products with matrices."""
    x = x[..., :n]
    p, q = _factors(n)
    if p == 1:
        return _bins_by_one_product(x, n)
    # The sums over a are those of real numbers: the ones that are left out are conjugates of the
    # others, in the opposite order.
    c = jnp.arange(p // 2 + 1, dtype=jnp.int32)
    parts = _bins(_rows(x, q), c, p, _inner_matrix(q, x.dtype))
    first = jnp.swapaxes(jax.lax.complex(*jnp.split(parts, 2, axis=-1)), -1, -2)
    count = q // 2 + 1
    second = jnp.flip(first[..., q - count :, 1 : (p + 1) // 2], (-2, -1)).conj()
    bins = jnp.concatenate([first[..., :count, :], second], axis=-1)
    return bins.reshape(*bins.shape[:-2], count * p)[..., : n // 2 + 1]


def _bins_by_one_product(x: Array, n: int) -> Array:
    """The bins in as many columns as samples: imaginary parts that are always zero are left out."""
    a, c = (jnp.arange(size, dtype=jnp.int32) for size in (x.shape[-1], n // 2 + 1))
    real, imaginary = rotations(a, c, n, x.dtype)
    matrix = jnp.concatenate([real, imaginary[:, 1 : (n + 1) // 2]], axis=-1)
    bins = _product("...a,ac->...c", x, matrix)
    edges = [(0, 0)] * (x.ndim - 1) + [(1, 1 - n % 2)]
    imaginary = jnp.pad(bins[..., n // 2 + 1 :], edges)
    return jax.lax.complex(bins[..., : n // 2 + 1], imaginary[..., : n // 2 + 1])


def irfft_by_products(spectrum: Array, *, n: int) -> Array:
    """Computes :func:`irfft` as products with matrices: the transpose of :func:`rfft`."""
    bins = n // 2 + 1
    # All bins but that of 0 Hz and that of an even n's Nyquist count twice.
    weights = np.full(bins, 2 / n)
    weights[0] = 1 / n
    weights[(n + 1) // 2 :] = 1 / n
    real, imaginary = (
        x * with_ndim(weights, x.ndim).astype(x.dtype) for x in (spectrum.real, spectrum.imag)
    )
    silence = jnp.zeros_like(real, shape=(*real.shape[:-1], n))
    transform = partial(rfft_by_products, n=n)
    return _transpose(transform, silence, jax.lax.complex(real, -imaginary))


def _transpose(linear: Callable[[Array], Array], like: Array, y: Array) -> Array:
    """The transpose of a linear function of an array like this one, at y."""
    # `jax.linear_transpose` does not take the types of `jax.shard_map`.
    return jax.vjp(linear, like)[1](y)[0]


def _has_products(n: int) -> bool:
    return _factors(n)[1] <= _LARGEST_MATRIX


def _factors(n: int) -> tuple[int, int]:
    """Factors p and q of two products, p not above q; 1 and n where one product is done."""
    p = max(p for p in range(1, math.isqrt(n) + 1) if n % p == 0)
    return (p, n // p) if n > _LARGEST_FACTOR and n // p <= _LARGEST_FACTOR else (1, n)


def _rows(x: Array, size: int) -> Array:
    """The samples in rows of this size, the last one filled with zeros."""
    count = -(-x.shape[-1] // size)
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, count * size - x.shape[-1])])
    return x.reshape(*x.shape[:-1], count, size)


def _inner_matrix(q: int, dtype: np.dtype) -> Array:
    """Multiplies rows of q complex numbers, real parts before imaginary ones, by the transform."""
    b = jnp.arange(q, dtype=jnp.int32)
    cos, sin = rotations(b, b, q, dtype)
    return jnp.block([[cos, sin], [-sin, cos]])


def _bins(x: Array, c: Array, p: int, matrix: Array) -> Array:
    """The sums over rows a with the rotations ``a c / p``, and their transforms along the rows.

    Returns for each c the bins of all d, real parts before imaginary ones.
    """
    rows, q = x.shape[-2:]
    a, b = jnp.arange(rows, dtype=jnp.int32), jnp.arange(q, dtype=jnp.int32)
    outer = jnp.concatenate(rotations(c, a, p, x.dtype), axis=-2)
    real, imaginary = jnp.split(_product("...ab,ca->...cb", x, outer), 2, axis=-2)
    cos, sin = (with_ndim(y, x.ndim) for y in rotations(c, b, p * q, x.dtype))
    sums = jnp.concatenate([real * cos - imaginary * sin, real * sin + imaginary * cos], axis=-1)
    return _product("...cb,bd->...cd", sums, matrix)


def _product(axes: str, x: Array, matrix: Array) -> Array:
    # Without a barrier XLA would compute the matrix again for each tile of the product.
    matrix = jax.lax.optimization_barrier(matrix)
    return jnp.einsum(axes, x, matrix, precision=jax.lax.Precision.HIGHEST)


@partial(jax.jit, static_argnums=(2, 3))
def rotations(a: Array, c: Array, n: int, dtype: np.dtype) -> tuple[Array, Array]:
    r"""Real and imaginary part of :math:`e^{-2\pi j a c / n}` for each row a and column c.

    They are computed in the program, which would be large if it contained such matrices. Whole
    quarters of a turn are taken away in integers, so that at most an eighth is left to round.
    """
    turn = a[:, None] * c[None] % n
    quarter = (4 * turn + n // 2) // n
    angle = (4 * turn - quarter * n).astype(dtype) * (math.pi / (2 * n))
    square = angle * angle
    cos, sin = (
        _polynomial(square, [(-1) ** i / math.factorial(2 * i + odd) for i in range(9)])
        for odd in (0, 1)
    )
    sin = angle * sin
    is_odd, is_upper = quarter % 2 == 1, quarter % 4 >= 2
    real, imaginary = jnp.where(is_odd, sin, cos), jnp.where(is_odd, cos, sin)
    # The cosine is negative in quarters 1 and 2, the sine in 2 and 3; the imaginary part is -sine.
    return (
        jnp.where(is_odd ^ is_upper, -real, real),
        jnp.where(is_upper, imaginary, -imaginary),
    )


def _polynomial(x: Array, coefficients: list[float]) -> Array:
    """The polynomial with these coefficients, lowest first."""
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
