"""Variables that training does not change."""

import jax.numpy as jnp
import numpy as np
from flax import nnx


class Fixed(nnx.Variable):
    """A variable that is saved with the model but not trained: it is not an `nnx.Param`."""


def number(values: np.ndarray, *, trainable: bool) -> nnx.Variable:
    """A float32 variable: an `nnx.Param` if it is trainable, otherwise `Fixed`."""
    return (nnx.Param if trainable else Fixed)(jnp.asarray(values, jnp.float32))
