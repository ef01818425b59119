"""The evaluation measures the rendered sound, and the baseline has the given loudness."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import compiled
from toy_instrument import toy_model
from training_data import FMAX, FMIN, HOP, MODEL, SAMPLE_RATE, write_dataset

from ddspx import core, features
from ddspx.io import read_manifest
from ddspx.metrics import Interval
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig, InstrumentStatistics
from ddspx.nn import FrontendConfig, ZEncoderConfig
from ddspx.training import additive_baseline, evaluate_autoencoder
from ddspx.training._autoencoder_evaluation import mean_interval

RATES = {"hop_length": HOP, "sample_rate": SAMPLE_RATE}
baseline, loudness_of = compiled(additive_baseline), compiled(core.loudness_db)


class OctaveUp(Autoencoder):
    """An instrument that plays everything an octave too high and 6 dB too loud."""

    def __call__(self, key, f0_hz, loudness_db, *, z=None, n_samples=None):
        del key, z, n_samples
        return additive_baseline(2 * f0_hz, loudness_db + 6, **RATES, n_harmonics=2)


class Breath(Autoencoder):
    """An instrument that plays noise alone, a little of it at the pitch of its last note."""

    def __call__(self, key, f0_hz, loudness_db, *, z=None, n_samples=None):
        del z, n_samples
        tone = additive_baseline(f0_hz, loudness_db, **RATES, n_harmonics=2)
        breath = 0.1 * jax.random.normal(key, tone.shape, tone.dtype)
        return jnp.where(jnp.arange(tone.size) < tone.size // 2, tone, breath)


# values


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    pytest.importorskip("grain", reason="the train extra is not installed")
    return write_dataset(tmp_path_factory.mktemp("data") / "set", {"train": 1, "test": 2})


@pytest.fixture(scope="module")
def evaluated(dataset):
    """The measures by the renderer's name, and the ranges in which pitch was looked for."""
    measure, ranges = features.conditioning_features, set()

    def listen(audio, **options):
        ranges.add((options["fmin"], options["fmax"]))
        return measure(audio, **options)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(features, "conditioning_features", listen)
        rows = evaluate_autoencoder(toy_model(MODEL, OctaveUp), dataset, baselines=True)
    return {row.name: row for row in rows}, ranges


@pytest.fixture
def evaluations(evaluated):
    return evaluated[0]


def test_pitch_and_loudness_are_measured_on_the_rendered_audio(evaluations):
    row = evaluations["model"]
    assert row.n_examples == 4
    assert row.f0_l1_semitones.value == pytest.approx(12, abs=0.2)
    assert row.loudness_l1_db.value == pytest.approx(6, abs=0.5)


def test_the_additive_baseline_has_the_right_pitch_and_loudness(evaluations):
    row = evaluations["additive"]
    assert row.f0_l1_semitones.value < 0.2
    # The fades at the ends are not voiced.
    assert row.f0_outlier_share.value < 0.05
    assert row.loudness_l1_db.value < 0.5


def test_audio_without_a_pitch_is_an_outlier_and_has_no_error_in_semitones(dataset):
    # The older features mean the same.
    statistics = InstrumentStatistics.from_json(read_manifest(dataset).statistics)
    older, other, louder = (
        dataclasses.replace(statistics, feature_version=version)
        for version in (
            "ddspx-pitch-2/loudness-a-512-1",
            features.feature_version("yin"),
            features.feature_version("ddspx", scale="ddsp-2"),
        )
    )
    with pytest.raises(ValueError, match="another scale of loudness can be played, but not"):
        evaluate_autoencoder(toy_model(MODEL, Breath), dataset, statistics=louder)
    with pytest.raises(ValueError, match=r"on features of version 'yin.* with the method 'yin'"):
        evaluate_autoencoder(toy_model(MODEL, Breath), dataset, statistics=other)
    (row,) = evaluate_autoencoder(toy_model(MODEL, Breath), dataset, statistics=older)
    assert row.f0_l1_semitones.value < 0.5
    assert row.f0_outlier_share.value == pytest.approx(0.5, abs=0.1)


def test_pitch_is_tracked_in_the_range_of_the_dataset(evaluated):
    assert evaluated[1] == {(FMIN, FMAX)}


class Telling(Autoencoder):
    """An instrument with an encoder that tells the recording's level, which is all it plays."""

    def encode(self, audio):
        level_db = core.loudness_db(audio, **RATES)
        return jnp.repeat(level_db[..., None], 2, axis=-1)

    def __call__(self, key, f0_hz, loudness_db, *, z=None, n_samples=None):
        del key, loudness_db, n_samples
        return additive_baseline(f0_hz, z[..., 0], **RATES, n_harmonics=2)


def test_a_model_with_an_encoder_encodes_the_recording(dataset):
    listening = FrontendConfig(sample_rate=SAMPLE_RATE, hop_length=HOP, n_bands=8)
    encoder = ZEncoderConfig(listening, rnn_channels=4, z_size=2)
    model = toy_model(dataclasses.replace(MODEL, encoder=encoder), Telling)
    (row,) = evaluate_autoencoder(model, dataset)
    assert row.loudness_l1_db.value < 0.5 and row.f0_l1_semitones.value < 0.2


def test_the_untrained_model_is_measured_too(evaluations):
    assert list(evaluations) == ["model", "untrained", "additive"]
    row = evaluations["untrained"]
    assert row.loudness_l1_db.value > 3 and np.isfinite(row.spectral_loss).all()


def test_intervals_contain_the_mean_of_the_defined_values():
    assert mean_interval(np.array([2.0, np.nan, 2.0]), 0) == Interval(2.0, 2.0, 2.0)
    values = np.random.default_rng(0).standard_normal(400)
    mean, low, high = mean_interval(values, 0)
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose(
        [mean, low, high], values.mean() + np.array([0, -half, half]), atol=0.01
    )
    assert np.isnan(mean_interval(np.array([np.nan]), 0)).all()


# physics


STEADY_HZ, STEADY_DB = (110.0, 440.0, 1500.0, 3900.0, 500.0, 0.0), (-40.0, 0.0)


@pytest.fixture(scope="module")
def steady():
    """Of each pitch and each loudness half a second."""
    f0_hz, loudness_db = np.meshgrid(np.float32(STEADY_HZ), np.float32(STEADY_DB), indexing="ij")
    tracks = (jnp.asarray(np.repeat(x[..., None], 51, axis=-1)) for x in (f0_hz, loudness_db))
    return baseline(*tracks, **RATES)


def test_a_steady_tone_reaches_the_given_loudness(steady):
    measured = loudness_of(steady, **RATES)[:-1, :, 5:-5]
    expected = np.broadcast_to(np.array(STEADY_DB)[:, None], measured.shape)
    np.testing.assert_allclose(measured, expected, atol=0.2)


def test_the_harmonics_of_the_baseline_fall_with_their_number(steady):
    audio = steady[STEADY_HZ.index(500.0), STEADY_DB.index(0.0)]
    middle = np.asarray(audio)[1600:2400] * np.hanning(800)
    spectrum = np.abs(np.fft.rfft(middle))[50::50][:7]
    np.testing.assert_allclose(spectrum / spectrum[0], 1 / np.arange(1, 8), rtol=0.02)


def test_the_baseline_is_silent_without_a_pitch(steady):
    assert not np.any(steady[STEADY_HZ.index(0.0)])


# boundary errors


def test_a_dataset_of_other_rates_is_refused(dataset):
    model = toy_model(AutoencoderConfig.tiny())
    with pytest.raises(ValueError, match="dataset was prepared with `sample_rate` 8000"):
        evaluate_autoencoder(model, dataset)


def test_an_empty_split_is_refused(tmp_path):
    pytest.importorskip("grain", reason="the train extra is not installed")
    dataset = write_dataset(tmp_path / "set", {"train": 1})
    with pytest.raises(ValueError, match="no examples in its test split"):
        evaluate_autoencoder(toy_model(MODEL), dataset)
