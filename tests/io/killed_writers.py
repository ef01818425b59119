"""Kills writers of a file and of a folder before each line of their code, and prints what is left.

Run as a program that has no threads, so that it can fork. Prints the number of kills, or the first
fault.
"""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from ddspx.io import _exchange, _leftovers, _replacing

TRACED = {module.__file__ for module in (_exchange, _leftovers, _replacing, shutil)}
_leftovers._PATIENCE_S = 0.02
# A kill is no loss of power.
os.fsync = lambda file: None


def write_file(path, text):
    with _replacing.replacing_file(path) as temporary:
        temporary.write_text(text)


def write_folder(path, text):
    with _replacing.replacing_folder(path, overwrite=True) as temporary:
        (temporary / "inside").mkdir()
        for name in ("a", "inside/b"):
            (temporary / name).write_text(text)


def found(path):
    """What a reader finds: the text of a whole file or folder, or None."""
    if not path.suffix:
        if not _replacing.is_folder(path):
            return None
        (text,) = {(path / name).read_text() for name in ("a", "inside/b")}
        return text
    return path.read_text() if path.exists() else None


def killed_at(count, write, path):
    """Forks a process that writes, and is killed before that many lines; False if it has ended."""

    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename not in TRACED:
            return None
        count -= event == "line"
        if count < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    child = os.fork()
    if child == 0:
        _leftovers.sweep.cache_clear()
        sys.settrace(trace)
        write(path, "new")
        sys.settrace(None)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def kill_everywhere(write, place, name, before):
    count = 0
    while True:
        folder = place / str(count)
        folder.mkdir()
        path = folder / name
        if before is not None:
            write(path, before)
        was_killed = killed_at(count, write, path)
        text = found(path)
        assert text in ((before, "new") if was_killed else ("new",)), (count, text)
        _leftovers.sweep.cache_clear()
        write(path, "next")
        assert found(path) == "next", count
        assert os.listdir(folder) == [name], (count, os.listdir(folder))
        count += 1
        if not was_killed:
            return count


def main():
    kills = 0
    with tempfile.TemporaryDirectory() as place:
        for number, (write, name, before, exchange) in enumerate(
            [
                (write_file, "file.json", None, _exchange.exchange),
                (write_file, "file.json", "old", _exchange.exchange),
                (write_folder, "model", None, _exchange.exchange),
                (write_folder, "model", "old", _exchange.exchange),
                (write_folder, "model", "old", lambda one, other: False),
            ]
        ):
            _replacing.exchange = exchange
            folder = Path(place, str(number))
            folder.mkdir()
            kills += kill_everywhere(write, folder, name, before)
    print(kills)


if __name__ == "__main__":
    main()
