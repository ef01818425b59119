"""The autoencoder with an encoder is trained with the z of the batch's recordings."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import compiled
from rich.console import Console
from toy_instrument import toy_model
from training_data import HOP, SAMPLE_RATE, glide, small_model, write_dataset

from ddspx import core
from ddspx.io import Batch
from ddspx.models.autoencoder import Autoencoder, load_autoencoder
from ddspx.nn import FrontendConfig, GammatoneFilters, ZEncoderConfig
from ddspx.training import (
    AutoencoderTrainConfig,
    adam,
    autoencoder_loss,
    initial_state,
    train_autoencoder,
    train_step,
)
from ddspx.training._step import autoencoder_evaluation


def with_encoder(**changes):
    listening = FrontendConfig(
        sample_rate=SAMPLE_RATE, hop_length=HOP, n_fft=256, win_length=200, n_bands=8, **changes
    )
    encoder = ZEncoderConfig(listening, rnn_channels=4, z_size=3)
    return small_model(encoder=encoder)


@pytest.fixture(scope="module")
def training():
    """The model in parts, its step, and the state before the first."""
    graphdef, *states = nnx.split(toy_model(with_encoder()), nnx.Param, ...)
    params, rest = map(nnx.to_pure_dict, states)
    optimizer = adam(learning_rate=3e-3)
    step = train_step(autoencoder_loss(graphdef), optimizer)

    def begin():
        # A step takes the arrays of its state, so that each beginning has its own.
        own = jax.tree.map(jnp.array, params)
        return initial_state(own, optimizer, seed=0, rest=jax.tree.map(jnp.array, rest))

    return graphdef, params, rest, step, begin


@pytest.mark.slow
def test_a_step_lowers_the_loss_and_moves_front_end_gru_and_decoder(training):
    graphdef, params, rest, step, begin = training
    assert rest["encoder"]["frontend"]
    before = jax.tree.map(np.array, params)
    whole = glide(1)
    batch = Batch(*(np.stack([a, a[::-1]]) for a in whole))
    measure, key = autoencoder_evaluation(graphdef), jax.random.key(1)
    first, audio = measure(params, rest, key, batch)
    assert audio.shape == batch.audio.shape
    # The encoder uses the recording: one with the same pitch and loudness gives another rendering.
    _, other = measure(params, rest, key, batch._replace(audio=batch.audio[:, ::-1].copy()))
    assert np.abs(other - audio).max() > 1e-4
    state, report = step(begin(), batch)
    last, _ = measure(state.params, state.rest, key, batch)
    assert np.isfinite(report.gradient_norm) and np.mean(last) < np.mean(first)
    moved = jax.tree.map(lambda x, y: np.abs(x - np.asarray(y)).max(), before, state.params)
    assert all(x > 0 for x in jax.tree.leaves((moved["decoder"], moved["encoder"])))


@pytest.mark.slow
def test_z_distinguishes_sounds_of_equal_pitch_and_loudness():
    frames = np.ones((2, 1 + SAMPLE_RATE // (2 * HOP)), np.float32)
    f0_hz = np.geomspace(200, 300, frames.shape[1], dtype=np.float32) * frames
    timbres = jnp.asarray([[1, 0, 0, 0, 0, 0, 0, 0], [0, 0.1, 0, 0.3, 0, 0.3, 0, 0.3]], jnp.float32)
    audio = compiled(core.harmonic_synthesis)(
        jnp.asarray(f0_hz),
        jnp.asarray(0.3 * frames),
        jnp.repeat(timbres[:, None], frames.shape[1], 1),
        hop_length=HOP,
        sample_rate=SAMPLE_RATE,
    )
    batch = Batch(np.asarray(audio), f0_hz, frames, -10 * frames)
    config = dataclasses.replace(with_encoder(), loss_n_ffts=(256, 64))
    # A single sound for both recordings has at least this mean distance from them, by the triangle
    # inequality.
    distance = compiled(core.multi_scale_spectral_loss)
    without_z = distance(audio[0], audio[1], n_ffts=(256, 64)) / 2
    graphdef, params, rest = nnx.split(Autoencoder(config, rngs=nnx.Rngs(0)), nnx.Param, ...)
    optimizer = adam(learning_rate=2e-2)
    step = train_step(autoencoder_loss(graphdef), optimizer)
    state = initial_state(nnx.to_pure_dict(params), optimizer, seed=0, rest=nnx.to_pure_dict(rest))
    for _ in range(60):
        state, report = step(state, batch)
    assert report.loss < 0.5 * without_z


def test_training_on_silence_keeps_weights_finite(training):
    *_, step, begin = training
    frames = np.zeros((2, 101), np.float32)
    batch = Batch(np.zeros((2, 100 * HOP), np.float32), frames, frames, frames - 80)
    state, report = step(begin(), batch)
    # The norm is that of every part of the gradient.
    assert np.isfinite(report.loss) and np.isfinite(report.gradient_norm)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


@pytest.mark.slow
def test_a_run_ends_in_a_model_folder_with_its_encoder(tmp_path):
    pytest.importorskip("grain", reason="the train extra is not installed")
    dataset = write_dataset(tmp_path / "set", {"train": 2, "valid": 1})
    model = with_encoder(filters=GammatoneFilters(trainable=()))
    config = AutoencoderTrainConfig(steps=2, batch_size=2, evaluate_every=2, learning_rate=1e-2)
    console = Console(quiet=True)
    run = train_autoencoder(
        dataset, tmp_path / "model", model=model, config=config, console=console
    )
    assert run.finished
    trained, _, _ = load_autoencoder(tmp_path / "model")
    assert trained.config == model
    first = Autoencoder(model, rngs=nnx.Rngs(config.seed)).encoder

    def numbers(part):
        return np.concatenate([np.ravel(x) for x in jax.tree.leaves(nnx.state(part))])

    for name, learns in (("frontend", False), ("gru", True), ("dense", True)):
        ours, theirs = (numbers(getattr(e, name)) for e in (first, trained.encoder))
        assert (ours != theirs).any() == learns, name
