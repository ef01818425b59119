"""The axis vocabulary: every array annotation in the package is built from these names.

Axes are written as in :mod:`jaxtyping`: ``*batch`` is any number of leading axes, ``samples``
is audio time, ``frames`` is control time, and a last axis says what one frame holds
(``harmonics``, ``magnitudes``, ``bins``, ``features``). Annotations are documentation at run
time and are checked under pytest only. Parameters are `Float[ArrayLike, ...]`, which includes
NumPy's arrays; results are `Float[Array, ...]`.
"""

from jax.typing import ArrayLike as ArrayLike
from jaxtyping import (
    Array as Array,
    Bool as Bool,
    Complex as Complex,
    Float as Float,
    Int as Int,
    Num as Num,
    PRNGKeyArray as PRNGKeyArray,
    UInt as UInt,
)

Key = PRNGKeyArray | UInt[Array, "words"]
"""A JAX random key, typed (``jax.random.key``) or raw (``jax.random.PRNGKey``)."""
