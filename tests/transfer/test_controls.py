"""Every setting of a transfer has its documented effect on the sound."""

import dataclasses
import importlib
import json
from functools import cache, cached_property

import numpy as np
import pytest
from toy_instrument import HOP, SAMPLE_RATE, save_toy_instrument

from ddspx import io, metrics
from ddspx.features import conditioning_features
from ddspx.models.autoencoder import load_autoencoder
from ddspx.transfer import (
    RANGES,
    TransferConfig,
    detect_notes,
    evaluate_transfer,
    render,
    transfer,
)

# The module; in the package its name is the function's.
module = importlib.import_module("ddspx.transfer._transfer")
# Three notes of half a second, the middle one 30 cents sharp and trembling; a pause; and the first
# note again, 58 dB softer, in this order by number.
MIDI, LEVELS = (57.0, 59.3, 61.0, None, 57.0), (0.2, 0.2, 0.2, 0.0, 0.00025)
# The soft note is played first: after the loud ones it would be taken for what rings on of them.
ORDER = (4, 0, 1, 2, 3)
NOTE_S, VIBRATO = 0.5, 0.4


def melody():
    time_s = np.arange(round(NOTE_S * SAMPLE_RATE)) / SAMPLE_RATE
    edge = np.minimum(1.0, np.minimum(time_s, time_s[-1] - time_s) / 0.02)
    notes = []
    for i, (midi, level) in enumerate(zip(MIDI, LEVELS, strict=True)):
        swing = VIBRATO * np.sin(2 * np.pi * 5 * time_s) * (i == 1)
        f0_hz = 440 * 2 ** (((midi or 69.0) + swing - 69) / 12)
        phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE
        notes.append(level * edge * sum(np.sin(k * phase) / k for k in range(1, 7)))
    return np.concatenate([notes[i] for i in ORDER]).astype(np.float32)


@pytest.fixture(scope="module")
def instrument(tmp_path_factory):
    """The untrained instrument, asked for about the loudness that it has whatever it is asked."""
    folder = save_toy_instrument(tmp_path_factory.mktemp("models") / "toy")
    fields = json.loads((folder / "statistics.json").read_text())
    fields["loudness_quantiles"] = np.linspace(-12.0, 8.0, 101).tolist()
    (folder / "statistics.json").write_text(json.dumps(fields))
    (folder / "sha256.json").unlink()
    return folder


class Played:
    """Returns the report, the audio and optionally the features of a transfer with settings."""

    def __init__(self, report, audio):
        self.report, self.audio = report, audio

    @cached_property
    def heard(self):
        return conditioning_features(self.audio, sample_rate=SAMPLE_RATE, hop_length=HOP)


@pytest.fixture(scope="module")
def played(instrument, tmp_path_factory):
    """Plays with some controls; the recording is listened to once for all of them."""
    folder = tmp_path_factory.mktemp("controls")
    source, listened = folder / "in.wav", []
    io.write_audio(source, melody(), sample_rate=SAMPLE_RATE)
    listen = module.blockwise_features

    def listen_once(blocks, **options):
        # The blocks must still be consumed, because their lengths are added up.
        blocks = list(blocks)
        if not listened:
            listened.append(listen(blocks, **options))
        return listened[0]

    @cache
    def play(**options):
        config = TransferConfig(**options)
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(module, "blockwise_features", listen_once)
            report = transfer(source, folder / "out.wav", to=instrument, config=config)
        blocks = io.stream_audio(
            folder / "out.wav", sample_rate=SAMPLE_RATE, block_length=1 << 16, allow_silence=True
        )
        return Played(report, np.concatenate(list(blocks)))

    return play


def note(track, number):
    """The middle of a note of half a second, of a track of frames."""
    length = NOTE_S * SAMPLE_RATE / HOP
    position = ORDER.index(number)
    return track[round((position + 0.25) * length) : round((position + 0.75) * length)]


def pitch(heard, number):
    return 69 + 12 * np.log2(np.median(note(heard.f0_hz, number)) / 440)


def level_db(heard, number):
    return np.median(note(heard.loudness_db, number))


def report_tracks(report):
    """Returns the loudness and the confidence, by which notes are detected."""
    return report.heard.loudness_db, report.heard.f0_confidence


def test_each_control_is_tested():
    tested = {name.removeprefix("test_control_") for name in globals()}
    assert {field.name for field in dataclasses.fields(TransferConfig)} <= tested
    assert set(RANGES) <= tested


def test_control_adjust(played):
    adjusted = played(quiet_db=0.0)
    assert adjusted.report.octaves == 1
    assert abs(pitch(adjusted.heard, 0) - 69.0) < 0.1
    as_it_is = played(adjust=False, quiet_db=0.0)
    assert as_it_is.report.octaves == 0
    assert abs(pitch(as_it_is.heard, 0) - 57.0) < 0.1


def test_control_pitch_shift(played):
    for octaves in (-2, 1):
        shifted = played(pitch_shift=octaves)
        assert shifted.report.octaves == 1 + octaves
        assert abs(pitch(shifted.heard, 0) - (69.0 + 12 * octaves)) < 0.1


def test_control_loudness_shift_db(played):
    low, middle, high = (
        level_db(played(loudness_shift_db=x, reverb=0.0).heard, 0) for x in (-10.0, 0.0, 5.0)
    )
    assert abs(middle - low - 10.0) < 1.0
    assert abs(high - middle - 5.0) < 1.0


def test_control_threshold(played):
    notes = {x: played(threshold=x).report.played.notes for x in (0.0, 1.0, 2.0)}
    assert note(notes[0.0], 4).all()
    assert not note(notes[1.0], 4).any() and note(notes[1.0], 0).all()
    assert notes[2.0].sum() <= notes[1.0].sum() < notes[0.0].sum()


def test_control_quiet_db(played):
    loud, soft = (played(quiet_db=x).heard for x in (0.0, 60.0))
    assert abs(level_db(loud, 0) - level_db(soft, 0)) < 0.1
    ratio = note(detect_notes(*report_tracks(played().report), frame_rate=250.0).ratio, 4).mean()
    expected = 60.0 * (1 - ratio)
    assert 0.5 * expected < level_db(loud, 4) - level_db(soft, 4) < 1.5 * expected


@pytest.mark.parametrize("amount", [0.5, 1.0])
def test_control_autotune(played, amount):
    tuned = played(autotune=amount, scale="chromatic")
    report, heard = tuned.report, tuned.heard
    sharp = 59.3 - (59.0 + report.played.tuning)
    assert abs(report.played.tuning) < 0.05
    assert abs(pitch(heard, 1) - (12 + 59.3 - amount * sharp)) < 0.1
    assert abs(pitch(heard, 0) - 69.0) < 0.1


def test_control_scale(played):
    # An octave up, A, B and C sharp. The B trembles up to 40 cents around one 30 cents too high:
    # the keys of the other two have no C, which of all semitones is then the nearest at times.
    for scale, notes in (("major", [71]), ("chromatic", [71, 72])):
        tuned = note(played(autotune=1.0, scale=scale).report.played.f0_hz, 1)
        found = 69 + 12 * np.log2(tuned / 440)
        assert sorted(set(np.round(found).astype(int).tolist())) == notes
        assert np.mean(np.abs(found - np.round(found)) < 0.06) > 0.9


def test_control_smoothing_ms(played):
    plain, smooth = (played(smoothing_ms=x).heard for x in (0.0, 200.0))
    swing = [np.ptp(12 * np.log2(note(h.f0_hz, 1))) for h in (plain, smooth)]
    # A Hann window of 200 ms lets half of 5 Hz pass.
    assert swing[0] > 1.6 * VIBRATO
    assert 0.35 < swing[1] / swing[0] < 0.65
    assert abs(pitch(smooth, 0) - pitch(plain, 0)) < 0.05


@pytest.mark.filterwarnings("ignore:.*mostly unpitched")
def test_control_confidence(played):
    sure, plain = played(confidence=1.0), played()
    assert sure.report.played.gain.sum() < 0.5 * plain.report.played.gain.sum()
    assert np.square(sure.audio).sum() < 0.7 * np.square(plain.audio).sum()


def test_control_follow(played):
    # The untrained instrument answers with some loudness; made up for, it is that of the notes.
    def missing_db(**options):
        followed = played(reverb=0.0, quiet_db=0.0, **options)
        report, heard = followed.report, followed.heard
        asked = report.played.loudness_db + 20 * np.log10(np.maximum(report.played.gain, 1e-9))
        return [abs(np.median(note(asked - heard.loudness_db, i))) for i in range(3)]

    assert max(missing_db(follow=0.0)) > 2.0
    assert max(missing_db(follow=1.0)) < 0.8


def test_control_wet(played):
    recording = melody()
    dry, instrument, both = (played(wet=x).audio for x in (0.0, 1.0, 0.25))
    np.testing.assert_allclose(dry, recording, atol=1e-5)
    expected = np.sqrt(0.25) * instrument + np.sqrt(0.75) * recording
    np.testing.assert_allclose(both, expected, atol=1e-5)


def test_the_measures_exclude_the_mixed_in_recording(instrument, tmp_path):
    """The instrument is measured by itself, as it is without the recording."""
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    io.write_audio(source, melody(), sample_rate=SAMPLE_RATE)
    reports = [
        transfer(source, output, to=instrument, config=TransferConfig(wet=w)) for w in (0.25, 1.0)
    ]
    mixed, alone = (evaluate_transfer(output, report) for report in reports)
    np.testing.assert_allclose(mixed[:4], alone[:4], rtol=1e-2, atol=1e-2)


def test_control_reverb(played):
    # From 60 ms after the last note on, there is only the reverb in the pause.
    silence = slice(round(4.15 * NOTE_S * SAMPLE_RATE), round(4.9 * NOTE_S * SAMPLE_RATE))
    none, once, twice = (played(reverb=x, follow=0.0).audio[silence] for x in (0.0, 1.0, 2.0))
    assert np.abs(none).max() < 1e-4
    np.testing.assert_allclose(twice, 2 * once, atol=2e-6 + 1e-3 * np.abs(once).max())


def test_control_breath(instrument, tmp_path, rng):
    """A tone, an s, and a tone: the s is noise as loud as it was, without a pitch or a click."""
    hiss = np.diff(rng.standard_normal(6401))
    edge = np.minimum(1, np.minimum(np.arange(6400), np.arange(6400)[::-1]) / 160)
    source = tmp_path / "in.wav"
    sung = np.concatenate([melody()[:8000], 0.01 * edge * hiss, melody()[:8000]])
    io.write_audio(source, sung, sample_rate=SAMPLE_RATE)
    heard = conditioning_features(sung, sample_rate=SAMPLE_RATE, hop_length=HOP)
    outputs = {}
    for breath in (0.0, 0.5, 1.0):
        output = tmp_path / f"{breath}.wav"
        config = TransferConfig(adjust=False, breath=breath, reverb=0.3)
        transfer(source, output, to=instrument, config=config)
        outputs[breath] = io.read_audio(output, sample_rate=SAMPLE_RATE)
    gap = slice(8000 + 960, 8000 + 6400 - 960)
    frames = slice(gap.start // HOP, gap.stop // HOP)
    for breath, expected_db in ((0.5, -6.0), (1.0, 0.0)):
        played = conditioning_features(outputs[breath], sample_rate=SAMPLE_RATE, hop_length=HOP)
        difference_db = (played.loudness_db - heard.loudness_db)[frames]
        assert np.abs(difference_db - expected_db).max() < 3.0
        assert metrics.click_times(outputs[breath], sample_rate=SAMPLE_RATE).size == 0
    noise = outputs[1.0][gap]
    periodicity = np.correlate(noise, noise, "full")[noise.size - 1 :] / np.square(noise).sum()
    assert np.abs(periodicity[16:320]).max() < 0.3
    # By default there is silence in the s, after the reverb of the note. The notes are the same.
    assert np.abs(outputs[0.0][gap][1600:]).max() < 1e-3 * np.abs(noise).max()
    np.testing.assert_allclose(outputs[0.0][:7500], outputs[1.0][:7500], atol=1e-5)


def test_nothing_is_above_full_scale_however_loud(played, instrument):
    report, audio = played().report, played().audio
    assert report.peak == pytest.approx(np.abs(audio).max(), abs=1e-6)
    loud = report.played._replace(gain=100 * report.played.gain)
    model, _, _ = load_autoencoder(instrument)
    limited = np.concatenate(list(render(model, loud, n_samples=report.n_samples)))
    assert 0.9 < np.abs(limited).max() <= 10 ** (-0.5 / 20) + 1e-6
    # Turned down, not cut off.
    assert np.mean(np.abs(limited) > 0.94) < 0.02
    assert metrics.click_times(limited, sample_rate=SAMPLE_RATE).size == 0


# Measures of the result


def test_the_measures_confirm_the_controls(played, tmp_path):
    report, audio = played().report, played().audio
    path = tmp_path / "out.wav"
    io.write_audio(path, audio, sample_rate=SAMPLE_RATE)
    quality = evaluate_transfer(path, report)
    assert quality.pitched_share > 0.95
    assert quality.f0_cents < 10.0
    assert quality.octave_error_share < 0.02
    assert quality.click_times_s == quality.squeak_times_s == ()
    assert quality.peak == pytest.approx(report.peak, abs=1e-6)
    # All notes are as loud, but for the vibrato of their edges.
    assert np.isfinite(quality.loudness_correlation)


def test_the_measures_detect_a_wrong_pitch_and_clicks(played, tmp_path):
    report = played().report
    wrong = melody()
    wrong[4000] += 0.4
    io.write_audio(tmp_path / "out.wav", wrong, sample_rate=SAMPLE_RATE)
    quality = evaluate_transfer(tmp_path / "out.wav", report)
    # The recording itself is an octave below the requested pitch, and has its own loudness.
    assert quality.octave_error_share > 0.95
    assert quality.f0_cents > 1190.0
    assert quality.loudness_correlation > 0.99
    np.testing.assert_allclose(quality.click_times_s, [0.25], atol=1e-3)
