"""One instrument out of a model of any: it plays what the model plays with that embedding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import noise
from modules import of_parts
from toy_instrument import toy_config

from ddspx.models.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    InstrumentStatistics,
    load_autoencoder,
    save_autoencoder,
    with_timbre,
)
from ddspx.nn import FrontendConfig, StoredTimbreConfig, TapReverbConfig, TimbreEncoderConfig

play = of_parts(
    lambda model, f0_hz, loudness_db, z: model(jax.random.key(0), f0_hz, loudness_db, z=z)
)
listen = of_parts(lambda model, audio: model.encode(audio))


@pytest.fixture(scope="module")
def model():
    config = toy_config()
    listening = FrontendConfig.learnable(sample_rate=config.sample_rate, n_bands=8)
    encoder = TimbreEncoderConfig(listening, config.hop_length, channels=4, z_size=3)
    config = dataclasses.replace(config, encoder=encoder, reverb=None)
    return Autoencoder(config, rngs=nnx.Rngs(0))


def controls(n_frames=9):
    rng = np.random.default_rng(0)
    f0_hz = rng.uniform(200, 400, n_frames).astype(np.float32)
    return jnp.asarray(f0_hz), jnp.asarray(rng.uniform(-60, -20, n_frames), jnp.float32)


def test_it_plays_what_the_model_plays_with_the_embedding(model):
    reference = jnp.asarray(0.1 * noise(4000), jnp.float32)
    z = listen(model, reference)
    single = with_timbre(model, z[0])
    frames = controls()
    expected = play(model, *frames, z[:9])
    actual = play(single, *frames, listen(single, jnp.zeros(8 * model.config.hop_length)))
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    # Nothing is shared: a training step deletes the arrays of its state.
    for leaf in jax.tree.leaves(nnx.to_pure_dict(nnx.state(single))):
        leaf.delete()
    np.testing.assert_array_equal(play(model, *frames, z[:9]), expected)


def test_it_is_saved_and_loaded_with_its_room_like_any_instrument(model, tmp_path):
    room = TapReverbConfig(50).build(sample_rate=model.config.sample_rate, rngs=nnx.Rngs(1))
    single = with_timbre(model, np.array([1.0, -1.0, 1.0]), reverb=room)
    assert isinstance(single.config.encoder, StoredTimbreConfig)
    quantiles = tuple(np.linspace(-60, -10, 101))
    statistics = InstrumentStatistics(
        sample_rate=model.config.sample_rate,
        hop_length=model.config.hop_length,
        loudness_quantiles=quantiles,
        pitch_midi_min=50.0,
        pitch_midi_mean=60.0,
        pitch_midi_max=70.0,
        duration_s=1.0,
        feature_version="ddspx",
    )
    save_autoencoder(tmp_path / "one", single, statistics=statistics, provenance={})
    loaded, *_ = load_autoencoder(tmp_path / "one")
    assert loaded.config == single.config
    np.testing.assert_array_equal(loaded.encoder.embedding[...], [1.0, -1.0, 1.0])
    np.testing.assert_array_equal(loaded.reverb.taps[...], room.taps[...])


def test_what_does_not_fit_is_refused(model):
    with pytest.raises(ValueError, match="`embedding` must have the 3 values"):
        with_timbre(model, np.ones(4))
    with pytest.raises(ValueError, match="cannot listen to an instrument"):
        with_timbre(Autoencoder(toy_config(), rngs=nnx.Rngs(0)), np.ones(3))


def test_the_preset_listens_as_classifiers_do():
    config = AutoencoderConfig.any_instrument()
    assert config.reverb is None and config.encoder.frontend == FrontendConfig.learnable()
    assert AutoencoderConfig.from_json(config.to_json()) == config
    shape = nnx.eval_shape(lambda: Autoencoder(config, rngs=nnx.Rngs(0)))
    n_bytes = sum(4 * x.size for x in jax.tree.leaves(nnx.to_pure_dict(nnx.state(shape))))
    assert n_bytes < 6e6
