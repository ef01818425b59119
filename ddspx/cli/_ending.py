"""What the commands that train say when they end."""

import shlex
from pathlib import Path

from ddspx import training
from ddspx.cli._complaints import say


def print_ending(result: "training.TrainResult", output: Path) -> None:
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
