"""Filtered noise, 8 x 4 s at 16 kHz, 65 bands, 250 frames per second, beside DDSP on TensorFlow.

Run: ``python tests/benchmarks/bench_filtered_noise.py``, with ``DDSPX_BENCH_TF`` naming an
interpreter with ddsp 3.7. The noises differ, so the error is that of the spectrum: the level of one
long signal in each of 63 bands against the magnitudes asked for, root mean square in dB.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from harness import Rival, compiled, report

from ddspx import core

HOP, BANDS = 64, 65


def spectral_error() -> str:
    """Deviation from a smooth response, over ten minutes of noise."""
    frames = 1 + 600 * 250
    shape = 0.5 + 0.4 * np.cos(np.linspace(0, 3 * np.pi, BANDS))
    magnitudes = jnp.broadcast_to(jnp.asarray(shape, jnp.float32), (frames, BANDS))
    audio = np.asarray(core.filtered_noise(jax.random.key(0), magnitudes, hop_length=HOP))
    spectra = np.fft.rfft(audio.reshape(-1, 128) * np.hanning(129)[:-1])
    level = np.sqrt(np.mean(np.abs(spectra) ** 2, 0)[1:-1] / (48 * (1 / 3)))
    return f"{np.sqrt(np.mean((20 * np.log10(level / shape[1:-1])) ** 2)):.2f} dB"


def main() -> None:
    rng = np.random.default_rng(0)
    magnitudes = jnp.asarray(rng.uniform(0, 1, (8, 1001, BANDS)), jnp.float32)
    key = jax.random.key(0)

    def forward(magnitudes):
        return core.filtered_noise(key, magnitudes, hop_length=HOP)

    def gradient(magnitudes):
        return jax.grad(lambda m: jnp.sum(forward(m) ** 2))(magnitudes)

    rival = Rival("DDSPX_BENCH_TF", Path(__file__).with_name("rival_ddsp_noise.py"))
    error = spectral_error()
    for name, f in (("forward", forward), ("gradient", gradient)):
        cases = {"ddspx": compiled(f, magnitudes, error=error)}
        if rival.reason:
            print(f"DDSP skipped: {rival.reason}")
        else:
            cases["DDSP 3.7, TF 2.15 (whole process)"] = rival.case(name)
        title = f"Filtered noise, {name}, 8 x 4 s, {BANDS} bands"
        report(title, cases, repeats=10, baseline=list(cases)[-1])


if __name__ == "__main__":
    main()
