"""Onsets are where librosa finds them and a score says, and match as mir_eval matches them."""

import librosa
import mir_eval
import numpy as np
import pytest
import soundfile

from ddspx import metrics
from ddspx.metrics._sounds import mel_levels

RATE = 16000
STARTS_S = np.array([0.5, 1.0, 1.25, 1.6])


def notes(starts_s=STARTS_S, duration_s=2.0):
    """Tones that begin at given times and fade, each of another pitch."""
    time_s = np.arange(round(duration_s * RATE)) / RATE
    audio = 1e-4 * np.random.default_rng(0).normal(size=time_s.size)
    for i, start_s in enumerate(starts_s):
        since = np.maximum(time_s - start_s, 0)
        tone = sum(np.sin(2 * np.pi * 220 * (i + 2) * k * since) / k for k in (1, 2, 3))
        audio += 0.2 * tone * np.exp(-4 * since) * np.minimum(1, since / 0.005)
    return audio


# Values


@pytest.mark.parametrize("threshold_db", [0.3, 2.0])
def test_onsets_are_librosas(threshold_db):
    audio = notes()
    levels = mel_levels(audio, RATE).T
    sizes = {"sr": RATE, "n_fft": 1024, "hop_length": 160}
    flux = librosa.onset.onset_strength(S=levels, **sizes, lag=2, max_size=5)
    expected = librosa.onset.onset_detect(
        onset_envelope=flux,
        sr=RATE,
        hop_length=160,
        units="time",
        normalize=False,
        pre_max=3,
        post_max=1,
        pre_avg=10,
        post_avg=11,
        wait=3,
        delta=threshold_db,
    )
    found = metrics.onset_times(audio, sample_rate=RATE, threshold_db=threshold_db)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert len(found) >= 4


@pytest.mark.parametrize("seed", range(8))
def test_scores_equal_those_of_mir_eval(seed):
    rng = np.random.default_rng(seed)
    # As dense as the tolerance, so that which onset matches which is in question.
    true_s, found_s = (np.sort(rng.uniform(0, 3, rng.integers(1, 60))) for _ in range(2))
    for tolerance_s in (0.02, 0.05, 0.2):
        f1, precision, recall = mir_eval.onset.f_measure(true_s, found_s, window=tolerance_s)
        scores = metrics.onset_scores(true_s, found_s, tolerance_s=tolerance_s)
        np.testing.assert_allclose(scores, [precision, recall, f1], rtol=1e-12)


def test_empty_lists_have_scores():
    nothing, some = np.zeros(0), np.array([1.0])
    assert metrics.onset_scores(nothing, some) == metrics.onset_scores(some, nothing) == (0, 0, 0)
    assert np.isnan(metrics.onset_scores(nothing, nothing)).all()


# Physics


def test_onsets_are_where_notes_begin_at_any_gain():
    found = metrics.onset_times(notes(), sample_rate=RATE)
    np.testing.assert_allclose(found, STARTS_S, atol=0.03)
    for gain in (1e-2, 1e-5, 1e-30):
        at_gain = metrics.onset_times(gain * notes(), sample_rate=RATE)
        np.testing.assert_array_equal(at_gain, found)


def test_what_is_steady_has_no_onset_but_where_it_begins():
    assert metrics.onset_times(np.zeros(RATE), sample_rate=RATE).size == 0
    assert metrics.onset_times(np.ones(1), sample_rate=RATE).size == 0
    swing = 2 * np.pi * 440 * np.arange(2 * RATE) / RATE
    swing += 2 * np.sin(2 * np.pi * 6 * np.arange(2 * RATE) / RATE)
    tone = sum(np.sin(k * swing) / k for k in range(1, 9))
    for audio in (np.random.default_rng(0).normal(size=2 * RATE), tone):
        found = metrics.onset_times(audio, sample_rate=RATE)
        assert np.all((found < 0.1) | (found > 1.9))


def test_onsets_of_a_violin_are_those_of_its_score(shared_data):
    folder = shared_data / "violin_bach"
    audio, rate = soundfile.read(folder / "john-garner_bwv1002_mov8.flac", frames=30 * RATE)
    score = np.loadtxt(
        folder / "scores" / "john-garner_bwv1002_mov8.csv", delimiter=",", skiprows=1
    )
    starts_s = score[score[:, 0] < 29.9, 0]
    scores = metrics.onset_scores(starts_s, metrics.onset_times(audio, sample_rate=rate))
    assert scores.f1 > 0.7


# Boundary errors


def test_wrong_times_are_refused():
    with pytest.raises(ValueError, match="`predicted_s` must be ascending"):
        metrics.onset_scores(np.zeros(1), np.array([1.0, 0.0]))
    for wrong in ([np.nan], [0.0, np.inf], [-np.inf, 0.0]):
        with pytest.raises(ValueError, match="`target_s` must be finite times"):
            metrics.onset_scores(np.array(wrong), np.zeros(1))
    with pytest.raises(ValueError, match="`tolerance_s` must be finite and above 0"):
        metrics.onset_scores(np.zeros(1), np.zeros(1), tolerance_s=0.0)
    with pytest.raises(ValueError, match="`threshold_db` must be finite and at least 0"):
        metrics.onset_times(np.zeros(10), sample_rate=RATE, threshold_db=-1.0)
