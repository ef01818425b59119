"""DDSP's SpectralLoss, 8 x 4 s, six sizes; run by bench_spectral_loss.py."""

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
target, predicted = (
    tf.constant(0.1 * rng.standard_normal((8, 64000)).astype(np.float32)) for _ in range(2)
)
loss = ddsp.losses.SpectralLoss(mag_weight=1.0, logmag_weight=1.0)


@tf.function
def forward(target, predicted):
    return loss(target, predicted)


@tf.function
def gradient(target, predicted):
    with tf.GradientTape() as tape:
        tape.watch(predicted)
        value = loss(target, predicted)
    return tape.gradient(value, predicted)


serve(
    {
        "forward": lambda: forward(target, predicted).numpy(),
        "gradient": lambda: gradient(target, predicted).numpy(),
    }
)
