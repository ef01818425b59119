"""Files and folders that appear whole: order of storing and renaming, leftovers, and errors."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddspx import io
from ddspx.io import _exchange, _leftovers, _replacing


def write(path, text="new"):
    if path.suffix:
        with io.replacing_file(path) as temporary:
            temporary.write_text(text)
    else:
        with io.replacing_folder(path, overwrite=True) as temporary:
            (temporary / "inside").mkdir()
            for name in ("a", "inside/b"):
                (temporary / name).write_text(text)


@pytest.fixture
def calls(monkeypatch):
    """The calls that store a file on the disk or rename it, in their order."""
    made = []

    def recorded(function, describe):
        def call(*arguments):
            made.append(describe(*arguments))
            return function(*arguments)

        return call

    def stored(file):
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        return "store", path.name.split(".")[-1]

    monkeypatch.setattr(os, "fsync", recorded(os.fsync, stored))
    monkeypatch.setattr(os, "replace", recorded(os.replace, lambda one, other: "rename"))
    exchange = recorded(_replacing.exchange, lambda one, other: "exchange")
    monkeypatch.setattr(_replacing, "exchange", exchange)
    return made


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere an open file does not tell its name")
def test_what_is_renamed_is_on_the_disk_before_and_its_name_after(tmp_path, calls):
    parent = "store", tmp_path.name
    write(tmp_path / "a.json")
    assert calls == [("store", "partial"), "rename", parent]
    calls.clear()
    write(tmp_path / "model")
    inside = [("store", name) for name in ("a", "b", "inside")]
    assert sorted(calls[:3]) == inside
    assert calls[3:] == [("store", "partial"), "rename", parent]
    calls.clear()
    write(tmp_path / "model")
    assert sorted(calls[:3]) == inside
    assert calls[3:] == [("store", "partial"), "exchange", parent]


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="the system has no exchange")
def test_two_folders_are_exchanged_in_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"was_{name}").touch()
    if not _exchange.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("the file system has no exchange")
    assert os.listdir(tmp_path / "a") == ["was_b"] and os.listdir(tmp_path / "b") == ["was_a"]
    assert not _exchange.exchange(tmp_path / "a", tmp_path / "c")


@pytest.mark.parametrize("is_exchanged", [True, False])
@pytest.mark.parametrize("old", ["folder", "file", "link"])
def test_whatever_is_there_is_replaced_and_leaves_nothing(tmp_path, monkeypatch, is_exchanged, old):
    if not is_exchanged:
        monkeypatch.setattr(_replacing, "exchange", lambda one, other: False)
    path, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    {
        "folder": path.mkdir,
        "file": path.touch,
        "link": lambda: path.symlink_to(elsewhere, target_is_directory=True),
    }[old]()
    write(path)
    assert (path / "inside" / "b").read_text() == "new" and not path.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "model"]
    assert os.listdir(elsewhere) == ["kept"]


@pytest.fixture
def left(tmp_path):
    """A function that makes a leftover of a process."""

    def make(name="model", *, pid=None, start=None, machine=None, kind="partial"):
        own = _leftovers._start(os.getpid())
        mark = (
            f"{machine or _leftovers._process_space()}-{pid or os.getpid()}-"
            f"{own if start is None else start}-0123abcd"
        )
        path = tmp_path / io.fitting_name(f".{name}", f".{mark}.{kind}")
        path.mkdir()
        (path / "a").touch()
        return path

    return make


@pytest.mark.skipif(os.name == "nt", reason="there, a process is not asked whether it lives")
def test_leftovers_go_with_the_next_output_if_their_process_has_ended(tmp_path, left):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    gone = [left(pid=ended.pid), left("another.json", pid=ended.pid)]
    if _leftovers._start(os.getpid()):
        gone.append(left(start=1))
    week = time.time() - 8 * 24 * 3600
    old = left("old", machine="00000000")
    for path in (old / "a", old):
        os.utime(path, (week, week))
    kept = [left(), left(machine="00000000"), left(kind="retired", pid=ended.pid)]
    kept.append(tmp_path / ".model.0123abcd.partial")
    kept[-1].touch()
    write(tmp_path / "b.json")
    assert not [path for path in (*gone, old) if path.exists()]
    assert all(path.exists() for path in kept)


def test_leftovers_of_an_owned_output_go_whatever_machine_has_left_them(tmp_path, left):
    long = 80 * "日"
    gone = [left(), left(machine="00000000"), left(long, machine="00000000")]
    kept = [left("models", machine="00000000"), left(kind="retired", machine="00000000")]
    _leftovers.sweep_owned(tmp_path, ["model", long])
    assert not [path for path in gone if path.exists()]
    assert all(path.exists() for path in kept)
    (tmp_path / "model").mkdir()
    (tmp_path / ".model.owner").touch()
    _leftovers.sweep_owned(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".model.owner", "model"]
    _leftovers.sweep_owned(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["model", 80 * "日"])
def test_what_was_retired_is_put_back_for_a_reader(tmp_path, left, monkeypatch, name):
    monkeypatch.setattr(_leftovers, "_PATIENCE_S", 0.01)
    left("other", kind="retired")
    retired = left(name, kind="retired")
    assert _replacing.is_folder(tmp_path / name)
    assert os.listdir(tmp_path / name) == ["a"] and not retired.exists()
    assert not _replacing.is_folder(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["a.json", "model"])
@pytest.mark.parametrize(
    ("number", "fix"),
    [(errno.ENOSPC, "free space"), (errno.EDQUOT, "quota"), (errno.EACCES, "mend the rights")],
)
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_an_error_of_the_system_names_the_output_and_the_fix(
    tmp_path, monkeypatch, name, number, fix, where
):
    path = tmp_path / name

    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, where, fail)
        with pytest.raises(OSError, match=fix) as raised:
            write(path)
    assert str(raised.value).startswith(f"{path} cannot be written ({os.strerror(number)}); ")
    assert not os.listdir(tmp_path)
    write(path)
    assert os.listdir(tmp_path) == [name]


def test_an_error_of_another_file_is_left_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, io.replacing_file(tmp_path / "a.json"):
        (tmp_path / "recording.wav").read_bytes()
    assert raised.value.filename == str(tmp_path / "recording.wav")


@pytest.mark.parametrize("suffix", [".json", ""])
def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path, suffix):
    path = tmp_path / (300 * "a" + suffix)
    replacing = io.replacing_file if suffix else io.replacing_folder
    with pytest.raises(OSError, match=r"cannot be written .*; choose a shorter name"):
        with replacing(path):
            pytest.fail("the work has begun")
    assert not os.listdir(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
def test_a_kill_at_any_line_leaves_the_old_or_the_new(tmp_path):
    program = Path(__file__).parent / "killed_writers.py"
    command = [sys.executable, "-W", "ignore", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 300
