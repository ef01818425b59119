"""Whatever stops a run at any of its writes, the same command goes on to the same weights."""

import errno
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from toy_run import at_each_write, kind_of, outcome, toy_run

from ddspx.io import latest_checkpoint
from ddspx.training._run import run_path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the processes are forked"),
]


@pytest.fixture(scope="module")
def processes():
    """A function that starts a training in a process, and one that waits for its status."""
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("toy_run.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    ) as server:

        def ask(**request):
            print(json.dumps(request, default=str), file=server.stdin, flush=True)
            return int(server.stdout.readline())

        yield ask, lambda pid: ask(wait=pid)


@pytest.fixture(scope="module")
def straight(processes, tmp_path_factory):
    """A run that nothing has stopped: what it made, and all its writes."""
    start, wait = processes
    output = tmp_path_factory.mktemp("straight") / "runs" / "model"
    output.parent.mkdir()
    assert wait(start(output=output)) == 0
    writes = json.loads(said(output).rpartition("writes ")[2])
    assert len(writes) > 100
    return outcome(output), writes


@pytest.fixture(scope="module")
def straight_here(straight, tmp_path_factory):
    """The same by this process, whose settings of JAX are others."""
    output = tmp_path_factory.mktemp("here") / "model"
    toy_run(output)
    return outcome(output), straight[1]


@pytest.fixture
def output(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs" / "model"


def said(output, name="said.txt"):
    return output.parent.with_name(name).read_text()


def table(rows):
    for what, count in sorted(rows.items()):
        print(f"{count:4d}  {what}")


def places(writes):
    """One write of each kind, and its number: of those that come often, not the first."""
    return [[what, 1 + (count > 4)] for what, count in Counter(writes).items()]


def run_through(places, output, expected, command):
    """Stops the command at each place, as it goes on from the last one; counts where it did.

    `command` returns whether it was stopped, by what it is given; with None it comes to the end.
    """
    hit, is_new = Counter(), True
    for place in places:
        while not (is_stopped := command(place)):
            # It was beyond that write when it began, and came to the end without it.
            assert not is_new, place
            assert outcome(output) == expected
            is_new = renew(output)
        hit[place[0]] += is_stopped
        is_new = False
    assert not command(None)
    assert outcome(output) == expected
    assert not list(output.parent.rglob(".*")), "leftovers"
    return hit


def renew(output):
    shutil.rmtree(output.parent)
    output.parent.mkdir()
    return True


def test_a_run_that_is_killed_at_any_write_goes_on(processes, straight, output):
    start, wait = processes

    def command(place):
        status = wait(start(output=output, kill_at=place))
        assert status in (0, -signal.SIGKILL), said(output)
        return status != 0

    # Before and after the waiting for the disk, the files are the same.
    chosen = [place for place in places(straight[1]) if "fsync" not in place[0]]
    hit = run_through(chosen, output, straight[0], command)
    print(f"\nkilled {hit.total()} times, of {len(straight[1])} writes")
    table(hit)


# What orbax does in parallel goes on to fail, and nobody asks it why.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_cannot_be_written_to_at_any_write(straight_here, output, number):
    """It is full or read-only for one write. Some writes do no harm if they fail."""
    failed = []

    def command(place):
        def act(what, nth, path):
            if [what, nth] == place:
                failed.append(place[0])
                raise OSError(number, os.strerror(number), path)

        before = len(failed)
        with at_each_write(output.parent, act):
            try:
                toy_run(output)
            except OSError as error:
                assert os.strerror(number) in str(error) and error.strerror is None
        return len(failed) > before

    chosen = places(straight_here[1])
    hit = run_through(chosen, output, straight_here[0], command)
    print(f"\n{os.strerror(number)}: {hit.total()} of {len(straight_here[1])} writes")
    table(hit)


def test_a_damaged_file_of_any_kind_changes_nothing(straight_here, output, tmp_path):
    template, hit = tmp_path / "template" / "runs", Counter()
    toy_run(template / "model", steps=6)
    files = [path.relative_to(template) for path in template.rglob("*") if path.is_file()]
    # The checkpoint of step 3 is read only if that of step 6 is damaged.
    newest = sorted(path for path in files if "3" not in path.parts)
    damages = itertools.cycle(["cut", "flip", "miss"])
    kinds = [[next(damages) for _ in range(1 if "checkpoints" in f.parts else 3)] for f in newest]
    for file, damage in [
        (f, damage) for f, each in zip(newest, kinds, strict=True) for damage in each
    ]:
        shutil.rmtree(output.parent)
        shutil.copytree(template, output.parent)
        data, copy = (template / file).read_bytes(), output.parent / file
        flipped = bytes([data[len(data) // 2] ^ 16])
        if damage == "flip":
            copy.write_bytes(data[: len(data) // 2] + flipped + data[len(data) // 2 + 1 :])
        elif damage == "cut":
            copy.write_bytes(data[: len(data) // 2])
        else:
            copy.unlink()
        toy_run(output)
        assert outcome(output) == straight_here[0], f"{damage} {file}"
        hit[f"{damage}  {kind_of(file)}"] += 1
    print(f"\n{hit.total()} damaged files")
    table(hit)


def test_of_two_owners_one_trains_and_the_other_is_told_so(processes, straight, output):
    start, wait = processes
    for _ in range(2):
        pids = {name: start(output=output, said=name) for name in ("one", "two")}
        statuses = {wait(pid): name for name, pid in pids.items()}
        assert sorted(statuses) == [0, 2]
        assert "belongs to process" in said(output, statuses[2])
        assert outcome(output) == straight[0]
        shutil.rmtree(output.parent)
        output.parent.mkdir()


def test_sigterm_ends_an_evaluation_in_the_time_of_a_batch(processes, straight, output):
    start, wait = processes
    run, took = run_path(output), []
    for n_signals, pause_s in ((1, 0.5), (2, 60.0)):
        pid = start(output=output, task={"pause_s": pause_s})
        # The evaluation of step 3, which the second process makes up for, has begun.
        while not (log := run / "logs" / "metrics.jsonl").is_file() or (
            '"step": 3' not in log.read_text() or len(list(log.parent.glob("ev*"))) < n_signals
        ):
            time.sleep(0.05)
        for _ in range(n_signals):
            time.sleep(0.3)
            began = time.monotonic()
            os.kill(pid, signal.SIGTERM)
        assert wait(pid) == (0 if n_signals == 1 else -signal.SIGTERM)
        took.append(time.monotonic() - began)
        assert latest_checkpoint(run / "checkpoints") == 3
        if n_signals == 1:
            assert "step=3, best=Best(step=0, loss=None), finished=False" in said(output)
    print(f"\nended {took[0]:.2f} s after SIGTERM, {took[1]:.2f} s after the second one")
    # An evaluation takes 2 s with the first pause, and 4 minutes with the second.
    assert max(took) < 20
    assert wait(start(output=output)) == 0 and outcome(output) == straight[0]


@pytest.mark.parametrize("limit", [100, 1500])
def test_a_file_that_cannot_be_as_large_is_a_sentence(processes, straight, output, limit):
    """The errors are the system's own, also of the code that writes arrays, and in mid-file."""
    start, wait = processes
    assert wait(start(output=output, limit=limit)) == 2
    assert "cannot be written (File too large); raise the limit" in said(output)
    assert wait(start(output=output)) == 0 and outcome(output) == straight[0]


def test_a_disk_that_fills_and_is_freed(straight, tmp_path):
    mount = f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$@"'
    run = ["unshare", "-rm", "sh", "-c", mount, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*run, "true"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    ended = subprocess.run(
        [*run, sys.executable, Path(__file__).with_name("toy_run.py"), tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    *sentences, last = ended.stdout.splitlines()
    assert len(sentences) > 3 and all("No space left" in each for each in sentences)
    assert last.endswith(str(straight[0]))
    # Of several writes that fail, orbax awaits the first; threads of tensorstore print, at once, if
    # others end when orbax's event loop is closed already.
    assert set(re.findall(r"\w*Error", ended.stderr)) <= {"RuntimeError"}
    assert not ended.stderr or "Event loop is closed" in ended.stderr
    print(f"\n{len(sentences)} times full", *sentences, sep="\n")
