"""Decaying exponentials in place of sinusoids, whose frequency can be found by gradient descent.

The loss of a sinusoid as a function of its frequency has a local minimum at every side lobe of the
target's spectrum, so gradient descent seldom finds the right frequency. A complex pole z in place
of the angle removes these minima. Within the unit circle ``z**n`` decays, and the faster it decays,
the broader is its spectrum. So gradient ascent on the energy that it shares with a sinusoid leads
to the right frequency.
"""

import math

import jax
import jax.numpy as jnp

from ddspx._checks import at_least_ndim, broadcast_batch, positive_int, same_size, size
from ddspx._typing import Array, ArrayLike, Complex, Float


def exponential_basis(
    poles: Complex[ArrayLike, "*batch sinusoids"], *, n_samples: int
) -> Complex[Array, "*batch samples sinusoids"]:
    r"""Decaying complex sinusoids, the powers of complex poles.

    .. math:: B[n, k] = \hat z_k^n, \qquad
        \hat z = z \text{ if } |z| \le 1 \text{ else } 1 / \bar z

    A pole outside the unit circle is replaced by its mirror image at the circle, which has the same
    frequency. So no sinusoid grows, and poles need no bounds during optimization.

    Args:
      poles: complex numbers; the angle is the frequency in radians per sample, and the distance
        from the unit circle gives the decay.
      n_samples: number of powers. Static.

    Returns:
      The powers 0, 1, ..., in the precision of `poles`.

    Raises:
      TypeError: `n_samples` is not an int, or `poles` is not complex.
      ValueError: `n_samples` is not positive, or `poles` has no axis.

    Properties:
      Differentiable in `poles`, at zero too (powers are computed by squaring, without logarithm or
      angle), in forward and reverse mode and to any order; on the unit circle mirroring makes a
      corner. The relative error of power n is that of n roundings. JAX's gradient of a real
      function of a complex number is the conjugate of the direction of ascent: subtract multiples
      of ``jnp.conj(jax.grad(...)(poles))``. Static: `n_samples`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.exponential_basis(jnp.array([0.5j, 2.0j]), n_samples=3).tolist()
      [[(1+0j), (1+0j)], [0.5j, 0.5j], [(-0.25+0j), (-0.25+0j)]]

    References:
      Hayes, Saitis and Fazekas, `Sinusoidal Frequency Estimation by Gradient Descent
      <https://arxiv.org/abs/2210.14476>`_, ICASSP 2023. There poles are not mirrored, and the
      powers of a pole at 1.1 overflow float32 after 900 samples.
    """
    n_samples = positive_int("n_samples", n_samples)
    poles = _complex("poles", poles)
    at_least_ndim("poles", poles.shape, 1, "(*batch, sinusoids)")
    return _powers(_mirrored(poles), n_samples)


def exponential_bank(
    poles: Complex[ArrayLike, "*batch sinusoids"],
    gains: Complex[ArrayLike, "*gain_batch sinusoids"],
    *,
    n_samples: int,
) -> Float[Array, "*out_batch samples"]:
    r"""Sum of decaying sinusoids given by complex poles and gains.

    .. math:: y[n] = \Re \sum_k c_k \hat z_k^n

    with :math:`\hat z` as in :func:`exponential_basis`.

    Args:
      poles: complex numbers, as in :func:`exponential_basis`.
      gains: complex numbers: amplitude and phase of each sinusoid at sample 0.
      n_samples: length of the result. Static.

    Returns:
      Audio in linear amplitude, in the precision of `poles`.

    Raises:
      TypeError: `n_samples` is not an int, or an array is not complex.
      ValueError: `n_samples` is not positive, the number of sinusoids differs, or the batch axes
        do not broadcast.

    Properties:
      Differentiable in `poles` and `gains` like :func:`exponential_basis`. It is computed as a
      product of two matrices with about the square root of `n_samples` rows each, so it needs only
      the memory of the audio. Static: `n_samples`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> y = core.exponential_bank(jnp.array([0.5j]), jnp.array([8.0 + 0j]), n_samples=5)
      >>> y.tolist()
      [8.0, 0.0, -2.0, 0.0, 0.5]

    References:
      As :func:`exponential_basis`. The paper's exponentials have gain 1, so that only the decay
      determines their level.
    """
    n_samples = positive_int("n_samples", n_samples)
    poles = _complex("poles", poles)
    gains = _complex("gains", gains)
    at_least_ndim("poles", poles.shape, 1, "(*batch, sinusoids)")
    at_least_ndim("gains", gains.shape, 1, "(*batch, sinusoids)")
    same_size("`poles` and `gains`", poles.shape[-1], gains.shape[-1], "sinusoids")
    batch = broadcast_batch(poles=poles.shape[:-1], gains=gains.shape[:-1])
    # Power B i + j is the product of power i of z**B and power j of z.
    block = 1 << math.ceil(math.log2(n_samples) / 2)
    blocks = -(-n_samples // block)
    mirrored = _mirrored(jnp.broadcast_to(poles, (*batch, poles.shape[-1])))
    stride = mirrored
    for _ in range(block.bit_length() - 1):
        stride = stride * stride
    coarse = jnp.broadcast_to(gains, mirrored.shape)[..., None, :] * _powers(stride, blocks)
    fine = jnp.swapaxes(_powers(mirrored, block), -1, -2)
    exact = jax.lax.Precision.HIGHEST
    audio = jnp.matmul(coarse.real, fine.real, precision=exact)
    audio -= jnp.matmul(coarse.imag, fine.imag, precision=exact)
    return audio.reshape(*batch, blocks * block)[..., :n_samples]


def poles_to_hz(poles: Complex[ArrayLike, "*shape"], *, sample_rate: int) -> Float[Array, "*shape"]:
    r"""Frequency of the real sinusoid that a complex pole gives.

    .. math:: f = \frac{f_s}{2\pi} |\arg z|

    The amplitude is the modulus of the gain.

    Args:
      poles: complex numbers, as in :func:`exponential_basis`.
      sample_rate: samples per second. Static.

    Returns:
      Frequency in Hz, from 0 to Nyquist; 0 for a pole at zero.

    Raises:
      TypeError: `sample_rate` is not an int, or `poles` is not complex.
      ValueError: `sample_rate` is not positive.

    Properties:
      Differentiable in `poles`; zero gradient to a pole at zero. Static: `sample_rate`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.poles_to_hz(jnp.array([0.5j, 1 - 1j]), sample_rate=8000).tolist()
      [2000.0, 1000.0]
    """
    size("sample_rate", sample_rate)
    poles = _complex("poles", poles)
    has_angle = poles != 0
    angle = jnp.angle(jnp.where(has_angle, poles, 1))
    return jnp.where(has_angle, jnp.abs(angle), 0) * (sample_rate / (2 * math.pi))


def _complex(name: str, value: ArrayLike) -> Array:
    """`value` as an array, or a TypeError unless it is complex."""
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(
            f"`{name}` must be complex, got {array.dtype}; combine two real arrays with "
            "jax.lax.complex."
        )
    return array


def _mirrored(poles: Array) -> Array:
    """Mirrors poles outside the unit circle into it: ``1 / conj(z)`` replaces z."""
    return poles / jnp.maximum(jnp.square(poles.real) + jnp.square(poles.imag), 1)


def _powers(poles: Array, count: int) -> Array:
    """Powers 0 to count - 1 along a new axis before the last, by doubling."""
    square = poles[..., None, :]
    powers = jnp.ones_like(square)
    while powers.shape[-2] < count:
        powers = jnp.concatenate([powers, powers * square], axis=-2)
        square = square * square
    return powers[..., :count, :]
