"""A model with a custom synthesizer: from recordings to a sound, in one script.

The synthesizer is a stiff string, whose partials are sharp: f_k = k f0 sqrt(1 + B k^2). An encoder
with a learnable front-end and a recurrent decoder compute its controls.
"""

import argparse
import dataclasses
import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ddspx import core, features, io, nn
from ddspx.instruments import instrument_statistics, load_instrument
from ddspx.metrics import VOICED
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig, save_autoencoder
from ddspx.transfer import evaluate_transfer, transfer

RATE, HOP, N_FRAMES, BATCH = 16_000, 64, 251, 4  # a batch is 4 excerpts of a second


# 1. The synthesizer: its sizes, its controls, the whole sound, the sound in blocks.


@dataclasses.dataclass(frozen=True)
class StiffStringConfig:
    """The sizes of the synthesizer, which are saved in the model folder."""

    n_sinusoids: int = 40
    n_magnitudes: int = 33

    @property
    def n_outputs(self) -> int:
        return 2 + self.n_sinusoids + self.n_magnitudes

    def build(self, *, sample_rate: int, hop_length: int, rngs: nnx.Rngs) -> "StiffString":
        return StiffString(self, sample_rate, hop_length)


class Controls(NamedTuple):
    frequencies_hz: jax.Array
    amplitudes: jax.Array
    magnitudes: jax.Array


@dataclasses.dataclass(frozen=True)
class StiffString:
    """A synthesizer without trainable parameters; with some, it would be an `nnx.Module`."""

    config: StiffStringConfig
    sample_rate: int
    hop_length: int

    def controls(self, outputs, f0_hz):
        count = self.config.n_sinusoids
        level, stiffness = core.exp_sigmoid(outputs[..., :1]), jax.nn.sigmoid(outputs[..., 1:2])
        pitch_hz = jnp.where(jnp.isfinite(f0_hz), f0_hz, 0)[..., None]
        weights = core.exp_sigmoid(outputs[..., 2 : 2 + count])
        k = jnp.broadcast_to(jnp.arange(1.0, count + 1), weights.shape)
        frequencies_hz = pitch_hz * k * jnp.sqrt(1 + 1e-3 * stiffness * k**2)
        weights = core.remove_above_nyquist(weights, frequencies_hz, sample_rate=self.sample_rate)
        shares = core.safe_divide(weights, jnp.sum(weights, -1, keepdims=True))
        noise = core.exp_sigmoid(outputs[..., 2 + count :] - 5.0)
        return Controls(frequencies_hz, level * shares, noise)

    def __call__(self, key, controls, *, n_samples=None):
        sizes = {"hop_length": self.hop_length, "n_samples": n_samples}
        tones = core.sinusoidal_synthesis(*controls[:2], sample_rate=self.sample_rate, **sizes)
        return tones + core.filtered_noise(key, controls.magnitudes, **sizes)

    def init(self, key, *, batch_shape=(), dtype=jnp.float32):
        sizes = {"n_sinusoids": self.config.n_sinusoids, "batch_shape": batch_shape}
        return core.sinusoidal_synthesis_init(**sizes, dtype=dtype), core.filtered_noise_init(key)

    def step(self, state, controls, *, next_controls=None, n_samples=None):
        after = None if next_controls is None else next_controls.frequencies_hz[..., 0, :]
        sizes = {"hop_length": self.hop_length, "n_samples": n_samples}
        options = {"sample_rate": self.sample_rate, "next_frequencies_hz": after}
        string, tones = core.sinusoidal_synthesis_step(state[0], *controls[:2], **sizes, **options)
        noise, breath = core.filtered_noise_step(state[1], controls.magnitudes, **sizes)
        return (string, noise), tones + breath


# 2. The data: excerpts of all recordings, with pitch and loudness, the inputs of the decoder.


def load(paths):
    """Excerpts of a second, one every quarter of a second, and the statistics of the tracks."""
    tracks, excerpts = [], []
    for path in paths:
        audio = io.read_audio(path, sample_rate=RATE)
        track = features.conditioning_features(audio, sample_rate=RATE, hop_length=HOP)
        f0_hz = np.where(track.f0_confidence >= VOICED, track.f0_hz, 0)
        for first in range(0, f0_hz.size - N_FRAMES + 1, N_FRAMES // 4):
            frames = slice(first, first + N_FRAMES)
            sound = audio[first * HOP : (first + N_FRAMES - 1) * HOP]
            excerpts.append((sound, f0_hz[frames], track.loudness_db[frames]))
        tracks.append(track)
    joined = features.Features(*map(np.concatenate, zip(*tracks, strict=True)))
    statistics = instrument_statistics(joined, sample_rate=RATE, hop_length=HOP)
    return [jnp.stack(arrays) for arrays in zip(*excerpts, strict=True)], statistics


# 3. The model, its loss and a training step.

LISTENING = nn.FrontendConfig.mfcc(sample_rate=RATE, hop_length=HOP, n_bands=64, n_mfcc=20)
CONFIG = AutoencoderConfig(
    sample_rate=RATE,
    hop_length=HOP,
    synthesizer=StiffStringConfig(),
    decoder=nn.RnnFcDecoderConfig(rnn_channels=128, fc_channels=128, fc_layers=2),
    reverb=nn.TapReverbConfig(4000),
    loss_n_ffts=(2048, 512, 128),
    encoder=nn.ZEncoderConfig(LISTENING, rnn_channels=32, z_size=8),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    melody = Path(__file__).parents[1] / "melody" / "melody.flac"
    parser.add_argument("recordings", nargs="*", type=Path, default=[melody])
    parser.add_argument("-o", "--output", type=Path, default=Path("stiff_string"))
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    data, statistics = load(options.recordings)
    if not data:
        parser.error("at least one recording must be longer than a second")
    graph, params, rest = nnx.split(Autoencoder(CONFIG, rngs=nnx.Rngs(0)), nnx.Param, ...)
    optimizer = optax.chain(optax.clip_by_global_norm(3.0), optax.adam(2e-3))

    def loss(params, key, data):
        model, (drawing, noise) = nnx.merge(graph, params, rest), jax.random.split(key)
        drawn = jax.random.randint(drawing, (BATCH,), 0, len(data[0]))
        audio, f0_hz, loudness_db = (excerpts[drawn] for excerpts in data)
        played = model(noise, f0_hz, loudness_db, z=model.encode(audio))
        return core.multi_scale_spectral_loss(audio, played, n_ffts=CONFIG.loss_n_ffts)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, key, data):
        value, gradient = jax.value_and_grad(loss)(params, key, data)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    state, values = optimizer.init(params), []
    for key in jax.random.split(jax.random.key(0), options.steps):
        params, state, value = step(params, state, key, data)
        values.append(value)
    first, last = (float(np.mean(v)) for v in (values[:20], values[-20:]))
    print(f"loss of the first 20 steps {first:.2f}, of the last 20 {last:.2f}")

    # 4. Save the model, load it again, and play a recording on it in blocks.
    model = nnx.merge(graph, params, rest)
    save_autoencoder(options.output, model, statistics=statistics, provenance={})
    instrument = load_instrument(options.output, parts=[StiffStringConfig])
    sound = options.output.with_suffix(".wav")
    report = transfer(options.recordings[0], sound, to=instrument)
    print(f"{sound}: {report.n_samples / RATE:.1f} s, {evaluate_transfer(sound, report)}")


if __name__ == "__main__":
    main()
