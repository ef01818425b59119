"""The multi-scale spectral loss, 8 x 4 s at 16 kHz, sizes 2048 to 64: time, memory and error.

Run: ``python tests/benchmarks/bench_spectral_loss.py``. ``DDSPX_BENCH_TORCH`` names an interpreter
with auraloss 0.4, ``DDSPX_BENCH_TF`` one with ddsp 3.7. The error is relative to float64: of the
value, and of the gradient in the Euclidean norm.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from harness import Rival, compiled, report

from ddspx import core

BATCH, SAMPLES = 8, 64000
SIZES = (2048, 1024, 512, 256, 128, 64)


def textbook(target, predicted):
    """What one writes first: gather the frames, transform, compare, sum; JAX differentiates."""
    loss = 0
    for n_fft in SIZES:
        starts = n_fft // 4 * np.arange(1 + SAMPLES // (n_fft // 4))
        window = core.hann_window(n_fft, dtype=target.dtype)
        magnitudes = []
        for audio in (target, predicted):
            padded = jnp.pad(audio, ((0, 0), (n_fft // 2, n_fft // 2)))
            frames = padded[:, starts[:, None] + np.arange(n_fft)]
            magnitudes.append(jnp.abs(jnp.fft.rfft(frames * window)))
        first, second = magnitudes
        loss += jnp.mean(jnp.abs(first - second))
        loss += jnp.mean(jnp.abs(core.safe_log(first) - core.safe_log(second)))
    return loss


def gradient(f):
    return jax.grad(f, argnums=1)


def main() -> None:
    # On for the reference only: the float32 arrays below stay float32.
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(0)
    audio = [0.1 * rng.standard_normal((BATCH, SAMPLES)).astype(np.float32) for _ in range(2)]
    args = [jnp.asarray(x) for x in audio]
    wide = [jnp.asarray(x, jnp.float64) for x in audio]
    rivals = {
        "auraloss 0.4": Rival("DDSPX_BENCH_TORCH", Path(__file__).with_name("rival_auraloss.py")),
        "DDSP 3.7": Rival("DDSPX_BENCH_TF", Path(__file__).with_name("rival_ddsp_loss.py")),
    }
    for name, transform in (("forward", lambda f: f), ("gradient", gradient)):
        reference = np.asarray(jax.jit(transform(textbook))(*wide))
        cases = {}
        for label, f in (("textbook JAX", textbook), ("ddspx", core.multi_scale_spectral_loss)):
            error = np.linalg.norm(jax.jit(transform(f))(*args) - reference)
            relative = f"{error / np.linalg.norm(reference):.0e}"
            cases[label] = compiled(transform(f), *args, error=relative)
        for label, rival in rivals.items():
            if rival.reason:
                print(f"{label} skipped: {rival.reason}")
                continue
            cases[f"{label} (whole process)"] = rival.case(name)
            if label.startswith("auraloss"):
                case = rival.case(f"{name} same terms")
                cases[f"{label}, our terms (whole process)"] = case
        title = f"Spectral loss, {name}, {BATCH} x {SAMPLES / 16000:.0f} s"
        report(title, cases, repeats=15, baseline="ddspx")
    print(f"\nThe audio itself is {BATCH * SAMPLES * 4 / 2**20:.2f} MB.")


if __name__ == "__main__":
    main()
