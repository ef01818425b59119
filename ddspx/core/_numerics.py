"""Logarithm, square root and quotient that stay finite, and helpers for JAX's transformations."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import floats
from ddspx._typing import Array, ArrayLike, Float

T = TypeVar("T")
A = TypeVar("A", jax.Array, np.ndarray)


def safe_log(x: Float[ArrayLike, "*shape"], *, eps: float = 1e-5) -> Float[Array, "*shape"]:
    r"""Natural logarithm with a floor under its argument.

    .. math:: y = \ln \max(x, \varepsilon)

    Prevents the minus infinity of silence and the unbounded gradient :math:`1/x` beside it.

    Args:
      x: values, linear; negative ones count as `eps`.
      eps: positive floor, in the unit of `x`. Static.

    Returns:
      :math:`y \ge \ln \varepsilon`, in the dtype of `x`.

    Raises:
      TypeError: `x` is neither float32 nor float64.
      ValueError: `eps` is not positive.

    Properties:
      Differentiable in `x`: the gradient is at most 1/eps, and zero below `eps`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> [round(v, 2) for v in core.safe_log(jnp.array([0.0, 1e-12, 1.0])).tolist()]
      [-11.51, -11.51, 0.0]

    References:
      DDSP's function of this name replaces only :math:`x \le 0`, so there 1e-12 maps to -27.6
      while 0 maps to -11.5. Here the function is monotone and continuous.
    """
    if not eps > 0:
        raise ValueError(f"`eps` must be above 0, got {eps}.")
    (x,) = floats(x=x)
    return jnp.log(jnp.maximum(x, eps))


def safe_sqrt(x: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    r"""Square root whose gradient at zero is zero.

    .. math:: y = \sqrt{\max(x, 0)}, \qquad \left.\frac{dy}{dx}\right|_{x \le 0} = 0

    It prevents NaN: the slope of the root at zero is infinite, and its product with a cotangent of
    zero is NaN (for the magnitude of a silent bin or the level of a silent frame).

    Args:
      x: values; negative ones count as zero.

    Returns:
      :math:`y \ge 0`, in the dtype of `x`; exact, with no offset under the root.

    Raises:
      TypeError: `x` is neither float32 nor float64.

    Properties:
      Differentiable in `x`. The slope grows as :math:`x^{-1/2}` towards zero and is zero there.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> [float(f(jnp.array(0.0))) for f in (core.safe_sqrt, jax.grad(core.safe_sqrt))]
      [0.0, 0.0]
    """
    (x,) = floats(x=x)
    positive = x > 0
    # The inner `where` keeps the unused branch finite: its gradient is multiplied by zero, and
    # zero times infinity is NaN.
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def safe_divide(
    numerator: Float[ArrayLike, "*#shape"],
    denominator: Float[ArrayLike, "*#shape"],
    *,
    eps: float = 1e-7,
) -> Float[Array, "*#shape"]:
    r"""Quotient whose denominator is kept `eps` away from zero.

    .. math:: y = \frac{n}{s \max(|d|, \varepsilon)}, \qquad s = -1 \text{ if } d < 0
        \text{ else } 1

    Prevents 0/0 (when silence is normalized) and the overflow of :math:`n / d^2` in the gradient.

    Args:
      numerator: any values.
      denominator: any values; every axis has the size of the numerator's, or one.
      eps: smallest magnitude of the denominator, in its unit. Static.

    Returns:
      The quotient, in the dtype of the inputs; zero where the numerator is.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: `eps` is not positive.

    Properties:
      Differentiable in both arguments; zero gradient to a denominator below `eps`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.safe_divide(jnp.array([0.0, 1.0]), jnp.array([0.0, 4.0])).tolist()
      [0.0, 0.25]

    References:
      DDSP's function of this name replaces only a denominator that is exactly zero; one of
      1e-30 still overflows its gradient in float32.
    """
    if not eps > 0:
        raise ValueError(f"`eps` must be above 0, got {eps}.")
    numerator, denominator = floats(numerator=numerator, denominator=denominator)
    nearest = jnp.where(denominator < 0, -eps, eps).astype(denominator.dtype)
    return numerator / jnp.where(jnp.abs(denominator) < eps, nearest, denominator)


def sinc(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r""":math:`\sin(\pi x) / \pi x`, by its series near 0, where its derivatives are correct too.

    ``jnp.sinc`` is not used, because its derivative fails the type check of ``jax.shard_map`` in
    jax 0.12.
    """
    angle = jnp.pi * x
    square = angle * angle
    is_near = jnp.abs(x) < 1e-3
    far = jnp.where(is_near, 1, angle)
    return jnp.where(is_near, 1 - square / 6 * (1 - square / 20), jnp.sin(far) / far)


def with_ndim(array: A, ndim: int) -> A:
    """Adds leading axes of size one, so that the array has `ndim` axes."""
    return array.reshape((1,) * (ndim - array.ndim) + array.shape)


def varying_alike(*trees: T) -> tuple[T, ...]:
    """The same values, whose types all vary over the mesh axes of any of them.

    Under ``jax.shard_map`` the type of an array holds the mesh axes along which it varies between
    devices. JAX combines arrays that vary over different axes in a sum or a product. But where a
    loop or a rule of differentiation compares types, for example of a state of zeros and the data,
    they must vary over the same axes.
    """
    leaves = jax.tree.leaves(trees)

    def alike(x: Array) -> Array:
        # Zeros made from an array vary over its axes, but are not computed from its values.
        for other in leaves:
            x = x + jnp.zeros_like(other, shape=(), dtype=x.dtype)
        return x

    return jax.tree.map(alike, trees)


def linear_map(
    definition: Callable[[Any], Array],
    forward: Callable[[Any], Array],
    backward: Callable[[Array], Any],
    along: tuple[Array, ...],
    like: Array,
) -> Array:
    r"""A linear map with a transpose written by hand, for the tangent of a ``custom_jvp``.

    .. math:: y = L x \quad\text{as}\quad
        \begin{pmatrix} I & 0 \\ -L & I \end{pmatrix} \begin{pmatrix} x \\ y \end{pmatrix}
        = \begin{pmatrix} x \\ 0 \end{pmatrix}

    The solution of a linear system is the only function under ``vmap`` for which JAX accepts a
    transpose written by hand. (A ``custom_vjp`` has no forward mode, a ``custom_jvp`` no transpose,
    and ``linear_call`` no batching rule.)

    Args:
      definition: L, in operations that JAX can differentiate, because L may depend on the
        variables of a further derivative.
      forward: a fast implementation of L.
      backward: a fast implementation of the transpose of L.
      along: x, the input of the map.
      like: an array with the shape and dtype of y.
    """

    def plus(tree: Any, number: Array) -> Any:
        return jax.tree.map(lambda leaf: leaf + number, tree)

    def equation(pair: Any) -> Any:
        x, y = pair
        mapped = definition(plus(x, linear_zero(y)))
        return plus(x, linear_zero(mapped)), y - mapped

    def linear_zero(tree: Any) -> Array:
        """Zero, but linear in the arrays: JAX cannot transpose a system with a constant part."""
        empty = (jax.lax.slice_in_dim(jnp.ravel(x), 0, 0) for x in jax.tree.leaves(tree))
        return sum(map(jnp.sum, empty), jnp.zeros((), like.dtype))

    def solve(_: Any, pair: Any) -> Any:
        return pair[0], pair[1] + forward(pair[0])

    def transposed(_: Any, pair: Any) -> Any:
        return jax.tree.map(jnp.add, pair[0], backward(pair[1])), pair[1]

    right = plus((along, jnp.zeros_like(like)), linear_zero(along))
    return jax.lax.custom_linear_solve(equation, right, solve, transposed)[1]
