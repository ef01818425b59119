"""The axis vocabulary: every array annotation in the package is built from these names.

Axes are written as in :mod:`jaxtyping`: ``*batch`` is any number of leading axes, ``samples``
is audio time, ``frames`` is control time, and a last axis says what one frame holds
(``harmonics``, ``magnitudes``, ``bins``, ``features``). Annotations are documentation at run
time and are checked under pytest only.
"""

from jaxtyping import Array as Array
from jaxtyping import Bool as Bool
from jaxtyping import Complex as Complex
from jaxtyping import Float as Float
from jaxtyping import Int as Int
from jaxtyping import PRNGKeyArray as PRNGKeyArray
from jaxtyping import UInt as UInt

Key = PRNGKeyArray | UInt[Array, "2"]
"""A JAX random key, typed (``jax.random.key``) or raw (``jax.random.PRNGKey``)."""
