import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from helpers import (
    DTYPES,
    assert_close,
    assert_finite_grads,
    check_grads,
    compiled,
    noise,
)

from ddspx import core

stft, istft, spectrogram = map(compiled, (core.stft, core.istft, core.spectrogram))

SHAPES = [
    # n_samples, n_fft, hop_length, win_length
    (100, 16, 4, None),
    (101, 16, 5, 11),
    (33, 15, 4, None),
    (40, 12, 20, 8),
    (5, 16, 4, None),
]


def definition(audio, n_fft, hop_length, win_length):
    """The sum in the docstring, sample by sample in float64."""
    win_length = win_length or n_fft
    start = (n_fft - win_length) // 2
    frames = 1 + len(audio) // hop_length
    spectrum = np.zeros((frames, n_fft // 2 + 1), complex)
    for i in range(frames):
        for m in range(win_length):
            n = i * hop_length + start + m - n_fft // 2
            if 0 <= n < len(audio):
                window = 0.5 - 0.5 * np.cos(2 * np.pi * m / win_length)
                turn = -2j * np.pi * np.arange(n_fft // 2 + 1) * (start + m) / n_fft
                spectrum[i] += window * audio[n] * np.exp(turn)
    return spectrum


# Values


@pytest.mark.parametrize(("n_samples", "n_fft", "hop_length", "win_length"), SHAPES)
def test_stft_is_its_definition(n_samples, n_fft, hop_length, win_length):
    audio = noise(n_samples)
    actual = stft(jnp.asarray(audio), n_fft=n_fft, hop_length=hop_length, win_length=win_length)
    assert_close(actual, definition(audio, n_fft, hop_length, win_length), scale=4)


@pytest.mark.parametrize(("hop_length", "win_length"), [(64, None), (100, 200)])
def test_stft_is_librosas_with_the_axes_exchanged(hop_length, win_length):
    audio = noise(2, 3000)
    sizes = {"n_fft": 256, "hop_length": hop_length, "win_length": win_length}
    actual = stft(jnp.asarray(audio), **sizes)
    expected = librosa.stft(audio, **sizes)
    assert_close(actual, np.swapaxes(expected, -1, -2), scale=30)


def test_spectrogram_is_the_magnitude_and_its_square():
    audio = jnp.asarray(noise(200))
    spectrum = np.abs(np.asarray(stft(audio, n_fft=32, hop_length=8)))
    assert_close(spectrogram(audio, n_fft=32, hop_length=8), spectrum, scale=4)
    power = spectrogram(audio, n_fft=32, hop_length=8, power=2)
    assert_close(power, spectrum**2, scale=16)


# A hop that leaves gaps between the windows, one frame, lengths between two frames.
INVERSES = [
    # n_samples, n_fft, hop_length, win_length
    (100, 16, 4, None),
    (103, 16, 5, 11),
    (33, 15, 4, None),
    (47, 12, 20, 8),
    (3, 16, 4, None),
    (90, 8, 8, None),
]


@pytest.mark.parametrize(("n_samples", "n_fft", "hop_length", "win_length"), INVERSES)
def test_istft_is_the_least_squares_solution(n_samples, n_fft, hop_length, win_length):
    sizes = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length}
    frames = core.n_frames(n_samples, hop_length=hop_length)
    target = noise(frames, n_fft // 2 + 1) + 1j * noise(frames, n_fft // 2 + 1, seed=1)
    # The forward transform as a matrix, inner bins counted twice; the least-norm solution is
    # zero where no window reaches.
    columns = [definition(row, n_fft, hop_length, win_length) for row in np.eye(n_samples)]
    twice = np.full(n_fft // 2 + 1, 2.0)
    twice[0] = 1
    target.imag[:, 0] = 0
    if n_fft % 2 == 0:
        twice[-1] = 1
        target.imag[:, -1] = 0
    matrix = np.stack([(np.sqrt(twice) * c).ravel() for c in columns], axis=1)
    goal = (np.sqrt(twice) * target).ravel()
    expected = np.linalg.lstsq(
        np.concatenate([matrix.real, matrix.imag]), np.concatenate([goal.real, goal.imag])
    )[0]
    actual = istft(jnp.asarray(target), **sizes, n_samples=n_samples)
    np.testing.assert_allclose(actual, expected, atol=1e-9 if DTYPES[-1] is np.float64 else 1e-3)


@pytest.mark.parametrize(("hop_length", "win_length"), [(64, None), (100, 200), (128, None)])
def test_istft_is_librosas_with_the_axes_exchanged(hop_length, win_length):
    sizes = {"n_fft": 256, "hop_length": hop_length, "win_length": win_length}
    spectrum = librosa.stft(noise(2, 3000), **sizes) * np.exp(1j * noise(129, 1))
    expected = librosa.istft(spectrum, **sizes)
    del sizes["n_fft"]
    actual = istft(jnp.asarray(np.swapaxes(spectrum, -1, -2)), **sizes)
    assert_close(actual, expected, scale=30)


# Physics


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n_samples", "n_fft", "hop_length", "win_length"),
    [(1000, 64, 16, None), (1001, 64, 20, 50), (777, 33, 11, None), (5, 64, 16, None)],
)
def test_istft_inverts_stft(n_samples, n_fft, hop_length, win_length, dtype):
    audio = noise(2, n_samples).astype(dtype)
    sizes = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length}
    spectrum = stft(jnp.asarray(audio), **sizes)
    actual = istft(spectrum, **sizes, n_samples=n_samples)
    assert actual.dtype == dtype
    assert_close(actual, audio, scale=4)


def test_a_tone_on_a_bin_reads_a_quarter_of_the_window():
    tone = 0.5 * np.cos(2 * np.pi * 6 * np.arange(512) / 64)
    magnitude = spectrogram(jnp.asarray(tone), n_fft=64, hop_length=16)
    inner = np.asarray(magnitude)[2:-2]
    assert_close(inner[:, 6], np.full(len(inner), 0.5 * 64 / 4), scale=16)
    assert_close(inner[:, [5, 7]], np.full((len(inner), 2), 0.5 * 64 / 8), scale=16)
    others = np.delete(inner, [5, 6, 7], axis=1)
    assert_close(jnp.asarray(others), np.zeros_like(others), scale=16)


def test_frame_i_is_centred_on_sample_i_hops():
    for i in range(5):
        click = np.zeros(4 * 16 + 3)
        click[i * 16] = 1
        power = spectrogram(jnp.asarray(click), n_fft=64, hop_length=16, power=2)
        energy = np.asarray(power).sum(axis=1)
        assert energy.argmax() == i
        # One click under the window's peak, which is 1: all bins read 1.
        assert_close(power[i], np.ones(33))


def test_energy_is_conserved():
    # Squares of Hann windows a quarter apart add up to 3/2; Parseval counts inner bins twice.
    audio = np.pad(noise(400), 64)
    power = spectrogram(jnp.asarray(audio), n_fft=64, hop_length=16, power=2)
    both_sides = np.asarray(power, np.float64).sum(axis=0) * np.r_[1, np.full(31, 2), 1]
    np.testing.assert_allclose(both_sides.sum() / 64, 1.5 * np.sum(audio**2), rtol=1e-5)


# Gradients


@pytest.mark.parametrize("power", [1, 2])
def test_spectrogram_gradients(power):
    def f(audio):
        return core.spectrogram(audio, n_fft=8, hop_length=3, power=power)

    check_grads(f, noise(20))


@pytest.mark.parametrize("audio", [np.zeros(64), np.ones(64), (-1.0) ** np.arange(64)])
def test_magnitude_gradients_are_finite(audio):
    assert_finite_grads(lambda x: core.spectrogram(x, n_fft=16, hop_length=4), audio)


def test_istft_gradients():
    def f(real, imaginary):
        return core.istft(real + 1j * imaginary, hop_length=3, n_samples=11)

    check_grads(f, noise(4, 5), noise(4, 5, seed=1))
    assert_finite_grads(f, np.zeros((4, 5)), np.zeros((4, 5)))


# Programs


def test_the_inverse_of_a_long_spectrum_has_no_long_constant():
    spectrum = jax.ShapeDtypeStruct((5000, 9), np.complex64)
    text = jax.jit(lambda s: core.istft(s, hop_length=4)).lower(spectrum).as_text()
    assert len(text) < 30000


# Boundary errors


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("`n_fft` must be 16 or 17 for 9 bins, got 15", {"n_fft": 15}),
        ("`win_length` must be at most `n_fft`", {"win_length": 17}),
        ("`n_samples` must be from 12 to 15", {"n_samples": 16}),
        ("`hop_length` must be at least 1", {"hop_length": 0}),
    ],
)
def test_spectra_that_istft_cannot_invert_are_refused(message, arguments):
    with pytest.raises(ValueError, match=message):
        core.istft(jnp.zeros((4, 9), complex), **{"hop_length": 4, **arguments})


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("n_fft", {"n_fft": 0, "hop_length": 4}),
        ("hop_length", {"n_fft": 16, "hop_length": 0}),
        ("win_length", {"n_fft": 16, "hop_length": 4, "win_length": 17}),
        ("power", {"n_fft": 16, "hop_length": 4, "power": 3}),
    ],
)
def test_wrong_sizes_are_named(name, arguments):
    with pytest.raises(ValueError, match=f"`{name}`"):
        core.spectrogram(jnp.zeros(50), **arguments)
