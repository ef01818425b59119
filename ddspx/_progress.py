"""The interface of progress reports."""

from collections.abc import Callable

Progress = Callable[[str, float, float | None], object]
"""A function that long work calls to report its progress: ``progress(what, done, total)``.

`what` names the work. `done` and `total` have the same unit: seconds of sound, a number of
recordings, or their bytes; `total` is None if it is not known yet.
"""


def no_progress(what: str, done: float, total: float | None) -> None:
    """A `Progress` that ignores the reports."""
