"""The files of each open page in the temporary folder, and their deletion."""

import secrets
import shutil
import threading
from pathlib import Path
from typing import Literal

Slot = Literal["recording", "source", "result", "archive", "instrument", "sound", "timbre"]
"""The kinds of files of a page, which has at most one of each: the recording on it, the recording
that is being played, the result, an uploaded instrument, the archive of that instrument, the sound
that is to be an instrument, and the instrument that was made of it."""


class Files:
    """The files of each open page, in one folder.

    A page is identified by its session. A file that no page holds any more is deleted at once: a
    recording when another one replaces it, and all files of a page when it is closed.

    Args:
      folder: the folder of all files; nothing outside it is ever deleted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._held: dict[tuple[str, Slot], Path] = {}
        self._lock = threading.Lock()

    def place(self, name: str) -> Path:
        """Returns a path with this name in a new folder of its own."""
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir()
        return folder / Path(name).name

    def hold(self, page: str, slot: Slot, path: Path | None) -> None:
        """Assigns a file to a page (None: removes it), and deletes the one it replaces."""
        with self._lock:
            previous = self._held.pop((page, slot), None)
            if path is not None:
                self._held[page, slot] = path
            self._delete_unless_held(previous)

    def held(self, page: str, slot: Slot) -> Path | None:
        """Returns a page's file of a kind, or None."""
        return self._held.get((page, slot))

    def close(self, page: str) -> None:
        """Deletes all files of a page."""
        with self._lock:
            for key in [key for key in self._held if key[0] == page]:
                self._delete_unless_held(self._held.pop(key))

    def discard(self, path: Path) -> None:
        """Deletes a file or folder that no page holds, and its parent folder if that is empty."""
        with self._lock:
            self._delete_unless_held(path)

    def _delete_unless_held(self, path: Path | None) -> None:
        # Two pages with the same recording hold the same file.
        if path is None or path in self._held.values():
            return
        if self.folder not in path.resolve().parents:
            raise ValueError(f"{path} is not in {self.folder}, and is not deleted.")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if path.parent != self.folder and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
