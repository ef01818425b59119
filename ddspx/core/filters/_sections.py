"""Second-order sections and their state in a form that is accurate in float32."""

from typing import NamedTuple

import jax.numpy as jnp

from ddspx._typing import Array


class Section(NamedTuple):
    r"""A section, expanded about the point :math:`z = \sigma` (1 or -1) nearest to its poles.

    With :math:`\delta = \sigma z - 1` the denominator is :math:`\delta^2 + d_1 \delta + d_2`. The
    state is s, which is the first state :math:`s_1` of the transposed direct form, and
    :math:`t = s + \sigma s_2`. If a filter is low and narrow, its poles are near 1 and :math:`s_2`
    is near -s. Direct forms compute the sum of the two at every sample, and in float32 most of its
    digits cancel; powers of their matrix, as blocks need them, lose even more. Errors in float32
    relative to the output's peak, for a low-pass of 40 Hz and quality 10 at 48 kHz: 6e-7 in this
    form, 6e-4 in SciPy's, 0.6 in blocks of the direct form.
    """

    sign: Array
    d1: Array
    d2: Array
    b0: Array
    b1: Array
    total: Array
    """The numerator at the point ``z = sign``: b0 + sign * b1 + b2."""

    def gains(self) -> tuple[Array, Array]:
        """The gains from an input sample to s and to t."""
        a1 = self.sign * (self.d1 - 2)
        return self.b1 - a1 * self.b0, self.sign * (self.total - self.d2 * self.b0)


def about_a_point(sos: Array, sign: Array) -> Section:
    """Converts sections ``(..., 6)`` to the form about the points `sign`, of shape ``(...)``."""
    b0, b1, b2, _, a1, a2 = jnp.unstack(sos, axis=-1)
    d1, d2 = 2 + sign * a1, (1 + sign * a1) + a2
    return Section(sign, d1, d2, b0, b1, b0 + sign * b1 + b2)


def nearest_point(a1: Array) -> Array:
    return jnp.where(a1 <= 0, 1, -1).astype(a1.dtype)


def about_point(state: Array, sign: Array) -> Array:
    """From the state (s, t about 1, t about -1), s and the t about the point `sign`."""
    s, t, other = jnp.unstack(state, axis=-1)
    return jnp.stack([s, jnp.where(sign > 0, t, other)], axis=-1)


def about_both(state: Array, sign: Array) -> Array:
    """From s and t about the point `sign`, the state (s, t about 1, t about -1).

    The two t add up to 2 s.
    """
    s, t = jnp.unstack(state, axis=-1)
    other = 2 * s - t
    return jnp.stack([s, jnp.where(sign > 0, t, other), jnp.where(sign > 0, other, t)], axis=-1)
