"""STFT and its magnitude, 8 x 4 s at 16 kHz, n_fft 2048 and 512, 75 % overlap, beside `torch.stft`.

Run: ``python tests/benchmarks/bench_stft.py``. ``DDSPX_BENCH_TORCH`` names an interpreter with
PyTorch. The error is the largest against librosa in float64, over the largest magnitude.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import librosa
import numpy as np
from harness import Rival, compiled, report

from ddspx import core


def main() -> None:
    audio = np.random.default_rng(0).standard_normal((8, 64000)).astype(np.float32)
    rival = Rival("DDSPX_BENCH_TORCH", Path(__file__).with_name("rival_torch_stft.py"))
    for n_fft in (2048, 512):
        hop_length = n_fft // 4
        f = partial(core.spectrogram, n_fft=n_fft, hop_length=hop_length)
        exact = np.abs(librosa.stft(audio.astype(np.float64), n_fft=n_fft, hop_length=hop_length))
        error = np.abs(np.asarray(f(jnp.asarray(audio))) - np.swapaxes(exact, -1, -2)).max()
        grad = jax.grad(lambda x, f=f: jnp.sum(f(x) ** 2))
        for name, g in (("forward", f), ("gradient", grad)):
            cases = {"ddspx": compiled(g, jnp.asarray(audio), error=f"{error / exact.max():.0e}")}
            if rival.reason:
                print(f"PyTorch skipped: {rival.reason}")
            else:
                cases["torch.stft (whole process)"] = rival.case(f"{name} {n_fft}")
            title = f"STFT magnitude, {name}, 8 x 4 s, n_fft {n_fft}"
            report(title, cases, repeats=15, baseline=list(cases)[-1])


if __name__ == "__main__":
    main()
