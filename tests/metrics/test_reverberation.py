import numpy as np
import pytest
import scipy.signal

from ddspx import metrics

SAMPLE_RATE = 16_000


def room(rng, t60_s, n_samples=24_000):
    """Gaussian noise that falls by 60 dB in `t60_s`."""
    time_s = np.arange(n_samples) / SAMPLE_RATE
    return rng.normal(size=n_samples) * 10 ** (-3 * time_s / t60_s)


@pytest.mark.parametrize("t60_s", [0.15, 0.5, 1.1])
def test_the_time_of_a_decaying_noise_is_found_in_all_octaves(t60_s, rng):
    found = metrics.reverberation(room(rng, t60_s), sample_rate=SAMPLE_RATE)
    assert found.bands_hz == (125, 250, 500, 1000, 2000, 4000, 8000)
    np.testing.assert_allclose(found.t60_s[3:], t60_s, rtol=0.1)
    np.testing.assert_allclose(found.t60_s[:3], t60_s, rtol=0.35)


def test_octaves_are_measured_apart(rng):
    low, high = room(rng, 0.8), room(rng, 0.2)
    filters = (
        scipy.signal.butter(8, 1400, kind, fs=SAMPLE_RATE, output="sos") for kind in ("low", "high")
    )
    taps = sum(
        scipy.signal.sosfiltfilt(f, part) for f, part in zip(filters, (low, high), strict=True)
    )
    found = metrics.reverberation(taps, sample_rate=SAMPLE_RATE)
    np.testing.assert_allclose(found.t60_s[2:4], 0.8, rtol=0.15)
    np.testing.assert_allclose(found.t60_s[5:], 0.2, rtol=0.15)


def test_a_flat_or_silent_response_has_no_time(rng):
    flat = metrics.reverberation(rng.normal(size=8000), sample_rate=SAMPLE_RATE)
    silent = metrics.reverberation(np.zeros(100), sample_rate=SAMPLE_RATE)
    assert np.all(np.isnan(flat.t60_s)) and np.all(np.isnan(silent.t60_s))
    np.testing.assert_allclose(flat.level_db, 10 * np.log10(8000), atol=0.2)
    assert silent.level_db == -np.inf


def test_a_response_that_is_no_response_is_refused():
    for taps in (np.zeros(0), np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match="`impulse_response` must be one axis of finite taps"):
            metrics.reverberation(taps, sample_rate=SAMPLE_RATE)
