"""Mel spectrograms and MFCCs of 8 x 4 s at 16 kHz beside librosax, PCEN beside one step per frame.

Run: ``python tests/benchmarks/bench_features.py``. ``DDSPX_BENCH_LIBROSAX`` names an interpreter
with librosax 0.1.2. Errors are the largest against librosa in float64, over its largest value. Of
MFCCs with a range (`top_db`) below the loudest, every example has its own.
"""

import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import librosa
import numpy as np
from harness import Case, Rival, compiled, report

from ddspx import core

RATE, BATCH, SAMPLES, BANDS = 16000, 8, 64000, 80
SIZES = [
    {"n_fft": 2048, "hop_length": 512, "n_mels": 128},
    {"n_fft": 512, "hop_length": 160, "n_mels": BANDS},
]
FEATURES = {
    "mel": (core.mel_spectrogram, librosa.feature.melspectrogram),
    "mfcc": (core.mfcc, librosa.feature.mfcc),
}
SMOOTHING = core.pcen_smoothing(0.4, sample_rate=RATE, hop_length=160)


def textbook_pcen(energies, smoothing):
    """One frame after the other; JAX differentiates."""

    def step(state, x):
        state = (1 - smoothing) * state + smoothing * x
        return state, state

    ones = jnp.ones_like(energies[:, 0])
    recent = jnp.moveaxis(jax.lax.scan(step, ones, jnp.moveaxis(energies, 1, 0))[1], 0, 1)
    return jnp.sqrt(energies / (1e-6 + recent) ** 0.98 + 2) - jnp.sqrt(2.0)


def gradient(f, argnums=0):
    return jax.grad(lambda *args: jnp.sum(f(*args) ** 2), argnums=argnums)


def worst(actual, exact):
    return f"{np.abs(np.asarray(actual) - exact).max() / np.abs(exact).max():.0e}"


def features(rival):
    audio = 0.1 * np.random.default_rng(0).standard_normal((BATCH, SAMPLES)).astype(np.float32)
    for name, (function, oracle) in FEATURES.items():
        for sizes in SIZES:
            f = partial(function, sample_rate=RATE, **sizes)
            exact = np.stack([oracle(y=x, sr=RATE, **sizes).T for x in audio.astype(np.float64)])
            error = worst(jax.jit(f)(audio), exact)
            for kind, g in (("forward", f), ("gradient", gradient(f))):
                cases = {"ddspx": compiled(g, jnp.asarray(audio), error=error)}
                if not rival.reason:
                    case = rival.case(f"{name} {kind} {sizes['n_fft']}")
                    cases["librosax 0.1.2 (whole process)"] = case
                title = f"{name}, {kind}, 8 x 4 s, n_fft {sizes['n_fft']}"
                report(title, cases, repeats=21, baseline=list(cases)[-1])


def time_librosa(energies):
    start = time.perf_counter()
    librosa.pcen(energies, b=float(SMOOTHING))
    return 1e3 * (time.perf_counter() - start)


def pcen():
    of_both = partial(gradient, argnums=(0, 1))
    for frames in (401, 10_000):
        batch = BATCH if frames == 401 else 1
        shape = batch, frames, BANDS
        energies = np.random.default_rng(0).exponential(size=shape).astype(np.float32)
        args = jnp.asarray(energies), jnp.full(BANDS, SMOOTHING)
        bands_first = np.swapaxes(energies.astype(np.float64), 1, 2)
        exact = np.swapaxes(librosa.pcen(bands_first, b=float(SMOOTHING)), 1, 2)
        single = np.ascontiguousarray(bands_first.astype(np.float32))
        for kind, transform in (("forward", lambda f: f), ("gradient", of_both)):
            cases = {
                name: compiled(transform(f), *args, error=worst(jax.jit(f)(*args), exact))
                for name, f in (("ddspx", core.pcen), ("lax.scan", textbook_pcen))
            }
            if kind == "forward":
                cases["librosa"] = Case(partial(time_librosa, single), None, "")
            title = f"PCEN, {kind}, {batch} x {frames} frames, {BANDS} bands"
            report(title, cases, repeats=21, baseline="lax.scan")


def main() -> None:
    rival = Rival("DDSPX_BENCH_LIBROSAX", Path(__file__).with_name("rival_librosax.py"))
    if rival.reason:
        print(f"librosax skipped: {rival.reason}")
    features(rival)
    pcen()


if __name__ == "__main__":
    main()
