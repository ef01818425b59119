"""Every control changes what is heard, as it says."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from toy_instrument import HOP, SAMPLE_RATE, save_toy_instrument

from ddspx import io
from ddspx.features import conditioning_features
from ddspx.transfer import RANGES, TransferConfig, measure, transfer

# Three notes of half a second, the middle one 30 cents sharp and trembling; a pause; and the first
# note again, 46 dB softer.
MIDI, LEVELS = (57.0, 59.3, 61.0, None, 57.0), (0.2, 0.2, 0.2, 0.0, 0.001)
NOTE_S, VIBRATO = 0.5, 0.4


def melody():
    time_s = np.arange(round(NOTE_S * SAMPLE_RATE)) / SAMPLE_RATE
    edge = np.minimum(1.0, np.minimum(time_s, time_s[-1] - time_s) / 0.02)
    notes = []
    for i, (midi, level) in enumerate(zip(MIDI, LEVELS, strict=True)):
        swing = VIBRATO * np.sin(2 * np.pi * 8 * time_s) * (i == 1)
        f0_hz = 440 * 2 ** (((midi or 69.0) + swing - 69) / 12)
        phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE
        notes.append(level * edge * sum(np.sin(k * phase) / k for k in range(1, 7)))
    return np.concatenate(notes).astype(np.float32)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What is played with some controls: the report, the audio, and its features."""
    folder = tmp_path_factory.mktemp("controls")
    source, instrument = folder / "in.wav", save_toy_instrument(folder / "toy")
    io.write_audio(source, melody(), sample_rate=SAMPLE_RATE)

    @cache
    def play(**options):
        config = TransferConfig(**options)
        report = transfer(source, folder / "out.wav", to=instrument, config=config)
        audio = io.read_audio(folder / "out.wav", sample_rate=SAMPLE_RATE, allow_silence=True)
        heard = conditioning_features(audio, sample_rate=SAMPLE_RATE, hop_length=HOP)
        return report, audio, heard

    return play


def note(track, number):
    """The middle of a note of half a second, of a track of frames."""
    length = NOTE_S * SAMPLE_RATE / HOP
    return track[round((number + 0.25) * length) : round((number + 0.75) * length)]


def pitch(heard, number):
    return 69 + 12 * np.log2(np.median(note(heard.f0_hz, number)) / 440)


def level_db(heard, number):
    return np.median(note(heard.loudness_db, number))


def test_each_control_has_a_test_here():
    tested = {name.removeprefix("test_control_") for name in globals()}
    assert {field.name for field in dataclasses.fields(TransferConfig)} <= tested
    assert set(RANGES) <= tested


def test_control_adjust(played):
    adjusted, _, heard = played(quiet_db=0.0)
    assert adjusted.octaves == 1
    assert abs(pitch(heard, 0) - 69.0) < 0.1
    as_it_is, _, heard = played(adjust=False, quiet_db=0.0)
    assert as_it_is.octaves == 0
    assert abs(pitch(heard, 0) - 57.0) < 0.1


def test_control_pitch_shift(played):
    for octaves in (-2, 1):
        report, _, heard = played(pitch_shift=octaves)
        assert report.octaves == 1 + octaves
        assert abs(pitch(heard, 0) - (69.0 + 12 * octaves)) < 0.1


def test_control_loudness_shift_db(played):
    # The untrained instrument hardly hears loudness; beyond its range it is the gain's, to the dB.
    levels = [level_db(played(loudness_shift_db=x)[2], 0) for x in (-20.0, -10.0, 0.0)]
    assert levels[0] < levels[1] < levels[2]
    report = played(loudness_shift_db=-20.0)[0]
    quieter = 20 * np.log10(note(report.played.gain, 0)).mean()
    assert abs((levels[1] - levels[0]) - 10.0) < 2.0 or quieter > -1.0


def test_control_threshold(played):
    notes = {x: played(threshold=x)[0].played.notes for x in (0.0, 1.0, 2.0)}
    assert note(notes[0.0], 4).all()
    assert not note(notes[1.0], 4).any() and note(notes[1.0], 0).all()
    assert notes[2.0].sum() < notes[1.0].sum()


def test_control_quiet_db(played):
    loud, soft = (played(quiet_db=x)[2] for x in (0.0, 60.0))
    assert abs(level_db(loud, 0) - level_db(soft, 0)) < 0.1
    assert level_db(loud, 4) - level_db(soft, 4) > 10.0


@pytest.mark.parametrize("amount", [0.5, 1.0])
def test_control_autotune(played, amount):
    report, _, heard = played(autotune=amount, scale="chromatic")
    sharp = 59.3 - (59.0 + report.played.tuning)
    assert abs(report.played.tuning) < 0.05
    assert abs(pitch(heard, 1) - (12 + 59.3 - amount * sharp)) < 0.1
    assert abs(pitch(heard, 0) - 69.0) < 0.1


def test_control_scale(played):
    # A, B and C sharp, an octave up: of the major keys several have them, as have all semitones.
    major, chromatic = (played(autotune=1.0, scale=s)[2] for s in ("major", "chromatic"))
    assert abs(pitch(major, 1) - 71.0) < 0.1
    swing = [np.ptp(note(h.f0_hz, 1)) for h in (major, chromatic)]
    assert max(swing) < 0.2 * np.ptp(note(played()[2].f0_hz, 1))


def test_control_smoothing_ms(played):
    plain, smooth = (played(smoothing_ms=x)[2] for x in (0.0, 200.0))
    swing = [np.ptp(12 * np.log2(note(h.f0_hz, 1))) for h in (plain, smooth)]
    # A Hann window of 200 ms lets a sixth of 8 Hz pass.
    assert swing[0] > 1.5 * VIBRATO and swing[1] < 0.35 * swing[0]
    assert abs(pitch(smooth, 0) - pitch(plain, 0)) < 0.05


def test_control_confidence(played):
    report, audio, _ = played(confidence=1.0)
    assert report.played.gain.sum() < 0.5 * played()[0].played.gain.sum()
    assert np.square(audio).sum() < 0.7 * np.square(played()[1]).sum()


def test_control_wet(played):
    recording = melody()
    dry, instrument, both = (played(wet=x)[1] for x in (0.0, 1.0, 0.25))
    np.testing.assert_allclose(dry, recording, atol=1e-5)
    np.testing.assert_allclose(both, 0.25 * instrument + 0.75 * recording, atol=1e-5)


def test_control_reverb(played):
    # In the pause the room alone is heard, from 60 ms after the last note.
    silence = slice(round(3.15 * NOTE_S * SAMPLE_RATE), round(3.9 * NOTE_S * SAMPLE_RATE))
    none, once, twice = (played(reverb=x)[1][silence] for x in (0.0, 1.0, 2.0))
    assert np.abs(none).max() < 1e-4
    np.testing.assert_allclose(twice, 2 * once, atol=2e-6 + 1e-3 * np.abs(once).max())


def test_nothing_is_above_full_scale_however_loud(played):
    report, audio, _ = played(loudness_shift_db=20.0, reverb=2.0)
    assert report.peak == pytest.approx(np.abs(audio).max(), abs=1e-6)
    assert report.peak <= 10 ** (-0.5 / 20) + 1e-6
    assert played(loudness_shift_db=20.0, reverb=2.0)[0].peak > 0.5


# What is measured of the result


def test_the_measures_find_what_was_asked_for(played, tmp_path):
    report, audio, _ = played()
    path = tmp_path / "out.wav"
    io.write_audio(path, audio, sample_rate=SAMPLE_RATE)
    quality = measure(path, report)
    assert quality.f0_cents < 10.0
    assert quality.octave_error_share < 0.02
    assert quality.click_times_s == ()
    assert quality.peak == pytest.approx(report.peak, abs=1e-6)
    assert -1.0 <= quality.loudness_correlation <= 1.0


def test_the_measures_find_what_is_wrong(played, tmp_path):
    report, _, _ = played()
    wrong = melody()
    wrong[4000] += 0.4
    io.write_audio(tmp_path / "out.wav", wrong, sample_rate=SAMPLE_RATE)
    quality = measure(tmp_path / "out.wav", report)
    # The recording itself is an octave below what was asked for, and as loud as itself.
    assert quality.octave_error_share > 0.95
    assert quality.f0_cents > 1190.0
    assert quality.loudness_correlation > 0.99
    np.testing.assert_allclose(quality.click_times_s, [0.25], atol=1e-3)
