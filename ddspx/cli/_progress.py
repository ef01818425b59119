"""The progress bar of the commands, and the last lines of the training commands."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ddspx._progress import Progress
from ddspx.cli._errors import say

if TYPE_CHECKING:
    from ddspx.training import TrainResult


@contextmanager
def progress() -> Iterator[Progress]:
    """Shows a progress bar on stderr until the work is done, if stderr is a terminal.

    Yields:
      A function to call with the name of the stage, the amount done and the total.
    """
    # Imported here, so that an error in the options is reported sooner.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress as Bar,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # Lines that are printed meanwhile appear above the bar if stdout is a terminal too. Otherwise
    # stdout must not be redirected to the terminal.
    with Bar(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),
    ) as bar:
        task = bar.add_task("starting", total=None)
        current = ""

        def update(stage: str, done: float, total: float | None) -> None:
            nonlocal current
            if stage != current:
                bar.reset(task, description=stage)
                current = stage
            bar.update(task, completed=done, total=total)

        yield update


def print_ending(result: "TrainResult", output: Path) -> None:
    """Prints the last step, the step of the saved weights, how to resume, and the log's folder.

    Of several processes only the one that wrote them prints.
    """
    from ddspx.training import is_writer

    if not is_writer():
        return
    summary = f"{output} holds the weights of step {result.best.step}"
    if not result.best.step:
        summary = f"{output} is not written before the first evaluation"
    if not result.finished:
        summary += "; the same command resumes the training"
    say(f"Ended at step {result.step}: {summary}.")
    logs = output.with_name(f"{output.name}.run") / "logs"
    sounds = f", sounds in {logs / 'audio'}" if (logs / "audio").is_dir() else ""
    say(f"The log is in {logs}{sounds}; to view it: tensorboard --logdir {shlex.quote(str(logs))}")
