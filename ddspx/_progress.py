"""How work that takes long says how far it is."""

from collections.abc import Callable

Progress = Callable[[str, float, float | None], object]
"""Told what is being done, how far it is, and how far it goes: ``progress(what, done, total)``.

`done` and `total` have one unit, seconds of sound or a number of recordings; `total` is None where
it is not known yet.
"""


def no_progress(what: str, done: float, total: float | None) -> None:
    """A `Progress` that tells nobody."""
