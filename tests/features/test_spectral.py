"""Features of a stream are the core's of the whole, and librosa's."""

import warnings
from functools import partial

import jax
import librosa
import numpy as np
import pytest
from helpers import noise

from ddspx import core
from ddspx.features import (
    SpectralConfig,
    _spectral,
    default_n_fft,
    spectral_features,
    stream_spectral_features,
)

RATE, HOP, N_FFT = 8000, 80, 512
GRID = {"sample_rate": RATE, "hop_length": HOP}
SIZES = {**GRID, "n_fft": N_FFT}
BANDS = {"fmin": 100.0, "fmax": 3500.0}
VECTORS = {"spectrogram": 257, "mel": 20, "log-mel": 20, "mfcc": 7, "pcen": 20}
SCALARS = ("loudness", "rms", "centroid", "bandwidth", "rolloff", "flatness")


def config(kind, **changes):
    return SpectralConfig(kind, **SIZES | {"n_bands": 20, "n_mfcc": 7} | BANDS | changes)


def of_the_whole(kind, audio):
    """The core's functions on the whole signal."""
    mel = {**SIZES, "n_mels": 20, **BANDS}
    if kind == "mel":
        return core.mel_spectrogram(audio, **mel)
    if kind == "log-mel":
        return core.power_to_db(core.mel_spectrogram(audio, **mel), range_db=100.0)
    if kind == "mfcc":
        return core.mfcc(audio, **mel, n_mfcc=7, top_db=None)
    if kind == "pcen":
        energies = core.mel_spectrogram(2.0**31 * audio, **mel, power=1)
        return core.pcen(energies, core.pcen_smoothing(0.4, **GRID))
    if kind == "loudness":
        return core.loudness_db(audio, **GRID)
    if kind == "rms":
        return core.rms(audio, hop_length=HOP, win_length=N_FFT)
    spectrum = core.spectrogram(audio, n_fft=N_FFT, hop_length=HOP)
    if kind == "spectrogram":
        return spectrum
    if kind == "flatness":
        return core.spectral_flatness(spectrum)
    return getattr(core, f"spectral_{kind}")(spectrum, sample_rate=RATE)


@pytest.mark.parametrize("kind", [*VECTORS, *SCALARS])
def test_blocks_equal_the_function_of_core_for_the_whole(kind, monkeypatch):
    # 50 frames in a chunk, so that there are some.
    monkeypatch.setattr(_spectral, "_CHUNK_SECONDS", 0.5)
    audio = (0.1 * noise(2, 12_345)).astype(np.float32)
    audio[:, 3000:5000] = 0
    expected = np.asarray(jax.jit(partial(of_the_whole, kind))(audio))
    whole = spectral_features(audio, config(kind))
    features = (VECTORS[kind],) if kind in VECTORS else ()
    assert whole.shape == (2, 1 + 12_345 // HOP, *features) and whole.dtype == np.float32
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    blocks = np.split(audio, [1, 700, 4000, 4001], axis=-1)
    axis = -2 if features else -1
    streamed = np.concatenate(list(stream_spectral_features(blocks, config(kind))), axis=axis)
    np.testing.assert_array_equal(streamed, whole)


@pytest.mark.parametrize("kind", ["mel", "log-mel", "mfcc", "pcen", "spectrogram"])
def test_features_equal_those_of_librosa(kind):
    audio = (0.1 * noise(9000)).astype(np.float32)
    sizes = {"n_fft": N_FFT, "hop_length": HOP}
    mel = {"sr": RATE, **sizes, "n_mels": 20, **BANDS}
    power = librosa.feature.melspectrogram(y=audio, **mel)
    levels_db = librosa.power_to_db(power, amin=1e-10, top_db=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "mel": power,
            "log-mel": levels_db,
            "mfcc": librosa.feature.mfcc(S=levels_db, n_mfcc=7),
            "pcen": librosa.pcen(
                librosa.feature.melspectrogram(y=audio * 2**31, **mel, power=1),
                sr=RATE,
                hop_length=HOP,
            ),
            "spectrogram": np.abs(librosa.stft(audio, **sizes)),
        }[kind]
    ours = spectral_features(audio, config(kind))
    np.testing.assert_allclose(ours, expected.T, rtol=2e-3, atol=1e-4 * np.abs(expected).max())


def test_a_tone_is_in_the_bin_and_the_band_of_its_frequency():
    for hz in (500.0, 2000.0):
        tone = np.sin(2 * np.pi * hz * np.arange(8000) / RATE)
        for kind in ("spectrogram", "mel", "log-mel"):
            c = config(kind, fmin=0.0, fmax=None)
            loudest = np.argmax(spectral_features(tone, c)[50])
            nearest = np.argmin(np.abs(c.frequencies_hz - hz))
            assert abs(loudest - nearest) <= 1
    assert config("mfcc").frequencies_hz is None and config("rms").frequencies_hz is None
    centres = librosa.mel_frequencies(22, fmin=100.0, fmax=3500.0)[1:-1]
    np.testing.assert_allclose(config("mel").frequencies_hz, centres, rtol=1e-6)


def test_one_compilation_serves_every_length():
    list(stream_spectral_features([noise(1000)], config("mel")))
    before = _spectral._chunk._cache_size()
    for n_samples in (1, 50_000):
        list(stream_spectral_features([noise(n_samples)], config("mel")))
    assert _spectral._chunk._cache_size() == before


def test_the_usual_transform_is_of_64_ms():
    assert [default_n_fft(rate) for rate in (8000, 16_000, 22_050, 48_000)] == [
        512,
        1024,
        1024,
        4096,
    ]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("mel", {"fmin": 3600.0}, "`fmin` must be at least 0 and below `fmax`"),
        ("mel", {"fmax": 5000.0}, "`fmax` must be at most half of `sample_rate`, 4000.0 Hz"),
        ("mfcc", {"n_mfcc": 21}, "`n_mfcc` must be at most `n_bands`, 20, got 21"),
        ("mel", {"n_bands": 0}, "`n_bands` must be at least 1, got 0"),
        ("rms", {"n_fft": 0}, "`n_fft` must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        config(kind, **changes)
