"""How a sound is tuned, and pitch drawn to a scale."""

import numpy as np
import pytest

from ddspx.transfer import autotune, tuning_offset

MAJOR = np.array([0, 2, 4, 5, 7, 9, 11, 12])


def melody(rng, offset, key=0, frames=40, spread=0.05):
    """Notes of a major key, each held, all higher than A4 = 440 Hz by `offset` semitones."""
    notes = 60 + key + rng.choice(MAJOR, 12)
    return np.repeat(notes, frames) + offset + spread * rng.standard_normal(12 * frames)


@pytest.mark.parametrize("offset", [-0.45, -0.2, 0.0, 0.13, 0.3, 0.49])
def test_the_tuning_of_a_melody_is_found(rng, offset):
    midi = melody(rng, offset)
    found = tuning_offset(midi, np.ones_like(midi), np.ones(midi.size, bool))
    assert abs((found - offset + 0.5) % 1 - 0.5) < 0.03


def test_only_confident_frames_of_notes_determine_the_tuning(rng):
    midi = melody(rng, 0.2)
    both = np.concatenate([midi, rng.uniform(40.0, 80.0, midi.size)])
    is_melody = np.arange(both.size) < midi.size
    found = tuning_offset(both, is_melody.astype(float), np.ones(both.size, bool))
    assert abs(found - 0.2) < 0.03
    found = tuning_offset(both, np.ones(both.size), is_melody)
    assert abs(found - 0.2) < 0.03


def test_a_tone_that_never_changes_tunes_to_itself():
    found = tuning_offset(np.full(100, 57.25), np.ones(100), np.ones(100, bool))
    assert abs(found - 0.25) < 1e-9


def test_a_pitch_that_is_not_finite_does_not_affect_the_tuning(rng):
    midi = melody(rng, 0.2, key=3)
    notes = np.ones(midi.size, bool)
    sure = np.ones_like(midi)
    tuning = tuning_offset(midi, sure, notes)
    tuned = autotune(midi, notes, amount=1.0, tuning=tuning)
    midi[7], midi[100], sure[200] = np.nan, np.inf, np.nan
    assert abs(tuning_offset(midi, sure, notes) - tuning) < 0.011
    with np.errstate(invalid="ignore"):
        found = autotune(midi, notes, amount=1.0, tuning=tuning)
    good = np.isfinite(midi)
    np.testing.assert_array_equal(found[good], tuned[good])


def test_without_notes_the_tuning_is_that_of_the_piano():
    assert tuning_offset(np.full(5, 60.3), np.ones(5), np.zeros(5, bool)) == 0.0


@pytest.mark.parametrize("key", [0, 3, 11])
@pytest.mark.parametrize("tuning", [0.0, 0.4])
def test_a_melody_is_moved_to_its_key_at_its_tuning(rng, key, tuning):
    clean = np.concatenate([60.0 + key + MAJOR, melody(rng, 0.0, key, spread=0.0)])
    sung = clean + tuning + rng.uniform(-0.3, 0.3, clean.size)
    tuned = autotune(sung, np.ones(sung.size, bool), amount=1.0, tuning=tuning)
    np.testing.assert_allclose(tuned, clean + tuning, atol=1e-9)


def test_a_note_outside_the_key_moves_into_it_or_to_its_semitone():
    sung = np.concatenate([60.0 + MAJOR, [66.2]])
    everywhere = np.ones(sung.size, bool)
    assert autotune(sung, everywhere, amount=1.0)[-1] == 67.0
    chromatic = autotune(sung, everywhere, amount=1.0, scale="chromatic")
    np.testing.assert_allclose(chromatic[-1], 66.0)


def test_the_amount_is_the_share_of_the_correction():
    sung, everywhere = np.array([60.4, 64.2]), np.ones(2, bool)
    for amount in (0.0, 0.3, 1.0):
        tuned = autotune(sung, everywhere, amount=amount, scale="chromatic")
        np.testing.assert_allclose(tuned, sung - amount * np.array([0.4, 0.2]))


def test_the_key_depends_on_notes_only():
    notes = np.tile(60.0 + MAJOR, 3)
    both = np.concatenate([notes, np.full(10 * notes.size, 61.0)])
    tuned = autotune(both, np.arange(both.size) < notes.size, amount=1.0)
    np.testing.assert_allclose(tuned[: notes.size], notes)
    assert set(tuned[notes.size :]) <= {60.0, 62.0}


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match="`scale` must be"):
        autotune.__wrapped__(np.zeros(2), np.ones(2, bool), amount=1.0, scale="minor")
