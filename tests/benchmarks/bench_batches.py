"""Training batches of 16 clips of 4 s at 16 kHz with features, read from a dataset on the disk.

Run: ``python tests/benchmarks/bench_batches.py``. The dataset is random numbers; its size is
``DDSPX_BENCH_GB``, 2 by default, in a folder that ``TMPDIR`` places. In the first pass no page of
it is in memory, and every chunk is compared with its checksum. The memory is what the process holds
itself; the pages of files belong to the operating system.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from ddspx import io

RATE, HOP, BATCH, STRETCH_S = 16_000, 64, 16, 600
GIGABYTES = float(os.environ.get("DDSPX_BENCH_GB", "2"))


def write(folder):
    rng = np.random.default_rng(0)
    pool = rng.standard_normal(2 * STRETCH_S * RATE).astype(np.float32)
    number = max(1, round(GIGABYTES * 1e9 / (1.13 * 4 * STRETCH_S * RATE)))
    rates = {"sample_rate": RATE, "hop_length": HOP, "example_length": 4 * RATE}
    with io.DatasetWriter(folder, **rates) as writer:
        for source in range(number):
            begin = int(rng.integers(STRETCH_S * RATE))
            audio = pool[begin : begin + STRETCH_S * RATE]
            frames = audio[: 1 + STRETCH_S * RATE // HOP]
            writer.add("train", io.Segment(audio, frames, frames, frames), source=source)
        sources = [io.Source(f"{i}.wav", "0", 600.0, 600.0) for i in range(number)]
        facts = {"feature_version": "1", "licence": "", "attribution": "", "statistics": {}}
        return writer.finish(**facts, sources=sources)


def forget(folder):
    """Drops the pages of the files from memory, where the platform can."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def own_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def row(name, batches, n_batches):
    before, cpu = time.perf_counter(), time.process_time()
    for _ in range(n_batches):
        next(batches)
    clips, seconds = n_batches * BATCH, time.perf_counter() - before
    cpu_us = 1e6 * (time.process_time() - cpu) / clips
    print(f"| {name} | {clips / seconds:.0f} | {cpu_us:.0f} | {own_mb():.0f} |", flush=True)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split = write(folder).splits["train"]
        size = sum(path.stat().st_size for path in folder.iterdir())
        forget(folder)
        print(f"{size / 1e9:.1f} GB, {split.duration_s / 3600:.0f} h\n")
        print("| | clips/s | CPU µs a clip | MB held |\n|---|---|---|---|")
        batches = io.training_batches(folder, batch_size=BATCH, seed=0)
        next(batches)
        epoch = split.n_examples // BATCH
        row("first pass, from the disk", batches, epoch)
        row("second pass", batches, epoch)
        row("third pass", batches, epoch)
        del batches


if __name__ == "__main__":
    main()
