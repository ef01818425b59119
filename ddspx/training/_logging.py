"""What a run writes while it trains: JSON lines, events, sounds, a line on the screen."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
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


class RunLog:
    """The log folder of one run; close it after use.

    It holds `metrics.jsonl`, TensorBoard's events, and in `audio` what can be heard, as WAV. A
    resumed run goes on in the same files; what was logged after the step that it resumes from is
    dropped first, so that no step appears twice, and so is a line that cannot be read.

    Without tensorboardX there are the JSON lines alone, which hold every number.

    Args:
      folder: where to write; made if absent.
      step: the step the run starts from.
    """

    def __init__(self, folder: str | Path, *, step: int = 0) -> None:
        writer = summary_writer()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        kept = _lines(path, step)
        with replacing_file(path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self._sounds = folder / "audio"
        for sound in self._sounds.glob("*-*.wav"):
            if (taken := sound.stem.rpartition("-")[2]).isdigit() and int(taken) > step:
                sound.unlink()
        self._lines = path.open("a", encoding="utf-8")
        self._events = writer(str(folder), purge_step=step + 1) if writer else None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Logs named numbers at a step."""
        record = {"step": step, "time": round(time.time(), 3)} | dict(values)
        self._lines.write(json.dumps(record) + "\n")
        self._lines.flush()
        if self._events:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)

    def audio(self, step: int, name: str, audio: np.ndarray, *, sample_rate: int) -> None:
        """Logs one sound (samples,), clipped to full scale, to TensorBoard and as a WAV file."""
        heard = np.clip(audio, -1.0, 1.0)
        if self._events:
            self._events.add_audio(name, heard, step, sample_rate)
        self._sounds.mkdir(exist_ok=True)
        file = self._sounds / f"{name.replace('/', '-')}-{step:06d}.wav"
        write_audio(file, heard, sample_rate=sample_rate)

    def close(self) -> None:
        """Writes out what is buffered."""
        self._lines.close()
        if self._events:
            self._events.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def progress_bar(console: Console) -> Bar:
    """A bar over the steps with the loss and the steps per second."""
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
    """A bar over the recordings that are read before training, gone when they are.

    Yields:
      What to tell how many are read, and of how many.
    """
    columns = TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn()
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total
        )


class _LossAndRate(ProgressColumn):
    """What is known of them; before the first step has come back, that it is being compiled."""

    def render(self, task: Task) -> Text:
        loss, rate = task.fields["loss"], task.fields["rate"]
        if math.isnan(loss):
            return Text("compiling")
        return Text(f"loss {loss:.3f}" + ("" if math.isnan(rate) else f"  {rate:.2f} steps/s"))


def summary_writer() -> Any:
    """The writer of events for TensorBoard; None where tensorboardX is not installed."""
    try:
        return import_module("tensorboardX").SummaryWriter
    except ModuleNotFoundError:
        return None


def _lines(path: Path, step: int) -> list[str]:
    """The lines of a log up to a step, without those that a kill or a bad disk has damaged."""
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
