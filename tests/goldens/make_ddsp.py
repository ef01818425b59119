"""Makes checkpoints with DDSP 3.7 itself, and computes what these models compute, as goldens.

Run it in an environment with ddsp 3.7.0, TensorFlow 2.15 and scikit-learn, with a folder for the
results: ``python make_ddsp.py FOLDER``. With ``--full`` the models have the sizes of DDSP's
configs, which is too much to be committed. For each of DDSP's configs it writes an archive like
that of DDSP's notebook, and an .npz with inputs of the model and every fourth frame of its outputs.
Weights are drawn with a seed.
"""

import os
import pickle
import sys
import zipfile
from pathlib import Path
from unittest import mock

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# What ddsp imports, but none of this needs.
for name in (
    "crepe",
    "note_seq",
    "note_seq.protobuf",
    "tensorflow_datasets",
    "tflite_support",
    "tflite_support.metadata",
    "mir_eval",
    "hypertune",
    "tensorflowjs",
    "tensorflowjs.converters",
    "google.cloud",
    "google.cloud.storage",
):
    sys.modules[name] = mock.MagicMock()

import ddsp.training  # noqa: E402
import gin  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

SMALL = {
    "solo_instrument": [
        "Harmonic.n_samples=2048",
        "FilteredNoise.n_samples=2048",
        "F0LoudnessPreprocessor.time_steps=32",
        "RnnFcDecoder.rnn_channels=8",
        "RnnFcDecoder.ch=6",
        "RnnFcDecoder.layers_per_stack=2",
        "RnnFcDecoder.output_splits=(('amps',1),('harmonic_distribution',7),('noise_magnitudes',5))",
        "Reverb.reverb_length=40",
    ],
    "vst": [
        "n_samples=6720",
        "RnnFcDecoder.rnn_channels=8",
        "RnnFcDecoder.ch=6",
        # Another order of inputs and outputs, another bias, and all harmonics in the sum.
        "RnnFcDecoder.input_keys=('f0_scaled','pw_scaled')",
        "RnnFcDecoder.output_splits=(('noise_magnitudes',5),('amps',1),('harmonic_distribution',7))",
        "FilteredNoise.initial_bias=-4.0",
        "Harmonic.normalize_below_nyquist=False",
        "FilteredNoiseReverb.reverb_length=480",
        "FilteredNoiseReverb.n_frames=10",
        "FilteredNoiseReverb.n_filter_banks=5",
    ],
    "ae": [
        "Harmonic.n_samples=8192",
        "FilteredNoise.n_samples=8192",
        "F0LoudnessPreprocessor.time_steps=128",
        "MfccTimeDistributedRnnEncoder.rnn_channels=6",
        "MfccTimeDistributedRnnEncoder.z_dims=3",
        "RnnFcDecoder.rnn_channels=8",
        "RnnFcDecoder.ch=6",
        "RnnFcDecoder.layers_per_stack=0",
        "RnnFcDecoder.output_splits=(('amps',1),('harmonic_distribution',7),('noise_magnitudes',5))",
    ],
}
CONFIGS = Path(ddsp.training.__file__).parent / "gin"


def sounds(n_samples, n_frames, n_examples, rng):
    """Notes with a fade, digital silence at the end, and their pitch."""
    time = np.arange(n_samples) / 16000
    examples = []
    for _ in range(n_examples):
        f0_hz = rng.uniform(200, 900)
        tone = sum(np.sin(2 * np.pi * k * f0_hz * time) / k for k in range(1, 9))
        audio = 0.2 * tone * np.linspace(1, 0.1, n_samples) + 1e-3 * rng.normal(size=n_samples)
        audio[-n_samples // 8 :] = 0
        audio = np.round(audio * 1024) / 1024
        pitch = f0_hz * 2 ** (0.5 * np.sin(np.linspace(0, 9, n_frames)) / 12)
        pitch[n_frames // 2 : n_frames // 2 + 4] = 3000
        examples.append((audio.astype(np.float32), pitch.astype(np.float32)))
    return examples


class Recordings:
    """The examples of a training, with frames of 4 ms."""

    def __init__(self, rng):
        self.rng = rng

    def get_batch(self, batch_size, repeats=1):
        for audio, f0_hz in sounds(8000, 126, 2, self.rng):
            loudness_db = ddsp.spectral_ops.compute_loudness(audio[None])
            yield {
                "audio": audio[None],
                "f0_hz": f0_hz[None],
                "f0_confidence": np.full((1, 126), 0.9, np.float32),
                "loudness_db": loudness_db.numpy(),
            }


def make(kind, folder, changes):
    """Writes the archive and the golden of a config."""
    rng = np.random.default_rng(0)
    gin.clear_config()
    config = CONFIGS / "models" / ("vst" if kind == "vst" else "") / f"{kind}.gin"
    gin.add_config_file_search_path(str(CONFIGS))
    gin.parse_config_files_and_bindings(
        [str(CONFIGS / "optimization/base.gin"), str(config)], changes
    )
    model = ddsp.training.models.get_model()
    trainer = ddsp.training.trainers.Trainer(model, tf.distribute.get_strategy())
    n_samples = gin.query_parameter("Harmonic.n_samples")
    if kind == "vst":
        n_samples = gin.query_parameter("%n_samples") - 320
        n_frames = n_samples // 320 + 1
    else:
        n_frames = gin.query_parameter("F0LoudnessPreprocessor.time_steps")
    ((audio, f0_hz),) = sounds(n_samples, n_frames, 1, rng)
    batch = {
        "audio": tf.constant(audio[None]),
        "f0_hz": tf.constant(f0_hz[None]),
        "f0_confidence": tf.ones((1, n_frames)),
        "loudness_db": tf.zeros((1, n_frames)),
    }
    model(batch, training=False)
    if changes == []:
        trainer.optimizer.build(model.trainable_variables)
    for variable in model.trainable_variables:
        value = variable.numpy()
        if value.ndim < 2 or variable.name.endswith(("bias:0", "magnitudes:0")):
            value = value + 0.3 * rng.normal(size=value.shape)
        variable.assign(value)
    features = dict(batch)
    if model.preprocessor is not None:
        features.update(model.preprocessor(features, training=False))
    outputs = model(dict(batch), training=False)
    golden = {"audio": audio, "f0_hz": features["f0_hz"][0, :, 0]}
    golden["loudness_db"] = features["pw_db" if kind == "vst" else "loudness_db"][0, :, 0]
    if kind == "ae":
        golden["z"] = model.encoder(features)["z"][0]
    for name in ("amplitudes", "harmonic_distribution"):
        golden[name] = outputs["harmonic"]["controls"][name][0, ::4]
    golden["magnitudes"] = outputs["filtered_noise"]["controls"]["magnitudes"][0, ::4]
    saved = folder / kind
    trainer.save(str(saved))
    (saved / "operative_config-0.gin").write_text(gin.operative_config_str())
    statistics = ddsp.training.postprocessing.compute_dataset_statistics(
        Recordings(rng), 1, 256, 250
    )
    (saved / "dataset_statistics.pkl").write_bytes(pickle.dumps(statistics))
    golden["quantiles"] = statistics["quantile_transform"].quantiles_[:, 0]
    for name in ("pitch", "power"):
        kinds = ("min", "mean", "max", "std")
        golden[name] = [float(statistics[f"{kind}_{name}_note"]) for kind in kinds]
    np.savez_compressed(
        folder / f"ddsp_{kind}.npz", **{k: np.asarray(v) for k, v in golden.items()}
    )
    with zipfile.ZipFile(folder / f"ddsp_{kind}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(saved.glob("*")):
            if path.name != "checkpoint":
                archive.write(path, path.name)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(exist_ok=True)
    for kind, changes in SMALL.items():
        make(kind, target, [] if "--full" in sys.argv else changes)
