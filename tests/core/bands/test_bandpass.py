import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from helpers import DTYPES, assert_finite_grads, check_grads, compiled

from ddspx import core

gabor_response = compiled(core.gabor_response)
gabor_impulse_response = compiled(core.gabor_impulse_response)
triangular_response = compiled(core.triangular_response)
sinc_bandpass = compiled(core.sinc_bandpass)
sinc_lowpass = compiled(core.sinc_lowpass)
sinc_response = compiled(core.sinc_response)
ordered_frequencies = compiled(core.ordered_frequencies)

RATE = 16000
FREQUENCIES = np.linspace(0, 8000, 257)
CENTERS, BANDWIDTHS = np.array([400.0, 2500.0]), np.array([90.0, 700.0])


def transform(taps, frequencies_hz):
    """Frequency response of taps around the middle one."""
    lags = np.arange(taps.shape[-1]) - taps.shape[-1] // 2
    return np.asarray(taps) @ np.exp(-2j * np.pi * lags[:, None] * frequencies_hz / RATE)


# grids


@pytest.mark.parametrize(
    ("scale", "function"),
    [
        ("mel", lambda f: librosa.hz_to_mel(f, htk=True)),
        ("slaney", librosa.hz_to_mel),
        ("bark", lambda f: np.asarray(core.hz_to_bark(jnp.asarray(f, DTYPES[-1])))),
        ("linear", lambda f: f),
        ("log", np.log),
    ],
)
def test_grids_are_even_on_their_scale(scale, function):
    grid = core.frequency_grid(30, fmin=40.0, fmax=7000.0, scale=scale)
    assert (grid[0], grid[-1]) == (40.0, 7000.0)
    steps = np.diff(function(grid))
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-4 if scale == "bark" else 1e-9)


def test_the_erb_grid_steps_by_as_much_of_the_bandwidth_everywhere():
    grid = core.frequency_grid(400, fmin=0.0, fmax=8000.0, scale="erb")
    erb = np.asarray(core.hz_to_erb(jnp.asarray((grid[1:] + grid[:-1]) / 2, DTYPES[-1])))
    steps = np.diff(grid) / erb
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-4)
    # Their number has a closed form, which Glasberg and Moore round to 21.4 log10(1 + 4.37 f).
    assert steps.sum() == pytest.approx(np.log1p(8000 * 0.108 / 24.7) / 0.108, rel=1e-4)
    assert steps.sum() == pytest.approx(21.4 * np.log10(1 + 4.37 * 8), rel=5e-3)


def test_the_centres_are_those_of_spectnet():
    grid = core.frequency_grid(8, fmin=0.0, fmax=500.0, scale="mel")
    published = [0, 56.029, 116.543, 181.900, 252.489, 328.727, 411.068, 500]
    np.testing.assert_allclose(grid, published, atol=6e-4)


@pytest.mark.parametrize("scale", ["mel", "slaney", "erb", "bark", "linear", "log"])
def test_equal_gaps_are_the_grid(scale):
    ends = {"fmin": 40.0, "fmax": 7000.0, "scale": scale}
    actual = ordered_frequencies(jnp.zeros(31, DTYPES[-1]), **ends)
    expected = core.frequency_grid(32, **ends)[1:-1]
    np.testing.assert_allclose(actual, expected, rtol=1e-4 if DTYPES[-1] == np.float32 else 1e-9)


def test_frequencies_keep_order_and_range_for_any_gaps(rng):
    for dtype in DTYPES:
        gaps = jnp.asarray(rng.normal(0, 8, (100, 41)), dtype)
        f = np.asarray(ordered_frequencies(gaps, fmin=30.0, fmax=7900.0))
        assert (np.diff(f) >= 0).all()
        assert f.min() > 29.9
        assert f.max() < 7901


# responses


@pytest.mark.parametrize("dtype", DTYPES)
def test_triangles_between_fixed_corners_are_the_mel_filterbank(dtype):
    corners = core.frequency_grid(22, fmin=30.0, fmax=7000.0, scale="slaney")
    actual = triangular_response(jnp.asarray(FREQUENCIES, dtype), jnp.asarray(corners, dtype))
    expected = core.mel_filterbank(
        n_mels=20, n_fft=512, sample_rate=RATE, fmin=30.0, fmax=7000.0, norm=None
    )
    np.testing.assert_allclose(actual, expected, atol=2e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gabor_responses_are_those_of_their_taps(dtype):
    bands = [jnp.asarray(x, dtype) for x in (CENTERS, BANDWIDTHS)]
    response = gabor_response(jnp.asarray(FREQUENCIES, dtype), *bands)
    taps = gabor_impulse_response(*bands, sample_rate=RATE, win_length=601)
    np.testing.assert_allclose(transform(taps, FREQUENCIES), response, atol=2e-5)


def test_the_bandwidth_of_a_gabor_filter_is_that_of_the_rectangle_that_passes_as_much_noise():
    frequencies_hz = jnp.arange(0, 8000, dtype=DTYPES[-1])
    response = gabor_response(frequencies_hz, jnp.asarray(CENTERS), jnp.asarray(BANDWIDTHS))
    np.testing.assert_allclose(jnp.sum(response**2, axis=-1), BANDWIDTHS, rtol=1e-4)


def test_a_sinc_filter_passes_its_band_and_nothing_else():
    low, high = np.array([300.0, 2000.0]), np.array([900.0, 5000.0])
    taps = sinc_bandpass(jnp.asarray(low), jnp.asarray(high), sample_rate=RATE, win_length=401)
    response = transform(taps, FREQUENCIES)
    np.testing.assert_allclose(response.imag, 0, atol=1e-5)
    transition = 3.3 * RATE / 401
    for row, f1, f2 in zip(response.real, low, high, strict=True):
        inside = (FREQUENCIES > f1 + transition) & (FREQUENCIES < f2 - transition)
        outside = (FREQUENCIES < f1 - transition) | (FREQUENCIES > f2 + transition)
        np.testing.assert_allclose(row[inside], 1, atol=4e-3)
        np.testing.assert_allclose(row[outside], 0, atol=4e-3)
        corners = transform(np.asarray(taps), np.array([f1, f2]))
    np.testing.assert_allclose(corners[1].real, 0.5, atol=4e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sinc_responses_are_those_of_their_taps(dtype):
    corners = [jnp.asarray(x, dtype) for x in ([300.0, 2000.0], [900.0, 8000.0])]
    sizes = {"sample_rate": RATE, "win_length": 101}
    response = sinc_response(jnp.asarray(FREQUENCIES, dtype), *corners, **sizes)
    expected = transform(sinc_bandpass(*corners, **sizes), FREQUENCIES)
    assert response.dtype == dtype
    np.testing.assert_allclose(response, expected, atol=2e-5 if dtype == np.float32 else 1e-12)


def test_a_sinc_filter_is_the_difference_of_two_lowpasses():
    low, high = (sinc_lowpass(f, sample_rate=RATE, win_length=2001) for f in (700.0, 1900.0))
    taps = sinc_bandpass(
        jnp.asarray([700.0]), jnp.asarray([1900.0]), sample_rate=RATE, win_length=2001
    )
    # The two are scaled to a gain of exactly 1 at 0 Hz.
    np.testing.assert_allclose(taps[0], high - low, atol=1e-4 * float(jnp.max(high)))


# gradients, boundary


def test_gradients_equal_differences():
    f, scale = jnp.asarray([0.0, 310, 555, 2420], DTYPES[-1]), 1e3
    corners = np.array([0.1, 0.5, 0.9, 3.0])
    check_grads(lambda c: core.triangular_response(f, scale * c), corners)
    check_grads(
        lambda c, b: core.gabor_response(f, scale * c, scale * b), CENTERS / scale, [0.3, 2]
    )

    def gabor(c, b):
        taps = core.gabor_impulse_response(scale * c, scale * b, sample_rate=RATE, win_length=21)
        return taps.real, taps.imag

    check_grads(
        lambda g: core.ordered_frequencies(g, fmin=0.1, fmax=7.0, scale="slaney"),
        np.array([0.1, -1.0, 2.0, 0.4]),
    )
    check_grads(gabor, CENTERS / scale, BANDWIDTHS / scale)

    def sinc(low, high):
        return core.sinc_bandpass(scale * low, scale * high, sample_rate=RATE, win_length=21)

    check_grads(sinc, np.array([0.3, 2.0]), np.array([0.9, 5.0]))


def test_gradients_are_finite_at_singular_points():
    ends, widths = np.array([0.0, 8000.0]), np.array([1e-2, 8000.0])
    assert_finite_grads(core.gabor_response, np.array([0.0, 8000.0]), ends, widths)
    assert_finite_grads(
        lambda a, b: core.sinc_bandpass(a, b, sample_rate=RATE, win_length=21), ends, ends
    )
    assert_finite_grads(core.triangular_response, FREQUENCIES, np.array([0.0, 31.25, 8000.0]))
    together = np.array([0.0, 0.0, 31.25, 31.25, 8000.0, 8000.0])
    assert_finite_grads(core.triangular_response, FREQUENCIES, together)


def test_results_keep_dtypes_and_batch_axes():
    for dtype in DTYPES:
        two = jnp.ones((3, 1, 2), dtype)
        assert core.gabor_response(two[0, 0], two, two).shape == (3, 1, 2, 2)
        assert core.sinc_bandpass(0 * two, two, sample_rate=4, win_length=5).dtype == dtype
        assert core.triangular_response(two[0, 0], jnp.cumsum(jnp.ones(5, dtype))).dtype == dtype
    one_by_one = jax.vmap(lambda c: core.gabor_response(jnp.ones(4), c, jnp.ones(2)))
    centers = jnp.arange(6.0).reshape(3, 2)
    together = core.gabor_response(jnp.ones(4), centers, jnp.ones((3, 2)))
    np.testing.assert_allclose(one_by_one(centers), together, atol=1e-6)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="`fmin` must be above 0 and below `fmax` on the scale"):
        core.frequency_grid(4, fmin=0.0, fmax=10.0, scale="log")
    with pytest.raises(ValueError, match="`n` must be at least 2, got 1"):
        core.frequency_grid(1, fmin=0.0, fmax=10.0, scale="mel")
    with pytest.raises(ValueError, match="`corners_hz` must hold at least 3 frequencies, got 2"):
        core.triangular_response(jnp.ones(3), jnp.ones(2))
    with pytest.raises(ValueError, match="`win_length` must be odd, got 4"):
        core.sinc_bandpass(jnp.zeros(1), jnp.ones(1), sample_rate=RATE, win_length=4)
