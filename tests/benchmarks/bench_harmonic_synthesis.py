"""Harmonic synthesis, 4 x 4 s at 16 kHz, 100 harmonics: time, memory and error beside rivals.

Run: ``python tests/benchmarks/bench_harmonic_synthesis.py``, with ``DDSPX_BENCH_TF`` naming an
interpreter with ddsp 3.7. The error is against float64, in dB below the signal.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from harness import Rival, compiled, report

from ddspx import core

BATCH, SECONDS, SAMPLE_RATE, HOP, HARMONICS = 4, 4, 16000, 64, 100


def textbook(f0_hz, amplitudes, distribution):
    """What one writes first: upsample, mask, cumulative sum, sine, sum."""
    up = partial(core.upsample, hop_length=HOP, method="linear")
    f_hz = up(f0_hz)[..., None] * jnp.arange(1, HARMONICS + 1, dtype=f0_hz.dtype)
    products = up(amplitudes[..., None] * distribution, axis=-2)
    phase = 2 * jnp.pi * jnp.cumsum(f_hz / SAMPLE_RATE, axis=-2)
    return jnp.sum(jnp.where(f_hz < SAMPLE_RATE / 2, products, 0) * jnp.sin(phase), -1)


def exact(f0_hz, amplitudes, distribution):
    """The definition in float64, for pitches whose harmonics stay clear of Nyquist."""
    f0_hz, amplitudes, distribution = (
        np.asarray(x, np.float64) for x in (f0_hz, amplitudes, distribution)
    )
    u = np.arange(HOP) / HOP
    glide = f0_hz[:, :-1, None] + np.diff(f0_hz)[..., None] * u
    cycles = np.cumsum(glide.reshape(len(f0_hz), -1) / SAMPLE_RATE, -1)
    products = amplitudes[..., None] * distribution
    audio = np.zeros_like(cycles)
    for k in range(HARMONICS):
        a = products[..., k]
        ramp = a[:, :-1, None] + np.diff(a)[..., None] * u
        audio += ramp.reshape(audio.shape) * np.sin(2 * np.pi * (k + 1) * cycles)
    return audio


def controls(high: float):
    rng = np.random.default_rng(0)
    frames = 1 + SECONDS * SAMPLE_RATE // HOP
    return [
        jnp.asarray(x, jnp.float32)
        for x in (
            rng.uniform(40, high, (BATCH, frames)),
            rng.uniform(0, 1, (BATCH, frames)),
            rng.uniform(0, 0.02, (BATCH, frames, HARMONICS)),
        )
    ]


def decibels(f) -> str:
    args = controls(79.0)
    expected = exact(*args)
    error = np.asarray(jax.jit(f)(*args)) - expected
    return f"{10 * np.log10(np.mean(error**2) / np.mean(expected**2)):.0f} dB"


def gradient(f):
    return jax.grad(lambda *args: jnp.sum(f(*args) ** 2), argnums=(0, 1, 2))


def main() -> None:
    args = controls(400.0)
    ours = {
        method: partial(
            core.harmonic_synthesis,
            hop_length=HOP,
            sample_rate=SAMPLE_RATE,
            amplitude_upsampling=method,
        )
        for method in ("linear", "cubic")
    }
    rival = Rival("DDSPX_BENCH_TF", Path(__file__).with_name("rival_ddsp_harmonic.py"))
    for name, transform in (("forward", lambda f: f), ("gradient", gradient)):
        cases = {
            "textbook JAX": compiled(transform(textbook), *args, error=decibels(textbook)),
            "ddspx": compiled(transform(ours["linear"]), *args, error=decibels(ours["linear"])),
            "ddspx, cubic": compiled(transform(ours["cubic"]), *args),
        }
        if rival.reason:
            print(f"DDSP skipped: {rival.reason}")
        else:
            cases["DDSP 3.7, TF 2.15 (whole process)"] = rival.case(name)
        title = f"Harmonic synthesis, {name}, {BATCH} x {SECONDS} s, {HARMONICS} harmonics"
        report(title, cases, repeats=10, baseline="textbook JAX")
    audio_mb = BATCH * SECONDS * SAMPLE_RATE * 4 / 2**20
    print(f"\nThe audio itself is {audio_mb:.2f} MB.")


if __name__ == "__main__":
    main()
