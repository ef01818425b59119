"""Whether a sound is a tune, decided from its features."""

import numpy as np
import pytest
from conftest import SHARED_DATA

from ddspx.app._tune import held_share, tune_hint
from ddspx.features import Features, blockwise_features
from ddspx.io import stream_audio

FRAME_RATE = 250.0


def heard(midi, *, confidence=1.0, loudness_db=-20.0):
    """Makes the features that a tracker would return, from the note in each frame."""
    midi = np.asarray(midi, float)
    shape = midi.shape
    return Features(
        440 * 2 ** ((midi - 69) / 12),
        np.broadcast_to(confidence, shape).astype(float),
        np.broadcast_to(loudness_db, shape).astype(float),
    )


def share(*arguments, **options):
    return held_share(heard(*arguments, **options), frame_rate=FRAME_RATE)


def test_a_note_counts_as_held_and_a_glide_does_not():
    at = np.arange(500) / FRAME_RATE
    assert share(np.full(500, 60.0)) == 1
    # 150 ms cover a semitone where it goes faster than 6.67 semitones a second.
    assert share(60 + 6.0 * at) == 1
    assert share(60 + 7.5 * at) == 0


def test_a_vibrato_counts_as_held_up_to_a_depth():
    at = np.arange(500) / FRAME_RATE
    assert share(60 + 0.45 * np.sin(2 * np.pi * 5.5 * at)) == 1
    assert share(60 + 3.0 * np.sin(2 * np.pi * 5.5 * at)) == 0


@pytest.mark.parametrize(("frames", "expected"), [(38, 1.0), (36, 0.0)])
def test_a_short_note_does_not_count(frames, expected):
    """150 ms are 37.5 frames, which round to 38."""
    notes = np.repeat(60.0 + 5 * np.arange(10), frames)
    assert share(notes) == expected


def test_quiet_and_unsure_frames_do_not_count():
    """An echo below -40 dB does not count, and a frame without a confident pitch is never held."""
    notes = np.full(300, 60.0)
    loudness_db = np.where(np.arange(300) < 100, -20.0, -61.0)
    unsure = np.where(np.arange(300) < 50, 0.4, 1.0)
    assert share(notes, loudness_db=loudness_db) == 1
    assert share(notes, loudness_db=loudness_db, confidence=unsure) == pytest.approx(0.5)
    assert share(notes, confidence=0.4) == 0


def test_a_very_short_sound_has_no_held_notes():
    assert share(np.full(5, 60.0)) == 0


def test_the_hint_gives_the_share_of_held_notes():
    def hint(sure_frames):
        sure = np.where(np.arange(1000) < sure_frames, 1.0, 0.0)
        return tune_hint(heard(np.full(1000, 60.0), confidence=sure), frame_rate=FRAME_RATE)

    assert hint(410) is hint(1000) is None
    assert "does not sound like a tune" in hint(300) and "30%" in hint(300) and "0%" in hint(0)


# Real recordings of tunes and of other sounds.

TUNES = (
    "sources/sms_sax-phrase.flac sources/sms_soprano-E4.flac sources/vocadito_1.flac "
    "sources/sms_vignesh.flac sources/sms_cello-phrase.flac sources/sms_singing-female.flac"
).split()
SPEECH = (
    "sources/sms_speech-male.flac sources/sms_speech-female.flac sources/librosa_libri1.flac"
).split()


def hint_for(path):
    blocks = stream_audio(path, sample_rate=16_000, block_length=1 << 16)
    features = blockwise_features(blocks, sample_rate=16_000, hop_length=64, method="ddspx")
    return tune_hint(features, frame_rate=FRAME_RATE)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="there are no real recordings here")
def test_speech_and_noises_are_distinguished_from_tunes():
    """A sentence in twenty may be sung enough to pass; a tune never fails."""
    notes = [sorted(f.glob("*.flac"))[0] for f in sorted((SHARED_DATA / "solo_notes").glob("*/"))]
    for path in [*(SHARED_DATA / name for name in TUNES), *notes]:
        assert hint_for(path) is None, path
    spoken = sorted((SHARED_DATA / "pitch_truth" / "speech_rl").glob("*.flac"))[:9]
    for kind in ("rain", "clock_tick", "fire_crackling", "dog_bark"):
        spoken += sorted((SHARED_DATA / "esc10" / kind).glob("*.flac"))[:2]
    told = [
        hint_for(path) is not None for path in [*(SHARED_DATA / name for name in SPEECH), *spoken]
    ]
    assert np.mean(told) > 0.9
