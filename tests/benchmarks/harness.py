"""Timing shared by the benchmarks: interleaved runs, compiled memory, rivals in other interpreters.

A rival runs in its own interpreter (its packages are no dependency of ddspx), named by an
environment variable: `DDSPX_BENCH_TF` for DDSP on TensorFlow, `DDSPX_BENCH_TORCH` for PyTorch,
`DDSPX_BENCH_LIBROSAX` for librosax. Its script calls :func:`serve` of `rival.py`. The processes
take turns, so that all see the same machine.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax


class Case(NamedTuple):
    """One row: `run` does the work once and returns its milliseconds."""

    run: Callable[[], float]
    memory_mb: float | None
    error: str
    compile_s: float | None = None


def compiled(f: Callable, *args: Any, error: str = "") -> Case:
    """A jitted function on device arrays; its memory is that of XLA's temporaries."""
    jax.clear_caches()
    start = time.perf_counter()
    program = jax.jit(f).lower(*args).compile()
    compile_s = time.perf_counter() - start

    def run() -> float:
        start = time.perf_counter()
        jax.block_until_ready(program(*args))
        return 1e3 * (time.perf_counter() - start)

    memory_mb = program.memory_analysis().temp_size_in_bytes / 2**20
    return Case(run, memory_mb, error, compile_s)


class Rival:
    """A process that serves named cases, from the interpreter that `variable` names."""

    def __init__(self, variable: str, script: Path):
        executable = os.environ.get(variable)
        self.reason = None if executable else f"{variable} names no Python interpreter"
        if executable:
            self._process = subprocess.Popen(
                [executable, str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )

    def ask(self, name: str) -> dict[str, Any]:
        """Runs a case once: its milliseconds and the peak resident memory so far, in MB."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"the rival ended before it answered {name!r}")

    def case(self, name: str, error: str = "") -> Case:
        """A row of this rival; its first run, which compiles, is not counted."""
        answer = self.ask(name)
        return Case(lambda: self.ask(name)["ms"], answer["peak_mb"], error)


def measure(cases: Mapping[str, Case], *, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each case, in turns A B C A B C, after one run that is not counted."""
    for case in cases.values():
        case.run()
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            times[name].append(case.run())
    return times


def report(title: str, cases: Mapping[str, Case], *, repeats: int, baseline: str) -> None:
    """Measures, and prints a Markdown table with ratios to `baseline`."""
    times = measure(cases, repeats=repeats)
    base = statistics.median(times[baseline])
    faster = f"times faster than {baseline}"
    rows = [("case", "median ms", "best ms", faster, "memory MB", "compile s", "error")]
    for name, case in cases.items():
        median = statistics.median(times[name])
        memory = "" if case.memory_mb is None else f"{case.memory_mb:.1f}"
        compiling = "" if case.compile_s is None else f"{case.compile_s:.1f}"
        figures = (f"{median:.2f}", f"{min(times[name]):.2f}", f"{base / median:.1f}")
        rows.append((name, *figures, memory, compiling, case.error))
    print("\n".join([f"### {title}", "", *_markdown(rows), ""]), flush=True)


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]
