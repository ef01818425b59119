"""The files of a published model, from a folder, an archive or a single file."""

import itertools
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ddspx.instruments._archive import open_file
from ddspx.io._zip import archive_errors, blocks, objection_to_file, opened_archive


class PublishedFiles(NamedTuple):
    """The files of a published model. Nothing is written, and only what a reader asks for is read.

    Attributes:
      source: the folder, archive or file, for messages.
      name: the name of the folder, or of the folder in the archive, or of the file.
      readers: for each file name, a function that returns the bytes of the file; its argument is
        the largest allowed size. The names are relative to the folder that holds all files.
    """

    source: Path
    name: str
    readers: Mapping[str, Callable[[int], bytes]]

    def read(self, name: str, *, most: int) -> bytes:
        """The bytes of a file.

        Raises:
          ValueError: there is no such file, or it has more than `most` bytes, or is damaged.
        """
        if name not in self.readers:
            raise ValueError(f"{self.source} lacks {name}; copy all files of the model.")
        return self.readers[name](most)


@contextmanager
def published_files(source: Path) -> Iterator[PublishedFiles]:
    """The files directly in a folder, or all files of a zip archive; hidden ones are left out.

    Raises:
      FileNotFoundError: `source` does not exist.
      ValueError: `source` is a damaged archive, or holds two files of one name.
    """
    if source.is_dir():
        paths = [path for path in sorted(source.iterdir()) if not path.is_dir()]
        yield PublishedFiles(source, source.resolve().name, _visible(paths, source))
        return
    if not source.is_file():
        raise FileNotFoundError(
            f"There is no folder or zip archive {source}; give the path of a model's folder or of "
            "an archive of it."
        )
    with opened_archive(source) as archive:
        members = _members(source, archive.infolist())
        top = _common(folders for *folders, _ in members)
        readers = {
            "/".join(parts[len(top) :]): partial(_read_member, source, archive, member)
            for parts, member in members.items()
        }
        yield PublishedFiles(source, top[-1] if top else source.stem, readers)


def single_file(source: Path) -> PublishedFiles:
    """A file that is a model by itself."""
    return PublishedFiles(source, source.stem, _visible([source], source))


def _visible(paths: list[Path], source: Path) -> dict[str, Callable[[int], bytes]]:
    return {
        path.name: partial(_read_file, source, path)
        for path in paths
        if not path.name.startswith(".")
    }


def _common(paths: Iterable[list[str]]) -> list[str]:
    """The folders that all paths begin with."""
    levels = (set(level) for level in zip(*paths, strict=False))
    return [level.pop() for level in itertools.takewhile(lambda level: len(level) == 1, levels)]


def _members(
    source: Path, members: list[zipfile.ZipInfo]
) -> dict[tuple[str, ...], zipfile.ZipInfo]:
    """The plain files of an archive, by the parts of their paths."""
    found: dict[tuple[str, ...], zipfile.ZipInfo] = {}
    for member in members:
        parts = tuple(part for part in member.filename.split("/") if part != ".")
        kind = stat.S_IFMT(member.external_attr >> 16)
        is_hidden = any(part.startswith(".") for part in parts) or parts[:1] == ("__MACOSX",)
        if not parts or member.is_dir() or is_hidden or kind not in (0, stat.S_IFREG):
            continue
        if parts in found:
            raise ValueError(
                f"{source} holds {member.orig_filename[:99]!r} twice, and is refused; ask for an "
                "archive with each file once."
            )
        found[parts] = member
    return found


def _read_member(
    source: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int
) -> bytes:
    what = f"{source} holds {member.orig_filename[:99]!r}"
    if objection := objection_to_file(member, most):
        raise ValueError(f"{what} {objection}, and is refused; pack the files of the model again.")
    # A place outside of the file is an OSError.
    with archive_errors(source, OSError), archive.open(member) as file:
        return b"".join(blocks(file.read, most, what))


def _read_file(source: Path, path: Path, most: int) -> bytes:
    with open_file(path) as file:
        return b"".join(blocks(file.read, most, f"{source} holds {path.name!r}"))
