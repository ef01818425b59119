"""Processor time of the trackers, all in one run.

    python speed.py SOUND.wav

The trackers take turns, so that what else the machine does slows all of them alike. Those that
RIVAL_PYTHON runs wait in processes of their own. The first turn, which compiles, is not counted.
"""

import argparse
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import soundfile
from evaluate_pitch import METHODS

from ddspx import features

RIVALS = ("swift_f0", "crepe_tiny")
TURNS = 9


def measure(sound: Path, methods: list[str], rivals: list[str]) -> dict[str, list[float]]:
    """Seconds of processor time of every tracker in every turn."""
    audio, sample_rate = soundfile.read(sound, dtype="float32")
    python, script = os.environ.get("RIVAL_PYTHON"), Path(__file__).with_name("rivals.py")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = {
        rival: subprocess.Popen([python, script, rival, "--time", sound], **pipes)
        for rival in (rivals if python else ())
    }

    def once(name):
        if name in running:
            print(file=running[name].stdin, flush=True)
            return float(running[name].stdout.readline())
        started = time.process_time()
        grid = {"sample_rate": sample_rate, "hop_length": sample_rate // 100}
        features.track_pitch(audio, **grid, method=name)
        return time.process_time() - started

    spent = {name: [] for name in (*methods, *running)}
    for _ in range(1 + TURNS):
        for name, values in spent.items():
            values.append(once(name))
    for process in running.values():
        process.communicate()
    return {name: values[1:] for name, values in spent.items()}


def report(spent: dict[str, list[float]], duration_s: float) -> str:
    """A table: the median and the range of the turns."""
    lines = [f"| {duration_s:.0f} s of sound | median, ms | range, ms |", "|---|---|---|"]
    for name, values in spent.items():
        middle, low, high = 1000 * np.quantile(values, (0.5, 0, 1))
        lines.append(f"| {name} | {middle:.0f} | {low:.0f} to {high:.0f} |")
    return "\n".join(lines)


def main(arguments: argparse.Namespace) -> None:
    """Prints the table."""
    spent = measure(arguments.sound, arguments.methods, arguments.rivals)
    print(report(spent, soundfile.info(arguments.sound).duration))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sound", type=Path)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--rivals", nargs="*", default=RIVALS)
    main(parser.parse_args())
