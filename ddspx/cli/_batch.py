"""Functions of the commands that process many recordings: output files, and skipped inputs."""

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
    """Counts the recordings that a command leaves out, and prints an error for each.

    Where several processes run the command, all but one are silent.
    """

    def __init__(self, command: str, *, is_silent: bool = False) -> None:
        self._command, self._is_silent, self.count = command, is_silent, 0

    def report(self, error: "io.AudioError | str") -> None:
        """Prints the error of a recording that cannot be used."""
        if not self._is_silent:
            complain(self._command, error)
        self.count += 1

    def leave_out(self, recording: Path, error: Exception) -> None:
        """Prints any exception that a recording caused; with DDSPX_TRACEBACK=1 it is raised."""
        if wants_traceback():
            raise error
        self.report(f"{recording} is left out ({str(explained(error)[0]).rstrip('.')}).")

    def raise_if_any(self, total: int) -> None:
        """Raises a SkippedInputError if some of `total` recordings were left out."""
        if self.count:
            raise SkippedInputError(f"left out {self.count} of {total} recordings.")


def output_files(
    recordings: Sequence[Path], folder: Path, suffixes: Sequence[str]
) -> list[tuple[Path, ...]]:
    """Returns the files to make of each recording; raises a ValueError if one would be lost.

    No file may replace a recording or the file of another recording.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`output` must be a folder, got {folder}, which is a file.")
    outputs = [
        tuple(folder / io.fitting_name(recording.stem, suffix) for suffix in suffixes)
        for recording in recordings
    ]
    # os.path.realpath rather than Path.resolve, which raises an error for circular links.
    inputs, source_of = set(map(os.path.realpath, recordings)), {}
    for recording, files in zip(recordings, outputs, strict=True):
        for file in files:
            if os.path.realpath(file) in inputs:
                raise ValueError(
                    f"{file} is one of the recordings, and would be replaced by the output of "
                    f"{recording}; choose another folder with -o."
                )
        other = source_of.setdefault(os.path.realpath(files[0]), recording)
        if other is not recording:
            raise ValueError(
                f"{other} and {recording} would both become {files[0]}; process them one at a "
                "time, with different folders."
            )
    return outputs


def writable_place(folder: Path) -> Path:
    """Checks that a folder can be written to, before the work; does not create it.

    Returns:
      The folder, or if it does not exist yet, the nearest parent that does.
    """
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
    """Makes the files of one recording after the other, and prints a line for each.

    Args:
      command: the command's name, for messages.
      recordings: the input files.
      outputs: the files to make of each recording.
      make: called with a recording, its files and a text such as "2 of 5"; makes the files and
        returns the line to print.

    Raises:
      SkippedInputError: some recordings could not be used; they were reported and left out.
    """
    skipped, any_succeeded = Skipped(command), False
    for i, (recording, files) in enumerate(zip(recordings, outputs, strict=True), start=1):
        try:
            summary = make(recording, files, f"{i} of {len(recordings)}")
        except io.AudioError as error:
            skipped.report(error)
        except Exception as error:
            # Before the first success an error may be due to the options, and then every recording
            # would cause it. After a success it can only be due to this recording.
            if not (any_succeeded or _is_of_the_input(error)):
                raise
            skipped.leave_out(recording, error)
        else:
            say(summary)
            any_succeeded = True
    skipped.raise_if_any(len(recordings))


def _is_of_the_input(error: Exception) -> bool:
    """Tells whether an exception can only be due to one recording or its output files."""
    is_system_error = isinstance(error, OSError) and error.strerror is not None
    return is_system_error or isinstance(error, UnicodeError) or explained(error)[1] != BAD_INPUT
