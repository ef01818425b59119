"""Folders for the user's data and for caches, at the platform's standard places."""

from pathlib import Path

import platformdirs


def data_folder() -> Path:
    """The folder for data that belongs to the user; it may not exist yet.

    It is ``ddspx`` in ``XDG_DATA_HOME`` or ``~/.local/share`` on Linux, in ``~/Library/Application
    Support`` on macOS, and in ``LOCALAPPDATA`` on Windows.

    Raises:
      RuntimeError: the folder depends on the user's home folder, and there is none.
    """
    return _absolute(platformdirs.user_data_path("ddspx", appauthor=False))


def cache_folder() -> Path:
    """The folder for files that can be created again; it may not exist yet.

    It is ``ddspx`` in ``XDG_CACHE_HOME`` or ``~/.cache`` on Linux and in ``~/Library/Caches`` on
    macOS, and the folder ``Cache`` in ``ddspx`` in ``LOCALAPPDATA`` on Windows.

    Raises:
      RuntimeError: the folder depends on the user's home folder, and there is none.
    """
    return _absolute(platformdirs.user_cache_path("ddspx", appauthor=False))


def _absolute(folder: Path) -> Path:
    # Older releases of platformdirs return a path that begins with `~` if it cannot be resolved.
    if not folder.is_absolute():
        raise RuntimeError(f"There is no home folder for {folder}.")
    return folder
