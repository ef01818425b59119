"""Boundary checks shared by the whole package.

Static facts (Python ints, shapes, choices) are checked before first use and reported as one
sentence that names the argument, the value, what is allowed and the fix. Traced values are
never checked here: data is validated once, on the host, in :mod:`ddspx.io`.
"""

from collections.abc import Collection
from numbers import Integral


def positive_int(name: str, value: object) -> int:
    """Returns `value` as an int, or raises a TypeError or ValueError that names it."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"`{name}` must be a Python int, got {value!r} ({type(value).__name__}); "
            "sizes and rates are static, so convert it with int() outside jit."
        )
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1, got {value}.")
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
