"""Several processes of one run: how they start, agree, and end together.

They meet in JAX's coordination service, which process 0 holds. Its store of keys is used for signs
of life as well: a collective that waits for a lost process waits for many minutes, or for ever.
"""

import ctypes
import hashlib
import itertools
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import jax

from ddspx.training._config import ProcessConfig
from ddspx.training._devices import is_writer

T = TypeVar("T")

# Seconds between two signs of life; without one for so long a process is lost, or for so long after
# a collective has broken; and until the first sign.
_BEAT_S, _SILENCE_S, _BROKEN_S, _FIRST_S = 1.0, 30.0, 5.0, 300.0
_AGAIN = "the same command in all processes resumes from the newest checkpoint"
_POLL_S = 0.2
_places, _gatherings = itertools.count(), itertools.count()
# The watch of this process, while there is one.
_watches: list["_Watch"] = []


@contextmanager
def start_processes(config: ProcessConfig) -> Iterator[None]:
    """Connects this process with the others that train the same model, for a ``with`` block.

    Begin the block before anything is computed, or call ``jax.distributed.initialize`` yourself.
    Then the functions that train use the devices of all processes. Each process calls them with the
    same arguments, on the same data and with an `output` that all of them see; process 0 writes.
    Nothing is done for a process that is alone.

    In the block, a process that fails ends the others: each prints the error, and exits at once
    with status 1. So do those that another one gives no sign of life any more.

    If the others do not come in time, a sentence is printed and the process exits with status 2:
    JAX would abort it.

    Args:
      config: where the others are.

    Raises:
      ConnectionError: process 0 cannot take its address.
      ValueError: no cluster was found that tells where they are.
      RuntimeError: JAX has computed something already.
    """
    if config.is_alone:
        yield
        return
    if not jax.distributed.is_initialized():
        _connect(config)
    with _watched():
        yield


def _connect(config: ProcessConfig) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    where = "the address that JAX found" if config.distributed else config.coordinator
    sentence = (
        f"the {config.processes or 'other'} processes did not meet at {where} within "
        f"{config.start_timeout_s} s; start all of them, with an address of process 0 that the "
        "others reach."
    )
    patience = threading.Timer(config.start_timeout_s, _exit, [sentence, 2])
    patience.daemon = True
    patience.start()
    try:
        jax.distributed.initialize(
            config.coordinator,
            config.processes,
            config.process_id,
            cluster_detection_method=None if config.distributed else "deactivate",
            initialization_timeout=config.start_timeout_s + 60,
        )
    except jax.errors.JaxRuntimeError as error:
        raise ConnectionError(
            f"the processes cannot meet at {where} ({_first_line(error)}); choose another port, or "
            "an address of the machine of process 0."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"no cluster was found that has started this process ({_first_line(error)}); give "
            "`coordinator`, `process_id` and `processes`."
        ) from error
    finally:
        patience.cancel()
    # JAX's handler of SIGTERM would keep the signal for itself.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


Condition = Callable[[], bool]


@contextmanager
def together() -> Iterator[Callable[[Condition], Condition]]:
    """One run of several processes, each of which ends if another one is lost.

    Yields:
      A function that makes of a condition of one process one of all. That one becomes true in the
      same call in all processes, a second or two after the first of them has it.
    """
    if jax.process_count() == 1:
        yield lambda wanted: wanted
        return
    with _watched() as watch:
        yield watch.agreed
        # No process leaves before process 0 has written everything.
        all_gather("")
        watch.forget()


@contextmanager
def _watched() -> Iterator["_Watch"]:
    """Ends this process if another one is lost, and the others if this one fails.

    Another process is lost if it has failed, or has given no sign of life for half a minute. Then a
    sentence is printed and this process exits at once with status 1, because it may be waiting for
    the other in a collective, which cannot be interrupted. In a block inside another one, it is the
    outer one that watches.
    """
    if _watches:
        yield _watches[0]
        return
    if jax.default_backend() == "cpu":
        # A program that a CPU loads from the cache has lost the order of its collectives, and two
        # processes then take one for the other.
        jax.config.update("jax_enable_compilation_cache", False)
    watch = _Watch()
    _watches.append(watch)
    try:
        yield watch
    except jax.errors.JaxRuntimeError as error:
        watch.find_who_broke_it()
        watch.tell(error)
        raise
    except BaseException as error:
        watch.tell(error)
        raise
    finally:
        _watches.clear()
        watch.close()


def all_gather(value: str) -> list[str]:
    """The value of each process, in every process; all must call it, and wait for each other.

    A collective would not wait as long as reading all recordings takes.
    """
    if jax.process_count() == 1:
        return [value]
    store, place = _store(), f"ddspx/all_gather/{next(_gatherings)}"
    store.key_value_set(f"{place}/{jax.process_index()}", value)
    while len(found := dict(store.key_value_dir_get(f"{place}/"))) < jax.process_count():
        time.sleep(_POLL_S)
    return [found[f"{place}/{index}"] for index in range(jax.process_count())]


def in_turn(call: Callable[[], T]) -> T:
    """Calls a function in process 0, and then in all others."""
    if is_writer():
        result = call()
        all_gather("")
        return result
    all_gather("")
    return call()


def check_alike(**settings: Any) -> None:
    """Raises a ValueError unless all processes have the same settings."""
    text = json.dumps(settings, sort_keys=True, default=repr).encode()
    first, *others = all_gather(hashlib.sha256(text).hexdigest())
    if different := [index for index, digest in enumerate(others, 1) if digest != first]:
        raise ValueError(
            f"process {different[0]} has other data, settings or another model than process 0; "
            "start all with the same command, on the same data."
        )


def _store() -> Any:
    """JAX's store of keys, to which it gives no public access."""
    from jax._src.distributed import global_state

    return global_state.client


def _at_abort(call: Callable[[int], object]) -> Callable[[], object]:
    """Makes a function be called where JAX aborts this process; returns one that undoes it.

    JAX does so in a thread of its own when process 0 is gone, and a handler of `signal.signal`
    would be called too late.
    """
    if os.name != "posix":
        return lambda: None
    libc, kind = ctypes.CDLL(None), ctypes.CFUNCTYPE(None, ctypes.c_int)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    handler = kind(call)
    before = libc.signal(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p))
    # The closure keeps the handler alive.
    return lambda: handler and libc.signal(signal.SIGABRT, before)


def _exit(sentence: str, status: int) -> None:
    """Ends this process, whatever its threads are waiting for."""
    print(f"\nddspx: {sentence}", file=sys.stderr, flush=True)
    os._exit(status)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]


class _Agreement:
    """A condition of one process, made one of all.

    It is asked for in the same sequence of calls in all processes. When one of them has it, each
    publishes how many calls it has answered by no, and answers no other one before all have done
    so. The largest of these numbers is that of the last call which all answer by no. No collective
    is used: a CPU would confuse it with those of the step.
    """

    def __init__(self, wanted: Condition, store: Any, place: str, index: int, count: int) -> None:
        self._wanted, self._store, self._place = wanted, store, place
        self._index, self._count = index, count
        self._lock, self._calls, self._is_wanted = threading.Lock(), 0, False
        self._known, self._last_call = threading.Event(), 0

    def is_reached(self) -> bool:
        """Answers a call, in the thread that trains."""
        with self._lock:
            if not self._is_wanted:
                self._calls += 1
                return False
        self._known.wait()
        self._calls += 1
        return self._calls > self._last_call

    def advance(self) -> None:
        """Learns whether a process has the condition, and then the last call; in another thread."""
        if self._known.is_set():
            return
        calls = self._store.key_value_dir_get(f"{self._place}/")
        if not self._is_wanted and (calls or self._wanted()):
            with self._lock:
                self._is_wanted = True
            self._store.key_value_set(f"{self._place}/{self._index}", str(self._calls))
        elif len(calls) == self._count:
            self._last_call = max(int(number) for _, number in calls)
            self._known.set()


class _Watch:
    """Gives signs of life in the store of keys, and ends this process if another one is lost."""

    def __init__(self) -> None:
        self._store = _store()
        self._place = f"ddspx/{next(_places)}"
        self._index, self._over = jax.process_index(), threading.Event()
        self._agreements: list[_Agreement] = []
        self._numbers = itertools.count()
        self._limit_s, self._answered = _SILENCE_S, time.monotonic()
        # For each other process its newest sign, and when it came.
        self._signs = {i: ("", self._answered) for i in range(1, jax.process_count())}
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._beat, self._guard)
        ]
        for thread in self._threads:
            thread.start()
        self._abort = _at_abort(lambda _: self._end("JAX has lost process 0, or a silent one"))

    def agreed(self, wanted: Condition) -> Condition:
        """A condition that becomes true in the same call in all processes, if one has `wanted`."""
        place = f"{self._place}/calls/{next(self._numbers)}"
        each = _Agreement(wanted, self._store, place, self._index, jax.process_count())
        self._agreements.append(each)
        return each.is_reached

    def forget(self) -> None:
        """Drops the conditions of a run that has ended in all processes."""
        self._agreements = []

    def find_who_broke_it(self) -> None:
        """Waits until the process that broke a collective is found; returns if none is lost."""
        self._limit_s = _BROKEN_S
        time.sleep(_BROKEN_S + 4 * _BEAT_S)

    def tell(self, error: BaseException) -> None:
        """Tells the others that this process has failed, and gives them the time to hear it."""
        self._over.set()
        said = f"{type(error).__name__}: {_first_line(error)}"
        self._say(f"process {self._index} on {socket.gethostname()} has stopped ({said})")

    def close(self) -> None:
        """Ends the watch."""
        self._over.set()
        self._abort()
        self._threads[0].join(timeout=2 * _BEAT_S)

    def _say(self, sentence: str) -> None:
        try:
            self._store.key_value_set(f"{self._place}/end/{self._index}", sentence)
        except jax.errors.JaxRuntimeError:
            return
        # The store goes with process 0.
        time.sleep(3 * _BEAT_S if self._index == 0 else 0)

    def _beat(self) -> None:
        """Gives signs of life, and reads those of the others."""
        sign = f"{self._place}/sign"
        for number in itertools.count():
            try:
                self._store.key_value_set(
                    f"{sign}/{self._index}", f"{number} on {socket.gethostname()}", True
                )
                for key, sentence in self._store.key_value_dir_get(f"{self._place}/end/"):
                    if key.rpartition("/")[2] != str(self._index):
                        self._end(sentence)
                if self._index == 0:
                    self._look(dict(self._store.key_value_dir_get(f"{sign}/")))
                for agreement in self._agreements:
                    agreement.advance()
            except jax.errors.JaxRuntimeError as error:
                self._end(f"process 0 cannot be reached any more ({_first_line(error)})")
            self._answered = time.monotonic()
            if self._over.wait(_BEAT_S):
                return

    def _look(self, signs: dict[str, str]) -> None:
        """Ends the run if a process has given no sign for too long."""
        now = time.monotonic()
        for index, (before, since) in self._signs.items():
            sign = signs.get(f"{self._place}/sign/{index}", "")
            if sign != before:
                self._signs[index] = sign, now
            elif now - since > (self._limit_s if sign else _FIRST_S):
                host = sign.partition(" ")[2]
                sentence = f"process {index} {host} has given no sign for {now - since:.0f} s"
                self._say(sentence)
                self._end(sentence)

    def _guard(self) -> None:
        """Ends this process if process 0 does not answer, not even by an error."""
        while not self._over.wait(_BEAT_S):
            if (silence := time.monotonic() - self._answered) > _SILENCE_S:
                self._end(f"process 0 has not answered for {silence:.0f} s")

    def _end(self, sentence: str) -> None:
        """Prints why this process ends, and ends it, whatever it is waiting for."""
        if not self._over.is_set():
            _exit(f"{sentence}; this process ends too. To go on, {_AGAIN}.", 1)
