from functools import partial

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from helpers import DTYPES, assert_finite_grads, check_grads, noise

from ddspx import core

RATE = 16000
SHAPES = {
    "centroid": partial(core.spectral_centroid, sample_rate=RATE),
    "bandwidth": partial(core.spectral_bandwidth, sample_rate=RATE),
    "mean deviation": partial(core.spectral_bandwidth, sample_rate=RATE, p=1.0),
    "roll-off": partial(core.spectral_rolloff, sample_rate=RATE),
    "flatness": core.spectral_flatness,
}
OF_ANY = pytest.mark.parametrize("f", SHAPES.values(), ids=SHAPES)


def magnitudes():
    """Of noise, then silence, then a tone."""
    audio = np.concatenate([noise(2000), np.zeros(3000), np.sin(0.3 * np.arange(2000))])
    return np.abs(librosa.stft(audio, n_fft=512, hop_length=128)).T


def limit(dtype):
    return 1e-4 if dtype is np.float32 else 1e-9


# Values


@pytest.mark.parametrize("dtype", DTYPES)
def test_descriptors_equal_those_of_librosa(dtype):
    spectrum = magnitudes()
    options = {"S": spectrum.T, "sr": RATE, "n_fft": 512}
    expected = {
        "centroid": librosa.feature.spectral_centroid(**options)[0],
        "bandwidth": librosa.feature.spectral_bandwidth(**options)[0],
        "mean deviation": librosa.feature.spectral_bandwidth(**options, p=1)[0],
        "flatness": librosa.feature.spectral_flatness(S=spectrum.T)[0],
    }
    for name, values in expected.items():
        actual = SHAPES[name](jnp.asarray(spectrum, dtype))
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, values, rtol=limit(dtype), atol=limit(dtype))


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.85, 0.99])
def test_rolloff_lies_in_librosas_bin(fraction):
    spectrum = np.abs(noise(200, 33))
    spectrum[::7, 10:] = 0
    spectrum[5] = 0
    bins = librosa.feature.spectral_rolloff(S=spectrum.T, sr=RATE, roll_percent=fraction)[0]
    actual = core.spectral_rolloff(jnp.asarray(spectrum), sample_rate=RATE, fraction=fraction)
    width = RATE / 64
    np.testing.assert_allclose(np.ceil(np.asarray(actual) / width - 0.5) * width, bins, rtol=1e-5)


def test_rolloff_is_its_definition_by_an_integral():
    spectrum = np.abs(noise(9))
    borders = np.r_[0, np.arange(8) + 0.5, 8] * 1000
    for fraction in (0.05, 0.3, 0.85, 0.97):
        total = np.r_[0, np.cumsum(spectrum)] / spectrum.sum()
        expected = np.interp(fraction, total, borders)
        actual = core.spectral_rolloff(jnp.asarray(spectrum), sample_rate=RATE, fraction=fraction)
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


# Physics


def test_one_bin_is_its_own_centre_without_width():
    one = np.zeros(129)
    one[40] = 3.0
    hz = 40 * RATE / 256
    np.testing.assert_allclose(SHAPES["centroid"](jnp.asarray(one)), hz, rtol=1e-6)
    assert float(SHAPES["bandwidth"](jnp.asarray(one))) < 1e-3 * hz
    assert abs(float(SHAPES["roll-off"](jnp.asarray(one))) - hz) <= RATE / 512
    assert float(SHAPES["flatness"](jnp.asarray(one))) < 1e-8


@pytest.mark.parametrize("name", ["centroid", "bandwidth", "mean deviation", "roll-off"])
@pytest.mark.parametrize("level", [1e-12, 1e12])
def test_the_level_does_not_matter(name, level):
    spectrum = np.abs(noise(3, 65)).astype(np.float32)
    actual = SHAPES[name](jnp.asarray(spectrum * np.float32(level)))
    np.testing.assert_allclose(actual, SHAPES[name](jnp.asarray(spectrum)), rtol=1e-4)


def test_descriptors_of_silence_are_zero_and_its_flatness_is_one():
    nothing = jnp.zeros(17)
    values = {name: float(f(nothing)) for name, f in SHAPES.items()}
    assert values == dict.fromkeys(values, 0.0) | {"flatness": 1.0}


# Gradients


@OF_ANY
def test_gradients(f):
    check_grads(f, np.abs(noise(2, 9)) + 0.1, order=1, rtol=1e-4)


@OF_ANY
def test_gradients_are_finite(f):
    levels = np.array([0.0, 1e-35, 1e-25, 1e-12, 1e15])[:, None]
    one = levels * (np.arange(9) == 3)
    assert_finite_grads(f, np.concatenate([one, levels * np.ones(9)]))


def test_gradient_descent_moves_the_rolloff_to_a_target():
    """The gradient of the roll-off, a step function elsewhere, finds a target."""
    spectrum = jnp.asarray(np.ones(33))

    def distance(logits):
        rolloff = core.spectral_rolloff(jnp.exp(logits), sample_rate=RATE)
        return (rolloff / 1000 - 3.0) ** 2

    step = jax.jit(jax.value_and_grad(distance))
    logits = jnp.zeros_like(spectrum)
    for _ in range(200):
        loss, gradient = step(logits)
        logits = logits - gradient
    assert float(loss) < 1e-3


# Boundary errors


def test_wrong_arguments_of_descriptors_are_refused():
    with pytest.raises(ValueError, match="`fraction` must be above 0 and below 1, got 1"):
        core.spectral_rolloff(jnp.ones(9), sample_rate=RATE, fraction=1.0)
    with pytest.raises(ValueError, match="`p` must be at least 1"):
        core.spectral_bandwidth(jnp.ones(9), sample_rate=RATE, p=0.5)
    with pytest.raises(ValueError, match="`magnitudes` must have at least 2 bins"):
        core.spectral_centroid(jnp.ones(1), sample_rate=RATE)
    with pytest.raises(ValueError, match="`amin` must be above 0"):
        core.spectral_flatness(jnp.ones(9), amin=0.0)
