"""Operations and training steps on the device at hand, 16 x 4 s at 16 kHz, in under 8 minutes.

Run: ``python tests/benchmarks --device``, which writes the table into ``results.md``; a row that
would begin after 7 minutes is left out, and named. A time is that of one of several runs which
were started one after the other, so the host's part of it is hidden where a device works on its
own. The share of the limit is the time of moving arguments and results once, of the time taken.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from bench_accelerators import CHIPS, row, sizes
from workloads import BATCH, PRESETS, RATE, SAMPLES, gradient, training, workloads

SECONDS, RUNS, ROUNDS = 420, 8, 3
# What a device calls itself, and the name in `CHIPS`.
KINDS = {"TPU v5 lite": "v5e", "Tesla T4": "T4", "NVIDIA H200": "H200"}


def measured(run: Callable[[], Any]) -> float:
    """Seconds of a run: the median of a few rounds of several runs each."""
    jax.block_until_ready(run())
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(RUNS):
            done = run()
        jax.block_until_ready(done)
        times.append((time.perf_counter() - start) / RUNS)
        if times[0] * RUNS > 5:
            break
    return statistics.median(times)


def rows():
    """Name, the function that makes a run, and the bytes that a run moves at least."""
    for name, (ours, textbook, arguments) in workloads().items():
        for kind, f in (("", ours), (", textbook", textbook)):
            for part, g in (("", f), (", gradient", gradient(f, len(arguments)))):

                def start(g=g, arguments=arguments):
                    arrays = jax.device_put(arguments)
                    program = jax.jit(g).lower(*arrays).compile()
                    return program, lambda: program(*arrays)

                yield f"{name}{part}{kind}", start, sizes(g, arguments)
    for preset in PRESETS:
        yield f"training step of `{preset}`", lambda preset=preset: _training(preset), None


def _training(preset: str) -> tuple[Any, Callable[[], Any]]:
    step, shapes, batch = training(preset)
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda x: _drawn(rng, x), shapes)
    audio, f0_hz, confidence, loudness_db = (rng.uniform(0, 1, x.shape) for x in batch)
    arrays = audio / 5, 100 + 900 * f0_hz, confidence, 60 * loudness_db - 60
    batch = type(batch)(*(jnp.asarray(x, jnp.float32) for x in arrays))
    program = step.lower(state, batch).compile()

    def run() -> Any:
        nonlocal state
        state, report = program(state, batch)
        return report

    return program, run


def _drawn(rng: np.random.Generator, shape: Any) -> jax.Array:
    """Small weights; zeros for what the optimizer keeps, and a key."""
    if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jax.random.key(0)
    if jnp.issubdtype(shape.dtype, jnp.integer):
        return jnp.zeros(shape.shape, shape.dtype)
    scale = 1 / np.sqrt(shape.shape[0]) if len(shape.shape) == 2 else 0.0
    return jnp.asarray(scale * rng.standard_normal(shape.shape), shape.dtype)


def main() -> None:
    begun, left_out = time.monotonic(), []
    kind = jax.devices()[0].device_kind
    chip = CHIPS.get(KINDS.get(kind, ""))
    print(f"### On {kind}, 16 x 4 s\n")
    head = "times real time", "share of the byte limit", "temporaries MB", "compile s"
    row("program", "ms", *head)
    row(*["---"] * 6)
    for name, start, least in rows():
        if time.monotonic() - begun > SECONDS:
            left_out.append(name)
            continue
        from_here = time.perf_counter()
        program, run = start()
        compile_s = time.perf_counter() - from_here
        seconds = measured(run)
        share = f"{least / chip[0] / seconds:.0%}" if chip and least else ""
        faster = f"{BATCH * SAMPLES / RATE / seconds:,.0f}"
        memory = program.memory_analysis().temp_size_in_bytes
        row(name, f"{1e3 * seconds:.3f}", faster, share, f"{memory / 1e6:,.0f}", f"{compile_s:.1f}")
    if left_out:
        print(f"\nLeft out, as {SECONDS} s were over: {', '.join(left_out)}.")


if __name__ == "__main__":
    main()
