"""A cascade of four biquads over 8 x 4 s at 16 kHz, beside one `lax.scan` step per sample.

Run: ``python tests/benchmarks/bench_iir.py``. The gradient is that of the audio and of the
coefficients. The error is the largest against SciPy in float64 with the same float32 coefficients,
over the largest output; the moving filter is given the same coefficients in every frame.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal
from harness import compiled, report

from ddspx import core

BATCH, SAMPLES, RATE, HOP = 8, 64000, 16000, 64
SOS = scipy.signal.butter(4, [300, 3000], "band", fs=RATE, output="sos").astype(np.float32)


def textbook(audio, sos):
    """One sample after the other, in transposed direct form II."""

    def step(state, x):
        after = []
        for i in range(len(SOS)):
            b0, b1, b2, _, a1, a2 = sos[i]
            y = b0 * x + state[i][0]
            after.append((b1 * x - a1 * y + state[i][1], b2 * x - a2 * y))
            x = y
        return after, x

    start = [(jnp.zeros(BATCH), jnp.zeros(BATCH)) for _ in SOS]
    return jax.lax.scan(step, start, audio.T)[1].T


def textbook_moving(audio, frames):
    """The same with the coefficients of every sample."""
    sos = core.upsample(
        frames.reshape(len(frames), -1), hop_length=HOP, method="linear", n_samples=SAMPLES, axis=-2
    )

    def step(state, inputs):
        x, row = inputs
        after = []
        for i, (b0, b1, b2, _, a1, a2) in enumerate(row.reshape(-1, 6)):
            y = b0 * x + state[i][0]
            after.append((b1 * x - a1 * y + state[i][1], b2 * x - a2 * y))
            x = y
        return after, x

    start = [(jnp.zeros(BATCH), jnp.zeros(BATCH)) for _ in SOS]
    return jax.lax.scan(step, start, (audio.T, sos))[1].T


def gradient(f):
    return jax.grad(lambda *args: jnp.sum(f(*args) ** 2), argnums=(0, 1))


def main() -> None:
    audio = np.random.default_rng(0).standard_normal((BATCH, SAMPLES)).astype(np.float32)
    exact = scipy.signal.sosfilt(SOS.astype(np.float64), audio.astype(np.float64))

    def error(f, *args):
        return f"{np.abs(np.asarray(jax.jit(f)(*args)) - exact).max() / np.abs(exact).max():.0e}"

    fixed = jnp.asarray(audio), jnp.asarray(SOS)
    moving = fixed[0], jnp.broadcast_to(fixed[1], (1 + SAMPLES // HOP, *SOS.shape))
    ours_moving = partial(core.sos_filter, hop_length=HOP)
    for name, transform in (("forward", lambda f: f), ("gradient", gradient)):
        cases = {
            "ddspx": compiled(
                transform(core.sos_filter), *fixed, error=error(core.sos_filter, *fixed)
            ),
            "lax.scan": compiled(transform(textbook), *fixed, error=error(textbook, *fixed)),
        }
        report(f"Four biquads, {name}, 8 x 4 s", cases, repeats=7, baseline="lax.scan")
        cases = {
            "ddspx": compiled(transform(ours_moving), *moving, error=error(ours_moving, *moving)),
            "lax.scan": compiled(
                transform(textbook_moving), *moving, error=error(textbook_moving, *moving)
            ),
        }
        report(f"Four moving biquads, {name}, 8 x 4 s", cases, repeats=3, baseline="lax.scan")


if __name__ == "__main__":
    main()
