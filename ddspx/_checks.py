"""Boundary checks shared by the whole package.

Static facts (Python ints, shapes, choices) are checked before first use and reported as one
sentence that names the argument, the value, what is allowed and the fix. Traced values are
never checked here: data is validated once, on the host, in :mod:`ddspx.io`. Arrays need jax, which
is imported where they are; checks of numbers and words are also a command's, which answers without.
"""

import math
from collections.abc import Collection
from numbers import Integral
from typing import TYPE_CHECKING, Any, get_args

from ddspx._choices import FrequencyScale

if TYPE_CHECKING:
    import jax


def positive_int(name: str, value: object) -> int:
    """Returns `value` as an int, or raises a TypeError or ValueError that names it."""
    return _int_from(1, name, value)


def non_negative_int(name: str, value: object) -> int:
    """Like :func:`positive_int`, but 0 is allowed."""
    return _int_from(0, name, value)


def _int_from(least: int, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"`{name}` must be a Python int, got {value!r} ({type(value).__name__}); "
            "sizes and rates are static, so convert it with int() outside jit."
        )
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}.")
    return int(value)


def one_of(name: str, value: object, allowed: Collection[object]) -> None:
    """Raises a ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        options = ", ".join(repr(option) for option in allowed)
        raise ValueError(f"`{name}` must be one of {options}, got {value!r}.")


def at_least_ndim(name: str, shape: tuple[int, ...], ndim: int, axes: str) -> None:
    """Raises a ValueError unless `shape` has at least `ndim` axes, described by `axes`."""
    if len(shape) < ndim:
        raise ValueError(
            f"`{name}` must have shape {axes}, got {shape}; add the missing axis "
            "(for example with `[None]`)."
        )


def same_size(names: str, left: int, right: int, axis: str) -> None:
    """Raises a ValueError unless two arguments agree on the size of an axis."""
    if left != right:
        raise ValueError(f"{names} must have the same number of {axis}, got {left} and {right}.")


def frequency_range(fmin: float, fmax: float, scale: FrequencyScale) -> None:
    """Raises a ValueError unless a scale of hearing is known and the range lies on it."""
    one_of("scale", scale, get_args(FrequencyScale))
    if not 0 <= fmin < fmax < math.inf or (scale == "log" and fmin == 0):
        least = "above 0" if scale == "log" else "at least 0"
        raise ValueError(
            f"`fmin` must be {least} and below `fmax` on the scale {scale!r}, got {fmin} and "
            f"{fmax} Hz."
        )


def floats(**arrays: Any) -> "list[jax.Array]":
    """Arguments as arrays of their common dtype, which must be float32 or float64."""
    import jax.numpy as jnp

    out = [jnp.asarray(array) for array in arrays.values()]
    for name, array in zip(arrays, out, strict=True):
        if array.dtype not in (jnp.float32, jnp.float64):
            raise TypeError(
                f"`{name}` must be float32 or float64, got {array.dtype}; convert it with "
                ".astype (and divide integer audio by its full scale, 32768 for int16)."
            )
    dtype = jnp.result_type(*out)
    return [array.astype(dtype) for array in out]


def broadcast_batch(**shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that the batch axes of several arguments broadcast to, or a ValueError."""
    import jax.numpy as jnp

    try:
        return jnp.broadcast_shapes(*shapes.values())
    except ValueError:
        listed = ", ".join(f"{shape} of `{name}`" for name, shape in shapes.items())
        raise ValueError(
            f"the batch axes must be equal or broadcast, got {listed}; every array has its batch "
            "axes first."
        ) from None
