"""What a rival's script runs on, on Linux: reads names of cases, answers with their times."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def serve(cases: Mapping[str, Callable[[], object]]) -> None:
    """Answers each line of standard input with one JSON line, until it ends."""
    for line in sys.stdin:
        start = time.perf_counter()
        cases[line.strip()]()
        elapsed = 1e3 * (time.perf_counter() - start)
        print(json.dumps({"ms": elapsed, "peak_mb": peak_mb()}), flush=True)


def peak_mb() -> float:
    """The most memory this process had; `ru_maxrss` begins with that of the benchmark's process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
