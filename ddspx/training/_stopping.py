"""Ending a run by Ctrl-C or SIGTERM at a point where nothing is lost."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar

Item = TypeVar("Item")

_IS_OVER: ContextVar[Callable[[], bool]] = ContextVar("is_over", default=lambda: False)


class StopRequested(Exception):
    """An evaluation is left unfinished, because the run is to end."""


@contextmanager
def stop_request() -> Iterator[threading.Event]:
    """Makes Ctrl-C and SIGTERM set the event that it yields, so that a step is always completed.

    A second Ctrl-C or SIGTERM ends the process at once. Outside the main thread no handler can be
    set, so signals keep their usual effect there.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    both = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in both}

    def request(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before[signal.SIGINT])
        # Python would run a handler only when the step, or what is compiled, has ended.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interruptible(is_over: Callable[[], bool]) -> Iterator[None]:
    """Leaves the block at the next `raise_if_stopped` in it when `is_over`."""
    token = _IS_OVER.set(is_over)
    try:
        with suppress(StopRequested):
            yield
    finally:
        _IS_OVER.reset(token)


def raise_if_stopped() -> None:
    """Raises a StopRequested if the run is to end."""
    if _IS_OVER.get()():
        raise StopRequested


def until_stopped(items: Iterable[Item]) -> Iterator[Item]:
    """The items, one after the other, until the run is to end.

    An evaluation goes over its batches by it, so that it never delays the end by more than one of
    them. The run evaluates again when it is resumed.

    Raises:
      StopRequested: the run is to end.
    """
    for item in items:
        raise_if_stopped()
        yield item
