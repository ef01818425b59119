"""The logs of a training run: JSON lines, TensorBoard events, sounds, and a progress bar."""

import json
import math
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress as Bar,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ddspx._progress import Progress
from ddspx.io import parse_json, replacing_file, write_audio
from ddspx.io._replacing import write_errors
from ddspx.training._devices import is_writer

_FLUSH_EVERY_S = 60.0


class RunLog:
    """The log folder of one run; close it after use.

    It holds `metrics.jsonl`, TensorBoard's events, and sounds as WAV files in `audio`. A resumed
    run appends to the same files. Entries of later steps than the one that it resumes from are
    removed first, so that no step appears twice, and lines that cannot be read are removed too.

    If tensorboardX is not installed, there are no events; the JSON lines hold every number.

    Args:
      folder: the folder to write to; it is made if it does not exist.
      step: the step that the run starts or resumes from.
    """

    def __init__(self, folder: str | Path, *, step: int = 0) -> None:
        self._folder = Path(folder)
        path, self._sounds = self._folder / "metrics.jsonl", self._folder / "audio"
        with write_errors(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            kept = _lines(path, step)
            with replacing_file(path) as temporary:
                temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
            for sound in self._sounds.glob("*-*.wav"):
                if (taken := sound.stem.rpartition("-")[2]).isdigit() and int(taken) > step:
                    sound.unlink()
            self._lines = path.open("a", encoding="utf-8")
            self._events = _Events(self._folder, step + 1) if has_tensorboard() else None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Logs named numbers at a step."""
        record = {"step": step, "time": round(time.time(), 3)} | dict(values)
        with write_errors(self._folder):
            self._lines.write(json.dumps(record) + "\n")
            self._lines.flush()
            if self._events:
                self._events.scalars(step, values)

    def audio(self, step: int, name: str, audio: np.ndarray, *, sample_rate: int) -> None:
        """Logs one sound (samples,), clipped to full scale, to TensorBoard and as a WAV file."""
        clipped = np.clip(audio, -1.0, 1.0)
        with write_errors(self._folder):
            if self._events:
                self._events.audio(step, name, clipped, sample_rate)
            self._sounds.mkdir(exist_ok=True)
            file = self._sounds / f"{name.replace('/', '-')}-{step:06d}.wav"
            write_audio(file, clipped, sample_rate=sample_rate)

    def close(self) -> None:
        """Writes buffered entries and closes the files."""
        with write_errors(self._folder):
            try:
                self._lines.close()
            finally:
                if self._events:
                    self._events.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class NoLog(RunLog):
    """The log of a process that does not write."""

    def __init__(self) -> None:
        pass

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Logs nothing."""

    def audio(self, step: int, name: str, audio: np.ndarray, *, sample_rate: int) -> None:
        """Logs nothing."""

    def close(self) -> None:
        """Closes nothing."""


def console_here(console: Console | None) -> Console:
    """The given console, by default the terminal; a process that does not write prints nothing."""
    return (console or Console()) if is_writer() else Console(quiet=True)


def progress_bar(console: Console) -> Bar:
    """Returns a progress bar over the steps, with the loss and the steps per second."""
    return Bar(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _LossAndRate(),
        TimeRemainingColumn(),
        console=console,
    )


@contextmanager
def reading_bar(console: Console) -> Iterator[Progress]:
    """Shows a progress bar while recordings are read before training, and removes it afterwards.

    Yields:
      A function to call with the number of recordings read, and of all.
    """
    columns = TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn()
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total
        )


class _LossAndRate(ProgressColumn):
    """Shows loss and rate; until the first step has ended, that the step is being compiled."""

    def render(self, task: Task) -> Text:
        loss, rate = task.fields["loss"], task.fields["rate"]
        skipped = task.fields.get("skipped", 0)
        if math.isnan(loss) and not skipped:
            return Text("compiling")
        shown = f"loss {loss:.3f}" + ("" if math.isnan(rate) else f"  {rate:.2f} steps/s")
        return Text(shown + (f"  {skipped} skipped" if skipped else ""))


def has_tensorboard() -> bool:
    """Whether tensorboardX, which writes TensorBoard's events, is installed."""
    return find_spec("tensorboardX") is not None


class _Events:
    """TensorBoard's events, written at once by the thread that logs.

    The thread of tensorboardX's own writer would die of a full disk, and whoever logs would then
    wait for it forever.
    """

    def __init__(self, folder: Path, first: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        self._protos: Any = import_module("tensorboardX.proto.event_pb2")
        # Without the suffix, a run that is resumed within a second would replace the file.
        self._file = EventsWriter(str(folder / "events"), f".{os.getpid()}.{secrets.token_hex(2)}")
        # Hides what was logged at this step or later before the run was interrupted.
        start = self._protos.SessionLog(status=self._protos.SessionLog.START)
        self._write(step=first, session_log=start)
        self._flushed = time.monotonic()

    def _write(self, **fields: Any) -> None:
        self._file.write_event(self._protos.Event(wall_time=time.time(), **fields))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.summary import scalar

        for name, value in values.items():
            self._write(step=step, summary=scalar(name, value))
        if time.monotonic() - self._flushed > _FLUSH_EVERY_S:
            self._file.flush()
            self._flushed = time.monotonic()

    def audio(self, step: int, name: str, audio: np.ndarray, sample_rate: int) -> None:
        from tensorboardX.summary import audio as sound

        self._write(step=step, summary=sound(name, audio, sample_rate))

    def close(self) -> None:
        self._file.close()


def _lines(path: Path, step: int) -> list[str]:
    """Returns the lines of a log up to a step, without damaged ones.

    A line is damaged if the process was killed while it wrote the line, for example.
    """
    if not path.exists():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if parse_json(line)["step"] <= step:
                kept.append(line)
        except (ValueError, TypeError, KeyError):
            continue
    return kept
