"""Functions of many items in several processes, with the results in the order of the items.

The processes are spawned, not forked: a fork of a process that has used JAX may hang. So a script
that uses them needs the guard ``if __name__ == "__main__":`` around its work.
"""

import copy
import os
import signal
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, TypeVar

from ddspx._checks import size

Item = TypeVar("Item")
Result = TypeVar("Result")

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "NPROC": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""Variables of a worker, which are set before its libraries are imported.

It computes with one thread, as there is a worker for each core, and uses no accelerator, of which
every process would reserve the memory.
"""

# Of each worker, so many results may wait for an item before them that takes longer.
_AHEAD = 4
# Seconds that a worker gets to end by itself when its pipe is closed.
_PATIENCE_S = 5.0


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def mapped(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    ahead: int | None = None,
) -> Generator[Result, None, None]:
    """Applies a function to each item in several processes.

    A worker computes one item at a time. An item is taken when it can begin soon, so the items may
    be many. Warnings in a worker are given again here. However the iteration ends, the workers end:
    by an error, by Ctrl-C, because the iterator is closed, or because this process is killed.

    Args:
      function: a function that can be imported, or a `functools.partial` of one. It, the items and
        the results are sent from process to process.
      items: the items.
      workers: number of processes; with 1, the function is called in this process.
      ahead: number of items that may be taken before the result of the first of them is yielded,
        which bounds the memory; by default four for each worker.

    Yields:
      The results, in the order of the items.

    Raises:
      ChildProcessError: a worker was killed, for example because the memory was full.
      Exception: that of the function, when it is the turn of its item; a note names the item.

    Example:
      >>> from ddspx.io._pool import mapped
      >>> list(mapped(abs, [-1, 2, -3], workers=1))
      [1, 2, 3]
    """
    if size("workers", workers) == 1:
        yield from map(function, items)
    else:
        yield from pooled(function, items, workers=workers, ahead=ahead)


def pooled(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    ahead: int | None = None,
) -> Generator[Result, None, None]:
    """As :func:`mapped`, but a single worker is a process of its own, too.

    Every worker has one thread. So a result does not depend on the number of workers, even in its
    last digit: with more threads, XLA may divide a sum among them.
    """
    pool, remaining = _Pool(function, size("workers", workers)), iter(items)
    taken: deque[_Task] = deque()
    try:
        while True:
            while pool.has_room and len(taken) < (ahead or _AHEAD * workers):
                try:
                    item = next(remaining)
                except StopIteration:
                    break
                taken.append(pool.begin(item))
            if not taken:
                return
            pool.collect(is_waiting=taken[0].outcome is None)
            if taken[0].outcome is not None:
                yield taken.popleft().result()
    finally:
        pool.close()


def attempted(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    """Returns the result of a function, or its exception in a form that a worker can send."""
    try:
        return function(item)
    except Exception as error:
        return _portable(error, item)


class _Outcome(NamedTuple):
    """What became of an item: a value or an exception, and the warnings."""

    value: Any
    error: BaseException | None
    warned: list[tuple[str, type[Warning]]]


class _Task:
    """An item that has been taken."""

    def __init__(self, item: Any) -> None:
        self.item = item
        self.outcome: _Outcome | None = None

    def result(self) -> Any:
        assert self.outcome is not None
        for message, category in self.outcome.warned:
            warnings.warn(message, category, stacklevel=3)
        if self.outcome.error is not None:
            raise self.outcome.error
        return self.outcome.value


class _Pool:
    """Processes that are started when there are items for them."""

    def __init__(self, function: Callable[[Any], Any], workers: int) -> None:
        self._function, self._workers = function, workers
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, _Task]] = {}

    @property
    def has_room(self) -> bool:
        """Whether one more item can begin at once."""
        return len(self._busy) < self._workers

    def begin(self, item: Any) -> _Task:
        """Gives an item to a worker."""
        worker, task = self._idle.pop() if self._idle else _Worker(self._function), _Task(item)
        self._busy[worker.connection] = worker, task
        worker.send(item)
        return task

    def collect(self, *, is_waiting: bool) -> None:
        """Takes the results that are there; may wait until there is one."""
        busy: Any = self._busy
        for connection in wait(busy, None if is_waiting else 0):
            worker, task = busy[connection]
            task.outcome = worker.receive(task.item)
            self._idle.append(worker)
            del busy[connection]

    def close(self) -> None:
        """Ends all workers; those that are at work are killed."""
        busy = [worker for worker, _ in self._busy.values()]
        for worker in busy:
            worker.process.kill()
        for worker in busy + self._idle:
            worker.close()


class _Worker:
    """A spawned process that applies a function to one item after the other."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        with _environment(), _interrupts_blocked():
            self.process.start()
        theirs.close()

    def send(self, item: Any) -> None:
        try:
            self.connection.send(item)
        except (BrokenPipeError, ConnectionResetError):
            # It has ended, which `receive` reports.
            pass

    def receive(self, item: Any) -> _Outcome:
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join(_PATIENCE_S)
            raise ChildProcessError(
                f"a worker process {_ending(self.process.exitcode)} while it worked on {item}; if "
                "the memory was full, use fewer workers (--workers). In a script, work that uses "
                'several processes belongs under `if __name__ == "__main__":`.'
            ) from None

    def close(self) -> None:
        self.connection.close()
        self.process.join(_PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _ending(status: int | None) -> str:
    if status is None or status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _serve(function: Callable[[Any], Any], connection: Connection) -> None:
    """Applies the function to what comes through the connection, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            item = connection.recv()
        except (EOFError, OSError):
            return
        outcome = _applied(function, item)
        try:
            connection.send(outcome)
        except OSError:
            return
        except Exception as error:
            # The result cannot be sent from process to process.
            connection.send(_Outcome(None, _portable(error, item), []))


def _end_with_parent() -> None:
    """Ends this process with its parent: nobody would read the result any more."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _applied(function: Callable[[Any], Any], item: Any) -> _Outcome:
    with warnings.catch_warnings(record=True) as caught:
        try:
            value, error = function(item), None
        except Exception as raised:
            value, error = None, _portable(raised, item)
    return _Outcome(value, error, [(str(one.message), one.category) for one in caught])


def _portable(error: Exception, item: Any) -> Exception:
    """The exception with its traceback as a note, or one like it if it cannot be sent."""
    trace = "".join(traceback.format_exception(error))
    try:
        portable = copy.copy(error)
    except Exception:
        portable = RuntimeError(f"{type(error).__name__}: {error}")
    portable.add_note(f"It was raised in a worker process, for {item}:\n{trace}")
    return portable


@contextmanager
def _environment() -> Iterator[None]:
    """Sets the variables that a new process inherits."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Blocks SIGINT: a new process inherits that, and no traceback of its imports is printed."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
