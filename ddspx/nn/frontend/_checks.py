"""Checks that several configs of the front-end share."""

from collections.abc import Collection
from typing import Any, get_args

from ddspx._checks import number, one_of, size


def check_flag(name: str, value: object) -> None:
    """Raises a ValueError unless `value` is True or False."""
    one_of(name, value, (True, False))


def check_class(name: str, value: object, union: Any) -> None:
    """Raises a TypeError unless the class of `value` is a member of `union`."""
    classes = get_args(union)
    # Subclasses are refused: JSON holds the name of the class, and could not be loaded again.
    if type(value) not in classes:
        names = ", ".join(cls.__name__ for cls in classes)
        hint = f"; write {value.__name__}()" if isinstance(value, type) else ""
        raise TypeError(f"`{name}` must be one of {names}, got {value!r}{hint}.")


def check_parts(config: Any, allowed: Collection[str]) -> None:
    """Converts `trainable` to a tuple, and raises an error unless all its parts are `allowed`."""
    if isinstance(config.trainable, str):
        raise TypeError(
            f"`trainable` must be a tuple of names of parts, got the string {config.trainable!r}."
        )
    # A list would make the config unhashable.
    object.__setattr__(config, "trainable", tuple(config.trainable))
    for part in config.trainable:
        one_of("trainable", part, allowed)


def check_n_taps(value: object) -> None:
    """Raises an error unless `value` is a positive odd int."""
    if size("n_taps", value) % 2 == 0:
        raise ValueError(f"`n_taps` must be odd, got {value}: the middle tap is at lag 0.")


def check_floor(value: object) -> None:
    """Raises an error unless the floor, its reciprocal and their gradients fit float32."""
    number("floor", value, least=1e-30)
    number("floor", value, most=1e30)
