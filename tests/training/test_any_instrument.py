"""One model of two instruments: it uses what it hears, resumes bit for bit, and is refused well."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import quick_jit
from rich.console import Console
from training_data import EXAMPLE_HOPS, HOP, SAMPLE_RATE, glide, small_model, write_dataset

from ddspx import features, io
from ddspx.models.autoencoder import load_autoencoder, load_timbres, with_timbre
from ddspx.nn import (
    DecayingReverbConfig,
    FrontendConfig,
    SpectralFrontend,
    TapReverbConfig,
    TimbreEncoderConfig,
)
from ddspx.training import AnyInstrumentTrainConfig, train_any_instrument
from ddspx.training._any_instrument_loss import contrast, equalized

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
            writer.add(split, dull(glide(seconds)), source=0)
        writer.finish(
            feature_version=manifest.feature_version,
            licence="CC0-1.0",
            attribution="a sine",
            sources=manifest.sources,
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


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(datasets, trained, tmp_path):
    run(datasets, tmp_path / "again", steps=2)
    run(datasets, tmp_path / "again")
    for name in ("weights.safetensors", "timbres.json"):
        assert (tmp_path / "again" / name).read_bytes() == (trained[1] / name).read_bytes()


def test_a_weight_of_no_dataset_is_refused(datasets, tmp_path):
    with pytest.raises(ValueError, match=r"'brigth', which is none of .* \(bright, dull\)"):
        run(datasets, tmp_path / "refused", weights={"brigth": 2.0})
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_given_front_end_is_kept_if_its_rate_is_zero(datasets, tmp_path):
    given = SpectralFrontend(LISTENING, rngs=nnx.Rngs(0))
    given.bank.log_bandwidths[...] += 0.3
    run(datasets, tmp_path / "frozen", front_end=given, frontend_rate=0.0, steps=2)
    kept = load_autoencoder(tmp_path / "frozen")[0].encoder.frontend
    for ours, theirs in zip(
        *(jax.tree.leaves(nnx.to_pure_dict(nnx.state(x))) for x in (kept, given)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def equal():
    """A batch, as it is and through random equalizers of 9 dB at most."""
    rng = np.random.default_rng(0)
    examples, references = 0.1 * rng.normal(size=(2, 3, 8000)).astype(np.float32)
    frames = np.zeros((3, 8000 // HOP + 1), np.float32)
    batch = io.MixedBatch(
        io.Batch(examples, frames, frames, frames), references, np.zeros(3, np.int32)
    )
    assert equalized(jax.random.key(0), batch, 0.0, MODEL) is batch
    return batch, quick_jit(lambda key: equalized(key, batch, 9.0, MODEL))(jax.random.key(1))


def test_an_equalizer_changes_an_example_and_its_reference_alike(equal):
    batch, changed = equal
    frequencies = np.fft.rfftfreq(8000, 1 / SAMPLE_RATE)

    def gains_db(before, after):
        return 20 * np.log10(np.abs(np.fft.rfft(after) / np.fft.rfft(before)))

    of_examples = gains_db(batch.examples.audio, changed.examples.audio)
    of_references = gains_db(batch.reference, changed.reference)
    np.testing.assert_allclose(of_examples[:, 1:-1], of_references[:, 1:-1], atol=0.02)
    # Another one for each example; straight lines over the octaves, level below the lowest.
    assert np.abs(np.diff(of_examples, axis=0)).max(axis=1).min() > 3
    octaves = np.log2(np.maximum(frequencies, 62.5) / 62.5)
    within = np.flatnonzero((octaves > 3) & (octaves < 4))
    for gains in of_examples:
        line = np.polyfit(octaves[within], gains[within], 1)
        np.testing.assert_allclose(np.polyval(line, octaves[within]), gains[within], atol=0.02)
        low = gains[1:][frequencies[1:] < 62]
        np.testing.assert_allclose(low, low[0], atol=0.02)


def test_an_equalized_example_keeps_its_power_and_has_its_own_loudness(equal):
    batch, (examples, *_) = equal
    power = [np.mean(np.square(x), axis=-1) for x in (batch.examples.audio, examples.audio)]
    np.testing.assert_allclose(*power, rtol=1e-5)
    grid = {"sample_rate": SAMPLE_RATE, "hop_length": HOP}
    heard = features.conditioning_features(np.asarray(examples.audio), **grid)
    np.testing.assert_allclose(examples.loudness_db, heard.loudness_db, atol=1e-3)


def test_the_contrast_is_the_cross_entropy_of_the_right_pairs():
    z, other = np.random.default_rng(2).normal(size=(2, 4, 3))
    scores = z @ other.T / (0.1 * 3)
    losses = [
        np.log(np.exp(scores - scores[i, i]).sum(axis)[i]) for i in range(4) for axis in (0, 1)
    ]
    np.testing.assert_allclose(contrast(jnp.asarray(z), jnp.asarray(other)), np.mean(losses))
    assert contrast(jnp.eye(3) * np.sqrt(3), jnp.eye(3) * np.sqrt(3)) < 1e-3


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
