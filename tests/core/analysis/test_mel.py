import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.fft
from helpers import DTYPES, assert_close, assert_finite_grads, check_grads, compiled, noise

from ddspx import core

mel_spectrogram, mfcc, cepstral_coefficients, delta = map(
    compiled, (core.mel_spectrogram, core.mfcc, core.cepstral_coefficients, core.delta)
)

RATE = 16000
SIZES = {"sample_rate": RATE, "n_fft": 512, "hop_length": 160}
# Relative to the greatest value. librosa's filters are in float32 whatever the audio.
LIMITS = {np.float32: 1e-5, np.float64: 1e-7}

OPTIONS = [
    {},
    {"htk": True, "norm": None, "n_mels": 40},
    {"n_mels": 80, "fmin": 60.0, "fmax": 7800.0, "win_length": 400},
    {"power": 1, "n_mels": 33, "htk": True},
    {"n_mels": 10, "fmax": 500.0},
]


def recording():
    """Two unlike examples: noise with a quiet part, and a soft decaying tone in faint noise."""
    audio = 0.3 * noise(2, 4000)
    audio[0, 1500:2500] *= 1e-4
    time_s = np.arange(4000) / RATE
    audio[1] = 0.02 * np.exp(-9 * time_s) * np.sin(2 * np.pi * 440 * time_s)
    audio[1] += 1e-4 * noise(4000, seed=1)
    return audio


def librosas(function, audio, **options):
    """Example by example: librosa before 1.0 takes `top_db` below the loudest of all."""
    options = {"sr": RATE, "n_fft": 512, "hop_length": 160} | options
    return np.stack([function(y=row, **options).T for row in audio])


def assert_within(actual, expected, limit):
    assert actual.shape == expected.shape
    assert np.abs(np.asarray(actual) - expected).max() <= limit * np.abs(expected).max()


# Values


@pytest.mark.parametrize("options", OPTIONS)
def test_mel_spectrogram_is_librosas(options):
    audio = recording()
    expected = librosas(librosa.feature.melspectrogram, audio, **options)
    for dtype in DTYPES:
        actual = mel_spectrogram(jnp.asarray(audio, dtype), **SIZES, **options)
        assert actual.dtype == dtype
        assert_within(actual, expected, LIMITS[dtype])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_mfcc": 13, "lifter": 22.0, "htk": True, "norm": None, "n_mels": 40},
        {"dct_type": 3, "n_mfcc": 7, "fmin": 60.0, "fmax": 7800.0, "win_length": 400},
        {"dct_type": 1, "lifter": 13.0, "n_mels": 33, "power": 1},
        {"dct_norm": None, "n_mels": 33},
    ],
)
def test_mfcc_is_librosas(options):
    audio = recording()
    renamed = {{"norm": "mel_norm", "dct_norm": "norm"}.get(k, k): v for k, v in options.items()}
    expected = librosas(librosa.feature.mfcc, audio, **renamed)
    for dtype in DTYPES:
        actual = mfcc(jnp.asarray(audio, dtype), **SIZES, **options)
        assert actual.dtype == dtype
        assert_within(actual, expected, LIMITS[dtype])


@pytest.mark.parametrize("top_db", [None, 30.0])
def test_mfcc_range_below_the_loudest(top_db):
    audio = recording()
    mels = librosas(librosa.feature.melspectrogram, audio)
    levels = np.stack([librosa.power_to_db(mel, top_db=top_db) for mel in mels])
    expected = scipy.fft.dct(levels, norm="ortho")[..., :20]
    actual = mfcc(jnp.asarray(audio), **SIZES, top_db=top_db)
    assert_within(actual, expected, LIMITS[DTYPES[-1]])


@pytest.mark.parametrize("dct_type", [1, 2, 3])
@pytest.mark.parametrize("dct_norm", ["ortho", None])
@pytest.mark.parametrize("bands", [2, 9])
def test_cepstral_coefficients_are_scipys_cosine_transform(dct_type, dct_norm, bands):
    levels = noise(3, bands)
    expected = scipy.fft.dct(levels, type=dct_type, norm=dct_norm)
    actual = cepstral_coefficients(
        jnp.asarray(levels), n_mfcc=bands, dct_type=dct_type, dct_norm=dct_norm
    )
    assert_close(actual, expected, scale=20)


def test_the_coefficient_of_one_band_is_its_value():
    assert_close(cepstral_coefficients(jnp.array([3.0]), n_mfcc=1), [3.0])


@pytest.mark.parametrize("mode", ["interp", "nearest", "mirror", "constant", "wrap"])
@pytest.mark.parametrize(("width", "order"), [(9, 1), (3, 1), (9, 2), (7, 3)])
def test_delta_is_librosas(mode, width, order):
    features = noise(2, 20, 3)
    actual = delta(jnp.asarray(features), width=width, order=order, mode=mode)
    expected = librosa.feature.delta(features, width=width, order=order, mode=mode, axis=-2)
    assert_close(actual, expected, scale=4)


def test_delta_is_the_regression_of_htk_with_repeated_edges():
    track = noise(12)
    padded = np.pad(track, 2, mode="edge")
    expected = [
        sum(k * (padded[i + 2 + k] - padded[i + 2 - k]) for k in (1, 2)) / 10 for i in range(12)
    ]
    actual = delta(jnp.asarray(track), width=5, mode="nearest", axis=-1)
    assert_close(actual, expected, scale=4)


# Physics


def test_a_tone_is_loudest_in_its_own_band():
    filters = core.mel_filterbank(n_mels=40, n_fft=512, sample_rate=RATE, htk=True)
    for band in (5, 20, 35):
        k = int(filters[band].argmax())
        tone = np.sin(2 * np.pi * k * np.arange(4096) / 512)
        mel = mel_spectrogram(jnp.asarray(tone), **SIZES, n_mels=40, htk=True)
        assert int(mel[12].argmax()) == band


@pytest.mark.filterwarnings("ignore:`n_mels` is 80, and ")
def test_a_band_between_two_bins_is_silent():
    mel = mel_spectrogram(jnp.asarray(noise(2000)), **SIZES, n_mels=80, fmax=300.0)
    filters = core.mel_filterbank(n_mels=80, n_fft=512, sample_rate=RATE, fmax=300.0)
    empty = ~filters.any(axis=1)
    assert empty.any()
    np.testing.assert_array_equal(np.asarray(mel)[:, empty], 0)
    assert (np.asarray(mel)[:, ~empty] > 0).all()


def test_twice_as_loud_moves_only_the_zeroth_coefficient():
    audio = jnp.asarray(noise(3000))
    quiet, loud = (mfcc(g * audio, **SIZES, n_mels=40) for g in (0.1, 0.2))
    assert_close(loud[:, 1:], quiet[:, 1:], scale=300)
    rise = 20 * np.log10(2) * np.sqrt(40)
    assert_close(loud[:, 0] - quiet[:, 0], np.full(len(loud), rise), scale=300)


def test_delta_of_a_polynomial_is_its_derivative():
    i = np.arange(15.0)
    slope = delta(jnp.asarray(3 * i - 1), axis=-1)
    assert_close(slope, np.full(15, 3.0), scale=40)
    curve = delta(jnp.asarray(0.5 * i**2 - i), order=2, axis=-1)
    assert_close(curve, np.full(15, 1.0), scale=100)


def test_no_example_reaches_its_neighbour_through_top_db():
    audio = recording()
    together = mfcc(jnp.asarray(audio), **SIZES)
    alone = mfcc(jnp.asarray(audio[1]), **SIZES)
    assert_close(together[1], alone, scale=500)


# Gradients


def test_gradients():
    sizes = {"sample_rate": 1000, "n_fft": 16, "hop_length": 8, "n_mels": 4}
    audio = noise(24)
    check_grads(lambda x: core.mel_spectrogram(x, **sizes), audio, order=1)
    check_grads(lambda x: core.mfcc(x, **sizes, n_mfcc=3, lifter=4.0), audio, order=1, rtol=1e-4)
    check_grads(lambda x: core.delta(x, width=5, axis=-1), audio, order=1)


@pytest.mark.parametrize("audio", [np.zeros(1000), np.ones(1000), (-1.0) ** np.arange(1000)])
@pytest.mark.parametrize("power", [1, 2])
def test_gradients_are_finite(audio, power):
    assert_finite_grads(lambda x: core.mfcc(x, **SIZES, power=power, n_mels=40), audio)


def test_silence_has_no_gradient():
    gradient = jax.grad(lambda x: jnp.sum(core.mfcc(x, **SIZES)))(jnp.zeros(1000))
    np.testing.assert_array_equal(gradient, 0)


# Boundary errors


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("`n_mfcc` must be at most the number of bands", {"n_mfcc": 10}),
        ("`dct_type` must be one of 1, 2, 3", {"n_mfcc": 2, "dct_type": 4}),
        ("`lifter` must be at least 0", {"n_mfcc": 2, "lifter": -1.0}),
        ("`lifter` must be at least 0", {"n_mfcc": 2, "lifter": float("nan")}),
        ("`lifter` must be at least 0", {"n_mfcc": 2, "lifter": float("inf")}),
    ],
)
def test_coefficients_out_of_range_are_refused(message, call):
    with pytest.raises(ValueError, match=message):
        core.cepstral_coefficients(jnp.zeros((3, 9)), **call)


def test_a_transform_of_type_1_needs_two_bands():
    with pytest.raises(ValueError, match="`dct_type` 1 needs at least 2 bands"):
        cepstral_coefficients(jnp.zeros((3, 1)), n_mfcc=1, dct_type=1)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("`width` must be odd and at least 3, got 4", {"width": 4}),
        ("`width` must be odd and at least 3, got 1", {"width": 1}),
        ("`order` must be below `width`", {"width": 3, "order": 3}),
        (r"`width` must be at most the number of frames \(5\)", {"width": 7}),
        ("`axis` must be one of -1, -2", {"axis": 0}),
    ],
)
def test_deltas_that_do_not_exist_are_refused(message, arguments):
    with pytest.raises(ValueError, match=message):
        core.delta(jnp.zeros((5, 2)), **arguments)
