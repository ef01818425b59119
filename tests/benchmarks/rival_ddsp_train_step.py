"""One training step of DDSP's solo_instrument, 16 x 4 s; run by bench_train_step.py."""

import sys
import types
from unittest import mock

for name in ("crepe", "crepe.core"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["crepe"].core = sys.modules["crepe.core"]
for name in (
    "note_seq",
    "tensorflow_datasets",
    "tflite_support",
    "mir_eval",
    "hypertune",
    "tensorflowjs",
    "tensorflowjs.converters",
    "google.cloud",
    "google.cloud.storage",
):
    sys.modules[name] = mock.MagicMock()

import ddsp  # noqa: E402
import ddsp.training  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from rival import serve  # noqa: E402

BATCH, FRAMES, SAMPLES = 16, 1000, 64000
rng = np.random.default_rng(0)
batch = {
    "audio": 0.1 * rng.standard_normal((BATCH, SAMPLES)),
    "f0_hz": rng.uniform(100, 1000, (BATCH, FRAMES, 1)),
    "loudness_db": rng.uniform(-60, 0, (BATCH, FRAMES, 1)),
}
batch = {name: tf.constant(array.astype(np.float32)) for name, array in batch.items()}

# models/solo_instrument.gin, spelled out.
harmonic = ddsp.synths.Harmonic(n_samples=SAMPLES, sample_rate=16000)
noise = ddsp.synths.FilteredNoise(n_samples=SAMPLES, window_size=0)
model = ddsp.training.models.Autoencoder(
    preprocessor=ddsp.training.preprocessing.F0LoudnessPreprocessor(time_steps=FRAMES),
    encoder=None,
    decoder=ddsp.training.decoders.RnnFcDecoder(
        rnn_channels=512,
        ch=512,
        layers_per_stack=3,
        input_keys=("ld_scaled", "f0_scaled"),
        output_splits=(("amps", 1), ("harmonic_distribution", 60), ("noise_magnitudes", 65)),
    ),
    processor_group=ddsp.processors.ProcessorGroup(
        dag=[
            (harmonic, ["amps", "harmonic_distribution", "f0_hz"]),
            (noise, ["noise_magnitudes"]),
            (ddsp.processors.Add(), ["filtered_noise/signal", "harmonic/signal"]),
            (ddsp.effects.Reverb(reverb_length=48000, trainable=True), ["add/signal"]),
        ]
    ),
    losses=[ddsp.losses.SpectralLoss(mag_weight=1.0, logmag_weight=1.0)],
)
optimizer = tf.keras.optimizers.legacy.Adam(
    tf.keras.optimizers.schedules.ExponentialDecay(3e-4, 10_000, 0.98)
)


@tf.function
def step():
    """`Trainer.step_fn` on one device."""
    with tf.GradientTape() as tape:
        _, losses = model(batch, return_losses=True, training=True)
    gradients = tape.gradient(losses["total_loss"], model.trainable_variables)
    gradients, _ = tf.clip_by_global_norm(gradients, 3.0)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    return losses["total_loss"]


serve({"step": lambda: step().numpy()})
