"""Numbers of a model that its training leaves alone."""

import jax.numpy as jnp
import numpy as np
from flax import nnx


class Fixed(nnx.Variable):
    """A number of a model that its training leaves alone: stored with it, and no `nnx.Param`."""


def number(values: np.ndarray, *, trainable: bool) -> nnx.Variable:
    """Float32 numbers, that learn or do not."""
    return (nnx.Param if trainable else Fixed)(jnp.asarray(values, jnp.float32))
