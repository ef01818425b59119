"""Which recordings a dataset is made of: listing, copies, and those that cannot be used."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ddspx.io import AudioError, declared_duration_s, files_below, stream_audio
from ddspx.io._files import sha256_of_file

BLOCK_LENGTH = 1 << 16
# Errors of the system that say something about the file, which is the same the next time.
FAULTS_OF_FILES = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


class Listed(NamedTuple):
    """A file that may be a recording.

    Attributes:
      path: the file; a URL if it is not on this machine.
      name: its name in the manifest.
      split: the split that the caller gave it, None if it is to be decided.
      is_named: whether the caller named the file itself, not a folder.
    """

    path: str | Path
    name: str
    split: str | None
    is_named: bool


class Outcome(NamedTuple):
    """What is known of a file after it was decoded.

    Attributes:
      sha256: of its bytes.
      n_samples: its length at the dataset's rate, in whole samples.
      stretches: first and last hop of each stretch that sounds, if they were looked for.
      digest: SHA-256 of the spool and of the fields above, if there is a spool.
      warned: warnings about the file.
      fault: why it cannot be used, or an empty text.
    """

    sha256: str = ""
    n_samples: int = 0
    stretches: tuple[tuple[int, int], ...] = ()
    digest: str = ""
    warned: tuple[str, ...] = ()
    fault: str = ""

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Outcome":
        """The outcome of a JSON object; raises a ValueError, TypeError or KeyError if damaged."""
        stretches = tuple((int(first), int(last)) for first, last in fields["stretches"])
        lists = {"stretches": stretches, "warned": tuple(fields["warned"])}
        return cls(**{**fields, **lists})


class Usable(NamedTuple):
    """A recording that can be decoded and is long enough, and is no copy of another one."""

    file: Listed
    outcome: Outcome


def files_of(named: str | Path) -> Iterator[tuple[str | Path, str, bool]]:
    """Yields (file, name in the manifest, whether it was named) of a file or a folder."""
    # An unset shell variable gives an empty name, which Path would take for the current folder.
    if not os.fspath(named):
        raise AudioError("one of the recordings has an empty name; name a file or a folder.")
    root = Path(named)
    if not root.is_dir():
        yield root, root.name, True
        return
    for path in files_below(root):
        yield path, path.relative_to(root).as_posix(), False


def listed_recordings(
    recordings: Mapping[str | None, Sequence[str | Path]],
    find: Callable[[str | Path], Iterable[tuple[str | Path, str, bool]]] = files_of,
) -> list[Listed]:
    """Lists the files of each split, in order; under None are those without a split.

    Files of the valid and the test split are left out of the train split. `find` is
    :func:`files_of`, or one like it for other file systems.
    """
    listed = [
        Listed(path, name, split, is_named)
        for split, of in recordings.items()
        for named in of
        for path, name, is_named in find(named)
    ]
    held_out = {os.path.realpath(f.path) for f in listed if f.split in ("valid", "test")}
    return [f for f in listed if f.split != "train" or os.path.realpath(f.path) not in held_out]


def refuse_at_once(listed: Iterable[Listed], *, sample_rate: int, min_samples: int) -> None:
    """Raises an AudioError for a named file whose header shows that it cannot be used."""
    for path in (Path(file.path) for file in listed if file.is_named):
        blocks = stream_audio(
            path, sample_rate=sample_rate, block_length=BLOCK_LENGTH, min_samples=min_samples
        )
        # The header may be wrong about the length, so what it says is short is decoded; so is the
        # first block of what it says nothing about, if it is sound at all.
        declared_s = declared_duration_s(path)
        if declared_s is None or declared_s * sample_rate < min_samples + 1:
            for _ in itertools.islice(blocks, 1 if declared_s is None else None):
                pass


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, or an AudioError if it cannot be read."""
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise AudioError(f"{path} cannot be read ({error.strerror}); check its rights.") from error


def faulty(error: AudioError) -> Outcome:
    """The outcome of a file that cannot be used.

    Raises:
      OSError: the fault is not the file's, but one of the system, of a full disk for example. The
        same file may be read later, so it is not left out.
    """
    cause = error.__cause__
    if isinstance(cause, OSError) and not isinstance(cause, FAULTS_OF_FILES):
        raise OSError(
            f"{str(error).rpartition('; ')[0]}, which may be no fault of the file; mend that and "
            "run the same command again."
        ) from error
    return Outcome(fault=str(error))


def decoded_length(path: Path, *, sample_rate: int, min_samples: int) -> Outcome:
    """Decodes a file to learn its length, and whether it can be used."""
    try:
        blocks = stream_audio(
            path, sample_rate=sample_rate, block_length=BLOCK_LENGTH, min_samples=min_samples
        )
        return Outcome(n_samples=sum(map(len, blocks)), sha256=sha256_of(path))
    except AudioError as error:
        return faulty(error)


def usable_recordings(
    listed: Sequence[Listed],
    outcomes: Iterable[Outcome],
    leave_out: Callable[[str], object],
    use: Callable[[int, Usable], object] = lambda number, recording: None,
) -> list[Usable]:
    """Picks the recordings that can be used.

    Args:
      listed: the files.
      outcomes: what is known of each.
      leave_out: called with a sentence about each file that is left out.
      use: called with the number of each recording that is used, counted in `listed` from 1.

    Raises:
      AudioError: a file that was named cannot be used, or a file and its copy are in two splits.
    """
    usable: dict[str, Usable] = {}
    for number, (file, outcome) in enumerate(zip(listed, outcomes, strict=True), start=1):
        if outcome.fault:
            if file.is_named:
                raise AudioError(outcome.fault)
            leave_out(outcome.fault)
        elif outcome.sha256 in usable:
            original = usable[outcome.sha256].file
            if original.split != file.split:
                raise AudioError(
                    f"{file.path} is a copy of {original.path}, which is in another split; a "
                    "model must not be evaluated on its training data, so leave one of them out."
                )
            leave_out(f"{file.path} is a copy of {original.path}")
        else:
            usable[outcome.sha256] = Usable(file, outcome)
            use(number, usable[outcome.sha256])
    return list(usable.values())


def check_found(
    recordings: Mapping[str | None, Sequence[str | Path]],
    usable: Sequence[Usable],
    example_s: float,
) -> None:
    """Raises an AudioError if there is no recording for a split that should have some."""
    found = {recording.file.split for recording in usable}
    for split, of in recordings.items():
        if split not in found and (of or split in ("train", None)):
            raise AudioError(
                f"no usable recording in {', '.join(map(str, of)) or 'an empty list'}; "
                f"name audio files that are at least as long as an example, "
                f"{example_s:.3g} s, or folders with some in them."
            )
