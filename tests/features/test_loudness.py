"""The scales of loudness, against their definitions in float64 NumPy."""

from typing import get_args

import librosa
import numpy as np
import pytest
from helpers import noise

from ddspx import core, features

RATE = 16_000


def ddsp_loudness(audio, hop_length):
    """DDSP's loudness up to version 2: decibels averaged over the bins of what follows a frame."""
    n_frames = 1 + len(audio) // hop_length
    padded = np.pad(audio.astype(np.float64), (0, 2048))
    frames = np.stack([padded[i * hop_length :][:2048] for i in range(n_frames)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    magnitudes = np.abs(np.fft.rfft(frames * window))
    with np.errstate(divide="ignore"):
        weights_db = librosa.A_weighting(librosa.fft_frequencies(sr=RATE, n_fft=2048))
    bins_db = 20 * np.log10(np.maximum(magnitudes, 1e-20)) + weights_db
    return np.maximum(bins_db - 20.7, -120).mean(axis=-1)


# A hop that divides neither the window nor its half, and sounds of one chunk and of several.
@pytest.mark.parametrize(("hop_length", "n_samples"), [(64, 9_001), (300, 65_000)])
def test_the_loudness_of_ddsp_2(hop_length, n_samples):
    audio = (noise(n_samples) * np.linspace(0, 1, n_samples) ** 4).astype(np.float32)
    audio[: n_samples // 3] = 0
    blocks = np.split(audio, [1, 700, 7_000])
    grid = {"sample_rate": RATE, "hop_length": hop_length}
    loudness_db = np.concatenate(list(features.stream_loudness(blocks, **grid, scale="ddsp-2")))
    np.testing.assert_allclose(loudness_db, ddsp_loudness(audio, hop_length), atol=2e-3)
    assert loudness_db[0] == features.LOUDNESS_FLOORS_DB["ddsp-2"]


def test_the_loudness_of_ddsp_pytorch():
    """Its natural logarithms with a weighting in dB, but for the constant that this adds."""
    n_samples, hop_length = 9_001, 160
    audio = (noise(n_samples) * np.linspace(0, 1, n_samples) ** 4).astype(np.float32)
    audio[: n_samples // 2] = 0
    settings = {"n_fft": 2048, "hop_length": hop_length, "pad_mode": "constant"}
    magnitudes = np.abs(librosa.stft(audio.astype(np.float64), **settings))
    with np.errstate(divide="ignore"):
        weights = librosa.A_weighting(librosa.fft_frequencies(sr=RATE, n_fft=2048))
    published = np.mean(np.log(magnitudes + 1e-7) + weights[:, None], axis=0)
    grid = {"sample_rate": RATE, "hop_length": hop_length}
    blocks = np.split(audio, [1, 700, 7_000])
    found = np.concatenate(list(features.stream_loudness(blocks, **grid, scale="ddsp-pytorch")))
    expected = (published - weights.mean()) * 20 / np.log(10)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert found[0] == pytest.approx(features.LOUDNESS_FLOORS_DB["ddsp-pytorch"])


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_power_in_frames_of_64_ms(rate):
    audio = (noise(3 * rate // 2) * np.linspace(0, 1, 3 * rate // 2) ** 4).astype(np.float32)
    length, hop_length = round(0.064 * rate), rate // 50
    blocks = np.split(audio, [1, 700, 7_000])
    grid = {"sample_rate": rate, "hop_length": hop_length}
    power_db = np.concatenate(list(features.stream_loudness(blocks, **grid, scale="power")))
    padded = np.pad(audio.astype(np.float64), length // 2)
    frames = np.stack([padded[i * hop_length :][:length] for i in range(len(power_db))])
    expected = np.maximum(10 * np.log10(np.mean(frames**2, axis=-1)), -80)
    np.testing.assert_allclose(power_db, expected, atol=1e-3)
    assert len(power_db) == 1 + len(audio) // hop_length


def test_the_loudness_of_ddspx_is_that_of_the_core():
    audio = noise(6_000).astype(np.float32)
    grid = {"sample_rate": RATE, "hop_length": 300}
    (loudness_db,) = features.stream_loudness([audio], **grid)
    np.testing.assert_allclose(loudness_db, core.loudness_db(audio, **grid), atol=1e-4)


def test_versions_name_the_scale():
    scales = set(get_args(features.LoudnessScale))
    assert scales == set(features.LOUDNESS_FLOORS_DB) == set(features.LOUDNESS_LEADS)
    for scale in scales:
        version = features.feature_version("ddspx-live", scale=scale)
        assert features.loudness_of(version) == scale
        assert features.method_of(version) == "ddspx-live"
    with pytest.raises(ValueError, match="cannot be computed"):
        features.loudness_of("yin-viterbi-1/loudness-phon-1")
