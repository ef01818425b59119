"""Clicks are found, and nothing that a musician plays is one."""

import numpy as np
import pytest

from ddspx import metrics

RATE = 16_000
TIME_S = np.arange(2 * RATE) / RATE
AT = 16_011
PITCHES = (60, 80, 110, 155, 220, 330, 440, 640, 1000, 1760)


def tone(f0_hz, slope=2.0):
    """A tone at full level, as bright as those of instruments, whose waveform has pulses."""
    partials = [k for k in range(1, 30) if k * f0_hz < 7900]
    return 0.3 * sum(np.sin(2 * np.pi * k * f0_hz * TIME_S) / k**slope for k in partials)


def clicks(audio):
    return metrics.click_times(audio, sample_rate=RATE)


def crest(audio):
    """The first crest of a tone from AT on, where a break is largest."""
    return AT + int(np.argmax(np.abs(audio[AT : AT + RATE // 50])))


BREAKS = {
    "a step": lambda audio, at: np.where(np.arange(audio.size) < at, audio, audio + 0.3),
    "an impulse": lambda audio, at: np.where(np.arange(audio.size) == at, audio + 0.3, audio),
    "a cut into silence": lambda audio, at: np.where(np.arange(audio.size) <= at, audio, 0.0),
    "a hard onset": lambda audio, at: np.where(np.arange(audio.size) < at, 0.0, audio),
    "a seam of two signs": lambda audio, at: np.where(np.arange(audio.size) < at, audio, -audio),
}


# Values


@pytest.mark.parametrize("f0_hz", PITCHES[:-1])
@pytest.mark.parametrize("kind", BREAKS)
def test_a_break_in_a_tone_is_found_at_its_time(f0_hz, kind):
    at = crest(tone(f0_hz))
    (found,) = clicks(BREAKS[kind](tone(f0_hz), at))
    # The taps ring, and a wave of another sign shows when it is next away from zero.
    assert abs(found - at / RATE) < 0.008


@pytest.mark.parametrize("gap_s", [0.02, 0.03])
@pytest.mark.parametrize("f0_hz", [80, 220, 500])
def test_both_ends_of_a_dropped_block_are_found(f0_hz, gap_s):
    audio = tone(f0_hz)
    at = crest(audio)
    audio[at + 1 : at + 1 + round(gap_s * RATE)] = 0
    found = clicks(audio)
    np.testing.assert_allclose(found, [at / RATE, at / RATE + gap_s], atol=0.01)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_clicks_are_found_at_other_sample_rates(rate):
    time_s = np.arange(2 * rate) / rate
    audio = 0.3 * sum(np.sin(2 * np.pi * k * 330 * time_s) / k**2 for k in range(1, 10))
    at = rate + int(np.argmax(np.abs(audio[rate : rate + rate // 330])))
    for broken in (BREAKS["a cut into silence"], BREAKS["an impulse"]):
        found = metrics.click_times(broken(audio, at), sample_rate=rate)
        np.testing.assert_allclose(found, [at / rate], atol=0.01)
    assert metrics.click_times(audio, sample_rate=rate).size == 0


def test_a_cut_in_a_noisy_tone_is_found(rng):
    audio = tone(330) + 0.005 * rng.standard_normal(TIME_S.size)
    at = crest(audio)
    np.testing.assert_allclose(
        clicks(BREAKS["a cut into silence"](audio, at)), [at / RATE], atol=0.01
    )


def test_each_of_many_clicks_is_found_in_a_sound_of_several_blocks(rng):
    audio = 0.01 * rng.standard_normal(45 * RATE)
    places = np.arange(1, 45) * RATE
    audio[places] += 0.5
    np.testing.assert_allclose(clicks(audio), places / RATE, atol=1e-3)


# Physics


@pytest.mark.parametrize("f0_hz", PITCHES)
def test_a_tone_has_no_click_at_its_onset_and_end(f0_hz):
    edge = np.clip((TIME_S - 0.5) / 0.03, 0, 1) * np.clip((1.5 - TIME_S) / 0.03, 0, 1)
    assert clicks(tone(f0_hz)).size == 0
    assert clicks(tone(f0_hz, slope=1.0)).size == 0
    assert clicks(np.sin(np.pi / 2 * edge) ** 2 * tone(f0_hz)).size == 0


@pytest.mark.parametrize("semitones", [-7, -2, 3, 12])
def test_a_note_that_follows_at_once_does_not_click(semitones):
    # The phase goes on while pitch and timbre change within 8 ms.
    glide = np.interp(TIME_S, [1.0, 1.008], [0.0, semitones])
    phase = 2 * np.pi * np.cumsum(390 * 2 ** (glide / 12)) / RATE
    slope = np.interp(TIME_S, [1.0, 1.008], [2.0, 1.6])
    audio = 0.3 * sum(np.sin(k * phase) / k**slope for k in range(1, 10))
    assert clicks(audio).size == 0


def test_noise_glides_and_silence_do_not_click(rng):
    assert clicks(0.1 * rng.standard_normal(20 * RATE)).size == 0
    assert clicks(np.zeros(RATE)).size == 0
    glide = np.cumsum(2 * np.pi * 220 * 2 ** np.sin(2 * np.pi * 5 * TIME_S) / RATE)
    assert clicks(0.3 * sum(np.sin(k * glide) / k for k in range(1, 12))).size == 0


def test_recorded_instruments_do_not_click(shared_data):
    import soundfile

    for name in ("sms_sax-phrase", "sms_cello-phrase", "sms_singing-female"):
        audio, _ = soundfile.read(shared_data / "sources" / f"{name}.flac")
        assert clicks(audio).size == 0, name


def test_an_inaudible_click_does_not_count():
    audio = tone(440)
    audio[AT] += 0.001
    assert clicks(audio).size == 0


# Boundary errors


def test_more_than_one_channel_is_refused():
    with pytest.raises(ValueError, match="`audio` must have one axis, got 2"):
        metrics.click_times.__wrapped__(np.zeros((2, 100)), sample_rate=RATE)
