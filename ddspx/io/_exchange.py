"""The exchange of two names in one step of the system, and waiting until files are on the disk."""

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

_IN_CURRENT_FOLDER = -100
_EXCHANGE = 2


def exchange(one: Path, other: Path) -> bool:
    """Exchanges what two names stand for, in one step; returns whether the system could.

    Linux and macOS can, but not on every file system; of network file systems, few can.
    """
    first, second = os.fsencode(one), os.fsencode(other)
    # An older library of C lacks the function.
    with suppress(AttributeError):
        if sys.platform == "linux":
            here = _IN_CURRENT_FOLDER
            return ctypes.CDLL(None).renameat2(here, first, here, second, _EXCHANGE) == 0
        if sys.platform == "darwin":
            return ctypes.CDLL(None).renamex_np(first, second, _EXCHANGE) == 0
    return False


def store(path: Path) -> None:
    """Waits until a file, or a folder with all files in it, is on the disk.

    Without it, a rename may outlive a loss of power that its files do not.
    """
    if path.is_dir():
        for file in path.iterdir():
            if not file.is_symlink() and (file.is_dir() or file.is_file()):
                store(file)
        store_names(path)
        return
    # Windows stores only files that are open for writing.
    file = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def store_names(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where the system can tell."""
    # Windows opens no folder, and some file systems store none by itself.
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
