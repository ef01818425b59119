import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pooled
import pytest

from ddspx.io import _pool
from ddspx.io._pool import available_cores, mapped

needs_signals = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def test_results_come_in_the_order_of_the_items_with_their_warnings():
    items, environment = itertools.count(), dict(os.environ)
    with pytest.warns(UserWarning) as warned, pytest.raises(FileNotFoundError) as raised:
        results = []
        for result in mapped(pooled.warned_square, items, workers=2, ahead=3):
            results.append(result)
    assert [square for square, *_ in results] == [0, 1, 4]
    assert [str(one.message) for one in warned] == [f"squared {i}" for i in range(3)]
    assert len({pid for _, pid, *_ in results} | {os.getpid()}) == 3
    # One may be a process of its own too, which has one thread as well.
    with pytest.warns(UserWarning, match="squared 0"):
        ((square, pid, *threads),) = _pool.pooled(pooled.warned_square, [0], workers=1)
    assert square == 0 and pid != os.getpid() and tuple(threads) == ("1", "cpu")
    # Each has one thread and no accelerator; what this process has is unchanged.
    assert {result[2:] for result in results} == {("1", "cpu")}
    assert dict(os.environ) == environment
    # An exception is as it was raised, and says where.
    assert raised.value.filename == "three"
    assert "for 3:" in raised.value.__notes__[0] and "warned_square" in raised.value.__notes__[0]
    # No more items were taken than it says: the results of 3 to 5 were never asked for.
    assert next(items) <= 6


def test_one_worker_is_this_process():
    results = mapped(lambda x: (x, os.getpid()), itertools.count(), workers=1)
    assert list(itertools.islice(results, 2)) == [(0, os.getpid()), (1, os.getpid())]
    for workers in (0, 10**6):
        for function in (mapped, _pool.pooled):
            with pytest.raises(ValueError, match="`workers` must be at"):
                next(function(abs, [], workers=workers))
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


@needs_signals
def test_a_killed_worker_is_an_error():
    with pytest.raises(ChildProcessError, match="was killed by SIGKILL while it worked on 7; if"):
        list(mapped(pooled.killed, [7], workers=2))


@needs_signals
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_all_processes_end_with_the_first(tmp_path, number):
    command = [sys.executable, pooled.__file__, str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    began = []
    while len(began) < 2:
        time.sleep(0.05)
        began = [path.name.split("-")[2] for path in tmp_path.glob("began-*")]
    # Ctrl-C reaches all processes of a terminal, a kill only one.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert not errors
    deadline = time.monotonic() + 10
    while any(map(is_alive, began)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.1)
    assert not list(tmp_path.glob("ended-*"))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
