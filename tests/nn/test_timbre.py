"""Embeddings of whole recordings: the definition, what they do not hold, and stored ones."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import noise, quick_jit
from modules import drawn, of_parts

from ddspx.nn import (
    FrontendConfig,
    LogCompression,
    PcenCompression,
    StoredTimbreConfig,
    TimbreEncoderConfig,
)

LISTENING = FrontendConfig(
    sample_rate=8000,
    hop_length=80,
    n_fft=256,
    win_length=200,
    n_bands=12,
    compression=LogCompression(1e-12),
)
CONFIG = TimbreEncoderConfig(LISTENING, 40, channels=5, z_size=3)
AUDIO = 0.1 * noise(2, 1600).astype(np.float32) * np.linspace(0.2, 1, 1600, dtype=np.float32)


def encoder_of(config=CONFIG):
    rng = np.random.default_rng(1)
    return drawn(lambda: config.build(rngs=nnx.Rngs(0)), lambda _, shape: rng.normal(0, 0.5, shape))


embed = of_parts(lambda encoder, audio: encoder.embed(audio))
whole = of_parts(lambda encoder, audio: (encoder(audio), encoder.embed(audio)))


def definition(encoder, audio):
    """One sound at a time, in float64."""
    audio = 0.1 * audio / np.sqrt(np.mean(np.square(audio), axis=-1, keepdims=True))
    energies = np.asarray(encoder.frontend.energies(jnp.asarray(audio)), np.float64)
    features = np.asarray(encoder.frontend.features(jnp.asarray(energies, jnp.float32)), np.float64)

    def array(variable):
        return np.asarray(variable[...], np.float64)

    def normalized(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)

    level = energies.sum(-1, keepdims=True)
    logs = np.log(energies / level.max(-2, keepdims=True))
    frames = np.concatenate([normalized(features), normalized(logs)], -1)
    frames = frames * array(encoder.scale) + array(encoder.shift)
    states = np.asarray(encoder.gru(jnp.asarray(frames, jnp.float32))[0], np.float64)
    states = np.concatenate([states, frames[..., features.shape[-1] :]], -1)
    scores = np.tanh(states) @ array(encoder.attention)
    scores = scores + array(encoder.loudness_weight) * np.log(level / level.max(-2, keepdims=True))
    weights = np.exp(scores - scores.max(-2, keepdims=True))
    weights /= weights.sum(-2, keepdims=True)
    mean = (weights * states).sum(-2)
    deviation = np.sqrt((weights * (states - mean[..., None, :]) ** 2).sum(-2) + 1e-5)
    y = np.concatenate([mean, deviation], -1) @ array(encoder.dense.kernel)
    y += array(encoder.dense.bias)
    return y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5)


def test_the_embedding_is_attentive_statistics_of_the_states():
    encoder = encoder_of()
    z, embedding = whole(encoder, jnp.asarray(AUDIO))
    np.testing.assert_allclose(embedding, definition(encoder, AUDIO), atol=2e-4)
    assert z.shape == (2, 41, 3)
    np.testing.assert_array_equal(z, np.broadcast_to(np.asarray(embedding)[:, None], z.shape))
    np.testing.assert_allclose(np.mean(np.square(embedding), -1), 1, atol=1e-3)


@pytest.mark.parametrize("compression", [LogCompression(), PcenCompression(trainable=True)])
@pytest.mark.parametrize("gain_db", [-40, 40])
def test_a_gain_changes_nothing(compression, gain_db):
    listening = dataclasses.replace(LISTENING, compression=compression)
    encoder = encoder_of(dataclasses.replace(CONFIG, frontend=listening))
    changed = 10 ** (gain_db / 20) * AUDIO
    heard = embed(encoder, jnp.asarray(AUDIO))
    np.testing.assert_allclose(embed(encoder, jnp.asarray(changed, jnp.float32)), heard, atol=1e-3)


def test_pauses_change_nothing():
    encoder = encoder_of()
    encoder.attention[...] = jnp.zeros((17, 17), jnp.float32)
    encoder.loudness_weight[...] = jnp.ones(17, jnp.float32)
    paused = np.concatenate([AUDIO, np.zeros((2, 1600), np.float32)], axis=-1)
    heard = embed(encoder, jnp.asarray(AUDIO))
    # The frames at the border hear a part of the sound.
    np.testing.assert_allclose(embed(encoder, jnp.asarray(paused)), heard, atol=0.05)


def test_an_untrained_encoder_weighs_frames_by_their_energy():
    encoder = CONFIG.build(rngs=nnx.Rngs(0))
    assert not np.any(encoder.attention[...]) and np.all(encoder.loudness_weight[...] == 1)


@pytest.mark.parametrize("compression", [LogCompression(), PcenCompression(trainable=True)])
def test_gradients_are_finite_in_silence_and_reach_everything(compression):
    listening = dataclasses.replace(LISTENING, compression=compression)
    encoder = encoder_of(dataclasses.replace(CONFIG, frontend=listening))
    graph, params, rest = nnx.split(encoder, nnx.Param, ...)

    @quick_jit
    def gradients(params, audio):
        def total(params, audio):
            z = nnx.merge(graph, params, rest).embed(audio)
            return jnp.sum(z @ jnp.arange(1.0, 4.0, dtype=z.dtype))

        return jax.grad(total, argnums=(0, 1))(params, audio)

    for leaf in jax.tree.leaves(gradients(params, jnp.zeros((2, 1600), jnp.float32))):
        assert np.isfinite(leaf).all()
    weights, _ = gradients(params, jnp.asarray(AUDIO))
    flat = dict(nnx.to_flat_state(weights))
    assert all(np.any(v[...]) for path, v in flat.items()), [
        path for path, v in flat.items() if not np.any(v[...])
    ]


def test_it_hears_whole_sounds_only():
    encoder = encoder_of()
    assert encoder.margin_frames() is None
    with pytest.raises(ValueError, match="embedding is that of the whole sound"):
        encoder.step((), jnp.asarray(AUDIO))


def test_a_stored_timbre_is_the_same_for_every_sound_whole_or_in_blocks():
    stored = StoredTimbreConfig(8000, 40, z_size=3).build(rngs=nnx.Rngs(3))
    embedding = np.asarray(stored.embedding[...])
    np.testing.assert_allclose(np.mean(np.square(embedding)), 1, atol=1e-5)
    z = stored(jnp.asarray(AUDIO))
    np.testing.assert_array_equal(z, np.broadcast_to(embedding, (2, 41, 3)))
    state, block = stored.step(stored.init(batch_shape=(2,)), jnp.asarray(AUDIO[:, :400]))
    np.testing.assert_array_equal(block, z[:, :10])
    assert state == () and stored.margin_frames() == 0


@pytest.mark.parametrize("name", ["hop_length", "channels", "z_size"])
def test_sizes_are_checked(name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        dataclasses.replace(CONFIG, **{name: 0})
