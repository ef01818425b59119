"""Octaves, loudness, notes and tuning of the controls that an instrument gets."""

import numpy as np
import pytest

from ddspx.instruments import load_instrument
from ddspx.models.autoencoder import InstrumentStatistics
from ddspx.transfer import TransferConfig, adjust, octaves_to

FRAME_RATE = 250.0


def statistics(low=-40.0, high=-10.0, midi=72.0, lowest=None, highest=None):
    return InstrumentStatistics(
        sample_rate=16_000,
        hop_length=64,
        loudness_quantiles=tuple(np.linspace(low, high, 101)),
        pitch_midi_min=midi - 12 if lowest is None else lowest,
        pitch_midi_mean=midi,
        pitch_midi_max=midi + 12 if highest is None else highest,
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


def tones(midi, loudness_db=-20.0, confidence=1.0):
    """The tracks of a sound whose pitch is given as note numbers."""
    midi = np.asarray(midi, np.float64)
    f0_hz = (440 * 2 ** ((midi - 69) / 12)).astype(np.float32)
    others = (np.broadcast_to(np.float32(x), midi.shape) for x in (confidence, loudness_db))
    return f0_hz, *others


def play(features, **options):
    config = TransferConfig(**options)
    return adjust(*features, statistics=statistics(), frame_rate=FRAME_RATE, config=config)


def midi_of(played):
    return 69 + 12 * np.log2(played.f0_hz / 440)


# Values


@pytest.mark.parametrize(
    ("f0_hz", "octaves"),
    [(185.0, 1), (184.9, 2), (110.0, 2), (1479.9, -1), (1480.1, -2), (233.1, 1), (2093.0, -2)],
)
def test_a_tune_outside_the_range_moves_to_the_octave_nearest_to_the_mean(f0_hz, octaves):
    # Halfway between two octaves of C5 (72) lies F sharp.
    assert octaves_to(np.full(5, f0_hz), statistics=statistics()) == octaves


@pytest.mark.parametrize("name", ["alto_saxophone", "cello", "flute", "violin"])
def test_a_tune_that_fits_as_it_is_does_not_move(name):
    _, instrument, _ = load_instrument(name)
    low, high = instrument.pitch_midi_min, instrument.pitch_midi_max
    for middle in np.arange(np.ceil(low) + 2, high - 2):
        tune = 440 * 2 ** ((middle + np.array([-2, 0, 2]) - 69) / 12)
        assert octaves_to(tune, statistics=instrument) == 0
    for middle, way in ((low - 3, 1), (high + 3, -1)):
        assert (
            way * octaves_to(np.full(3, 440 * 2 ** ((middle - 69) / 12)), statistics=instrument) > 0
        )


def test_a_wide_melody_moves_to_where_most_of_it_can_be_played():
    # The octave below is as near to the mean, but half of the melody would be out of range.
    instrument = statistics(lowest=60.0, midi=62.0, highest=74.0)
    wide = np.array([60.0, 62.0, 68.0, 74.0])
    assert octaves_to(440 * 2 ** ((wide - 69) / 12), statistics=instrument) == 0


def test_an_octave_error_of_the_tracker_does_not_move_the_tune():
    f0_hz = np.where(np.arange(100) < 10, 1046.5, 261.6)
    assert octaves_to(f0_hz, statistics=statistics(midi=60.0)) == 0


def test_without_pitch_there_is_no_octave_and_no_sound(rng):
    f0_hz, confidence, loudness_db = phrase(rng)
    played = play((f0_hz, 0.3 * confidence, loudness_db))
    assert played.octaves == 0 and played.tuning == 0.0
    np.testing.assert_array_equal(played.gain, 0.0)
    assert not played.notes.any()
    assert np.isfinite(played.f0_hz).all() and np.isfinite(played.loudness_db).all()


def test_notes_take_the_loudness_of_the_instrument(rng):
    played = play(phrase(rng), quiet_db=0.0)
    levels = [0.1, 0.5, 0.9]
    expected = np.quantile(statistics().loudness_quantiles, levels)
    found = np.quantile(played.asked_db[played.notes], levels)
    np.testing.assert_allclose(found, expected, atol=0.5)


def test_without_adjustment_pitch_and_loudness_are_not_changed(rng):
    f0_hz, confidence, loudness_db = phrase(rng, f0_hz=100.0)
    played = play((f0_hz, confidence, loudness_db), adjust=False, quiet_db=0.0)
    assert played.octaves == 0
    np.testing.assert_allclose(played.f0_hz[:400], 100.0, rtol=1e-5)
    np.testing.assert_allclose(played.asked_db[:400], loudness_db[:400], atol=1e-3)


def test_frames_between_notes_are_attenuated_by_up_to_quiet_db():
    # 60 and 18 dB over silence, 39 on average.
    sound = tones(np.full(400, 69.0), loudness_db=np.repeat([-20.0, -62.0], 200))
    plain, quiet = (play(sound, adjust=False, threshold=2.0, quiet_db=db) for db in (0.0, 30.0))
    np.testing.assert_array_equal(quiet.notes, np.arange(400) < 200)
    softer = plain.asked_db - quiet.asked_db
    np.testing.assert_allclose(softer[:200], 0.0, atol=1e-4)
    np.testing.assert_allclose(softer[200:], 30.0 * (1 - 18 / (0.49 * 39) / 2), atol=1e-3)


def test_the_threshold_decides_what_is_a_note():
    sound = tones(np.full(400, 69.0), loudness_db=np.linspace(-70.0, -20.0, 400))
    counts = [play(sound, threshold=t).notes.sum() for t in (0.0, 1.0, 2.0)]
    # From 10 to 60 dB over silence, 35 on average: at 1 a note has half of that, at 2 all.
    expected = [400 * min(1.0, (60 - t * 0.49 * 35) / 50) for t in (0.0, 1.0, 2.0)]
    np.testing.assert_allclose(counts, expected, atol=2)


def test_only_a_confident_pitch_is_played(rng):
    f0_hz, confidence, loudness_db = phrase(rng)
    confidence[100:200] = 0.6
    assert play((f0_hz, confidence, loudness_db)).gain[150] > 0.1
    assert play((f0_hz, confidence, loudness_db), confidence=0.7).gain[150] == 0.0


@pytest.mark.parametrize("scale", ["major", "chromatic"])
def test_autotune_moves_pitches_to_notes_of_the_tuning_of_the_sound(scale):
    clean = np.repeat([60.0, 62.0, 64.0, 65.0, 67.0], 100)
    sung = clean + 0.3 + np.repeat([0.0, -0.1, 0.1, 0.0, 0.0], 100)
    played = play(tones(sung), adjust=False)
    np.testing.assert_allclose(midi_of(played), sung, atol=1e-3)
    np.testing.assert_allclose(played.tuning, 0.3, atol=0.02)
    for amount in (0.5, 1.0):
        tuned = midi_of(play(tones(sung), adjust=False, autotune=amount, scale=scale))
        expected = (1 - amount) * sung + amount * (clean + played.tuning)
        np.testing.assert_allclose(tuned, expected, atol=1e-3)


def test_smoothing_leaves_ornaments_and_leaps_of_a_tune_where_they_are():
    midi = np.where(np.arange(300) < 150, 60.0, 65.0)
    midi[70:86] = 72.0
    smooth = midi_of(play(tones(midi), adjust=False, smoothing_ms=100.0))
    np.testing.assert_allclose(smooth, midi, atol=1e-3)


def test_smoothing_reduces_a_trembling_pitch_and_keeps_leaps_over_rests():
    frames = np.arange(500)
    steady = np.where(frames < 240, 60.0, 72.0)
    rest = (frames >= 220) & (frames < 260)
    trembling = tones(steady + np.where(frames % 2, 0.3, -0.3), confidence=np.where(rest, 0.0, 1.0))
    away = {
        ms: np.abs(midi_of(play(trembling, adjust=False, smoothing_ms=ms)) - steady)[~rest].max()
        for ms in (0.0, 60.0)
    }
    assert away[0.0] > 0.29 and away[60.0] < 0.06


# Errors of the tracker


def wrong_at(where, frames):
    """Two notes around a pause, with a wrong pitch in the first one; and the true pitch."""
    true = np.where(np.arange(400) < 225, 59.0, 62.0)
    sure = (np.arange(400) < 200) | (np.arange(400) >= 250)
    start = {"start": 0, "middle": 100, "end": 200 - frames}[where]
    midi = true.copy()
    midi[start : start + frames] += 32.2
    return tones(midi, confidence=np.where(sure, 1.0, 0.0)), true, sure


@pytest.mark.parametrize("frames", [1, 14])
@pytest.mark.parametrize("where", ["start", "middle", "end"])
def test_a_moment_of_another_pitch_is_not_played(where, frames):
    """A singer's 250 Hz of which one frame was 1604 Hz."""
    tracks, true, sure = wrong_at(where, frames)
    for options in ({"adjust": False}, {"adjust": False, "smoothing_ms": 50.0}, {}):
        played = play(tracks, **options)
        heard = played.gain > 0
        expected = true + 12 * played.octaves
        np.testing.assert_allclose(midi_of(played)[heard], expected[heard], atol=1e-3)
        assert heard[20:180].all() and heard[sure][20:-20].sum() > 300


@pytest.mark.parametrize("ms", [40, 48, 55])
def test_a_fast_arpeggio_is_played(ms):
    notes = np.repeat([60.0, 64.0, 68.0, 72.0, 76.0, 72.0, 68.0, 64.0], round(ms * 0.25))
    midi = np.concatenate([np.full(100, 57.0), notes, np.full(100, 57.0)])
    played = play(tones(midi), adjust=False)
    np.testing.assert_allclose(midi_of(played), midi, atol=1e-3)


def test_staccato_keeps_its_pitch():
    short = [np.repeat([m, 40.0], [14, 86]) for m in (60.0, 67.0, 62.0, 72.0, 64.0)]
    midi = np.concatenate([np.repeat([57.0, 40.0], [100, 86]), *short])
    sure = midi > 50
    played = play(tones(midi, confidence=np.where(sure, 1.0, 0.0)), adjust=False)
    np.testing.assert_allclose(midi_of(played)[sure], midi[sure], atol=1e-3)
    assert (played.gain[sure] > 0.1).all()


def test_a_note_of_which_nothing_is_left_is_not_played():
    # A run of 64 ms between two pauses, of which only the last 32 ms are loud enough to be heard.
    midi, sure = np.full(400, 60.0), np.ones(400, bool)
    sure[150:190] = sure[206:240] = False
    midi[190:206] = 67.0
    loudness_db = np.full(400, -20.0)
    loudness_db[190:198] = -60.0
    played = play(tones(midi, loudness_db, np.where(sure, 1.0, 0.0)), adjust=False, quiet_db=0.0)
    assert not played.notes[150:240].any()
    np.testing.assert_array_equal(played.gain[160:230], 0.0)
    np.testing.assert_array_equal(played.notes[played.gain == 0], False)


def test_an_error_beside_a_gap_does_not_lengthen_the_note():
    midi, sure = np.full(300, 59.0), np.ones(300, bool)
    sure[150:250] = False
    sure[158:164], midi[158:164] = True, 91.2
    played = play(tones(midi, confidence=np.where(sure, 1.0, 0.0)), adjust=False)
    np.testing.assert_allclose(midi_of(played), 59.0, atol=1e-3)
    np.testing.assert_array_equal(played.gain[158:240], 0.0)


def test_a_note_does_not_swell_in_a_short_consonant():
    sure = (np.arange(300) < 150) | (np.arange(300) >= 160)
    tracks = tones(np.full(300, 60.0), np.where(sure, -20.0, -5.0), np.where(sure, 1.0, 0.0))
    played = play(tracks, adjust=False)
    np.testing.assert_allclose(played.asked_db, -20.0, atol=1e-3)


def test_a_note_fades_at_its_last_sure_pitch_and_its_last_loudness():
    # Two notes 2 semitones apart, with 80 ms of a loud consonant between them.
    midi = np.where(np.arange(300) < 160, 60.0, 62.0)
    sure = (np.arange(300) < 150) | (np.arange(300) >= 170)
    tracks = tones(midi, np.where(sure, -20.0, -5.0), np.where(sure, 1.0, 0.0))
    played = play(tracks, adjust=False)
    heard = played.gain > 0
    assert heard[:157].all() and heard[163:].all()
    np.testing.assert_allclose(midi_of(played)[heard], midi[heard], atol=1e-3)
    assert played.asked_db.max() <= -20.0 + 1e-3


@pytest.mark.parametrize(
    "midi",
    [
        np.repeat([60.0, 72.0, 60.0], [100, 15, 100]),
        np.repeat([60.0, 62.0] * 10, 12),
        np.repeat(60.0 + np.arange(16), 10),
        np.repeat([60.0, 72.0, 48.0, 84.0], 100),
        60 + 12 * np.sin(np.arange(300) / 20),
    ],
    ids=["grace note of 60 ms", "trill", "fast run", "leaps", "glide of 12 octaves a second"],
)
def test_what_was_played_is_left_as_it_is(midi):
    wide = statistics(lowest=36.0, midi=60.0, highest=96.0)
    played = adjust(*tones(midi), statistics=wide, frame_rate=FRAME_RATE)
    np.testing.assert_allclose(midi_of(played), midi, atol=1e-3)
    assert (played.gain > 0.1).all() and played.refitted_share == 0.0


# The range of the instrument, C4 to C6, and a semitone more


def test_a_phrase_that_leaves_the_range_is_moved_as_a_whole():
    # The last three notes are a phrase of their own, after a rest.
    midi = np.repeat([72.0, 70.0, 60.0, 83.0, 86.0, 81.0], [900, 900, 100, 40, 60, 40])
    sure = midi != 60
    tracks = tones(midi, confidence=np.where(sure, 1.0, 0.0))
    played = play(tracks)
    expected = np.where(np.arange(midi.size) < 1900, midi, midi - 12)
    assert played.octaves == 0
    np.testing.assert_allclose(midi_of(played)[sure], expected[sure], atol=1e-3)
    np.testing.assert_allclose(played.refitted_share, 140 / 1940)
    # What is asked for is played.
    as_it_is, higher = play(tracks, adjust=False), play(tracks, pitch_shift=1)
    np.testing.assert_allclose(midi_of(as_it_is)[sure], midi[sure], atol=1e-3)
    np.testing.assert_allclose(midi_of(higher)[sure], expected[sure] + 12, atol=1e-3)


def test_a_semitone_beyond_the_range_is_played():
    midi = np.repeat([72.0, 84.9, 59.1], [900, 50, 50])
    np.testing.assert_allclose(midi_of(play(tones(midi))), midi, atol=1e-3)


def test_an_octave_error_does_not_move_its_phrase():
    midi = np.repeat([76.0, 88.0, 76.0], [900, 30, 900])
    np.testing.assert_allclose(midi_of(play(tones(midi))), 76.0, atol=1e-3)


def test_of_a_phrase_that_is_too_wide_only_what_does_not_fit_is_moved():
    midi = np.concatenate([np.full(4000, 72.0), np.repeat(np.arange(72.0, 54.0, -3.0), 60)])
    midi = np.concatenate([midi, np.repeat(np.arange(55.0, 92.0, 3.0), 60)])
    played = midi_of(play(tones(midi)))
    inside = (midi >= 59) & (midi <= 85)
    np.testing.assert_allclose(played[inside], midi[inside], atol=1e-3)
    np.testing.assert_allclose(np.abs(played - midi)[~inside], 12.0, atol=1e-3)


def test_a_vibrato_and_a_slide_beyond_the_range_stop_at_its_limit():
    vibrato = 84.5 + np.sin(2 * np.pi * 6 * np.arange(500) / FRAME_RATE)
    midi = np.concatenate([np.linspace(50.0, 70.0, 40), np.full(5000, 70.0), vibrato])
    played = midi_of(play(tones(midi)))
    np.testing.assert_allclose(played, np.clip(midi, 59.0, 85.0), atol=1e-3)


def test_an_instrument_of_a_few_notes_keeps_the_tune():
    midi = np.repeat([60.0, 64.0, 67.0, 72.0, 70.0], 100)
    narrow = statistics(lowest=64.0, midi=66.0, highest=68.0)
    played = adjust(*tones(midi), statistics=narrow, frame_rate=FRAME_RATE)
    np.testing.assert_allclose(midi_of(played) - 12 * played.octaves, midi, atol=1e-3)


@pytest.mark.parametrize(("far", "near"), [(96.0, 72.0), (40.0, 64.0), (45.0, 69.0), (71.4, 71.4)])
def test_an_instrument_of_a_few_notes_plays_the_octave_nearest_to_its_range(far, near):
    # From 63 to 69 and a semitone more. 72 and 60 are as near; 71.4 is nearer than 59.4.
    midi = np.repeat([66.0, far], [900, 50])
    narrow = statistics(lowest=63.0, midi=66.0, highest=69.0)
    played = adjust(*tones(midi), statistics=narrow, frame_rate=FRAME_RATE)
    np.testing.assert_allclose(midi_of(played), np.repeat([66.0, near], [900, 50]), atol=1e-3)


# Breath


def test_breath_is_no_note_that_rings_on():
    """A room of 0.3 s or 1.5 s, and then a consonant."""
    frames = np.arange(500)
    sure, consonant = frames < 100, (frames >= 200) & (frames < 220)
    for decay_db in (200.0, 40.0):
        ring = -20.0 - decay_db * np.maximum(0, frames - 100) / FRAME_RATE + np.sin(frames)
        loudness_db = np.where(consonant, -25.0, np.maximum(ring, -80.0))
        tracks = tones(np.full(500, 60.0), loudness_db, np.where(sure, 1.0, 0.0))
        breath = play(tracks, adjust=False, breath=1.0).breath
        np.testing.assert_array_equal(breath.gain[:180], 0.0)
        assert breath.notes[200:220].all() and not breath.notes[:195].any()
        np.testing.assert_allclose(breath.asked_db[200:220], -25.0, atol=1e-3)


def test_breath_is_as_loud_as_what_sounds_without_a_pitch(rng):
    tracks = phrase(rng)
    loudness_db = tracks[2]
    loudness_db[400:600] = -35.0
    none, half, whole = (play(tracks, breath=b, adjust=False) for b in (0.0, 0.5, 1.0))
    assert none.breath is None
    for track, same in zip(whole[:4], none[:4], strict=True):
        np.testing.assert_array_equal(track, same)
    # The attenuation of what is no note does not count.
    np.testing.assert_allclose(whole.breath.asked_db[410:590], -35.0, atol=1e-3)
    np.testing.assert_allclose(half.breath.asked_db[410:590], -41.02, atol=1e-2)
    np.testing.assert_array_equal(whole.breath.notes, (np.arange(1000) // 200) == 2)
    np.testing.assert_array_equal(whole.breath.gain[whole.notes], 0.0)
    # It fades in while the note fades out.
    level = 10 ** ((whole.breath.asked_db - loudness_db) / 20)
    edge = slice(400, 408)
    note = np.cos(np.pi / 2 * np.arange(1, 9) / 7.5) ** 2 * (np.arange(1, 9) < 7.5)
    np.testing.assert_allclose(level[edge], 1 - note, atol=1e-3)


def test_breath_is_as_loud_beside_the_notes_as_it_was(rng):
    f0_hz, confidence, loudness_db = phrase(rng)
    loudness_db[:] = np.where(np.abs(np.arange(1000) - 500) < 100, -35.0, -30.0)
    played = play((f0_hz, confidence, loudness_db), breath=1.0)
    note, breath = played.asked_db[played.notes], played.breath.asked_db[410:590]
    np.testing.assert_allclose(np.median(note) - np.median(breath), 5.0, atol=0.01)


# Physics


def test_a_sound_without_any_level_is_played_as_silence():
    played = play(tones(np.full(50, 60.0), loudness_db=-80.0, confidence=0.0))
    np.testing.assert_array_equal(played.gain, 0.0)
    assert all(np.isfinite(track).all() for track in played[:3])


@pytest.mark.parametrize("track", [0, 1, 2])
def test_a_number_that_is_not_finite_affects_only_its_own_frame(track):
    tracks = [x.copy() for x in tones(np.full(200, 60.3))]
    options = {"autotune": 1.0, "smoothing_ms": 20.0}
    whole = play(tracks, **options)
    tracks[track][[50, 120]] = np.nan, np.inf
    played = play(tracks, **options)
    others = np.delete(np.arange(200), [50, 120])
    assert played.octaves == whole.octaves
    for found, expected in zip(played[:4], whole[:4], strict=True):
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[others], expected[others], rtol=1e-5)
    assert not played.notes[[50, 120]].any()


def test_empty_tracks_are_played_as_nothing():
    none = np.zeros(0, np.float32)
    assert all(track.size == 0 for track in play((none, none, none), autotune=1.0)[:4])


def test_a_guessed_pitch_in_a_pause_is_inaudible(rng):
    played = play(phrase(rng), adjust=False)
    assert played.f0_hz.max() < 221.0
    np.testing.assert_array_equal(played.gain[410:590], 0.0)
    assert not played.notes[400:600].any()


def test_the_controls_stay_within_the_loudness_of_the_training(rng):
    features = phrase(rng)
    plain, louder = play(features), play(features, loudness_shift_db=20.0)
    np.testing.assert_allclose(plain.loudness_db.min(), -39.7, atol=1e-5)
    np.testing.assert_allclose(louder.loudness_db.max(), -10.3, atol=1e-5)
    assert louder.gain.max() > 9.0


def test_the_shift_in_db_is_the_sum_of_the_changes_of_loudness_and_gain(rng):
    features = phrase(rng)
    plain, louder = play(features), play(features, loudness_shift_db=7.0)
    heard = plain.gain > 0.1
    np.testing.assert_allclose((louder.asked_db - plain.asked_db)[heard], 7.0, atol=1e-4)


def test_the_pitch_shift_is_added_to_the_octaves_of_the_adjustment(rng):
    features = phrase(rng, f0_hz=220.0)
    assert play(features).octaves == 1
    lower = play(features, pitch_shift=-2)
    assert lower.octaves == -1
    np.testing.assert_allclose(lower.f0_hz, 110.0, rtol=1e-5)


# dtypes


def test_tracks_keep_their_dtype(rng):
    for dtype in (np.float32, np.float64):
        tracks = [track.astype(dtype) for track in phrase(rng)]
        played = play(tracks, autotune=0.5, smoothing_ms=50.0)
        assert {track.dtype for track in played[:3]} == {np.dtype(dtype)}


# Boundary errors


def checked(name, value):
    """The class checks its fields where no type checker does."""
    config = TransferConfig()
    object.__setattr__(config, name, value)
    config.__post_init__()


@pytest.mark.parametrize(
    ("name", "value", "kind", "complaint"),
    [
        ("pitch_shift", 3, ValueError, "from -2 to 2, got 3"),
        ("loudness_shift_db", float("nan"), ValueError, "from -20 to 20, got nan"),
        ("quiet_db", 61.0, ValueError, "from 0 to 60, got 61.0"),
        ("autotune", -0.1, ValueError, "from 0 to 1, got -0.1"),
        ("scale", "minor", ValueError, "one of"),
        ("pitch_shift", 1.0, TypeError, "a whole number, got 1.0"),
        ("adjust", 1, TypeError, "True or False, got 1"),
        ("wet", "all", TypeError, "a number, got 'all'"),
    ],
)
def test_an_impossible_control_is_named(name, value, kind, complaint):
    with pytest.raises(kind, match=f"`{name}` must be .*{complaint}"):
        checked(name, value)


def test_tracks_of_different_lengths_are_refused(rng):
    f0_hz, confidence, loudness_db = phrase(rng)
    with pytest.raises(ValueError, match="`f0_hz` and `loudness_db`"):
        adjust.__wrapped__(
            f0_hz, confidence, loudness_db[1:], statistics=statistics(), frame_rate=FRAME_RATE
        )
