"""Processor time of the trackers, all in one run, and how long a live one takes on one core.

    python speed.py SOUND.wav

The trackers take turns, so that what else the machine does slows all of them alike. Those that
RIVAL_PYTHON runs wait in processes of their own. The first turn, which compiles, is not counted.

The second table has elapsed times in a process that is kept on one core, where the system can do
that: of a step of the live tracker, from a block of samples to its pitch, and of a call of
`features.track_pitch` on a short sound. On a busy machine, others run on that core too: the
processor time leaves out what they take.
"""

import argparse
import functools
import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jax
import numpy as np
import soundfile
from evaluate_pitch import METHODS
from flax import nnx
from scipy import signal

from ddspx import features
from ddspx.models.pitch import load_pitch_tracker

RIVALS = ("swift_f0", "crepe_tiny")
TURNS = 9
# Blocks of 10 ms, a frame of the live tracker each; and calls on so many seconds of sound.
STEPS = 2000
CALLS, CALL_S = 200, 0.064
NETWORKS = ("ddspx", "ddspx-live")


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


def stay_on_one_core() -> None:
    """Keeps this process, and the threads that it starts from now on, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def delays(sound: Path) -> dict[str, list[tuple[float, float]]]:
    """Elapsed and processor time, in seconds, of every live step and call on a short sound."""
    audio, sample_rate = soundfile.read(sound, dtype="float32")
    pieces = np.resize(audio, (1 + CALLS, round(CALL_S * sample_rate)))
    spent = {"a step of ddspx-live": live_steps(audio, sample_rate)}
    for method in NETWORKS:
        grid = {"sample_rate": sample_rate, "hop_length": sample_rate // 100}
        track = functools.partial(features.track_pitch, **grid, method=method)
        spent[f"{1000 * CALL_S:.0f} ms by {method}"] = [timed(track, x)[0] for x in pieces][1:]
    return spent


def live_steps(audio: np.ndarray, sample_rate: int) -> list[tuple[float, float]]:
    """Elapsed and processor time from a block of samples in the host's memory to its pitch."""
    model = load_pitch_tracker(live=True)
    audio = signal.resample_poly(audio, model.config.sample_rate, sample_rate)
    graph, weights = nnx.split(model)
    step = jax.jit(lambda weights, state, block: nnx.merge(graph, weights).step(state, block))
    state, spent = model.init(), []
    for block in np.resize(audio, (1 + STEPS, model.config.hop_length)):
        took, (state, _) = timed(step, weights, state, block)
        spent.append(took)
    return spent[1:]


def timed(f: Callable, *inputs):
    """Elapsed and processor time of a call, and its result."""
    started = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(f(*inputs))
    return (time.perf_counter() - started[0], time.process_time() - started[1]), result


def report_delays(spent: dict[str, list[tuple[float, float]]]) -> str:
    """A table: the median, the 99th percentile and the longest."""
    where = "one core" if hasattr(os, "sched_setaffinity") else "all cores"
    kinds = " | ".join(f"{x}, ms" for x in ("median", "p99", "maximum", "processor's p99"))
    lines = [f"| on {where} | times | {kinds} |", "|" + "---|" * 6]
    for name, values in spent.items():
        took, busy = 1000 * np.array(values).T
        figures = *np.quantile(took, (0.5, 0.99, 1)), np.quantile(busy, 0.99)
        cells = " | ".join(f"{x:.2f}" for x in figures)
        lines.append(f"| {name} | {len(values)} | {cells} |")
    return "\n".join(lines)


def main(arguments: argparse.Namespace) -> None:
    """Prints the tables."""
    spent = measure(arguments.sound, arguments.methods, arguments.rivals)
    print(report(spent, soundfile.info(arguments.sound).duration))
    # A new process, because threads stay where they were started.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, fresh, initializer=stay_on_one_core) as pool:
        print("\n" + report_delays(pool.submit(delays, arguments.sound).result()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sound", type=Path)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--rivals", nargs="*", default=RIVALS)
    main(parser.parse_args())
