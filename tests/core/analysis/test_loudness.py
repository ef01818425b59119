import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from helpers import (
    assert_close,
    assert_finite_grads,
    check_grads,
    compiled,
    noise,
    sine,
)

from ddspx import core

loudness_db, rms, power_db, a_weighting_db = map(
    compiled, (core.loudness_db, core.rms, core.power_db, core.a_weighting_db)
)

RATE = 16000


def loudness(audio, **kwargs):
    return loudness_db(jnp.asarray(audio), sample_rate=RATE, hop_length=64, **kwargs)


def definition(audio, n_fft, hop_length, sample_rate):
    """The formula of the docstring in float64, on librosa's spectrum and A-weighting."""
    spectrum = librosa.stft(audio, n_fft=n_fft, hop_length=hop_length)
    frequencies_hz = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    gains_db = np.full(frequencies_hz.shape, -80.0)
    gains_db[1:] = librosa.A_weighting(frequencies_hz[1:])
    power = np.mean(10 ** (gains_db / 10)[:, None] * np.abs(spectrum) ** 2, axis=0)
    return 10 * np.log10(np.maximum(power, 1e-8))


# Values


def test_a_weighting_is_librosas():
    frequencies_hz = np.geomspace(1, 24000, 200)
    actual = a_weighting_db(jnp.asarray(frequencies_hz))
    assert_close(actual, librosa.A_weighting(frequencies_hz), scale=80)


def test_a_weighting_of_the_standards_table():
    # IEC 61672-1, table 3, rounded to 0.1 dB there.
    table = {31.5: -39.4, 63: -26.2, 125: -16.1, 500: -3.2, 1000: 0, 2000: 1.2, 8000: -1.1}
    nominal = np.array(list(table))
    exact = 1000 * 10 ** (np.round(10 * np.log10(nominal / 1000)) / 10)
    actual = a_weighting_db(jnp.asarray(exact))
    np.testing.assert_allclose(actual, list(table.values()), atol=0.06)
    assert float(a_weighting_db(jnp.zeros(()))) == -80


@pytest.mark.parametrize(
    ("frequency_hz", "amplitude", "expected_db"),
    [(100, 1, 1.04), (440, 1, 15.71), (1000, 1, 19.81), (440, 0.1, -4.29)],
)
def test_tones_read_what_ddsp_3_reads(frequency_hz, amplitude, expected_db):
    tone = sine(frequency_hz, 8000, sample_rate=RATE, amplitude=amplitude)
    np.testing.assert_allclose(np.asarray(loudness(tone))[10:-10], expected_db, atol=0.06)


def test_noises_read_what_ddsp_3_reads(rng):
    uniform = np.mean(loudness(rng.uniform(-1, 1, 64000)))
    normal = np.mean(loudness(rng.standard_normal(64000)))
    np.testing.assert_allclose([uniform, normal], [18.23, 22.90], atol=0.2)


@pytest.mark.parametrize(("n_fft", "hop_length", "rate"), [(512, 64, 16000), (300, 70, 44100)])
def test_loudness_is_its_definition(n_fft, hop_length, rate):
    audio = noise(2000) * np.linspace(0, 1, 2000) ** 8
    actual = loudness_db(jnp.asarray(audio), sample_rate=rate, hop_length=hop_length, n_fft=n_fft)
    assert_close(actual, definition(audio, n_fft, hop_length, rate), scale=20)


def test_silence_reads_the_floor():
    np.testing.assert_allclose(loudness(np.zeros(1000)), -80, rtol=1e-6)
    np.testing.assert_allclose(loudness(np.zeros(1000), range_db=60.0), -60, rtol=1e-6)


# Windows longer and shorter than the hop, odd ones, sizes with and without a common divisor.
LEVELS = [(100, 8, 32), (101, 8, 33), (64, 12, 8), (50, 7, 3), (9, 16, 4), (40, 6, 15), (1, 4, 8)]


@pytest.mark.parametrize(("n_samples", "hop_length", "win_length"), LEVELS)
def test_rms_and_power_are_their_definitions(n_samples, hop_length, win_length):
    audio = noise(n_samples)
    padded = np.pad(audio, win_length)
    starts = hop_length * np.arange(1 + n_samples // hop_length) + win_length - win_length // 2
    expected = np.array([np.mean(padded[i : i + win_length] ** 2) for i in starts])
    sizes = {"hop_length": hop_length, "win_length": win_length}
    assert_close(rms(jnp.asarray(audio), **sizes), np.sqrt(expected))
    power = power_db(jnp.asarray(audio), **sizes, range_db=20.0)
    assert_close(power, np.maximum(10 * np.log10(np.maximum(expected, 1e-9)), -20), scale=20)


def test_rms_is_librosas():
    audio = noise(2, 3000)
    sizes = {"frame_length": 512, "hop_length": 64}
    expected = librosa.feature.rms(y=audio, **sizes, dtype=np.float64)[:, 0]
    assert_close(rms(jnp.asarray(audio), hop_length=64, win_length=512), expected)


# Physics


def test_a_quiet_passage_after_a_loud_one_keeps_its_level():
    # A running sum in float32 would lose it: 1e-4 squared is far below a rounding of 1e6.
    audio = np.concatenate([np.full(100000, 4.0), np.full(1000, 1e-4)]).astype(np.float32)
    levels = rms(jnp.asarray(audio), hop_length=100, win_length=200)
    np.testing.assert_allclose(levels[1002:-1], 1e-4, rtol=1e-5)


def test_a_sine_reads_three_decibels_below_its_peak():
    tone = jnp.asarray(sine(1000, 1600, sample_rate=RATE, amplitude=0.5))
    power = power_db(tone, hop_length=160, win_length=320)
    assert_close(power[1:-1], np.full(9, 20 * np.log10(0.5 / np.sqrt(2))), scale=20)


def test_ten_times_the_amplitude_is_twenty_decibels():
    audio = noise(2000)
    assert_close(loudness(10 * audio), np.asarray(loudness(audio)) + 20, scale=20)


def test_loudness_follows_the_audio_to_the_frame():
    # Silence up to sample 1024: the frame there is the first with half its window on the tone.
    tone = sine(1000, 2048, sample_rate=RATE)
    tone[:1024] = 0
    db = np.asarray(loudness(tone))
    assert (db[: (1024 - 256) // 64] < -79).all()
    # Half of a Hann window has half of its amplitude on the bin and spreads over its neighbours.
    assert db[-5 - 4] - db[1024 // 64] == pytest.approx(3.0, abs=0.2)


# Gradients


def test_loudness_gradients():
    def f(audio):
        return core.loudness_db(audio, sample_rate=8000, hop_length=6, n_fft=16)

    check_grads(f, noise(30), order=1)
    check_grads(core.a_weighting_db, np.array([50.0, 440.0, 9000.0]), order=1)


@pytest.mark.parametrize("f", [core.rms, core.power_db])
def test_level_gradients(f):
    def level(audio):
        return f(audio, hop_length=4, win_length=6)

    check_grads(level, noise(20))
    for audio in (np.zeros(20), 1e-30 * noise(20), np.eye(1, 20, 3)[0]):
        assert_finite_grads(level, audio)


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e-6, 1.0])
def test_gradients_are_finite_at_any_level(level):
    assert_finite_grads(loudness, np.full(600, level))
    assert_finite_grads(loudness, level * noise(600))


def test_gradients_are_finite_at_zero_hertz():
    assert_finite_grads(core.a_weighting_db, np.array([0.0, 1e-3]))


# Boundary errors


@pytest.mark.parametrize("name", ["sample_rate", "hop_length", "n_fft"])
def test_wrong_sizes_are_named(name):
    sizes = {"sample_rate": RATE, "hop_length": 64, "n_fft": 512, name: 0}
    with pytest.raises(ValueError, match=f"`{name}`"):
        loudness_db(jnp.zeros(1000), **sizes)


def test_a_floor_below_the_smallest_float_is_finite():
    silence = jnp.zeros(600, jnp.float32)
    level = core.loudness_db(silence, sample_rate=16000, hop_length=256, range_db=400.0)
    np.testing.assert_array_equal(level, -400)


@pytest.mark.parametrize("f", [core.rms, core.power_db])
@pytest.mark.parametrize("name", ["hop_length", "win_length"])
def test_wrong_sizes_of_a_level_are_named(f, name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        f(jnp.zeros(100), **{"hop_length": 4, "win_length": 8, name: 0})


def test_the_slope_of_a_weighting_is_that_of_float64():
    """In float32, where products of squared frequencies leave the range of the gradient."""
    hz = np.array([20.0, 100.0, 500.0, 1000.0, 5000.0, 12000.0, 40000.0])
    actual = jax.vmap(jax.grad(core.a_weighting_db))(jnp.asarray(hz, jnp.float32))
    steps = (librosa.A_weighting(hz * (1 + s), min_db=None) for s in (1e-5, -1e-5))
    expected = np.subtract(*steps) / (2e-5 * hz)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-9)
    f = jnp.asarray([0.0, 1e-30, 3.0, 1e6, 1e12, 1e25, 3e38], jnp.float32)
    value, slope = jax.vmap(jax.value_and_grad(core.a_weighting_db))(f)
    assert np.all(np.isfinite(value)) and np.all(np.isfinite(slope))
    assert_close(value[jnp.array([0, 1, 2, 4, 5, 6])], np.full(6, -80.0), scale=80)
