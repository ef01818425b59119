"""Which frames are notes, and how they begin and end."""

import numpy as np
import pytest

from ddspx import metrics
from ddspx.transfer import detect_notes
from ddspx.transfer._notes import confident_frames, fade, note_frames, pitch_between_notes

FRAME_RATE = 250.0


def published(loudness_db, confidence, smoothing=40):
    """DDSP's ratio, for a sound in which nothing is silent."""
    smooth = np.convolve(confidence**2, np.ones(smoothing) / smoothing, mode="same")
    return smooth * (loudness_db + 80) / ((loudness_db.mean() + 80) * 0.7**2)


# Values


def test_within_a_sound_the_ratio_is_the_published_one(rng):
    loudness_db = rng.uniform(-50.0, -10.0, 400)
    confidence = np.full(400, 0.8)
    found = detect_notes(loudness_db, confidence, frame_rate=FRAME_RATE)
    inside = slice(40, -40)
    np.testing.assert_allclose(found.ratio[inside], published(loudness_db, confidence)[inside])
    np.testing.assert_array_equal(found.mask, found.ratio >= 1.0)


def test_the_edges_of_sounds_and_notes_belong_to_them():
    confidence = np.zeros(300)
    confidence[:100] = confidence[200:] = 1.0
    loudness_db = np.where(confidence > 0, -20.0, -70.0)
    found = detect_notes(loudness_db, confidence, frame_rate=FRAME_RATE)
    np.testing.assert_array_equal(found.mask, confidence > 0)


def test_silence_around_a_sound_does_not_change_its_notes(rng):
    loudness_db, confidence = rng.uniform(-50.0, -10.0, 300), np.full(300, 0.75)
    alone = detect_notes(loudness_db, confidence, frame_rate=FRAME_RATE)
    beside = detect_notes(
        np.concatenate([np.full(1000, -80.0), loudness_db]),
        np.concatenate([np.zeros(1000), confidence]),
        frame_rate=FRAME_RATE,
    )
    np.testing.assert_allclose(beside.ratio[1000:], alone.ratio)
    assert not beside.mask[:990].any()


def test_a_pitch_that_is_lost_for_a_moment_does_not_end_a_note():
    confidence = np.ones(300)
    confidence[150:155] = 0.0
    found = detect_notes(np.full(300, -20.0), confidence, frame_rate=FRAME_RATE)
    assert found.mask.all()


def test_a_trembling_confidence_does_not_make_loudness_tremble():
    confidence = np.where(np.arange(400) % 2, 0.95, 0.55)
    found = detect_notes(np.full(400, -50.0), confidence, frame_rate=FRAME_RATE)
    assert np.abs(np.diff(found.ratio[20:-20])).max() < 0.05 * found.ratio.mean()


def test_silence_has_no_notes_and_is_no_error():
    found = detect_notes(np.full(50, -80.0), np.ones(50), frame_rate=FRAME_RATE)
    assert not found.mask.any() and np.isfinite(found.ratio).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("track", [0, 1])
def test_a_number_that_is_not_finite_affects_only_its_own_frame(bad, track, rng):
    tracks = [rng.uniform(-40.0, -10.0, 100), rng.uniform(0.5, 1.0, 100)]
    tracks[track][[5, 6, 40, 99]] = bad
    good = np.isfinite(tracks[track])
    found = detect_notes(*tracks, frame_rate=FRAME_RATE)
    # The definition, of the frames that are left, at their own distances.
    above, sure = tracks[0] + 80, tracks[1] ** 2
    for i in range(100):
        sides = [[j for j in side if 0 <= j < 100 and good[j]] for side in near(i)]
        means = [np.mean(sure[side]) for side in sides if side]
        expected = max(means) * above[i] / (0.49 * above[good].mean()) if good[i] else 0
        np.testing.assert_allclose(found.ratio[i], expected)
    np.testing.assert_array_equal(found.mask, good & (found.ratio >= 1))
    everything = detect_notes(*tracks, frame_rate=FRAME_RATE, threshold=0.0)
    np.testing.assert_array_equal(everything.mask, good)


def near(i, reach=20):
    """The frames on either side over which the confidence is averaged."""
    return range(i - reach + 1, i + 1), range(i, i + reach)


def test_empty_and_silent_tracks_have_no_notes():
    for frames in (np.zeros(0), np.full(9, np.nan)):
        found = detect_notes(frames, frames, frame_rate=FRAME_RATE)
        assert not found.mask.any() and not found.ratio.any()
        assert found.mask.shape == found.ratio.shape == frames.shape


def test_short_gaps_belong_to_a_note_and_short_notes_to_the_noise():
    confident = np.zeros(500, bool)
    confident[100:200] = True
    confident[150:160] = False  # 40 ms
    confident[300:308] = True  # 32 ms
    expected = np.zeros(500, bool)
    expected[100:200] = True
    np.testing.assert_array_equal(note_frames(confident, frame_rate=FRAME_RATE), expected)


def test_pitch_is_interpolated_over_short_gaps_and_held_at_the_ends():
    f0_hz = np.array([9.0, 100.0, 9.0, 9.0, 9.0, 112.0, 9.0])
    sure = f0_hz > 50
    slide = 100.0 * 1.12 ** np.array([0, 0, 0.25, 0.5, 0.75, 1, 1])
    found = pitch_between_notes(f0_hz, sure, np.zeros(7), frame_rate=FRAME_RATE)
    np.testing.assert_allclose(found, slide)


@pytest.mark.parametrize("gap_ms", [12, 48, 72, 160, 1000])
def test_no_other_pitch_is_played_in_a_gap_between_two_notes(gap_ms):
    gap = round(gap_ms * 1e-3 * FRAME_RATE)
    sure = np.ones(400 + gap, bool)
    sure[200 : 200 + gap] = False
    f0_hz = np.where(np.arange(sure.size) < 200, 261.6, 523.3)
    loudness_db = np.full(sure.size, -20.0)
    softest = 200 + gap // 3
    loudness_db[softest] = -40.0
    found = pitch_between_notes(f0_hz, sure, loudness_db, frame_rate=FRAME_RATE)
    np.testing.assert_allclose(found[(found < 300)], 261.6)
    np.testing.assert_allclose(found[(found > 300)], 523.3)
    leap = int(np.flatnonzero(np.diff(found) > 100)[0]) + 1
    gain = fade(note_frames(sure, frame_rate=FRAME_RATE), frame_rate=FRAME_RATE)
    # The pitch jumps where the instrument is silent, or where the sound is softest.
    assert gain[leap] < 0.01 or leap == softest


def test_one_confidence_divides_pitched_from_unpitched():
    at_the_line = np.nextafter(np.float32(metrics.VOICED), np.float32([0, 1, 1]))
    at_the_line[1] = metrics.VOICED
    sure = confident_frames(np.full(3, 220.0, np.float32), at_the_line, np.zeros(3, np.float32))
    assert sure.tolist() == [False, True, True]
    share = metrics.f0_outlier_share(np.full(3, 220.0), np.array([1.0, 220.0, 220.0]), at_the_line)
    assert share == 0.0


# Physics


def test_a_pitch_that_is_not_finite_counts_as_no_pitch():
    f0_hz, ones = np.array([220.0, np.inf, np.nan, 220.0]), np.ones(4)
    found = confident_frames(f0_hz, ones, np.array([-20.0, -20.0, -20.0, np.nan]))
    np.testing.assert_array_equal(found, [True, False, False, False])


def test_a_note_fades_without_a_step():
    notes = np.zeros(200, bool)
    notes[80:120] = True
    gain = fade(notes, frame_rate=FRAME_RATE)
    np.testing.assert_array_equal(gain[80:120], 1.0)
    assert np.abs(np.diff(gain)).max() < 0.25
    np.testing.assert_allclose(gain[:72], 0.0, atol=1e-12)
    np.testing.assert_allclose(gain[80::-1], gain[119:200])


# Boundary errors


def test_tracks_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="`loudness_db` and `f0_confidence`"):
        detect_notes.__wrapped__(np.zeros(3), np.zeros(4), frame_rate=FRAME_RATE)
