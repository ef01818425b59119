"""Timbre transfer of a minute to the violin, and how long the command takes to begin.

Run: ``python tests/benchmarks/bench_transfer.py``. There is no rival that installs: DDSP's notebook
needs TensorFlow 2.11 and CREPE. What it says is what somebody waits: a whole process for the
command, once with an empty cache of compiled programs and then with what that left; and what a
minute takes beyond half a second in such a process. The error is the pitch of the result against
what was asked for, and the correlation of its loudness with the recording's.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ddspx import io
from ddspx.transfer import evaluate_transfer, transfer

MELODY = Path(__file__).parents[2] / "examples" / "melody" / "melody.flac"
RATE, REPEATS = 16_000, 3
COMMAND = """
import sys
from ddspx.cli import main
assert main(sys.argv[2:]) == 0
sys.path.insert(0, sys.argv[1])
from rival import peak_mb
print(peak_mb())
"""


def command(recording: Path, folder: Path) -> tuple[float, float]:
    """Seconds and MB that the command takes, with the programs kept in `folder`."""
    arguments = ["transfer", recording, "--to", "violin", "-o", folder / "out.wav"]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(Path(__file__).parent), *map(str, arguments)],
        env=inherited | {"XDG_CACHE_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - start, float(done.stdout.split()[-1])


def main() -> None:
    melody = io.read_audio(MELODY, sample_rate=RATE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        minute, moment = folder / "minute.wav", folder / "moment.wav"
        io.write_audio(minute, np.resize(melody, 60 * RATE), sample_rate=RATE)
        io.write_audio(moment, melody[RATE // 2 : RATE], sample_rate=RATE)
        first, _ = command(moment, folder)
        later = statistics.median(command(moment, folder)[0] for _ in range(REPEATS))
        minutes = [command(minute, folder) for _ in range(REPEATS)]
        whole, peak_mb = (statistics.median(each) for each in zip(*minutes, strict=True))
        report = transfer(minute, folder / "out.wav", to="violin")
        quality = evaluate_transfer(folder / "out.wav", report)
    error = f"{quality.f0_cents:.1f} cents, {quality.loudness_correlation:.2f}"
    print("| what | s | memory, MB | error |")
    print("| --- | --- | --- | --- |")
    print(f"| `ddspx transfer` of 0.5 s, nothing compiled before | {first:.1f} | | |")
    print(f"| the same, with the programs of before | {later:.1f} | | |")
    print(f"| `ddspx transfer` of 60 s, likewise | {whole:.1f} | {peak_mb:.0f} | {error} |")
    print(f"| a minute beyond half a second | {whole - later:.1f} | | |")


if __name__ == "__main__":
    main()
