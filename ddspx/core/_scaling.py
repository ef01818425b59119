"""Maps from unbounded network outputs to physical ranges."""

import math

import jax
import jax.numpy as jnp

from ddspx._typing import Array, Float


def exp_sigmoid(
    x: Float[Array, "*shape"],
    *,
    exponent: float = 10.0,
    max_value: float = 2.0,
    threshold: float = 1e-7,
) -> Float[Array, "*shape"]:
    r"""Positive, bounded amplitudes from unbounded network outputs.

    .. math:: y = y_\mathrm{max}\, \sigma(x)^{\ln e} + \theta

    with :math:`e` the `exponent`. Far below zero it falls as :math:`e^{x}`, so that equal steps
    of `x` are equal steps in dB; far above it saturates.

    Args:
      x: network outputs.
      exponent: the slope far below zero, as the factor by which :math:`y` falls when
        :math:`x` falls by 1; more than 1. Static.
      max_value: the upper bound, less `threshold`, in linear amplitude. Static.
      threshold: the lower bound, in linear amplitude; it keeps a gradient alive in sums that
        are normalised. Static.

    Returns:
      Values in [threshold, max_value + threshold], in the dtype of `x`.

    Raises:
      ValueError: `exponent` is not greater than 1.

    Properties:
      Differentiable in `x`, with a finite gradient for every finite `x`: the power is taken in
      the logarithm, where nothing overflows.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> [round(v, 4) for v in core.exp_sigmoid(jnp.array([-5.0, 0.0, 5.0])).tolist()]
      [0.0, 0.4054, 1.9693]

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, appendix B.5.
    """
    if not exponent > 1:
        raise ValueError(f"`exponent` must be greater than 1, got {exponent}.")
    power = math.log(exponent)
    return max_value * jnp.exp(power * jax.nn.log_sigmoid(jnp.asarray(x))) + threshold
