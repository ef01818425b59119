"""Wavetables and delays that move, 4 s at 16 kHz, beside DDSP's dense lookup written in JAX.

Run: ``python tests/benchmarks/bench_lookup.py``. DDSP weighs all entries of the table, or all taps
of the delay line, for every sample, so its case is of one example where ours has four. The error is
the largest against float64.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from harness import compiled, report

from ddspx import core

SECONDS, RATE, HOP, TABLE, MAX_DELAY = 4, 16000, 64, 2048, 400
SAMPLES = SECONDS * RATE
FRAMES = 1 + SAMPLES // HOP
RATES = {"hop_length": HOP, "sample_rate": RATE}


def triangle_weights(position, size):
    """Linear interpolation as a row of weights over all entries, as DDSP's `linear_lookup`."""
    entries = jnp.arange(size, dtype=jnp.float32)
    return jnp.maximum(0, 1 - jnp.abs(position[..., None] - entries))


def dense_wavetable(f0_hz, amplitudes, table):
    up = partial(core.upsample, hop_length=HOP)
    increments = up(f0_hz, method="linear") / RATE
    phase = (jnp.cumsum(increments, -1) - increments) % 1
    closed = jnp.concatenate([table, table[..., :1]], -1)
    weights = triangle_weights(phase * TABLE, TABLE + 1)
    return up(amplitudes, method="hann") * jnp.einsum("...nt,...t->...n", weights, closed)


def dense_delay(audio, delay):
    padded = jnp.pad(audio, [(0, 0), (MAX_DELAY, 0)])
    taps = jnp.stack(
        [padded[:, MAX_DELAY - k : MAX_DELAY - k + SAMPLES] for k in range(MAX_DELAY + 1)], -1
    )
    return jnp.sum(taps * triangle_weights(delay, MAX_DELAY + 1), -1)


def exact_wavetable(f0_hz, amplitudes, table):
    f0_hz, amplitudes, table = (np.asarray(x, np.float64) for x in (f0_hz, amplitudes, table))
    u = np.arange(HOP) / HOP
    hz = (f0_hz[:, :-1, None] + np.diff(f0_hz)[..., None] * u).reshape(len(f0_hz), -1)
    phase = (np.cumsum(hz, -1) - hz) / RATE % 1 * TABLE
    closed = np.concatenate([table, table[:, :1]], -1)
    fade = 0.5 - 0.5 * np.cos(np.pi * u)
    gain = (amplitudes[:, :-1, None] + np.diff(amplitudes)[..., None] * fade).reshape(hz.shape)
    rows = zip(phase, closed, strict=True)
    return gain * np.stack([np.interp(p, np.arange(TABLE + 1), row) for p, row in rows])


def exact_delay(audio, delay):
    audio, delay = np.asarray(audio, np.float64), np.asarray(delay, np.float64)
    n = np.arange(-1, SAMPLES)
    rows = zip(np.pad(audio, [(0, 0), (1, 0)]), delay, strict=True)
    return np.stack([np.interp(n[1:] - d, n, x, left=0) for x, d in rows])


def gradient(f):
    return jax.grad(lambda *args: jnp.sum(f(*args) ** 2), argnums=tuple(range(2)))


def table_of(ours, theirs, exact, args, title):
    one = tuple(x[:1] for x in args)
    truth = exact(*args)

    def error(f, args):
        return f"{np.abs(np.asarray(jax.jit(f)(*args)) - truth[: len(args[0])]).max():.0e}"

    for name, transform in (("forward", lambda f: f), ("gradient", gradient)):
        cases = {
            "ddspx, 4 x 4 s": compiled(transform(ours), *args, error=error(ours, args)),
            "ddspx, 1 x 4 s": compiled(transform(ours), *one),
            "dense, 1 x 4 s": compiled(transform(theirs), *one, error=error(theirs, one)),
        }
        report(f"{title}, {name}", cases, repeats=5, baseline="dense, 1 x 4 s")


def main() -> None:
    rng = np.random.default_rng(0)

    def uniform(low, high, *shape):
        return jnp.asarray(rng.uniform(low, high, (4, *shape)), jnp.float32)

    # A smooth table and a slow delay: what is compared is the lookup, not the phase's jitter.
    wave = np.sin(2 * np.pi * np.arange(TABLE) / TABLE)
    table = jnp.asarray(np.tile(wave, (4, 1)), jnp.float32)
    wavetable = uniform(100, 400, FRAMES), uniform(0, 1, FRAMES), table
    ours = partial(core.wavetable_synthesis, **RATES)
    table_of(ours, dense_wavetable, exact_wavetable, wavetable, f"Wavetable of {TABLE}")
    delays = uniform(-1, 1, SAMPLES), uniform(1, MAX_DELAY - 1, SAMPLES)
    ours = partial(core.variable_delay, max_delay=MAX_DELAY)
    table_of(ours, dense_delay, exact_delay, delays, f"Delay of up to {MAX_DELAY}")


if __name__ == "__main__":
    main()
