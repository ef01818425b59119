"""Sums of harmonics on a GPU or TPU, with a sine for each harmonic and sample.

These programs are one kernel each. Sines are computed where they are added up and no array of them
is stored, because they are polynomials: XLA stores what it knows as expensive, as its own sine, if
it is used twice. The phase of harmonic k is k times that of the fundamental in fixed point, which
is exact, so that each sine has the accuracy of its type.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from ddspx._typing import Array, Bool, Float, UInt
from ddspx.core._numerics import with_ndim
from ddspx.core.synthesis._harmonic_taps import Size, tap, with_edges

# Terms of the polynomial of a sine, which make its error smaller than rounding.
_TERMS = {"float32": 5, "float64": 9}


def sum_of_harmonics(
    cycles: UInt[Array, "*batch hops hop_length"],
    products: Float[Array, "*batch frames harmonics"],
    pitched: Bool[Array, "*batch hops"],
    *,
    size: Size,
    slope: bool,
) -> Float[Array, "*batch hops hop_length"]:
    r""":math:`\sum_k A_k \sin k\phi`, or its derivative :math:`\sum_k k A_k \cos k\phi`."""
    waves = _harmonics(cycles, products, quarters=int(slope))
    weights = _over_hops(size.weights(products), waves.ndim - 1)
    taps = (jnp.moveaxis(x, -1, 0)[:, None] for x in _taps(products, pitched, size))
    amplitudes = sum(w * x for w, x in zip(weights, taps, strict=True))
    if slope:
        k = np.arange(1, len(waves) + 1, dtype=waves.dtype)
        waves = waves * k.reshape(-1, *(1,) * (waves.ndim - 1))
    return jnp.moveaxis(jnp.sum(amplitudes * waves, axis=0), 0, -1)


def products_adjoint(
    cycles: UInt[Array, "*batch hops hop_length"],
    cotangent: Float[Array, "*batch hops hop_length"],
    products: Float[Array, "*batch frames harmonics"],
    pitched: Bool[Array, "*batch hops"],
    *,
    size: Size,
) -> Float[Array, "*batch frames harmonics"]:
    r"""Cotangent of the products: :math:`\sum_j g_j w_t[j] \sin k\phi_j` in each tap."""
    waves = _harmonics(cycles, products)
    cotangent = jnp.moveaxis(cotangent, -1, 0)
    terms = [cotangent * w * waves for w in _over_hops(size.weights(products), cotangent.ndim)]
    zero = jnp.zeros_like(terms[0], shape=())

    def add(left: list[Array], right: list[Array]) -> list[Array]:
        return [x + y for x, y in zip(left, right, strict=True)]

    # One reduction of all taps computes the sines only once.
    taps = jax.lax.reduce(terms, [zero] * len(terms), add, (1,))
    taps = [jnp.moveaxis(x, 0, -1) for x in taps]
    _, transpose = jax.vjp(lambda x: _taps(x, pitched, size), products)
    return transpose(taps)[0]


def by_definition(
    phase: Float[Array, "*batch hops hop_length"],
    products: Float[Array, "*batch frames harmonics"],
    pitched: Bool[Array, "*batch hops"],
    size: Size,
) -> Float[Array, "*batch hops hop_length"]:
    """The sum of a phase in radians in floats; JAX derives higher derivatives from it."""
    k = jnp.arange(1, products.shape[-1] + 1, dtype=phase.dtype)
    sines = jnp.sin(with_ndim(k, phase.ndim + 1) * phase[..., None])
    taps = jnp.stack(_taps(products, pitched, size))
    return jnp.einsum("tj,t...k,...jk->...j", size.weights(products), taps, sines)


def _taps(products: Array, pitched: Array, size: Size) -> list[Array]:
    frames = with_edges(products, size)
    return [tap(frames, pitched, number, size) for number in range(len(size.offsets))]


def _harmonics(cycles: Array, products: Array, *, quarters: int = 0) -> Array:
    """``(harmonics, hop_length, *batch, hops)``, see `_sine`."""
    k = np.arange(1, products.shape[-1] + 1).astype(cycles.dtype)
    multiples = jnp.moveaxis(cycles, -1, 0) * k.reshape(-1, *(1,) * cycles.ndim)
    return _sine(multiples, products.dtype, quarters)


def _over_hops(weights: Array, ndim: int) -> Array:
    """``(taps, hop_length, ...)`` with axes of size one for a batch and hops."""
    return weights.reshape(*weights.shape, *(1,) * (ndim - 1))


def _sine(cycles: Array, dtype: jnp.dtype, quarters: int) -> Array:
    r"""The sine of a phase in fixed point, so many quarters of a turn later.

    :math:`\sin 2\pi x = \sin 2\pi(|x + 1/4| - 1/4)`, where :math:`x + 1/4` is in [-1/2, 1/2). So
    integers reduce the angle to a quarter of a turn without an error, and there the sine is x times
    a polynomial of its square.
    """
    bits = jnp.iinfo(cycles.dtype).bits
    ahead = cycles + np.asarray((1 + quarters) << (bits - 2), cycles.dtype)
    signed = jax.lax.bitcast_convert_type(ahead, f"int{bits}")
    x = (jnp.abs(signed) - (1 << (bits - 2))).astype(dtype) * 2.0**-bits
    square, total = x * x, 0
    for coefficient in _polynomial(_TERMS[jnp.dtype(dtype).name]):
        total = total * square + coefficient
    return total * x


@lru_cache
def _polynomial(terms: int) -> tuple[float, ...]:
    r"""Coefficients of :math:`\sin(2\pi x) / x` as a polynomial of its square, highest first."""
    domain = [0, 1 / 16]
    # As np.sinc is that of pi x.
    series = Chebyshev.interpolate(lambda s: 2 * np.pi * np.sinc(2 * np.sqrt(s)), terms - 1, domain)
    return tuple(series.convert(kind=Polynomial).coef[::-1].tolist())
