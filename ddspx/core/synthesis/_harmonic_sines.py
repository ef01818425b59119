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

from ddspx._typing import Array, Float, UInt

# Terms of the polynomial of a sine, which make its error smaller than rounding.
_TERMS = {"float32": 5, "float64": 9}


def sum_of_harmonics(
    cycles: UInt[Array, "*batch hops hop_length"],
    taps: tuple[Float[Array, "*batch hops harmonics"], ...],
    weights: Float[Array, "taps hop_length"],
    *,
    slope: bool,
) -> Float[Array, "*batch hops hop_length"]:
    r""":math:`\sum_k A_k \sin k\phi`, or its derivative :math:`\sum_k k A_k \cos k\phi`."""
    waves = _harmonics(cycles, taps[0].shape[-1], taps[0].dtype, quarters=int(slope))
    each = zip(_over_hops(weights, waves.ndim - 1), taps, strict=True)
    amplitudes = sum(w[None] * jnp.moveaxis(x, -1, 0)[:, None] for w, x in each)
    if slope:
        k = np.arange(1, len(waves) + 1, dtype=waves.dtype)
        waves = waves * k.reshape(-1, *(1,) * (waves.ndim - 1))
    return jnp.moveaxis(jnp.sum(amplitudes * waves, axis=0), 0, -1)


def taps_adjoint(
    cycles: UInt[Array, "*batch hops hop_length"],
    cotangent: Float[Array, "*batch hops hop_length"],
    weights: Float[Array, "taps hop_length"],
    *,
    n_harmonics: int,
) -> tuple[Float[Array, "*batch hops harmonics"], ...]:
    r"""Cotangent of the taps: :math:`\sum_j g_j w_t[j] \sin k\phi_j` for each hop, tap and k."""
    waves = _harmonics(cycles, n_harmonics, cotangent.dtype)
    cotangent = jnp.moveaxis(cotangent, -1, 0)
    terms = [(cotangent * w)[None] * waves for w in _over_hops(weights, cotangent.ndim)]
    zero = jnp.zeros_like(cotangent, shape=())

    def add(left: list[Array], right: list[Array]) -> list[Array]:
        return [x + y for x, y in zip(left, right, strict=True)]

    # A reduction of two taps computes the sines once. One of four would store them.
    sums = []
    for pair in range(0, len(terms), 2):
        sums += jax.lax.reduce(terms[pair : pair + 2], [zero] * 2, add, (1,))
    return tuple(jnp.moveaxis(x, 0, -1) for x in sums)


def _harmonics(cycles: Array, n_harmonics: int, dtype: jnp.dtype, *, quarters: int = 0) -> Array:
    """``(harmonics, hop_length, *batch, hops)``, see `_sine`."""
    k = np.arange(1, n_harmonics + 1).astype(cycles.dtype)
    multiples = jnp.moveaxis(cycles, -1, 0)[None] * k.reshape(-1, *(1,) * cycles.ndim)
    return _sine(multiples, dtype, quarters)


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
