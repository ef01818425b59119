"""DDSP's filtered noise, 8 x 4 s, 65 bands; run by bench_filtered_noise.py."""

import sys
import types

for name in ("crepe", "crepe.core"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["crepe"].core = sys.modules["crepe.core"]

import ddsp  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from rival import serve  # noqa: E402

synth = ddsp.synths.FilteredNoise(n_samples=64000, window_size=0, scale_fn=None)
magnitudes = tf.constant(np.random.default_rng(0).uniform(0, 1, (8, 1000, 65)).astype(np.float32))


@tf.function
def forward(magnitudes):
    return synth.get_signal(magnitudes)


@tf.function
def gradient(magnitudes):
    with tf.GradientTape() as tape:
        tape.watch(magnitudes)
        loss = tf.reduce_sum(forward(magnitudes) ** 2)
    return tape.gradient(loss, magnitudes)


serve(
    {
        "forward": lambda: forward(magnitudes).numpy(),
        "gradient": lambda: gradient(magnitudes).numpy(),
    }
)
