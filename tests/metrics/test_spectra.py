"""Distances of spectra equal their formulas, in librosa's spectra and NumPy's loops."""

import librosa
import numpy as np
import pytest
from helpers import noise, sine

from ddspx import metrics
from ddspx.metrics._sounds import mel_levels

RATE = 16000
# Long enough for two blocks, and no multiple of any hop.
LENGTH = 40003


def pair():
    first, second = noise(2, LENGTH) * np.array([[0.1], [0.02]])
    time_s = np.arange(LENGTH) / RATE
    return first + sine(440, LENGTH, sample_rate=RATE) * (time_s > 1), second + 0.5 * first


def levels(audio):
    """librosa's, of 80 bands, every 10 ms."""
    mel = librosa.feature.melspectrogram(
        y=audio, sr=RATE, n_fft=1024, hop_length=160, n_mels=80, pad_mode="constant"
    )
    return librosa.power_to_db(mel, ref=np.max, top_db=80).T


def cepstra(audio, count):
    """The formula: sums of cosines of the natural logarithm of power."""
    bands = np.arange(80)
    cosines = np.cos(np.pi * np.arange(1, count)[:, None] * (2 * bands + 1) / 160)
    return (levels(audio) * np.log(10) / 10) @ cosines.T / 80


# Values


def test_levels_in_blocks_are_those_of_librosa():
    audio = pair()[0]
    np.testing.assert_allclose(mel_levels(audio, RATE), levels(audio), atol=1e-3)


@pytest.mark.parametrize("n_mfcc", [14, 25])
def test_mel_cepstral_distortion_is_its_formula(n_mfcc):
    first, second = pair()
    differences = cepstra(first, n_mfcc) - cepstra(second, n_mfcc)
    expected = np.mean(10 / np.log(10) * np.sqrt(2 * np.sum(differences**2, axis=1)))
    found = metrics.mel_cepstral_distortion_db(first, second, sample_rate=RATE, n_mfcc=n_mfcc)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("lengths", [(8000, 5000), (5000, 8000), (6000, 6000), (1100, 9000)])
def test_alignment_is_librosas(lengths):
    sounds = [audio[-length:] for audio, length in zip(pair(), lengths, strict=True)]
    costs = np.linalg.norm(cepstra(sounds[0], 25)[:, None] - cepstra(sounds[1], 25)[None], axis=-1)
    total, path = librosa.sequence.dtw(C=10 / np.log(10) * np.sqrt(2) * costs)
    found = metrics.mel_cepstral_distortion_db(*sounds, sample_rate=RATE, aligned=True)
    assert found == pytest.approx(total[-1, -1] / len(path), rel=1e-4)


def test_log_spectral_distance_is_its_formula():
    first, second = pair()
    powers = [
        np.abs(librosa.stft(audio, n_fft=512, hop_length=100, pad_mode="constant")) ** 2
        for audio in (first, second)
    ]
    least = powers[0].max() * 1e-5
    logs = [10 * np.log10(np.maximum(power, least)) for power in powers]
    expected = np.mean(np.sqrt(np.mean((logs[0] - logs[1]) ** 2, axis=0)))
    options = {"n_fft": 512, "hop_length": 100, "range_db": 50.0}
    found = metrics.log_spectral_distance_db(first, second, **options)
    assert found == pytest.approx(expected, rel=1e-5)


def test_stft_distance_is_its_formula():
    first, second = pair()
    convergence, logs = [], []
    for n_fft, hop_length, win_length in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        sizes = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length}
        s, y = (
            np.maximum(np.abs(librosa.stft(audio, **sizes, pad_mode="constant")), 1e-4)
            for audio in (first, second)
        )
        convergence.append(np.linalg.norm(s - y) / np.linalg.norm(s))
        logs.append(np.mean(np.abs(np.log(s) - np.log(y))))
    found = metrics.multi_resolution_stft_distance(first, second)
    np.testing.assert_allclose(found, [np.mean(convergence), np.mean(logs)], rtol=1e-5)
    assert found.total == sum(found)


# Physics


def test_a_gain_is_no_distortion_and_its_decibels_of_spectrum():
    audio = noise(8000)
    assert metrics.mel_cepstral_distortion_db(audio, 0.1 * audio, sample_rate=RATE) < 1e-3
    distance = metrics.log_spectral_distance_db(audio, 0.1 * audio)
    assert distance == pytest.approx(20, abs=1e-2)
    parts = metrics.multi_resolution_stft_distance(audio, 0.1 * audio)
    np.testing.assert_allclose(parts, [0.9, np.log(10)], rtol=1e-3)


@pytest.mark.parametrize("gain", [1e4, 1e-2, 1e-4, 1e-30, 1e25])
def test_soft_and_loud_pairs_are_as_far_apart_as_others(gain):
    """Also a tone, whose bands between the partials lie 80 dB below it."""
    tone, sounds = 0.1 * sine(440, 8000, sample_rate=RATE), (noise(8000), 0.5 * noise(8000, seed=1))
    assert metrics.mel_cepstral_distortion_db(tone, gain * tone, sample_rate=RATE) < 1e-3
    for distance, options in (
        (metrics.mel_cepstral_distortion_db, {"sample_rate": RATE}),
        (metrics.log_spectral_distance_db, {}),
    ):
        found = distance(*(gain * audio for audio in sounds), **options)
        assert found == pytest.approx(distance(*sounds, **options), rel=1e-5)
        assert distance(gain * tone, 0 * tone, **options) == pytest.approx(
            distance(tone, 0 * tone, **options), rel=1e-5
        )


def test_a_pause_and_another_tempo_are_aligned():
    """Tones that are held longer have the same frames, but for those of the changes."""
    tones = [sine(hz, 16000, sample_rate=RATE) for hz in (300, 900)]
    short = np.concatenate([tone[:6400] for tone in tones])
    long = np.concatenate([tones[0], tones[1][:9600]])
    distortion = metrics.mel_cepstral_distortion_db(short, long, sample_rate=RATE, aligned=True)
    crop = long[: short.size]
    assert distortion < metrics.mel_cepstral_distortion_db(short, crop, sample_rate=RATE) / 3


def test_silence_has_finite_distances_and_equal_sounds_none():
    silence, tone = np.zeros(4000), sine(440, 4000, sample_rate=RATE)
    for pair in ((silence, tone), (tone, silence), (silence, silence), (tone, tone)):
        distances = [
            metrics.mel_cepstral_distortion_db(*pair, sample_rate=RATE),
            metrics.mel_cepstral_distortion_db(*pair, sample_rate=RATE, aligned=True),
            metrics.log_spectral_distance_db(*pair),
            metrics.multi_resolution_stft_distance(*pair).total,
        ]
        is_equal = pair[0] is pair[1]
        assert all(d == 0 if is_equal else 0 < d < np.inf for d in distances)


# Boundary errors


def test_what_cannot_be_compared_is_refused():
    audio = np.zeros(100)
    for measure in (
        metrics.log_spectral_distance_db,
        metrics.multi_resolution_stft_distance,
        lambda *pair: metrics.mel_cepstral_distortion_db.__wrapped__(*pair, sample_rate=RATE),
    ):
        with pytest.raises(ValueError, match=r"got 100 and 99; crop both"):
            measure(audio, audio[1:])
        with pytest.raises(ValueError, match=r"`predicted` must be one recording .* \(0,\)"):
            measure(audio, np.zeros(0))
        with pytest.raises(ValueError, match=r"`target` must be one recording .* \(2, 50\)"):
            measure(audio.reshape(2, 50), audio)
        with pytest.raises(ValueError, match="`predicted` must be finite, got nan at sample 7"):
            measure(audio, np.where(np.arange(100) == 7, np.nan, 0.0))
        with pytest.raises(TypeError, match="`target` must be of floating point, got int16"):
            getattr(measure, "__wrapped__", measure)(np.zeros(100, np.int16), audio)
    with pytest.raises(ValueError, match=r"`n_mfcc` must be .*, got 81"):
        metrics.mel_cepstral_distortion_db(audio, audio, sample_rate=RATE, n_mfcc=81)
    with pytest.raises(ValueError, match="`range_db` must be finite and above 0"):
        metrics.log_spectral_distance_db(audio, audio, range_db=0.0)
