"""Second-order sections and their state in a form that float32 can carry."""

from typing import NamedTuple

import jax.numpy as jnp

from ddspx._typing import Array


class Section(NamedTuple):
    r"""A section about the point :math:`z = \sigma` (1 or -1) that its poles are nearest to.

    With :math:`\delta = \sigma z - 1` the denominator is :math:`\delta^2 + d_1 \delta + d_2`, and
    the state is s, the first of the transposed direct form, and :math:`t = s + \sigma s_2`. Where
    a filter is low and narrow, its poles are near 1 and :math:`s_2` is near -s: their sum, formed
    in float32 at every sample, is what direct forms lose, and powers of their matrix lose more.
    Measured on a low-pass of 40 Hz and quality 10 at 48 kHz, float32 against float64: this form
    3e-6 of the output's peak, SciPy's 6e-4, blocks of direct form 0.6.
    """

    sign: Array
    d1: Array
    d2: Array
    b0: Array
    b1: Array
    total: Array
    """The numerator at the point: b0 + sign * b1 + b2."""

    def gains(self) -> tuple[Array, Array]:
        """What a sample adds to s and to t."""
        a1 = self.sign * (self.d1 - 2)
        return self.b1 - a1 * self.b0, self.sign * (self.total - self.d2 * self.b0)


def about_a_point(sos: Array, sign: Array) -> Section:
    """Sections ``(..., 6)`` about the points `sign`, ``(...)``."""
    b0, b1, b2, _, a1, a2 = jnp.unstack(sos, axis=-1)
    d1, d2 = 2 + sign * a1, (1 + sign * a1) + a2
    return Section(sign, d1, d2, b0, b1, b0 + sign * b1 + b2)


def nearest_point(a1: Array) -> Array:
    return jnp.where(a1 <= 0, 1, -1).astype(a1.dtype)


def about_point(state: Array, sign: Array) -> Array:
    """Of s and t about both points, s and the t about one."""
    s, t, other = jnp.unstack(state, axis=-1)
    return jnp.stack([s, jnp.where(sign > 0, t, other)], axis=-1)


def about_both(state: Array, sign: Array) -> Array:
    """Of s and t about one point, s and the t about 1 and about -1, which add up to 2 s."""
    s, t = jnp.unstack(state, axis=-1)
    other = 2 * s - t
    return jnp.stack([s, jnp.where(sign > 0, t, other), jnp.where(sign > 0, other, t)], axis=-1)
