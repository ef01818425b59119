"""One owner of a folder: living, dead, on another machine, and through other names."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from ddspx import io
from ddspx.io import _ownership


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(_ownership, "_TOUCH_EVERY_S", 0.02)
    monkeypatch.setattr(_ownership, "_PATIENCE_S", 0.3)


def left_by(folder, **fields):
    """What a process leaves that was killed while it owned the folder."""
    owner = {"host": "node7", "machine": "1", "pid": 1234, "since": "noon", "what": "training"}
    path = folder.with_name(f".{folder.name}.owner")
    path.write_text(json.dumps(owner | fields))
    return path


def test_a_second_owner_is_refused_until_the_first_ends(tmp_path):
    folder, link = tmp_path / "new" / "run", tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(KeyError), io.owned(folder, what="training") as first:
        for name in (folder, link, str(folder.parent / ".." / "new" / "run")):
            with pytest.raises(io.OwnedError) as refused, io.owned(name, what="preparing"):
                pass
        first.check()
        raise KeyError
    sentence = str(refused.value)
    assert f"process {os.getpid()} on {socket.gethostname()}" in sentence
    assert "has been training since 2" in sentence and "choose another output" in sentence
    assert not os.listdir(folder.parent)
    with io.owned(folder, what="training"):
        pass


def test_what_a_killed_process_left_is_taken_at_once_and_said(tmp_path):
    folder = tmp_path / "run"
    left_by(folder, machine=_ownership._machine())
    with pytest.warns(UserWarning, match="left unfinished by process 1234 on node7.*takes it over"):
        with io.owned(folder, what="training") as ours:
            ours.check()
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b'{"pid": "x"}', b"\xff" * 2000])
def test_a_file_that_names_nobody_blocks_nobody(tmp_path, text):
    (tmp_path / ".run.owner").write_bytes(text)
    with io.owned(tmp_path / "run", what="training") as ours:
        ours.check()
        assert json.loads((tmp_path / ".run.owner").read_bytes())["pid"] == os.getpid()


def test_another_machine_is_watched_by_its_touches_not_by_clocks(tmp_path, hasty):
    path = left_by(tmp_path / "run")
    os.utime(path, (2e9, 2e9))
    with pytest.warns(UserWarning) as said, io.owned(tmp_path / "run", what="training"):
        pass
    assert [str(w.message).partition(";")[2][:8] for w in said] == [" waiting", " this pr"]

    path, ended = left_by(tmp_path / "run"), threading.Event()

    def touch():
        for tick in range(1000):
            os.utime(path, (tick, tick))
            if ended.wait(0.02):
                return

    other = threading.Thread(target=touch)
    other.start()
    try:
        with (
            pytest.warns(UserWarning, match="waiting"),
            pytest.raises(io.OwnedError, match="node7"),
        ):
            with io.owned(tmp_path / "run", what="training"):
                pass
    finally:
        ended.set()
        other.join()


def test_an_owner_touches_its_file_and_sees_that_another_took_it(tmp_path, hasty):
    with io.owned(tmp_path / "run", what="training") as ours:
        path = tmp_path / ".run.owner"
        os.utime(path, (0, 0))
        while path.stat().st_mtime == 0:
            time.sleep(0.01)
        left_by(tmp_path / "run")
        with pytest.raises(io.OwnedError, match="taken over by process 1234 on node7"):
            ours.check()
    assert json.loads(path.read_text())["pid"] == 1234


def test_without_locks_of_the_system_touches_decide(tmp_path, hasty, monkeypatch):
    monkeypatch.setattr(_ownership, "_lock", lambda file: None)
    with io.owned(tmp_path / "run", what="training"):
        with pytest.warns(UserWarning, match="waiting"), pytest.raises(io.OwnedError):
            with io.owned(tmp_path / "run", what="training"):
                pass


def test_a_lock_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"\.run\.owner cannot be written \("):
        with io.owned(tmp_path / "file" / "run", what="training"):
            pass


@pytest.mark.slow
def test_a_killed_process_blocks_nobody_even_if_its_child_lives(tmp_path):
    program = (
        "import os, sys, time\n"
        "from ddspx.io import owned\n"
        "with owned(sys.argv[1], what='training'):\n"
        "    if not hasattr(os, 'fork') or os.fork() == 0:\n"
        "        print('has it', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout and process.stdout.readline() == "has it\n"
        with pytest.raises(io.OwnedError, match=f"process {process.pid} on"):
            with io.owned(tmp_path / "run", what="training"):
                pass
        process.kill()
        process.wait()
        with pytest.warns(UserWarning, match=f"left unfinished by process {process.pid}"):
            with io.owned(tmp_path / "run", what="training"):
                pass
    finally:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, 9)
        if process.stdout:
            process.stdout.close()
