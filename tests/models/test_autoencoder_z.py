"""The autoencoder with z: its sizes, what it plays, what learns, what is saved."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import noise, quick_jit
from modules import of_parts
from toy_instrument import HOP, SAMPLE_RATE, save_toy_instrument, toy_model, z_config

from ddspx.instruments import load_instrument
from ddspx.models.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    load_autoencoder,
    save_autoencoder,
)
from ddspx.models.spectnet import SpectNet, SpectNetConfig
from ddspx.nn import FrontendConfig, SpectralFrontend, ZEncoderConfig, copy_frontend

FRAMES = 21
encode = of_parts(Autoencoder.encode)
play = of_parts(Autoencoder.__call__)
play_block = of_parts(Autoencoder.step, static=("lookahead",))
listen = of_parts(SpectralFrontend.__call__)


def count(module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def move(module, by: float) -> None:
    """Adds a number to all that learns."""
    moved = jax.tree.map(lambda x: jnp.asarray(np.asarray(x) + by), nnx.state(module, nnx.Param))
    nnx.update(module, moved)


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    return toy_model(z_config())


@pytest.fixture(scope="module")
def inputs():
    """Pitch, loudness, and a sound of as many frames, of two examples."""
    rng = np.random.default_rng(0)
    f0_hz = jnp.asarray(rng.uniform(200, 1500, (2, FRAMES)), jnp.float32)
    loudness_db = jnp.asarray(rng.uniform(-50, 0, (2, FRAMES)), jnp.float32)
    return f0_hz, loudness_db, jnp.asarray(0.1 * noise(2, (FRAMES - 1) * HOP), jnp.float32)


# sizes


def test_the_nsynth_preset_has_the_published_sizes():
    config = AutoencoderConfig.nsynth()
    model = nnx.eval_shape(lambda: Autoencoder(config, rngs=nnx.Rngs(0)))
    assert count(model.decoder) == 6_407_334
    assert count(model.encoder) == 843_852
    assert count(model) == 6_407_334 + 843_852
    listening = config.encoder.frontend
    assert (listening.n_fft, listening.n_bands, listening.n_mfcc) == (1024, 128, 30)
    assert (listening.fmin, listening.highest_hz, config.encoder.z_size) == (20.0, 8000.0, 16)


@pytest.mark.parametrize("sample_rate", [8_000, 44_100])
def test_the_nsynth_preset_follows_the_rate(sample_rate):
    config = AutoencoderConfig.nsynth(sample_rate=sample_rate, hop_length=100)
    listening = config.encoder.frontend
    assert (listening.sample_rate, listening.hop_length) == (sample_rate, 100)
    assert 0.8 * 0.064 < listening.n_fft / sample_rate < 1.25 * 0.064
    assert AutoencoderConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_config_saved_before_there_was_z_has_none():
    fields = AutoencoderConfig.tiny().to_json()
    assert fields.pop("encoder") is None
    assert AutoencoderConfig.from_json(fields) == AutoencoderConfig.tiny()
    assert load_instrument("violin")[0].encoder is None


@pytest.mark.parametrize("name", ["sample_rate", "hop_length"])
def test_a_front_end_on_other_frames_is_refused(name):
    config = AutoencoderConfig.tiny()
    listening = FrontendConfig(sample_rate=SAMPLE_RATE, hop_length=HOP)
    other = dataclasses.replace(listening, **{name: 2 * getattr(listening, name)})
    encoder = ZEncoderConfig(other, rnn_channels=8, z_size=4)
    with pytest.raises(ValueError, match=f"`encoder` must have the model's `{name}`"):
        dataclasses.replace(config, encoder=encoder)


# audio


def test_z_has_the_frames_of_pitch_and_changes_the_sound(model, inputs, key):
    f0_hz, loudness_db, audio = inputs
    z = np.asarray(encode(model, audio))
    assert z.shape == (2, FRAMES, 4)
    # In the second call, only z of the first example is different.
    played, moved, other = (
        np.asarray(play(model, key, f0_hz, loudness_db, z=z + np.float32(by)))
        for by in (0.0, 1.0, [[[1.0]], [[0.0]]])
    )
    assert played.shape == audio.shape
    assert np.abs(moved - played).max() > 1e-3 * np.abs(played).max()
    np.testing.assert_allclose(other[1], played[1], atol=1e-6)


def test_blocks_of_any_size_equal_the_whole(model, inputs, key):
    z = encode(model, inputs[2])[0]
    f0_hz, loudness_db = (x[0] for x in inputs[:2])
    whole = play(model, key, f0_hz, loudness_db, z=z)
    state, blocks = model.init(key), []
    for first, last in [(0, 1), (1, FRAMES - 1)]:
        rows = slice(first, last + 2)
        more = last + 1 < FRAMES
        state, block = play_block(
            model, state, f0_hz[rows], loudness_db[rows], z=z[rows], lookahead=more
        )
        blocks.append(block)
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-5)


def test_the_gradient_reaches_front_end_gru_and_decoder_and_is_finite_in_silence(
    model, inputs, key
):
    f0_hz, loudness_db, audio = inputs
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    @quick_jit
    def gradients(f0_hz, loudness_db, audio):
        def loss(params):
            model = nnx.merge(graph, params, rest)
            played = model(key, f0_hz, loudness_db, z=model.encode(audio))
            return jnp.mean((played - audio) ** 2)

        return jax.grad(loss)(params)

    sounding = dict(nnx.to_flat_state(gradients(f0_hz, loudness_db, audio)))
    learning = {path[:2] for path in sounding}
    for part in ("frontend", "scale", "shift", "gru", "dense"):
        assert ("encoder", part) in learning
    for path, gradient in sounding.items():
        assert np.isfinite(gradient[...]).all() and np.abs(gradient[...]).max() > 0, path
    silent = dict(nnx.to_flat_state(gradients(f0_hz, 0 * loudness_db - 80, 0 * audio)))
    for path, gradient in silent.items():
        assert np.isfinite(gradient[...]).all(), path
    # In silence all features are equal, so the normalized ones are 0, and only biases can learn.
    for path in (("decoder", "dense", "kernel"), ("encoder", "dense", "bias")):
        assert np.abs(silent[path][...]).max() > 0, path


@pytest.mark.parametrize("wrong", [None, (2, FRAMES, 5), (FRAMES, 4), (2, FRAMES - 1, 4)])
def test_z_of_another_size_is_refused(model, inputs, wrong):
    z = None if wrong is None else jnp.zeros(wrong, jnp.float32)
    # If the number of axes or frames differs, jaxtyping raises its error first.
    with pytest.raises(Exception, match=r"`z` must have the shape \(2, 21, 4\)|parameter 'z'"):
        model.controls(*inputs[:2], z=z)


def test_z_for_a_model_without_an_encoder_is_refused(inputs):
    config = dataclasses.replace(z_config(), encoder=None)
    model = toy_model(config)
    assert model.encode(inputs[2]) is None
    with pytest.raises(ValueError, match="`z` must be None: this model has no encoder"):
        model.controls(*inputs[:2], z=jnp.zeros((2, FRAMES, 4), jnp.float32))


# front-ends that go from model to model


def test_a_front_end_goes_from_a_classifier_to_the_encoder_and_back(inputs):
    config = z_config()
    listening = config.encoder.frontend
    sizes = {"segment_frames": 32, "n_blocks": 1, "channels": 4, "hidden": 8}
    spectnet = SpectNet(
        SpectNetConfig(frontend=listening, labels=("a", "b"), **sizes), rngs=nnx.Rngs(0)
    )
    move(spectnet.frontend, 0.1)
    model = toy_model(config)
    first, audio = encode(model, inputs[2]), inputs[2]
    model.encoder.frontend = copy_frontend(spectnet.frontend, model.encoder.frontend)
    np.testing.assert_array_equal(
        listen(model.encoder.frontend, audio), listen(spectnet.frontend, audio)
    )
    assert np.abs(encode(model, audio) - first).max() > 1e-3
    # Training the autoencoder's front-end does not change the classifier's until it is copied back.
    move(model.encoder.frontend, -0.3)
    features = listen(model.encoder.frontend, audio)
    assert np.abs(listen(spectnet.frontend, audio) - features).max() > 1e-3
    spectnet.frontend = copy_frontend(model.encoder.frontend, spectnet.frontend)
    np.testing.assert_array_equal(listen(spectnet.frontend, audio), features)


# model folders


def test_a_saved_model_encodes_and_plays_the_same(inputs, key, tmp_path):
    model, _, _ = load_autoencoder(save_toy_instrument(tmp_path / "a", config=z_config()))
    _, statistics, provenance = load_autoencoder(tmp_path / "a")
    assert model.config == z_config()
    move(model.encoder.frontend, 0.1)
    save_autoencoder(tmp_path / "b", model, statistics=statistics, provenance=provenance)
    again, _, _ = load_autoencoder(tmp_path / "b")
    z = encode(model, inputs[2])
    np.testing.assert_array_equal(encode(again, inputs[2]), z)
    np.testing.assert_array_equal(
        play(again, key, *inputs[:2], z=z), play(model, key, *inputs[:2], z=z)
    )
