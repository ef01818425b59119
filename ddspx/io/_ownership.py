"""Ownership of an output folder: one process at a time writes it, on any of the hosts that see it.

Two locks lie on one file beside the folder. A lock of the operating system ends with its process,
however that ends. But some file systems of clusters keep it from other hosts, or have none. So the
owner also touches the file regularly, and another host watches whether it does. No clock is read,
because those of hosts differ and are set.
"""

import json
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ddspx.io._files import fitting_name
from ddspx.io._json import COUNT, TEXT, json_field, parse_json
from ddspx.io._leftovers import OWNER
from ddspx.io._replacing import write_errors

# Seconds between two touches of the file, and seconds without one after which an owner on another
# host counts as dead. Network file systems show changes to other hosts after up to 3 s.
_TOUCH_EVERY_S = 5.0
_PATIENCE_S = 30.0
# Windows locks bytes, which nobody can read then; this one is far behind the text.
_LOCKED_BYTE = 1 << 30


class OwnedError(OSError):
    """An output folder belongs to another process, which is alive."""


class _Owner(NamedTuple):
    """What the file says: the process and its machine, what it does, and since when.

    `machine` tells two machines apart that have the same host name, and the same one after it was
    started anew: where its locks reach.
    """

    host: str
    machine: str
    pid: int
    since: str
    what: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, which has been {self.what} since {self.since}"


class Ownership:
    """A folder that belongs to this process until the ``with`` block of `owned` ends."""

    def __init__(self, folder: Path, path: Path, file: int, owner: _Owner) -> None:
        self._folder, self._path, self._file, self._owner = folder, path, file, owner

    def check(self) -> None:
        """Raises an OwnedError if another host has taken the folder over.

        It does so if this process has been suspended for more than 30 seconds, and the file system
        keeps locks from other hosts.
        """
        found = _read(self._path)
        if found is not None and found != self._owner:
            raise OwnedError(
                f"{self._folder} was taken over by {found}, while this process was suspended; "
                "leave it to that one."
            )

    def _touch(self, ended: threading.Event) -> None:
        while not ended.wait(_TOUCH_EVERY_S):
            with suppress(OSError):
                os.utime(self._file if os.utime in os.supports_fd else self._path)


@contextmanager
def owned(folder: str | Path, *, what: str) -> Iterator[Ownership]:
    """Makes this process the only one that writes a folder, until the ``with`` block ends.

    The lock is the hidden file ``.NAME.owner`` beside the folder, which need not exist. It tells
    the host, the process and the time, and is deleted at the end. If a process is killed, the file
    stays, and the next owner takes it over at once if it is on the same machine. On another
    machine, where the lock of the operating system may not be seen, it first waits for 30 seconds
    whether the file is touched; an owner touches it every 5 seconds.

    Args:
      folder: the folder; links are followed.
      what: what this process does, for the message to another one: "training a model".

    Yields:
      The ownership, whose `check` tells whether it still holds.

    Raises:
      OwnedError: a process that is alive owns the folder; it may be this one.
      OSError: the file cannot be written.

    Warns:
      UserWarning: a process that was killed owned the folder, or may still.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from ddspx import io
      >>> with tempfile.TemporaryDirectory() as place:
      ...     with io.owned(Path(place, "model"), what="training"):
      ...         [file.name for file in Path(place).iterdir()]
      ['.model.owner']
    """
    folder = Path(folder)
    real = Path(os.path.realpath(folder))
    path = real.with_name(fitting_name(f".{real.name}", OWNER))
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    owner = _Owner(socket.gethostname(), _machine(), os.getpid(), since, what)
    with write_errors(path):
        file, ended = _taken(folder, path, owner), threading.Event()
    ownership = Ownership(folder, path, file, owner)
    _HELD.add(file)
    toucher = threading.Thread(target=ownership._touch, args=(ended,), daemon=True)
    toucher.start()
    try:
        yield ownership
    finally:
        ended.set()
        toucher.join()
        # It is not in a child made by a fork.
        if file in _HELD:
            _HELD.discard(file)
            _release(path, file, owner)


def _taken(folder: Path, path: Path, owner: _Owner) -> int:
    """The locked file, open, which names this process as the owner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            is_locked, before = _lock(file), _read(path)
            is_seen = is_locked and before is not None and before.machine == owner.machine
            if is_locked is False or (before and not is_seen and _is_alive(folder, path, before)):
                raise OwnedError(
                    f"{folder} belongs to {before or 'another process'}; wait until it has ended, "
                    "end it, or choose another output."
                )
            # The owner before may have deleted the file after it was opened here.
            if _is_at(path, file):
                if before is not None:
                    _say(f"{folder} was left unfinished by {before}; this process takes it over.")
                _write(file, owner)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _write(file: int, owner: _Owner) -> None:
    text = json.dumps(owner._asdict()).encode()
    os.lseek(file, 0, os.SEEK_SET)
    os.write(file, text)
    os.ftruncate(file, len(text))


def _release(path: Path, file: int, owner: _Owner) -> None:
    with suppress(OSError):
        if _is_at(path, file) and _read(path) == owner:
            # Deleted while it is locked, so that it is not that of the next owner. Windows deletes
            # no open file, not even one that the next owner has opened.
            os.ftruncate(file, 0)
            if os.name != "nt":
                path.unlink()
    os.close(file)
    if os.name == "nt":
        with suppress(OSError):
            path.unlink()


def _is_alive(folder: Path, path: Path, owner: _Owner) -> bool:
    """Whether the file is touched within the time in which an owner would."""
    _say(f"{folder} was left by {owner}; waiting {_PATIENCE_S:g} s to see whether it is alive.")
    first, end = _state(path), time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        time.sleep(_PATIENCE_S / 30)
        if (state := _state(path)) != first:
            return state is not None
    return False


def _state(path: Path) -> tuple[int, bytes] | None:
    # Opened anew each time, because network file systems ask the server only then.
    with suppress(FileNotFoundError), path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime_ns, file.read()


def _say(message: str) -> None:
    warnings.warn(message, stacklevel=5)


def _is_at(path: Path, file: int) -> bool:
    """Whether an open file is the one that the path names."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _read(path: Path) -> _Owner | None:
    """The owner that the file names; None if it names none, or is just being written."""
    try:
        fields = parse_json(path.read_bytes())
        kinds = dict.fromkeys(_Owner._fields, TEXT) | {"pid": COUNT}
        return _Owner(**{name: json_field(fields, name, kind) for name, kind in kinds.items()})
    except (OSError, ValueError):
        return None


def _machine() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


# The files of this process's locks. A child made by a fork would keep the locks of a parent that
# was killed, so it closes them.
_HELD: set[int] = set()


def _close_held() -> None:
    while _HELD:
        os.close(_HELD.pop())


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool | None:
        """Locks an open file: False if another process has it locked."""
        os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    os.register_at_fork(after_in_child=_close_held)

    def _lock(file: int) -> bool | None:
        """Locks an open file: False if another process has it locked, None without locks."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True
