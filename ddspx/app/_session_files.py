"""What the pages have in the temporary folder, and how it goes away again."""

import secrets
import shutil
import threading
from pathlib import Path
from typing import Literal

Slot = Literal["recording", "source", "result", "archive", "instrument"]
"""What a page can have one of: the recording on it and the one that is being played, a result, an
instrument of its own and the archive that this came in."""


class Files:
    """The files of each open page, in one folder.

    A page is named by its session. What is no longer held by any page is deleted at once: a
    recording when another takes its place, everything when the page is closed.

    Args:
      folder: where all files are; nothing outside it is ever deleted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._held: dict[tuple[str, Slot], Path] = {}
        self._lock = threading.Lock()

    def place(self, name: str) -> Path:
        """A path of that name in a new folder of its own."""
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir()
        return folder / Path(name).name

    def hold(self, page: str, slot: Slot, path: Path | None) -> None:
        """Gives a page a file (None: none any more) and deletes the one that it had."""
        with self._lock:
            before = self._held.pop((page, slot), None)
            if path is not None:
                self._held[page, slot] = path
            self._delete_unless_held(before)

    def held(self, page: str, slot: Slot) -> Path | None:
        """What a page has of a kind, if anything."""
        return self._held.get((page, slot))

    def close(self, page: str) -> None:
        """Deletes what a page had."""
        with self._lock:
            for key in [key for key in self._held if key[0] == page]:
                self._delete_unless_held(self._held.pop(key))

    def discard(self, path: Path) -> None:
        """Deletes a file or folder that no page holds, with the folder that it was alone in."""
        with self._lock:
            self._delete_unless_held(path)

    def _delete_unless_held(self, path: Path | None) -> None:
        # The same recording in two pages is one file.
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
