"""One training step of our solo_instrument, 16 x 4 s; run by bench_train_step.py.

In a process of its own, so that its resident memory is that of training alone.
"""

import jax
import numpy as np
from flax import nnx
from rival import serve

from ddspx.io import Batch
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig
from ddspx.training import adam, autoencoder_loss, initial_state, train_step

BATCH, FRAMES, SAMPLES = 16, 1001, 64000
rng = np.random.default_rng(0)
batch = Batch(
    audio=(0.1 * rng.standard_normal((BATCH, SAMPLES))).astype(np.float32),
    f0_hz=rng.uniform(100, 1000, (BATCH, FRAMES)).astype(np.float32),
    f0_confidence=np.ones((BATCH, FRAMES), np.float32),
    loudness_db=rng.uniform(-60, 0, (BATCH, FRAMES)).astype(np.float32),
)
model = Autoencoder(AutoencoderConfig.solo_instrument(), rngs=nnx.Rngs(0))
graphdef, *states = nnx.split(model, nnx.Param, ...)
params, rest = map(nnx.to_pure_dict, states)
optimizer = adam()
state = initial_state(params, optimizer, seed=0, rest=rest)
step = train_step(autoencoder_loss(graphdef), optimizer)


def take_step() -> float:
    """One step, to its end."""
    global state
    state, report = step(state, jax.device_put(batch))
    jax.block_until_ready(state)
    return float(report.loss)


serve({"step": take_step})
