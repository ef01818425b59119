"""Where a preparation runs: it finds recordings, computes their spools and puts the dataset."""

import math
import re
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Protocol, runtime_checkable

from ddspx._progress import Progress
from ddspx.io import DatasetError, declared_duration_s, is_dataset, owned, replacing_folder
from ddspx.io._leftovers import remove, sweep_owned
from ddspx.io._pool import pooled
from ddspx.training._recordings import Listed, Outcome, listed_recordings, refuse_at_once
from ddspx.training._spool import SpoolConfig, spooled

Recordings = Mapping[str | None, Sequence[str | Path]]
Outcomes = Generator[Outcome, None, None]

_COMPUTING = "computing features"
# So many short recordings may be computed while a long one before them is.
_AHEAD = 10_000
# What a preparation puts into its work folder, temporary files of Python and of Beam too.
_OF_WORK = re.compile(
    r"tmp[a-z0-9_]{8}|\.?[0-9a-f]{64}-[0-9a-f]{16}\.(json|f32)(\..+\.partial)?"
    r"|(beam-temp-)?outcomes-[0-9a-f]{8}.*"
)


@runtime_checkable
class Runner(Protocol):
    """Finds recordings, computes their spools, and puts the dataset in its place."""

    @property
    def spools(self) -> Path:
        """The folder on this machine where the spools are when all outcomes have been read."""
        ...

    def dataset(self) -> AbstractContextManager[Path]:
        """A folder to write to, which becomes the dataset when the ``with`` block succeeds."""
        ...

    def listed(self, recordings: Recordings, config: SpoolConfig) -> list[Listed]:
        """Lists the files; raises an AudioError if a named one can be refused at once."""
        ...

    def outcomes(self, listed: Sequence[Listed], config: SpoolConfig) -> Outcomes:
        """Computes the spools, and yields what is known of each file."""
        ...

    def sweep(self) -> None:
        """Deletes the spools, when the dataset is complete."""
        ...


class PoolRunner:
    """Computes in processes of this machine.

    Args:
      output: the dataset folder to make.
      overwrite: whether to replace an existing dataset.
      workers: number of processes; None for this process.
      progress: called with the bytes of the files that are done.
    """

    def __init__(
        self, output: str | Path, *, overwrite: bool, workers: int | None, progress: Progress
    ) -> None:
        self._output, self._overwrite = Path(output), overwrite
        self._workers, self._progress = workers, progress
        self.spools = work_folder(output)

    def dataset(self) -> AbstractContextManager[Path]:
        """A temporary folder, which is renamed when the ``with`` block succeeds."""
        return dataset_folder(self._output, overwrite=self._overwrite)

    def listed(self, recordings: Recordings, config: SpoolConfig) -> list[Listed]:
        """Lists the files of this machine."""
        listed = listed_recordings(recordings)
        refuse_at_once(listed, sample_rate=config.sample_rate, min_samples=config.example_length)
        return listed

    def outcomes(self, listed: Sequence[Listed], config: SpoolConfig) -> Outcomes:
        """Computes the spools in the processes, and yields what is known of each file."""
        sizes = [_size(file.path) for file in listed]
        ends = list(accumulate(sizes, initial=0.0))
        measure = partial(spooled, folder=self.spools, config=config)
        paths = [Path(file.path) for file in listed]
        if self._workers is not None and paths:
            workers = min(self._workers, len(paths))
            outcomes = pooled(measure, paths, workers=workers, ahead=_AHEAD)
        else:
            listeners = (
                self._listener(path, first, size, ends[-1])
                for path, first, size in zip(paths, ends, sizes, strict=False)
            )
            outcomes = (
                measure(path, listen=listen) for path, listen in zip(paths, listeners, strict=True)
            )
        with closing(outcomes):
            for end, outcome in zip(ends[1:], outcomes, strict=True):
                self._progress(_COMPUTING, end, ends[-1])
                for message in outcome.warned:
                    warnings.warn(message, stacklevel=2)
                yield outcome

    def _listener(
        self, path: Path, first: float, size: float, total: float
    ) -> Callable[[float], object]:
        """Reports the progress within one file, from the seconds of it that were decoded."""
        declared_s = declared_duration_s(path) or math.inf

        def listen(seconds: float) -> None:
            self._progress(_COMPUTING, first + size * min(1.0, seconds / declared_s), total)

        return listen

    def sweep(self) -> None:
        """Deletes the spools."""
        sweep_spools(self.spools)


def work_folder(output: str | Path) -> Path:
    """The folder beside a dataset where its spools are."""
    return Path(output).with_name(f"{Path(output).name}.work")


def is_of_work(name: str) -> bool:
    """Whether a preparation has put a file or folder into its work folder, from its name in it."""
    return _OF_WORK.fullmatch(name.partition("/")[0]) is not None


def sweep_spools(folder: Path, *, until: float = math.inf) -> None:
    """Deletes what preparations wrote into a work folder, and the folder if it is empty then.

    Args:
      folder: the work folder; it need not exist.
      until: what was changed later is kept, in seconds since 1970.
    """
    if folder.is_dir():
        for path in folder.iterdir():
            if is_of_work(path.name) and path.lstat().st_mtime <= until:
                remove(path)
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def dataset_folder(output: str | Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary folder, which becomes the dataset when the ``with`` block succeeds."""
    output, work = Path(output), work_folder(output)
    with owned(output, what="preparing a dataset"):
        sweep_owned(output.parent, [output.name])
        sweep_owned(work)
        if is_dataset(output) and not overwrite:
            # The one that wrote it may have been killed before it deleted its spools. Those that
            # are newer are of one that was to replace it.
            sweep_spools(work, until=(output / "manifest.json").stat().st_mtime)
        if overwrite and output.exists() and not is_dataset(output):
            raise DatasetError(
                f"{output} exists and is not a dataset, so it is not replaced; "
                "choose another output folder."
            )
        with replacing_folder(output, overwrite=overwrite) as folder:
            yield folder


def _size(path: str | Path) -> float:
    with suppress(OSError):
        return float(Path(path).stat().st_size)
    return 0.0
