"""What the commands share that make files of many recordings."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from ddspx import io
from ddspx.cli._errors import (
    BAD_INPUT,
    SkippedInputError,
    complain,
    explained,
    say,
    wants_traceback,
)


class Skipped:
    """Counts the recordings that a command leaves out, and complains of each."""

    def __init__(self, command: str) -> None:
        self._command, self._count = command, 0

    def report(self, error: "io.AudioError | str") -> None:
        """Complains of a recording that cannot be used."""
        complain(self._command, error)
        self._count += 1

    def leave_out(self, recording: Path, error: Exception) -> None:
        """Complains of whatever one recording raised, which is raised where that is wanted."""
        if wants_traceback():
            raise error
        self.report(f"{recording} is left out ({str(explained(error)[0]).rstrip('.')}).")

    def raise_if_any(self, total: int) -> None:
        """Raises a SkippedInputError if some of `total` recordings were left out."""
        if self._count:
            raise SkippedInputError(f"left out {self._count} of {total} recordings.")


def output_files(
    recordings: Sequence[Path], folder: Path, suffixes: Sequence[str]
) -> list[tuple[Path, ...]]:
    """The files to make of each recording, none of which is another's or a recording."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`output` must be a folder, got {folder}, which is a file.")
    outputs = [
        tuple(folder / io.fitting_name(recording.stem, suffix) for suffix in suffixes)
        for recording in recordings
    ]
    # Not Path.resolve, which raises where links go round in circles.
    heard, maker = set(map(os.path.realpath, recordings)), {}
    for recording, files in zip(recordings, outputs, strict=True):
        for file in files:
            if os.path.realpath(file) in heard:
                raise ValueError(
                    f"{file} is one of the recordings, and would be replaced by what is made of "
                    f"{recording}; choose another folder with -o."
                )
        if (other := maker.setdefault(os.path.realpath(files[0]), recording)) is not recording:
            raise ValueError(
                f"{other} and {recording} would both become {files[0]}; take them one at a "
                "time, into different folders."
            )
    return outputs


def writable_place(folder: Path) -> Path:
    """The folder, or where it will be made; found out before the work, and nothing is made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        TemporaryFile(dir=place).close()
    except OSError as error:
        raise ValueError(
            f"`output` must be a folder that can be written to, got {folder} "
            f"({place}: {error.strerror}); choose another with -o."
        ) from error
    return place


def make_each(
    command: str,
    recordings: Sequence[Path],
    outputs: Sequence[tuple[Path, ...]],
    make: Callable[[Path, tuple[Path, ...], str], str],
) -> None:
    """Makes the files of one recording after the other, and says what became of it.

    Args:
      command: whose complaints they are.
      recordings: what to make files of.
      outputs: the files of each.
      make: called with a recording, its files, and which of how many it is.

    Raises:
      SkippedInputError: some could not be used; each was complained of and left out.
    """
    skipped, is_proved = Skipped(command), False
    for i, (recording, files) in enumerate(zip(recordings, outputs, strict=True), start=1):
        try:
            said = make(recording, files, f"{i} of {len(recordings)}")
        except io.AudioError as error:
            skipped.report(error)
        except Exception as error:
            # What is said before any recording was of use may be of the options, and is of all.
            if not (is_proved or _is_of_the_input(error)):
                raise
            skipped.leave_out(recording, error)
        else:
            say(said)
            is_proved = True
    skipped.raise_if_any(len(recordings))


def _is_of_the_input(error: Exception) -> bool:
    """Whether an exception can only be of one recording, or of the files that are made of it."""
    is_systems = isinstance(error, OSError) and error.strerror is not None
    return is_systems or isinstance(error, UnicodeError) or explained(error)[1] != BAD_INPUT
