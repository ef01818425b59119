"""On real recordings the measures grow with six degradations, but for what they cannot hear."""

import numpy as np
import pytest
from degradations import DEGRADATIONS, RATE, SOUNDS, degraded, grows, recordings

from ddspx import metrics


def points(sounds):
    frames = [metrics.mfcc_embedding(audio, sample_rate=RATE, piece_s=None) for audio in sounds]
    return np.concatenate(frames)


@pytest.fixture(scope="module")
def sounds(shared_data):
    return list(recordings(shared_data, SOUNDS[:3], seconds=1.5).values())


@pytest.fixture(scope="module")
def clean(sounds):
    return points(sounds)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_spectra_and_sets_are_the_farther_the_worse_the_sound_is(sounds, clean, name):
    measured = []
    for degree in DEGRADATIONS[name][1][1:]:
        worse = [degraded(audio, name, degree) for audio in sounds]
        pairs, found = list(zip(sounds, worse, strict=True)), points(worse)
        row = [
            np.mean(
                [metrics.mel_cepstral_distortion_db(*pair, sample_rate=RATE) for pair in pairs]
            ),
            np.mean([metrics.log_spectral_distance_db(*pair) for pair in pairs]),
            np.mean([metrics.multi_resolution_stft_distance(*pair).total for pair in pairs]),
            metrics.frechet_distance(clean, found),
            metrics.kernel_distance(clean, found),
        ]
        measured.append(row)
    columns = np.transpose(measured)
    assert all(map(grows, columns)), columns


@pytest.mark.slow
@pytest.mark.parametrize("name", DEGRADATIONS)
def test_loudness_and_onsets_are_the_farther_the_worse_the_sound_is(shared_data, name):
    sounds = recordings(shared_data).values()
    rates = {"sample_rate": RATE, "hop_length": 160}
    loudness, f1 = [], []
    for degree in DEGRADATIONS[name][1]:
        pairs = [(audio, degraded(audio, name, degree)) for audio in sounds]
        loudness.append(np.mean([metrics.loudness_l1_db(*pair, **rates) for pair in pairs]))
        times = [[metrics.onset_times(audio, sample_rate=RATE) for audio in pair] for pair in pairs]
        f1.append(np.nanmean([metrics.onset_scores(*pair).f1 for pair in times]))
    assert grows(loudness) and grows(-np.array(f1))
