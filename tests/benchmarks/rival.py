"""What a rival's script runs on: reads names of cases, answers with their times."""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping


def serve(cases: Mapping[str, Callable[[], object]]) -> None:
    """Answers each line of standard input with one JSON line, until it ends."""
    for line in sys.stdin:
        start = time.perf_counter()
        cases[line.strip()]()
        elapsed = 1e3 * (time.perf_counter() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"ms": elapsed, "peak_mb": peak}), flush=True)
