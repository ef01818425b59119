"""Functions of the commands that process many recordings: output files, and skipped inputs."""

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

from ddspx import io
from ddspx._progress import Progress, no_progress
from ddspx.cli._errors import (
    BAD_INPUT,
    SkippedInputError,
    complain,
    explained,
    say,
    wants_traceback,
)
from ddspx.cli._progress import progress
from ddspx.io._pool import attempted, available_cores, mapped

# To start a worker takes seconds, as long as some recordings.
_RECORDINGS_PER_WORKER = 8

Make = Callable[[Path, tuple[Path, ...], Progress], str]
_Job = tuple[Path, tuple[Path, ...]]


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
    make: Make,
    *,
    workers: int | None,
) -> None:
    """Makes the files of each recording, and prints a line for each in their order.

    Args:
      command: the command's name, for messages.
      recordings: the input files.
      outputs: the files to make of each recording.
      make: called with a recording, its files and a function that takes its progress; makes the
        files and returns the line to print. It can be sent to another process.
      workers: number of processes; None for one for each eight recordings, at most for each core.

    Raises:
      SkippedInputError: some recordings could not be used; they were reported and left out.
    """
    if workers is None:
        workers = max(1, min(available_cores(), len(recordings) // _RECORDINGS_PER_WORKER))
    jobs = list(zip(recordings, outputs, strict=True))
    each = _one_by_one if min(workers, len(jobs)) == 1 else partial(_at_once, workers=workers)
    skipped, any_succeeded = Skipped(command), False
    with closing(each(make, jobs)) as results:
        for recording, result in zip(recordings, results, strict=True):
            if isinstance(result, str):
                say(result)
                any_succeeded = True
            elif isinstance(result, io.AudioError):
                skipped.report(result)
            # Before the first success an error may be due to the options, and then every recording
            # would cause it. After a success it can only be due to this recording.
            elif any_succeeded or _is_of_the_input(result):
                skipped.leave_out(recording, result)
            else:
                raise result
    skipped.raise_if_any(len(recordings))


def _one_by_one(make: Make, jobs: Sequence[_Job]) -> Generator[str | Exception, None, None]:
    """Yields the line of each recording, or the exception that it caused."""
    for i, (recording, files) in enumerate(jobs, start=1):
        try:
            with progress() as bar:
                which = f"{i} of {len(jobs)}"

                def show(
                    stage: str, done: float, total: float | None, bar=bar, which=which
                ) -> None:
                    bar(f"{stage} {which}", done, total)

                result = make(recording, files, show)
        except Exception as error:
            result = error
        yield result


def _at_once(
    make: Make, jobs: Sequence[_Job], *, workers: int
) -> Generator[str | Exception, None, None]:
    """Yields the same as `_one_by_one`, from several processes."""
    each = partial(attempted, partial(_made, make))
    with progress() as bar, closing(mapped(each, jobs, workers=workers)) as results:
        for i, result in enumerate(results, start=1):
            bar("working", float(i), float(len(jobs)))
            yield result


def _made(make: Make, job: _Job) -> str:
    return make(*job, no_progress)


def _is_of_the_input(error: Exception) -> bool:
    """Tells whether an exception can only be due to one recording or its output files."""
    is_system_error = isinstance(error, OSError) and error.strerror is not None
    return is_system_error or isinstance(error, UnicodeError) or explained(error)[1] != BAD_INPUT
