import jax.numpy as jnp
import numpy as np
import pytest
from helpers import noise, sine

from ddspx import core, metrics

RATES = {"sample_rate": 16000, "hop_length": 64}


# Values


def test_loudness_l1_is_the_mean_difference():
    target, predicted = noise(2, 3, 2000) * np.array([1.0, 0.3])[:, None, None]
    loudness = [np.asarray(core.loudness_db(jnp.asarray(x), **RATES)) for x in (target, predicted)]
    expected = np.mean(np.abs(loudness[0] - loudness[1]))
    assert metrics.loudness_l1_db(target, predicted, **RATES) == pytest.approx(expected, rel=1e-5)


def test_spectral_distance_is_the_default_loss():
    target, predicted = noise(2, 3, 2000)
    expected = float(core.multi_scale_spectral_loss(jnp.asarray(target), jnp.asarray(predicted)))
    assert metrics.spectral_distance(target, predicted) == pytest.approx(expected, rel=1e-6)


# Physics


def test_a_gain_is_its_decibels_of_loudness():
    tone = sine(440, 2000, sample_rate=16000)
    error = metrics.loudness_l1_db(tone, 0.1 * tone, **RATES)
    assert error == pytest.approx(20, abs=1e-3)


def test_equal_recordings_have_distance_zero():
    audio = noise(2000).astype(np.float32)
    assert metrics.loudness_l1_db(audio, audio, **RATES) == 0
    assert metrics.spectral_distance(audio, audio) < 1e-5


def test_measures_are_plain_floats():
    audio = noise(2000).astype(np.float32)
    assert type(metrics.loudness_l1_db(audio, 2 * audio, **RATES)) is float
    assert type(metrics.spectral_distance(audio, 2 * audio)) is float


# Boundary errors


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="`target` and `predicted`"):
        metrics.loudness_l1_db(np.zeros(1000), np.zeros(999), **RATES)
    with pytest.raises(ValueError, match="`target` and `predicted`"):
        metrics.spectral_distance(np.zeros(1000), np.zeros(999))


def test_empty_lists_of_recordings_are_refused():
    nothing = np.zeros((0, 800), np.float32)
    with pytest.raises(ValueError, match="`target` must hold at least one number"):
        metrics.loudness_l1_db(nothing, nothing, sample_rate=8000, hop_length=80)
