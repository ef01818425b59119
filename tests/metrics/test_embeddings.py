"""The embedding is the statistics of librosa's MFCCs, and does not hear the gain."""

import librosa
import numpy as np
import pytest
from helpers import noise, sine

from ddspx import metrics

RATE = 16000


def librosas(audio):
    return librosa.feature.mfcc(
        y=audio, sr=RATE, n_mfcc=13, n_mels=80, n_fft=1024, hop_length=160, pad_mode="constant"
    ).T[:, 1:]


# Values


def test_frames_and_pieces_are_those_of_librosa():
    audio = 0.1 * noise(40000) + sine(440, 40000, sample_rate=RATE)
    frames = librosas(audio)
    found = metrics.mfcc_embedding(audio, sample_rate=RATE, piece_s=None)
    np.testing.assert_allclose(found, frames, atol=2e-3)
    pieces = metrics.mfcc_embedding(audio, sample_rate=RATE)
    # 2.51 seconds: four pieces, spread evenly from the first frame to the last.
    expected = [frames[start : start + 100] for start in (0, 50, 101, 151)]
    expected = [np.concatenate([part.mean(axis=0), part.std(axis=0)]) for part in expected]
    np.testing.assert_allclose(pieces, expected, atol=2e-3)


def test_a_short_sound_is_one_piece():
    assert metrics.mfcc_embedding(np.ones(1), sample_rate=RATE).shape == (1, 24)
    assert metrics.mfcc_embedding(noise(9000), sample_rate=RATE, n_mfcc=5).shape == (1, 8)


# Physics


def test_the_gain_is_not_heard_and_rests_are_left_out():
    audio = noise(16000)
    frames = {"sample_rate": RATE, "piece_s": None}
    loud = metrics.mfcc_embedding(audio, **frames)
    for gain in (1e-2, 1e-5, 1e-30):
        soft = metrics.mfcc_embedding(gain * audio, **frames)
        np.testing.assert_allclose(loud, soft, atol=1e-6)
    rested = np.concatenate([audio, 1e-4 * audio])
    assert len(metrics.mfcc_embedding(rested, **frames)) == 201
    assert 99 <= len(metrics.mfcc_embedding(rested, **frames, depth_db=40.0)) <= 105


def test_silence_is_a_point():
    assert not metrics.mfcc_embedding(np.zeros(8000), sample_rate=RATE).any()


# Boundary errors


def test_wrong_numbers_are_refused():
    for options, message in (
        ({"n_mfcc": 1}, "`n_mfcc` must be .*, got 1"),
        ({"piece_s": 0.0}, "`piece_s` must be finite and above 0"),
        ({"depth_db": -1.0}, "`depth_db` must be finite and at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            metrics.mfcc_embedding(noise(100), sample_rate=RATE, **options)
