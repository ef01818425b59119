"""Spools on the file systems of Apache Beam."""

import json
import os
import re
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Generator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from ddspx.io import AudioError, parse_json
from ddspx.io._pool import ENVIRONMENT, pooled
from ddspx.training._recordings import FAULTS_OF_FILES, Outcome, faulty, sha256_of
from ddspx.training._spool import SpoolConfig, spooled

# Beam may call a function in several threads of a process. One recording at a time bounds the
# memory, and warnings can be collected.
_ONE_AT_A_TIME = threading.Lock()
# What the child process is to compute next.
_ITEMS: deque[tuple[Path, Path, SpoolConfig]] = deque()


def spooled_anywhere(path: str, work: str, config: SpoolConfig) -> Outcome:
    """Computes the spool of a recording, like `spooled`, from and to any file system of Beam."""
    with _ONE_AT_A_TIME, tempfile.TemporaryDirectory() as place:
        local = Path(path)
        if is_remote(path):
            local = Path(place, PurePosixPath(path).name)
            try:
                copy_to(path, local)
            except FAULTS_OF_FILES as error:
                # After any other error Beam tries again.
                return Outcome(fault=f"{path} cannot be read ({error}).")
        if is_remote(work):
            return _spooled_remotely(local, path, Path(place), work, config)
        return _called(_computed(local, Path(work), config), local, path)


def _spooled_remotely(
    local: Path, path: str, place: Path, work: str, config: SpoolConfig
) -> Outcome:
    try:
        name = config.name(sha256_of(local))
    except AudioError as error:
        return _called(faulty(error), local, path)
    known = _known(f"{work}/{name}")
    if known and config.name(known.sha256) == name:
        return known
    outcome = _called(_computed(local, place / "spools", config), local, path)
    if not outcome.fault:
        # The summary comes last, because it says that the other file is complete.
        copy_from(place / "spools" / f"{name}.f32", f"{work}/{name}.f32")
        write(f"{work}/{name}.json", to_json(0, outcome))
    return outcome


def _computed(local: Path, folder: Path, config: SpoolConfig) -> Outcome:
    """Computes a spool with one thread, as all workers do, because bytes may depend on that."""
    if os.environ.get("NPROC") == ENVIRONMENT["NPROC"]:
        return spooled(local, folder=folder, config=config)
    # JAX had been imported in this process before it could be told.
    try:
        _ITEMS.append((local, folder, config))
        return next(_child())
    except BaseException:
        _child.cache_clear()
        _ITEMS.clear()
        raise


@cache
def _child() -> Generator[Outcome, None, None]:
    """The results of a process, which stays for the next recording."""
    return pooled(_spooled, iter(_ITEMS.popleft, None), workers=1, ahead=1)


def end_child() -> None:
    """Ends that process, if there is one."""
    with _ONE_AT_A_TIME:
        _child().close()
        _child.cache_clear()


def _spooled(item: tuple[Path, Path, SpoolConfig]) -> Outcome:
    local, folder, config = item
    return spooled(local, folder=folder, config=config)


def _known(name: str) -> Outcome | None:
    """What an earlier run has found out, if both files are there; the spool is compared later."""
    if not all(matches(literal(f"{name}{suffix}")) for suffix in (".f32", ".json")):
        return None
    try:
        return from_json(read(f"{name}.json"))[1]
    except (ValueError, TypeError, KeyError):
        return None


def _called(outcome: Outcome, local: Path, path: str) -> Outcome:
    """The outcome with the file's own name in its sentences, in place of that of a copy."""
    fault, *warned = (text.replace(str(local), path) for text in (outcome.fault, *outcome.warned))
    return outcome._replace(fault=fault, warned=tuple(warned))


def to_json(index: int, outcome: Outcome) -> str:
    return json.dumps({"index": index, **outcome._asdict()})


def from_json(text: str) -> tuple[int, Outcome]:
    fields = parse_json(text.encode())
    return fields.pop("index"), Outcome.from_json(fields)


def is_remote(name: str | Path) -> bool:
    return "://" in os.fspath(name)


def literal(name: str) -> str:
    """A pattern that matches a name alone."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def matches(pattern: str) -> list[str]:
    """The files that match a pattern of Beam, sorted."""
    (result,) = file_systems().match([pattern])
    return sorted(found.path for found in result.metadata_list)


def delete(names: Sequence[str]) -> None:
    if names:
        file_systems().delete(list(names))


def copy_to(name: str, path: Path) -> None:
    with _opened(name) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def copy_from(path: Path, name: str) -> None:
    with path.open("rb") as source, _opened(name, is_new=True) as target:
        shutil.copyfileobj(source, target, 1 << 20)


def read(name: str) -> str:
    with _opened(name) as file:
        return file.read().decode()


def write(name: str, text: str) -> None:
    with _opened(name, is_new=True) as file:
        file.write(text.encode())


def _opened(name: str, *, is_new: bool = False) -> Any:
    function = file_systems().create if is_new else file_systems().open
    types = import_module("apache_beam.io.filesystem").CompressionTypes
    return function(name, compression_type=types.UNCOMPRESSED)


def file_systems() -> Any:
    return import_module("apache_beam.io.filesystems").FileSystems
