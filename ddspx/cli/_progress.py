"""How far a command is, on the terminal of whoever waits for it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress() -> Iterator[Callable[[str, float, float | None], None]]:
    """A bar on stderr, gone when the work is; where stderr is no terminal there is none.

    Yields:
      What to call with what is being done, how far it is, and how far it goes if that is known.
    """
    # Not before it is needed: a wrong option is answered sooner.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
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
    with Progress(
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
