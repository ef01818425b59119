"""Preparation on a cluster: the spools are computed by Apache Beam, from and to any file system.

The machine that starts the pipeline decides the splits and writes the dataset.
"""

import os
import re
import secrets
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from ddspx._progress import Progress
from ddspx.io import AudioError, DatasetError
from ddspx.training._beam_spools import (
    copy_from,
    copy_to,
    delete,
    end_child,
    file_systems,
    from_json,
    is_remote,
    literal,
    matches,
    read,
    spooled_anywhere,
)
from ddspx.training._beam_worker import measured
from ddspx.training._recordings import Listed, Outcome, files_of, listed_recordings, refuse_at_once
from ddspx.training._runners import (
    Outcomes,
    Recordings,
    dataset_folder,
    is_of_work,
    sweep_spools,
    work_folder,
)
from ddspx.training._spool import SpoolConfig, is_whole

_MANIFEST, _SHARD = "manifest.json", ".f32"
# What lies at a remote output before the manifest does.
_UNFINISHED = re.compile(r"(train|valid|test)-\d{5,}\.f32|skipped\.txt")


class BeamRunner:
    """Computes by a pipeline of Apache Beam, and writes the dataset on this machine.

    Args:
      output: the dataset folder to make, a path or a URL of a file system that Beam writes.
      overwrite: whether to replace an existing dataset.
      runner: the name of Beam's runner.
      options: the options of the pipeline, as on a command line.
      progress: called with the number of spools that were copied to this machine.
    """

    def __init__(
        self,
        output: str | Path,
        *,
        overwrite: bool,
        runner: str,
        options: Sequence[str],
        progress: Progress,
    ) -> None:
        name = os.fspath(output)
        self._output = name.rstrip("/") if is_remote(name) else name
        self._overwrite, self._progress = overwrite, progress
        self._options = _pipeline_options(runner, options)
        self._work = f"{self._output}.work" if is_remote(output) else str(work_folder(output))
        self.spools = Path(self._work)

    @contextmanager
    def dataset(self) -> Iterator[Path]:
        """A folder on this machine, which is moved or copied to the output in the end."""
        if not is_remote(self._output):
            with dataset_folder(self._output, overwrite=self._overwrite) as folder:
                yield folder
            return
        before = matches(f"{literal(self._output)}/**")
        is_unfinished = _is_unfinished([name.removeprefix(f"{self._output}/") for name in before])
        if before and not self._overwrite and not is_unfinished:
            raise FileExistsError(
                f"{self._output} already exists; choose another output folder or allow its "
                "replacement with overwrite (--overwrite)."
            )
        manifest = f"{self._output}/{_MANIFEST}"
        if before and manifest not in before and not is_unfinished:
            raise DatasetError(
                f"{self._output} exists and is not a dataset, so it is not replaced; "
                "choose another output folder."
            )
        with tempfile.TemporaryDirectory() as place:
            folder, self.spools = Path(place, "dataset"), Path(place, "spools")
            folder.mkdir()
            self.spools.mkdir()
            yield folder
            # Without a manifest a folder is no dataset, so it goes before the shards, and comes
            # last. Whenever this is interrupted, the folder is a dataset, or unfinished, or empty.
            shards = {name for name in before if name.endswith(_SHARD)}
            for group in (set(before) - shards - {manifest}, set(before) & {manifest}, shards):
                delete(sorted(group))
            for path in sorted(folder.iterdir(), key=_order):
                copy_from(path, f"{self._output}/{path.name}")

    def listed(self, recordings: Recordings, config: SpoolConfig) -> list[Listed]:
        """Lists files of all file systems."""
        listed = listed_recordings(recordings, lambda name: _remote_files(str(name)))
        refuse_at_once(
            [file for file in listed if not is_remote(file.path)],
            sample_rate=config.sample_rate,
            min_samples=config.example_length,
        )
        return listed

    def outcomes(self, listed: Sequence[Listed], config: SpoolConfig) -> Outcomes:
        """Runs the pipeline, and yields what is known of each file."""
        prefix = f"{self._work}/outcomes-{secrets.token_hex(4)}"
        paths = [
            str(file.path) if is_remote(file.path) else str(Path(file.path).absolute())
            for file in listed
        ]
        try:
            yield from self._outcomes(paths, config, prefix)
        finally:
            end_child()

    def _outcomes(self, paths: list[str], config: SpoolConfig, prefix: str) -> Outcomes:
        self._run(paths, config, prefix)
        lines = [
            line for name in matches(f"{literal(prefix)}*") for line in read(name).splitlines()
        ]
        found = dict(map(from_json, lines))
        delete(matches(f"{literal(prefix)}*"))
        for index, path in enumerate(paths):
            outcome = found[index]
            self._progress("collecting the features", float(index), float(len(paths)))
            if not outcome.fault and is_remote(self._work):
                outcome = self._collected(path, outcome, config)
            for message in outcome.warned:
                warnings.warn(message, stacklevel=2)
            yield outcome

    def _collected(self, path: str, outcome: Outcome, config: SpoolConfig) -> Outcome:
        """Copies a remote spool to this machine, and computes it again if it is damaged."""
        name = config.name(outcome.sha256)
        local, remote = self.spools / f"{name}.f32", f"{self._work}/{name}"
        if not local.exists():
            copy_to(f"{remote}.f32", local)
            if not is_whole(local, outcome):
                delete([f"{remote}.json"])
                outcome = spooled_anywhere(path, self._work, config)
                if not outcome.fault:
                    copy_to(f"{remote}.f32", local)
        return outcome

    def _run(self, paths: list[str], config: SpoolConfig, prefix: str) -> None:
        beam = import_module("apache_beam")
        measure = partial(measured, work=str(self._work), settings=asdict(config))
        with beam.Pipeline(options=self._options) as pipeline:
            _ = (
                pipeline
                | "Recordings" >> beam.Create(list(enumerate(paths)))
                | "Spread" >> beam.Reshuffle()
                | "Features" >> beam.Map(measure)
                | "Outcomes" >> beam.io.WriteToText(prefix)
            )

    def sweep(self) -> None:
        """Deletes the spools."""
        if is_remote(self._work):
            files = matches(f"{literal(self._work)}/**")
            delete([file for file in files if is_of_work(file.removeprefix(f"{self._work}/"))])
        else:
            sweep_spools(self.spools)


def _order(path: Path) -> tuple[bool, bool]:
    """Sorts the files of a dataset: the shards, what else there is, the manifest."""
    return path.name == _MANIFEST, path.suffix != _SHARD


def _is_unfinished(names: Sequence[str]) -> bool:
    """Whether a folder has shards, no manifest, and nothing that is not of a dataset."""
    return any(name.endswith(_SHARD) for name in names) and all(map(_UNFINISHED.fullmatch, names))


def _pipeline_options(runner: str, options: Sequence[str]) -> Any:
    try:
        options_module = import_module("apache_beam.options.pipeline_options")
        systems = file_systems()
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "preparing on a runner of Apache Beam needs apache_beam, which is not installed; run: "
            'pip install "ddspx[beam]"'
        ) from error
    try:
        parsed = options_module.PipelineOptions([f"--runner={runner}", *options])
        parsed.get_all_options()
    except SystemExit:
        raise ValueError(
            f"`pipeline_options` cannot be read by Apache Beam, got {' '.join(options)}; see the "
            "options of its runner."
        ) from None
    systems.set_options(parsed)
    return parsed


def _remote_files(name: str) -> Iterator[tuple[str | Path, str, bool]]:
    """Yields (file, name in the manifest, whether it was named) of a URL or a path."""
    if not is_remote(name):
        yield from files_of(name)
        return
    root = name.rstrip("/")
    if below := matches(f"{literal(root)}/**"):
        for file in below:
            relative = file.removeprefix(f"{root}/")
            if not any(part.startswith(".") for part in relative.split("/")):
                yield file, relative, False
        return
    found = matches(root) or matches(literal(root))
    if not found:
        raise AudioError(f"{name} does not exist; check the name and the rights.")
    for file in found:
        yield file, PurePosixPath(file).name, file == root
