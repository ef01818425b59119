import warnings

import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from ddspx import core

SIZES = [
    # n_mels, n_fft, sample_rate, fmin, fmax
    (40, 512, 16000, 0.0, None),
    (128, 2048, 44100, 30.0, 16000.0),
    (5, 33, 8000, 0.0, 3000.0),
    (80, 256, 22050, 0.0, None),
]


@pytest.mark.filterwarnings("ignore:`n_mels` is 80, and ")
@pytest.mark.parametrize("norm", ["slaney", None])
@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize(("n_mels", "n_fft", "sample_rate", "fmin", "fmax"), SIZES)
def test_the_filters_equal_those_of_librosa(n_mels, n_fft, sample_rate, fmin, fmax, htk, norm):
    shared = {"n_mels": n_mels, "n_fft": n_fft, "fmin": fmin, "fmax": fmax, "htk": htk}
    with warnings.catch_warnings():
        # Of filters that lie between two bins.
        warnings.simplefilter("ignore")
        expected = librosa.filters.mel(sr=sample_rate, norm=norm, dtype=np.float64, **shared)
    actual = core.mel_filterbank(sample_rate=sample_rate, norm=norm, **shared)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


def test_triangles_of_height_one_add_up_to_one_between_the_outer_peaks():
    filters = core.mel_filterbank(n_mels=20, n_fft=1024, sample_rate=16000, norm=None)
    first, last = filters[0].argmax() + 1, filters[-1].argmax()
    np.testing.assert_allclose(filters.sum(axis=0)[first:last], 1)


def test_slaneys_triangles_have_the_area_one():
    filters = core.mel_filterbank(n_mels=10, n_fft=8192, sample_rate=16000)
    np.testing.assert_allclose(filters.sum(axis=1) * 16000 / 8192, 1, rtol=2e-3)


def test_the_matrix_is_read_only_and_of_the_dtype():
    filters = core.mel_filterbank(n_mels=4, n_fft=64, sample_rate=16000, dtype=np.float32)
    assert filters.dtype == np.float32
    assert not filters.flags.writeable


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("`n_mels` must be at least 1", {"n_mels": 0}),
        ("`fmin` must be at least 0 and below", {"fmin": 9000.0}),
        ("`fmin` must be at least 0 and below", {"fmin": -1.0}),
    ],
)
def test_arguments_that_give_no_filters_are_refused(message, arguments):
    with pytest.raises(ValueError, match=message):
        core.mel_filterbank(**{"n_mels": 4, "n_fft": 64, "sample_rate": 16000, **arguments})


def test_pitch_filters_are_lognormal_bells_whose_rows_add_up_to_one():
    sizes = {"n_bands": 20, "n_fft": 4096, "sample_rate": 16000, "fmin": 110.0}
    filters = core.log_frequency_filterbank(**sizes, bins_per_octave=4, spread_octaves=0.1)
    f = np.arange(1, 2049) * 16000 / 4096
    for i, row in enumerate(filters):
        bell = np.exp(-0.5 * (np.log2(f / (110 * 2 ** (i / 4))) / 0.1) ** 2) / f
        np.testing.assert_allclose(row[1:], bell / bell.sum(), rtol=1e-9, atol=1e-15)
    assert (filters[:, 0] == 0).all()


def test_a_pitch_filter_between_two_bins_is_the_nearest():
    filters = core.log_frequency_filterbank(n_bands=12, n_fft=64, sample_rate=8000)
    np.testing.assert_allclose(filters[:, 1], 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_bands": 200}, "the last centre at most half of `sample_rate`, 8000.0 Hz, got 32.7"),
        ({"fmin": 0.0}, "`fmin` must be above 0"),
        ({"spread_octaves": 0.0}, "`spread_octaves` must be finite and above 0, got 0.0"),
    ],
)
def test_pitch_filters_that_do_not_exist_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        core.log_frequency_filterbank(
            **{"n_bands": 4, "n_fft": 64, "sample_rate": 16000, **arguments}
        )


def test_empty_bands_and_a_range_above_nyquist_give_a_warning():
    sizes = {"n_fft": 256, "sample_rate": 16000}
    with pytest.warns(UserWarning, match="`n_mels` is 256, and 81 of these bands are empty: .*256"):
        filters = core.mel_filterbank(n_mels=256, **sizes)
    assert np.sum(~filters.any(-1)) == 81
    with pytest.warns(UserWarning, match=r"`fmax` is 22050 Hz, above half .* give fmax=8000"):
        core.mel_filterbank(n_mels=64, fmax=22050.0, **sizes)
    audio = jnp.zeros(64)
    with pytest.warns(UserWarning, match="`n_mels` is 100, and"):
        core.mel_spectral_loss(audio, audio, sample_rate=16000, n_ffts=64, n_mels=100)
