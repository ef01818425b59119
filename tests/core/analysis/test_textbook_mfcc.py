import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DTYPES, assert_finite_grads, compiled, noise

from ddspx import core

textbook_log_mel, textbook_mfcc = map(compiled, (core.textbook_log_mel, core.textbook_mfcc))

RATE = 16000


def golden_signal():
    n = np.arange(16000)
    tones = (0.5, 440), (0.25, 1200)
    return sum(a * np.sin(2 * np.pi * f * n / RATE) for a, f in tones)


def limit(dtype):
    return 1e-6 if dtype is np.float64 else 2e-2


@pytest.mark.parametrize("dtype", DTYPES)
def test_golden_levels_of_the_recipe(dtype):
    """Made by a program of the recipe; in float32 its quiet bands have few digits left."""
    levels = textbook_log_mel(
        jnp.asarray(golden_signal(), dtype), sample_rate=RATE, normalize=False
    )
    assert levels.shape == (99, 40)
    golden = [-28.305477, -103.139689, -101.385855, -109.460831, -112.43766, -105.397168]
    np.testing.assert_allclose(levels[10, 8:14], golden, atol=max(limit(dtype), 1e-6))


@pytest.mark.parametrize("dtype", DTYPES)
def test_golden_coefficients_of_the_recipe(dtype):
    audio = jnp.asarray(golden_signal(), dtype)
    before = textbook_mfcc(audio, sample_rate=RATE, normalize=False)
    assert before.shape == (99, 12)
    golden = [64.9623, -100.477969, -183.607569, -71.767283]
    np.testing.assert_allclose(before[10, :4], golden, atol=limit(dtype))
    after = textbook_mfcc(audio, sample_rate=RATE)
    golden = [-42.964189, 13.559777, 55.590604, 38.226954]
    np.testing.assert_allclose(after[10, :4], golden, atol=limit(dtype))


def test_the_mean_over_time_is_removed():
    audio = jnp.asarray(noise(2, 4000), DTYPES[-1])
    for f in (textbook_log_mel, textbook_mfcc):
        mean = np.asarray(f(audio, sample_rate=RATE)).mean(axis=-2)
        np.testing.assert_allclose(mean, 0, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 399, 400, 401, 560, 561])
def test_the_last_frame_is_filled_with_zeros(samples):
    frames = 1 + max(0, -(-(samples - 400) // 160))
    audio = noise(samples)
    actual = textbook_log_mel(jnp.asarray(audio), sample_rate=RATE, normalize=False)
    assert actual.shape == (frames, 40)
    filled = np.pad(audio, (0, (frames - 1) * 160 + 400 - samples))
    last = np.r_[filled[0], filled[1:] - 0.97 * filled[:-1]]
    # Pre-emphasis comes before the zeros.
    last[samples:] = 0
    power = np.abs(np.fft.rfft(last[-400:] * np.hamming(400), 512)) ** 2 / 512
    # The highest band, between bins that the recipe rounds down to.
    low, middle, high = (int(513 * hz // RATE) for hz in corners_hz()[-3:])
    weights = np.zeros(257)
    for k in range(low, high):
        weights[k] = (k - low) / (middle - low) if k < middle else (high - k) / (high - middle)
    np.testing.assert_allclose(actual[-1, -1], 20 * np.log10(power @ weights), rtol=1e-4)


@pytest.mark.parametrize("amplitude", [1e-7, 1e-10])
def test_faint_levels_are_not_raised_to_the_rounding_unit(amplitude):
    loud = noise(2000)
    levels = (
        textbook_log_mel(jnp.asarray(x, DTYPES[-1]), sample_rate=RATE, normalize=False)
        for x in (loud, amplitude * loud)
    )
    difference = np.subtract(*map(np.asarray, levels))
    np.testing.assert_allclose(difference, -40 * np.log10(amplitude), rtol=1e-4)


def test_silence_is_the_rounding_unit():
    levels = textbook_log_mel(jnp.zeros(800), sample_rate=RATE, normalize=False)
    np.testing.assert_allclose(levels, 20 * np.log10(np.finfo(np.float64).eps), rtol=1e-5)


def corners_hz():
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    return 700 * (10 ** (np.linspace(0, top, 42) / 2595) - 1)


def test_gradients_are_finite_at_silence():
    assert_finite_grads(lambda x: textbook_mfcc(x, sample_rate=RATE), np.zeros(1000))


def test_arguments_outside_the_recipe_are_refused():
    with pytest.raises(ValueError, match="`n_fft` must be at least the window of 1102 samples"):
        core.textbook_mfcc(jnp.zeros(4000), sample_rate=44100)
    with pytest.raises(ValueError, match="`n_mfcc` must be below `n_mels`"):
        core.textbook_mfcc(jnp.zeros(4000), sample_rate=RATE, n_mels=12)
