"""One model of two instruments: it uses what it hears, resumes bit for bit, and is refused well."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console
from training_data import EXAMPLE_HOPS, HOP, SAMPLE_RATE, glide, small_model, write_dataset

from ddspx import io
from ddspx.models.autoencoder import load_autoencoder, load_timbres, with_timbre
from ddspx.nn import (
    DecayingReverbConfig,
    FrontendConfig,
    SpectralFrontend,
    TapReverbConfig,
    TimbreEncoderConfig,
)
from ddspx.training import AnyInstrumentTrainConfig, train_any_instrument

pytest.importorskip("array_record", reason="the train extra is not installed")
pytest.importorskip("grain", reason="the train extra is not installed")

LISTENING = FrontendConfig.learnable(
    sample_rate=SAMPLE_RATE, hop_length=160, n_fft=512, win_length=400, n_bands=8
)
MODEL = small_model(encoder=TimbreEncoderConfig(LISTENING, HOP, channels=6, z_size=3))
ROOM = TapReverbConfig(40)


def dull(segment):
    """The same notes, of one sine."""
    phase = 2 * np.pi * np.cumsum(np.repeat(segment.f0_hz[:-1], HOP) / SAMPLE_RATE)
    return segment._replace(audio=(0.2 * np.sin(phase)).astype(np.float32))


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    bright = write_dataset(folder / "bright", {"train": 6, "valid": 1})
    manifest = io.read_manifest(bright)
    (folder / "dull").mkdir()
    with io.DatasetWriter(
        folder / "dull",
        sample_rate=SAMPLE_RATE,
        hop_length=HOP,
        example_length=EXAMPLE_HOPS * HOP,
    ) as writer:
        for split, seconds in (("train", 6), ("valid", 1)):
            writer.add(split, dull(glide(seconds)))
        writer.finish(
            feature_version=manifest.feature_version,
            licence="CC0-1.0",
            attribution="a sine",
            sources=(),
            statistics=manifest.statistics,
        )
    return {"bright": bright, "dull": folder / "dull"}


def run(datasets, output, *, model=MODEL, room=ROOM, front_end=None, weights=None, **changes):
    settings = {"steps": 4, "batch_size": 2, "learning_rate": 3e-3, "evaluate_every": 2}
    return train_any_instrument(
        datasets,
        output,
        model=model,
        room=room,
        config=AnyInstrumentTrainConfig(**settings | changes),
        weights=weights,
        front_end=front_end,
        console=Console(quiet=True),
    )


@pytest.fixture(scope="module")
def trained(datasets, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained") / "any"
    return run(datasets, output), output


def test_the_folder_holds_the_model_and_its_instruments(datasets, trained):
    result, output = trained
    assert result.finished and result.best.loss is not None
    model, statistics, provenance = load_autoencoder(output)
    assert model.config == MODEL and statistics.duration_s == 12
    assert set(provenance["instruments"]) == {"bright", "dull"}
    timbres = load_timbres(output, sample_rate=SAMPLE_RATE)
    assert list(timbres) == ["bright", "dull"]
    for name, (embedding, room, one) in timbres.items():
        np.testing.assert_allclose(np.mean(np.square(embedding)), 1, atol=1e-5)
        assert room.config == ROOM and np.any(room.taps[...])
        assert one.to_json() == io.read_manifest(datasets[name]).statistics
        single = with_timbre(model, embedding, reverb=room)
        frames = jnp.full(5, 220.0), jnp.full(5, -20.0)
        z = jnp.broadcast_to(jnp.asarray(embedding), (5, 3))
        assert np.isfinite(single(jax.random.key(0), *frames, z=z)).all()


def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(datasets, trained, tmp_path):
    run(datasets, tmp_path / "again", steps=2)
    run(datasets, tmp_path / "again")
    for name in ("weights.safetensors", "timbres.json"):
        assert (tmp_path / "again" / name).read_bytes() == (trained[1] / name).read_bytes()


def test_a_given_front_end_is_kept_if_its_rate_is_zero(datasets, tmp_path):
    given = SpectralFrontend(LISTENING, rngs=nnx.Rngs(0))
    given.bank.log_bandwidths[...] += 0.3
    run(datasets, tmp_path / "frozen", front_end=given, frontend_rate=0.0, steps=2)
    kept = load_autoencoder(tmp_path / "frozen")[0].encoder.frontend
    for ours, theirs in zip(
        *(jax.tree.leaves(nnx.to_pure_dict(nnx.state(x))) for x in (kept, given)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_what_is_heard_decides_what_is_played(datasets, tmp_path):
    """After some training, the other instrument's embedding fits the recordings worse."""
    result = run(
        datasets,
        tmp_path / "any",
        room=DecayingReverbConfig(200, early_length=20, n_bands=2),
        steps=300,
        batch_size=8,
        learning_rate=1e-2,
        evaluate_every=300,
    )
    assert result.best.loss is not None
    model, *_ = load_autoencoder(tmp_path / "any")
    timbres = load_timbres(tmp_path / "any", sample_rate=SAMPLE_RATE)
    share = {}
    for name, (embedding, *_) in timbres.items():
        # How much of the energy of a long note is in its second harmonic.
        f0_hz, loudness_db = jnp.full(60, 250.0), jnp.full(60, -15.0)
        single = with_timbre(model, embedding)
        z = jnp.broadcast_to(jnp.asarray(embedding), (60, 3))
        audio = np.asarray(single(jax.random.key(0), f0_hz, loudness_db, z=z))[800:4000]
        power = np.abs(np.fft.rfft(audio * np.hanning(audio.size))) ** 2
        bin_of = 250 * audio.size // SAMPLE_RATE
        first, second = (power[k * bin_of - 3 : k * bin_of + 4].sum() for k in (1, 2))
        share[name] = second / first
    # In the recordings a quarter and nothing.
    assert share["bright"] > 0.1 and share["dull"] < 0.3 * share["bright"], share


def test_what_does_not_fit_is_refused_before_anything_is_written(datasets, tmp_path):
    output = tmp_path / "refused"
    with pytest.raises(ValueError, match="`model` must have no reverb"):
        run(datasets, output, model=dataclasses.replace(MODEL, reverb=ROOM))
    with pytest.raises(ValueError, match="cannot listen to an instrument"):
        run(datasets, output, model=small_model())
    with pytest.raises(ValueError, match="`datasets` must hold at least one"):
        run({}, output)
    with pytest.raises(ValueError, match="`embedding_noise` must be"):
        run(datasets, output, embedding_noise=-1.0)
    assert not list(tmp_path.iterdir())
