"""Transfer to instruments that take loudness on another scale than ours."""

import numpy as np
import soundfile
from toy_instrument import HOP, SAMPLE_RATE, tone, toy_config, toy_model

from ddspx.features import Features, stream_loudness
from ddspx.models.autoencoder import InstrumentStatistics
from ddspx.transfer import AdjustedControls, TransferConfig, _loudness_matching, adjust
from ddspx.transfer._transfer import _level

RATES = {"sample_rate": SAMPLE_RATE, "hop_length": HOP}


def test_what_is_fitted_is_our_loudness_early():
    """A rise is known 1024 samples before, as by DDSP's frames, and a fall when it comes."""
    loudness_db = np.full(100, -70.0, np.float32)
    loudness_db[40:60] = -20
    heard = Features(np.full(100, 300, np.float32), np.ones(100, np.float32), loudness_db)
    level_db = _level("unused", heard, "ddsp-2", toy_config(), fitted=True)
    assert level_db is not None
    np.testing.assert_array_equal(np.flatnonzero(level_db > -50), np.arange(40 - 1024 // HOP, 60))
    assert _level("unused", heard, "ddspx", toy_config(), fitted=True) is None


def test_what_is_not_fitted_is_measured_on_the_scale(tmp_path):
    audio = tone(0.3).astype(np.float32)
    soundfile.write(tmp_path / "tone.wav", audio, SAMPLE_RATE, subtype="FLOAT")
    heard = Features(*np.zeros((3, 1 + audio.size // HOP), np.float32))
    level_db = _level(tmp_path / "tone.wav", heard, "ddsp-2", toy_config(), fitted=False)
    (expected,) = stream_loudness([audio], **RATES, scale="ddsp-2")
    np.testing.assert_allclose(level_db, expected, atol=0.05)


def test_the_level_is_mapped_and_our_loudness_decides_on_notes():
    statistics = InstrumentStatistics(16_000, 64, (-40.0, -10.0), 50.0, 70.0, 90.0, 1.0, "any")
    f0_hz, confidence = np.full(250, 440.0), np.ones(250)
    loudness_db = np.where(np.arange(250) < 125, -20.0, -30.0)
    options = {"statistics": statistics, "frame_rate": 250.0}
    config = TransferConfig(adjust=False, quiet_db=0.0)
    ours = adjust(f0_hz, confidence, loudness_db, **options, config=config)
    other = adjust(
        f0_hz, confidence, loudness_db, **options, config=config, level_db=loudness_db - 3
    )
    np.testing.assert_array_equal(other.notes, ours.notes)
    np.testing.assert_allclose(other.asked_db[other.notes], ours.asked_db[ours.notes] - 3)


def test_notes_follow_the_recording_at_the_level_of_the_instrument(monkeypatch):
    """A steady instrument gets the dynamics of the recording around its own level."""
    n_samples = 200 * HOP
    time = np.arange(n_samples) / SAMPLE_RATE
    steady = 0.1 * np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    monkeypatch.setattr(_loudness_matching, "render", lambda *_, **__: iter([steady]))
    ones = np.ones(201, np.float32)
    played = AdjustedControls(440 * ones, -60 * ones, ones, ones > 0, 0, 0.0)
    heard_db = np.linspace(-30, -28, 201)
    matched = _loudness_matching.match_loudness(
        toy_model(toy_config()),
        played,
        n_samples=n_samples,
        heard_db=heard_db,
    )
    gain_db = 20 * np.log10(matched.gain)
    # The distribution of what is steady has no width, and beyond it the slope is 1.
    assert abs(np.median(gain_db)) < 0.5 and np.ptp(gain_db[20:-20]) < 2.5
    assert (np.diff(gain_db[20:-20]) > -1e-4).all()


def test_a_scale_may_reach_below_the_floor_of_ours():
    ones = np.ones(3, np.float32)
    loudness_db, gain = np.array([-95.0, -70.0, -70.0]), np.array([1.0, 0.5, 0.0])
    played = AdjustedControls(440 * ones, loudness_db, gain, ones > 0, 0, 0.0)
    np.testing.assert_allclose(played.asked_db, [-95, -76.02, -80], atol=0.01)
