"""Folders of the user, in the platform's places for them."""

from pathlib import Path

import platformdirs


def data_folder() -> Path:
    """Where what belongs to the user is kept, which need not exist.

    ``XDG_DATA_HOME`` or ``~/.local/share`` on Linux, ``~/Library/Application Support`` on macOS,
    ``LOCALAPPDATA`` on Windows; there ``ddspx``.

    Raises:
      RuntimeError: it depends on a home folder, and the user has none.
    """
    return _absolute(platformdirs.user_data_path("ddspx", appauthor=False))


def cache_folder() -> Path:
    """Where what can be made again is kept, which need not exist.

    ``ddspx`` in ``XDG_CACHE_HOME`` or ``~/.cache`` on Linux, in ``~/Library/Caches`` on macOS; in
    ``LOCALAPPDATA`` on Windows it is the folder ``Cache`` in ``ddspx``.

    Raises:
      RuntimeError: it depends on a home folder, and the user has none.
    """
    return _absolute(platformdirs.user_cache_path("ddspx", appauthor=False))


def _absolute(folder: Path) -> Path:
    # Older releases of platformdirs leave a `~` that cannot be resolved as it is.
    if not folder.is_absolute():
        raise RuntimeError(f"There is no home folder for {folder}.")
    return folder
