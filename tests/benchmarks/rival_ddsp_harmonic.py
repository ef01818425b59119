"""DDSP's harmonic synthesis, 4 x 4 s, 100 harmonics; run by bench_harmonic_synthesis.py."""

import sys
import types

for name in ("crepe", "crepe.core"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["crepe"].core = sys.modules["crepe.core"]

import ddsp  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from rival import serve  # noqa: E402

rng = np.random.default_rng(0)
controls = [
    tf.constant(x.astype(np.float32))
    for x in (
        rng.uniform(100, 400, (4, 1000, 1)),
        rng.uniform(0, 1, (4, 1000, 1)),
        rng.uniform(0, 0.02, (4, 1000, 100)),
    )
]


@tf.function
def forward(f0_hz, amplitudes, distribution):
    return ddsp.core.harmonic_synthesis(
        f0_hz,
        amplitudes,
        harmonic_distribution=distribution,
        n_samples=64000,
        sample_rate=16000,
        amp_resample_method="linear",
    )


@tf.function
def gradient(*args):
    with tf.GradientTape() as tape:
        tape.watch(args)
        loss = tf.reduce_sum(forward(*args) ** 2)
    return tape.gradient(loss, args)


serve(
    {
        "forward": lambda: forward(*controls).numpy(),
        "gradient": lambda: [g.numpy() for g in gradient(*controls)],
    }
)
