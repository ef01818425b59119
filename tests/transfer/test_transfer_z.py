"""A transfer to an instrument with an encoder: its z is the recording's, in blocks as at once."""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from modules import of_parts
from toy_instrument import HOP, SAMPLE_RATE, save_toy_instrument, tone, z_config

from ddspx import io
from ddspx.features import blockwise_z
from ddspx.models.autoencoder import Autoencoder, load_autoencoder
from ddspx.transfer import AdjustedControls, TransferConfig, render, transfer

# The module; in the package its name is the function's.
module = importlib.import_module("ddspx.transfer._transfer")


@pytest.fixture(scope="module")
def instrument(tmp_path_factory):
    return save_toy_instrument(tmp_path_factory.mktemp("models") / "toy", config=z_config())


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "tone.wav"
    io.write_audio(path, tone(1.5), sample_rate=SAMPLE_RATE)
    return path


def steady(frames):
    pitch, level, gain = (np.full(frames, x, np.float32) for x in (440.0, -20.0, 1.0))
    return AdjustedControls(pitch, level, gain, np.ones(frames, bool), 0, 0.0)


def test_the_instrument_is_played_with_the_z_of_the_recording(instrument, recording, tmp_path):
    told, output = [], tmp_path / "out.wav"
    report = transfer(
        recording,
        output,
        to=instrument,
        config=TransferConfig(follow=0.0),
        seed=5,
        progress=lambda *now: told.append(now),
    )
    assert [what for what, *_ in told] == ["encoding", "listening", "playing"]
    model, _, _ = load_autoencoder(instrument)
    audio = io.read_audio(recording, sample_rate=SAMPLE_RATE)
    z = np.asarray(of_parts(Autoencoder.encode)(model, jnp.asarray(audio)))
    played = render(model, report.played, z=z, n_samples=audio.size, seed=5)
    heard = io.read_audio(output, sample_rate=SAMPLE_RATE)
    np.testing.assert_allclose(heard, np.concatenate(list(played)), atol=2e-5)


def test_at_gain_one_the_blocks_equal_the_output_of_the_model(instrument, rng):
    model, _, _ = load_autoencoder(instrument)
    audio = rng.standard_normal(130 * HOP + 17).astype(np.float32)
    played = steady(131)

    def hear_and_play(model, key, f0_hz, loudness_db, audio):
        z, n_samples = model.encode(audio), audio.size
        return model(key, f0_hz, loudness_db, z=z, n_samples=n_samples)

    play = of_parts(hear_and_play)
    whole = play(model, jax.random.key(0), *map(jnp.asarray, (*played[:2], audio)))
    z = blockwise_z(model.encoder, np.split(audio, [100, 5000]))
    parts = list(render(model, played, z=z, n_samples=audio.size, block_hops=50))
    blocks, last = np.concatenate(parts), 130 * HOP
    np.testing.assert_allclose(blocks[:last], whole[:last], atol=2e-5)
    # After the last frame the model holds its controls, and a stream holds their inputs.
    np.testing.assert_allclose(blocks[last:], whole[last:], atol=1e-4)


def test_blocks_of_any_size_give_the_same_sound(instrument, rng):
    model, _, _ = load_autoencoder(instrument)
    n_samples = 130 * HOP + 17
    z = blockwise_z(model.encoder, [rng.standard_normal(n_samples).astype(np.float32)])
    played = steady(131)
    # At once in the block of a transfer, which holds 1000 hops, and in several.
    (whole,) = render(model, played, z=z, n_samples=n_samples)
    blocks = render(model, played, z=z, n_samples=n_samples, block_hops=50)
    assert whole.size == n_samples
    np.testing.assert_allclose(np.concatenate(list(blocks)), whole, atol=2e-5)
    (other,) = render(model, played, z=z + 1, n_samples=n_samples)
    assert np.abs(other - whole).max() > 1e-3


def test_the_size_of_the_read_blocks_does_not_change_the_result(
    instrument, recording, tmp_path, monkeypatch
):
    transfer(recording, tmp_path / "whole.wav", to=instrument)
    read = module.stream_audio
    monkeypatch.setattr(
        module, "stream_audio", lambda *a, **k: read(*a, **k | {"block_length": 777})
    )
    transfer(recording, tmp_path / "blocks.wav", to=instrument)
    whole, blocks = ((tmp_path / f"{name}.wav").read_bytes() for name in ("whole", "blocks"))
    assert whole == blocks


@pytest.mark.slow
def test_an_encoder_that_needs_the_whole_sound_is_given_all_of_it(recording, tmp_path):
    """tests/features/test_encoding.py has a quick test of it."""
    config = z_config()
    frontend = dataclasses.replace(config.encoder.frontend, normalize=True)
    encoder = dataclasses.replace(config.encoder, frontend=frontend)
    folder = save_toy_instrument(
        tmp_path / "toy", config=dataclasses.replace(config, encoder=encoder)
    )
    report = transfer(recording, tmp_path / "out.wav", to=folder)
    model, _, _ = load_autoencoder(folder)
    audio = io.read_audio(recording, sample_rate=SAMPLE_RATE)
    np.testing.assert_allclose(report.performance.z, model.encode(audio), atol=1e-4)


def test_z_of_other_frames_is_refused(instrument):
    model, _, _ = load_autoencoder(instrument)
    with pytest.raises(ValueError, match="`z` and `played` must have the same number of frames"):
        next(render(model, steady(3), z=np.zeros((4, 4), np.float32), n_samples=2 * HOP))
    with pytest.raises(ValueError, match="`z` must have the shape"):
        next(render(model, steady(3), n_samples=2 * HOP))
