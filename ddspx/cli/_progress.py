"""How far a command is, and where a training ended, for whoever waits for it."""

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
    """A bar on stderr, gone when the work is; where stderr is no terminal there is none.

    Yields:
      What to tell.
    """
    # Not before it is needed: a wrong option is answered sooner.
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
    # What is printed meanwhile goes above the bar where both have the terminal, else its own way.
    with Bar(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),
    ) as bar:
        task = bar.add_task("starting", total=None)
        doing = ""

        def update(what: str, done: float, total: float | None) -> None:
            nonlocal doing
            if what != doing:
                bar.reset(task, description=what)
                doing = what
            bar.update(task, completed=done, total=total)

        yield update


def print_ending(result: "TrainResult", output: Path) -> None:
    """Prints where a run ended, which weights are kept, whether it can go on, and its log."""
    where = f"{output} holds the weights of step {result.best.step}"
    if not result.best.step:
        where = f"{output} is not written before the first evaluation"
    if not result.finished:
        where += "; the same command goes on from here"
    say(f"Ended at step {result.step}: {where}.")
    logs = output.with_name(f"{output.name}.run") / "logs"
    sounds = f", sounds in {logs / 'audio'}" if (logs / "audio").is_dir() else ""
    say(f"Its log is {logs}{sounds}; to see it: tensorboard --logdir {shlex.quote(str(logs))}")
