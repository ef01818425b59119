"""What the commands that train say when they end."""

from pathlib import Path

from ddspx import training
from ddspx.cli._complaints import say


def print_ending(result: "training.TrainResult", output: Path) -> None:
    """Prints where a run ended, which weights are in `output`, and whether it can go on."""
    where = f"{output} holds the weights of step {result.best.step}"
    if not result.best.step:
        where = f"{output} is not written before the first evaluation"
    if not result.finished:
        where += "; the same command goes on from here"
    say(f"Ended at step {result.step}: {where}.")
