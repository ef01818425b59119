"""Sawtooth waves of four pitches, 4 s at 16 kHz, beside `scipy.signal.sawtooth`, which aliases.

Run: ``python tests/benchmarks/bench_waveforms.py``. The error is the strongest component that is no
harmonic of the pitch, relative to the fundamental, in dB, and the worst of the four pitches. The
pitches are whole numbers of Hz, so that a second has whole periods and every harmonic is one bin.
"""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from harness import Case, compiled, report
from scipy.signal import sawtooth

from ddspx import core

SECONDS, RATE, HOP, TABLE = 4, 16000, 64, 256
SAMPLES = SECONDS * RATE
FRAMES = 1 + SAMPLES // HOP
RATES = {"hop_length": HOP, "sample_rate": RATE}
PITCHES_HZ = np.array([131, 523, 1237, 2093])


def strongest_alias(audio) -> str:
    """The error of four waves, see above."""
    levels = []
    for wave, f0_hz in zip(np.asarray(audio, np.float64), PITCHES_HZ, strict=True):
        spectrum = np.abs(np.fft.rfft(wave[:RATE]))
        others = spectrum.copy()
        others[::f0_hz] = 0
        levels.append(20 * np.log10(others.max() / spectrum[f0_hz]))
    return f"{max(levels):.0f} dB"


def by_scipy() -> np.ndarray:
    # At the first sample the phase has advanced by one step, as in `core.sawtooth`.
    return sawtooth(2 * np.pi * np.arange(1, SAMPLES + 1) * PITCHES_HZ[:, None] / RATE)


def timed_scipy() -> float:
    start = time.perf_counter()
    by_scipy()
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    f0_hz = jnp.asarray(np.repeat(PITCHES_HZ[:, None], FRAMES, axis=1), jnp.float32)
    amplitudes = jnp.ones_like(f0_hz)
    harmonics = jnp.asarray(1 / np.arange(1, TABLE // 2), jnp.float32)
    table = core.harmonic_distribution_to_wavetable(harmonics, table_length=TABLE)

    def read(f0_hz, amplitudes, *, band_limited):
        options = {"band_limited": band_limited, **RATES}
        return core.wavetable_synthesis(f0_hz, amplitudes, table, **options)

    ours = {
        "core.sawtooth": partial(core.sawtooth, **RATES),
        f"table of {TABLE}, band_limited": partial(read, band_limited=True),
        f"table of {TABLE}": partial(read, band_limited=False),
    }
    cases = {
        name: compiled(f, f0_hz, amplitudes, error=strongest_alias(jax.jit(f)(f0_hz, amplitudes)))
        for name, f in ours.items()
    }
    cases["scipy.signal.sawtooth"] = Case(timed_scipy, None, strongest_alias(by_scipy()))
    title = f"Sawtooth, 4 x {SECONDS} s"
    report(f"{title}, forward", cases, repeats=5, baseline="scipy.signal.sawtooth")

    def gradient(f):
        return jax.grad(lambda *args: jnp.sum(f(*args) ** 2), argnums=(0, 1))

    cases = {name: compiled(gradient(f), f0_hz, amplitudes) for name, f in ours.items()}
    report(f"{title}, gradient", cases, repeats=5, baseline="core.sawtooth")


if __name__ == "__main__":
    main()
