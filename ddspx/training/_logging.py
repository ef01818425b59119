"""What a run writes while it trains: JSON lines, TensorBoard events, a line on the screen."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class RunLog:
    """The log folder of one run, `metrics.jsonl` and TensorBoard's events; close it after use.

    A resumed run goes on in the same files; what was logged after the step that it resumes
    from is dropped first, so that no step appears twice.

    Args:
      folder: where to write; made if absent.
      step: the step the run starts from.
    """

    def __init__(self, folder: str | Path, *, step: int = 0) -> None:
        from tensorboardX import SummaryWriter

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= step]
        self._lines = path.open("w", encoding="utf-8")
        self._lines.writelines(line + "\n" for line in kept)
        self._lines.flush()
        self._events = SummaryWriter(str(folder), purge_step=step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Logs named numbers at a step."""
        record = {"step": step, "time": round(time.time(), 3)} | dict(values)
        self._lines.write(json.dumps(record) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def audio(self, step: int, name: str, audio: np.ndarray, *, sample_rate: int) -> None:
        """Logs one sound (samples,) to TensorBoard, clipped to full scale."""
        self._events.add_audio(name, np.clip(audio, -1.0, 1.0), step, sample_rate)

    def close(self) -> None:
        """Writes out what is buffered."""
        self._lines.close()
        self._events.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def progress_bar(console: Console) -> Progress:
    """A bar over the steps with the loss and the steps per second."""
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TextColumn("{task.fields[rate]:.2f} steps/s"),
        TimeRemainingColumn(),
        console=console,
    )


def _lines(path: Path) -> list[str]:
    """The whole lines of a log that a kill may have cut in its last one."""
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").split("\n")[:-1] if line]
