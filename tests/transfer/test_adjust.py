"""Octaves, loudness and notes: what an instrument is asked to play."""

import numpy as np
import pytest

from ddspx import metrics
from ddspx.models.autoencoder import InstrumentStatistics
from ddspx.transfer import adjust, match_loudness
from ddspx.transfer._adjust import bridged, confident_frames, fade, note_frames, octaves_to

FRAME_RATE = 250.0


def statistics(low=-40.0, high=-10.0, midi=72.0):
    return InstrumentStatistics(
        sample_rate=16_000,
        hop_length=64,
        loudness_quantiles=tuple(np.linspace(low, high, 101)),
        pitch_midi_min=midi - 12,
        pitch_midi_mean=midi,
        pitch_midi_max=midi + 12,
        duration_s=60.0,
        feature_version="1",
    )


def phrase(rng, frames=1000, f0_hz=220.0):
    """A sung phrase with a pause in the middle where the pitch is a guess."""
    loudness_db = (-30.0 + 8.0 * rng.standard_normal(frames)).astype(np.float32)
    confidence = np.full(frames, 0.95, np.float32)
    pitch = np.full(frames, f0_hz, np.float32)
    pause = slice(400, 600)
    loudness_db[pause], confidence[pause], pitch[pause] = -70.0, 0.1, 1500.0
    return pitch, confidence, loudness_db


def play(features, **options):
    return adjust(*features, **{"statistics": statistics(), "frame_rate": FRAME_RATE, **options})


# Values


def test_notes_take_the_loudness_distribution_of_the_instrument(rng):
    quantiles = np.sort(rng.uniform(-50.0, -5.0, 101))
    loudness_db = -60.0 + 30.0 * rng.standard_normal(20_000)
    notes = rng.random(loudness_db.size) < 0.7
    matched = match_loudness(loudness_db, notes, quantiles)
    np.testing.assert_allclose(
        np.quantile(matched[notes], np.linspace(0, 1, 101)), quantiles, atol=0.05
    )
    order = np.argsort(loudness_db)
    assert np.all(np.diff(matched[order]) >= 0.0)


def test_matching_the_instrument_to_itself_changes_nothing(rng):
    loudness_db = rng.uniform(-60.0, 0.0, 500)
    quantiles = np.quantile(loudness_db, np.linspace(0, 1, 101))
    matched = match_loudness(loudness_db, np.ones(500, bool), quantiles)
    np.testing.assert_allclose(matched, loudness_db, atol=1e-9)


def test_beyond_the_notes_a_decibel_stays_a_decibel():
    loudness_db = np.array([-50.0, -40.0, -30.0, -20.0, -10.0])
    notes = np.array([False, True, True, True, False])
    matched = match_loudness(loudness_db, notes, np.array([-20.0, -10.0, 0.0]))
    np.testing.assert_allclose(matched, [-30.0, -20.0, -10.0, 0.0, 10.0])


def test_a_steady_tone_stays_steady(rng):
    loudness_db = -20.0 + 0.1 * rng.random(1000)
    matched = match_loudness(
        loudness_db, np.ones(1000, bool), np.array(statistics().loudness_quantiles)
    )
    assert np.ptp(matched) <= 0.3 + 1e-9
    assert abs(np.median(matched) - -25.0) < 0.2
    constant = match_loudness(np.full(10, -20.0), np.ones(10, bool), np.array([-40.0, -10.0]))
    np.testing.assert_allclose(constant, -25.0)


@pytest.mark.parametrize(
    ("f0_hz", "octaves"),
    [(523.25, 0), (261.6, 1), (110.0, 2), (1046.5, -1), (370.0, 0), (369.9, 1), (740.1, -1)],
)
def test_the_octave_is_the_nearest_to_the_instruments_mean(f0_hz, octaves):
    # Halfway between two octaves of C5 (72) lies F sharp, 370 and 740 Hz.
    assert octaves_to(np.full(5, f0_hz), pitch_midi_mean=72.0) == octaves


def test_an_octave_error_of_the_tracker_does_not_move_the_tune():
    f0_hz = np.where(np.arange(100) < 40, 1046.5, 261.6)
    assert octaves_to(f0_hz, pitch_midi_mean=60.0) == 0


def test_without_pitch_there_is_no_octave_and_no_sound(rng):
    f0_hz, confidence, loudness_db = phrase(rng)
    played = play((f0_hz, 0.3 * confidence, loudness_db))
    assert played.octaves == 0
    np.testing.assert_array_equal(played.gain, 0.0)
    assert np.isfinite(played.f0_hz).all() and np.isfinite(played.loudness_db).all()


def test_short_gaps_belong_to_a_note_and_short_notes_to_the_noise():
    confident = np.zeros(500, bool)
    confident[100:200] = True
    confident[150:160] = False  # 40 ms
    confident[300:308] = True  # 32 ms
    expected = np.zeros(500, bool)
    expected[100:200] = True
    np.testing.assert_array_equal(note_frames(confident, frame_rate=FRAME_RATE), expected)


def test_pitch_leads_from_note_to_note_and_is_held_at_the_ends():
    f0_hz = np.array([9.0, 100.0, 9.0, 9.0, 9.0, 400.0, 9.0])
    sure = np.array([False, True, False, False, False, True, False])
    roots = 100.0 * 4.0 ** np.array([0, 0, 0.25, 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(bridged(f0_hz, sure), roots)


# Physics


def test_a_guessed_pitch_in_a_pause_is_never_heard(rng):
    played = play(phrase(rng), octave=0)
    assert played.f0_hz.max() < 221.0
    np.testing.assert_array_equal(played.gain[410:590], 0.0)
    assert played.gain[:400].min() > 0.9


def test_a_note_fades_without_a_step():
    notes = np.zeros(200, bool)
    notes[80:120] = True
    gain = fade(notes, frame_rate=FRAME_RATE)
    np.testing.assert_array_equal(gain[80:120], 1.0)
    assert np.abs(np.diff(gain)).max() < 0.25
    np.testing.assert_allclose(gain[:72], 0.0, atol=1e-12)
    np.testing.assert_allclose(gain[80::-1], gain[119:200])


def test_what_the_instrument_is_asked_for_lies_within_what_it_often_heard(rng):
    features = phrase(rng)
    plain, louder = play(features), play(features, loudness_shift_db=50.0)
    np.testing.assert_allclose(plain.loudness_db.min(), -39.7, atol=1e-5)
    np.testing.assert_allclose(louder.loudness_db.max(), -10.3, atol=1e-5)
    assert louder.gain.max() > 10.0


def test_the_shift_in_db_is_what_loudness_and_gain_gain_together(rng):
    features = phrase(rng)
    plain, louder = play(features), play(features, loudness_shift_db=7.0)
    heard = plain.gain > 0.5

    def level(played):
        return played.loudness_db[heard] + 20 * np.log10(played.gain[heard])

    np.testing.assert_allclose(level(louder) - level(plain), 7.0, atol=1e-4)


def test_a_given_octave_replaces_the_automatic_one(rng):
    features = phrase(rng, f0_hz=220.0)
    assert play(features).octaves == 1
    given = play(features, octave=-1)
    assert given.octaves == -1
    np.testing.assert_allclose(given.f0_hz, 110.0, rtol=1e-5)


# dtypes


def test_tracks_keep_their_dtype(rng):
    for dtype in (np.float32, np.float64):
        played = play([track.astype(dtype) for track in phrase(rng)])
        assert {played.f0_hz.dtype, played.loudness_db.dtype, played.gain.dtype} == {
            np.dtype(dtype)
        }


# Boundary errors


def test_bad_arguments_are_named(rng):
    features = phrase(rng)
    with pytest.raises(ValueError, match="`octave` must be from -4 to 4, got 5"):
        play(features, octave=5)
    for shift in (float("nan"), float("inf"), -1000.0, 100.1):
        with pytest.raises(ValueError, match=f"`loudness_shift_db` must be .*, got {shift}"):
            play(features, loudness_shift_db=shift)


def test_one_confidence_divides_pitched_from_unpitched():
    at_the_line = np.nextafter(np.float32(metrics.VOICED), np.float32([0, 1, 1]))
    at_the_line[1] = metrics.VOICED
    sure = confident_frames(np.full(3, 220.0, np.float32), at_the_line, np.zeros(3, np.float32))
    assert sure.tolist() == [False, True, True]
    share = metrics.f0_outlier_share(np.full(3, 220.0), np.array([1.0, 220.0, 220.0]), at_the_line)
    assert share == 0.0
