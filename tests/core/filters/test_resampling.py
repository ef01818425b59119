from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soxr
from helpers import DTYPES, check_grads, noise, sine

from ddspx import core

RATES = [(44100, 16000), (48000, 16000), (16000, 48000), (16000, 22050), (8000, 11025)]


def resampler(orig_rate, target_rate):
    return jax.jit(partial(core.resample, orig_rate=orig_rate, target_rate=target_rate))


def peak_db(x) -> float:
    return float(20 * np.log10(np.abs(x).max()))


# physics


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("orig_rate", "target_rate"), RATES)
def test_a_tone_below_both_nyquists_is_not_changed(orig_rate, target_rate, dtype):
    hz = 0.44 * min(orig_rate, target_rate)
    audio = sine(hz, orig_rate // 4, sample_rate=orig_rate).astype(dtype)
    out = resampler(orig_rate, target_rate)(jnp.asarray(audio))
    expected = sine(hz, out.size, sample_rate=target_rate)
    inside = slice(out.size // 4, -out.size // 4)
    assert out.dtype == dtype and out.size == -(-audio.size * target_rate // orig_rate)
    # 110 dB is the ripple of the design; float32 sums some hundred terms.
    assert peak_db(out[inside] - expected[inside]) < -105


@pytest.mark.parametrize("above", [1.02, 1.3, 1.9])
def test_frequencies_above_the_new_nyquist_do_not_alias(above):
    audio = sine(above * 8000, 12000, sample_rate=44100)
    out = np.asarray(resampler(44100, 16000)(jnp.asarray(audio)))
    assert peak_db(out[1000:-1000]) < -105


@pytest.mark.parametrize(("orig_rate", "target_rate"), RATES)
def test_a_constant_keeps_its_level(orig_rate, target_rate):
    out = np.asarray(resampler(orig_rate, target_rate)(jnp.ones(4000)))
    np.testing.assert_allclose(out[len(out) // 4 : -len(out) // 4], 1, atol=1e-5)


def test_converting_to_a_rate_and_back_keeps_frequencies_below_both_nyquists():
    # Noise without its top: soxr, another design, agrees on it within its own pass band.
    audio = soxr.resample(noise(3000), 8000, 16000, quality="VHQ")
    there = resampler(16000, 44100)(jnp.asarray(audio))
    reference = soxr.resample(audio, 16000, 44100, quality="VHQ")
    both = slice(2000, min(len(there), len(reference)) - 2000)
    scale = np.abs(reference).max()
    assert peak_db((np.asarray(there)[both] - reference[both]) / scale) < -70
    back = np.asarray(resampler(44100, 16000)(there))[: len(audio)]
    assert peak_db((back - audio)[1000:-1000] / scale) < -90


def test_an_impulse_keeps_its_time():
    audio = jnp.zeros(882).at[441].set(1.0)
    out = np.asarray(resampler(44100, 16000)(audio))
    assert np.argmax(np.abs(out)) == 160
    np.testing.assert_allclose(out[160 - 100 : 160], out[161 : 160 + 101][::-1], atol=1e-6)


# gradients, boundary


def test_gradients_equal_differences():
    check_grads(partial(core.resample, orig_rate=3, target_rate=2), noise(40))


def test_the_same_rate_returns_the_input():
    audio = jnp.asarray(noise(10))
    np.testing.assert_array_equal(core.resample(audio, orig_rate=7, target_rate=7), audio)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="ratio of numbers up to 4096, got 44101/16000"):
        core.resample(jnp.ones(9), orig_rate=44101, target_rate=16000)
    with pytest.raises(ValueError, match="`target_rate` must be at least 1, got 0"):
        core.resample(jnp.ones(9), orig_rate=44100, target_rate=0)
