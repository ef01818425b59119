"""Hidden names of unfinished files and folders, which tell their process, and what became of them.

A process that is killed leaves them. The next one that writes to the same folder deletes them.
"""

import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ddspx.io._files import fitting_name

# A new file or folder that is not complete, and an old one that a complete one is to replace.
PARTIAL, RETIRED = "partial", "retired"
# The end of the name of the hidden file that tells who owns a folder (`io.owned`).
OWNER = ".owner"
# Nothing can be known of a process on another machine. So its files count as left after a week
# without a change.
_LEFT_AFTER_S = 7 * 24 * 3600.0
# The time that a process may take between the two renames that replace a folder.
_PATIENCE_S = 1.0
_NAME = re.compile(
    r"\.(?P<name>.+)(?P<suffix>\.(?P<machine>[0-9a-f]{8})-(?P<pid>\d{1,9})-(?P<start>\d{1,19})"
    rf"-[0-9a-f]{{8}}\.(?P<kind>{PARTIAL}|{RETIRED}))",
    re.DOTALL,
)


class _Leftover(NamedTuple):
    """An unfinished file or folder, and what its name tells."""

    path: Path
    name: str
    suffix: str
    machine: str
    pid: int
    start: int
    kind: str

    def is_of(self, path: Path) -> bool:
        """Whether it has been made for `path`; long names are cut."""
        return self.path.name == fitting_name(f".{path.name}", self.suffix)

    def is_needed(self) -> bool:
        """Whether it is all there is, because it was retired, and no successor is in its place."""
        return self.kind == RETIRED and not os.path.lexists(self.path.with_name(self.name))

    def is_left(self) -> bool:
        """Whether its process has ended."""
        if os.name == "nt" or self.machine != _process_space():
            times = [file.lstat().st_mtime for file in (self.path, *self.path.rglob("*"))]
            return time.time() - max(times) > _LEFT_AFTER_S
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            # It is another user's, of which the system may not tell the start.
            return False
        # Without the start, a later process with the same number is taken for it.
        return _start(self.pid) not in (0, self.start)


def is_temporary(name: str) -> bool:
    """Whether it is a name of this module, or of the file that tells an owner."""
    return _NAME.fullmatch(name) is not None or (name.startswith(".") and name.endswith(OWNER))


def name_beside(path: Path, kind: str) -> Path:
    """A new hidden name in the folder of `path`, as a rename is atomic only in one file system."""
    pid = os.getpid()
    mark = f"{_process_space()}-{pid}-{_start(pid)}-{secrets.token_hex(4)}"
    return path.with_name(fitting_name(f".{path.name}", f".{mark}.{kind}"))


@functools.cache
def sweep(folder: Path) -> None:
    """Deletes what ended processes have left in a folder; once, as a listing can take long."""
    for left in _leftovers(folder):
        with suppress(OSError):
            if not left.is_needed() and left.is_left():
                remove(left.path)


def sweep_owned(folder: Path, names: Iterable[str] | None = None) -> None:
    """Deletes what processes on any machine have left of outputs that this process owns.

    Nobody else may write them, so whoever left something has ended.

    Args:
      folder: where the outputs are.
      names: their names in `folder`; by default all that is in it is owned.
    """
    paths = None if names is None else [folder / name for name in names]
    for left in _leftovers(folder):
        is_owned = paths is None or any(left.is_of(path) for path in paths)
        if is_owned and not left.is_needed():
            remove(left.path)


def put_back(path: Path) -> None:
    """Restores a folder whose process was killed between the two renames that replace it."""
    end = time.monotonic() + _PATIENCE_S
    while not os.path.lexists(path):
        retired = [x for x in _leftovers(path.parent) if x.kind == RETIRED and x.is_of(path)]
        if not retired:
            return
        if time.monotonic() > end:
            with suppress(OSError):
                os.rename(retired[0].path, path)
            return
        time.sleep(_PATIENCE_S / 100)


def remove(path: Path) -> None:
    """Deletes a file, a link, or a folder with all that is in it, as far as that is allowed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _process_space() -> str:
    """Eight letters for the processes whose numbers this one can see: one system, until a reboot.

    The processes of a container have numbers of their own.
    """
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(facts).encode()).hexdigest()[:8]


def _leftovers(folder: Path) -> Iterator[_Leftover]:
    with suppress(OSError):
        for path in folder.iterdir():
            if found := _NAME.fullmatch(path.name):
                name, suffix, machine, pid, start, kind = found.groups()
                yield _Leftover(path, name, suffix, machine, int(pid), int(start), kind)


def _start(pid: int) -> int:
    """When a process began, in ticks since the system did; 0 if the system does not say."""
    try:
        # Its name, in brackets, may hold spaces and brackets.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
