"""Clicks are found, and nothing that a musician plays is one."""

import numpy as np
import pytest

from ddspx import metrics

RATE = 16_000
TIME_S = np.arange(2 * RATE) / RATE
AT = 16_011


def tone(f0_hz, harmonics=30):
    """A bright tone at full level whose waveform has a pulse in every period."""
    partials = [k for k in range(1, harmonics) if k * f0_hz < 7900]
    return 0.3 * sum(np.sin(2 * np.pi * k * f0_hz * TIME_S) / k**1.5 for k in partials)


def clicks(audio):
    return metrics.click_times(audio, sample_rate=RATE)


# Values


@pytest.mark.parametrize("f0_hz", [60, 110, 440, 1760])
@pytest.mark.parametrize("kind", ["step", "impulse", "gap in level"])
def test_a_break_in_a_tone_is_found_at_its_time(f0_hz, kind):
    audio = tone(f0_hz)
    if kind == "step":
        audio[AT:] += 0.1
    elif kind == "impulse":
        audio[AT] += 0.1
    else:
        audio[AT:] *= 0.7
    (found,) = clicks(audio)
    # A change of level shows when the wave is next away from zero.
    assert abs(found - AT / RATE) < 0.003


def test_a_cut_into_silence_and_a_seam_of_two_phases_click():
    crest = AT + np.argmax(np.abs(tone(330)[AT : AT + RATE // 330]))
    cut = np.where(np.arange(TIME_S.size) <= crest, tone(330), 0.0)
    np.testing.assert_allclose(clicks(cut), [crest / RATE], atol=0.003)
    seam = np.concatenate([tone(330)[:AT], tone(330)[AT + 25 : -25]])
    np.testing.assert_allclose(clicks(seam), [AT / RATE], atol=0.003)


def test_each_of_many_clicks_is_found(rng):
    audio = 0.01 * rng.standard_normal(10 * RATE)
    places = np.arange(1, 10) * RATE
    audio[places] += 0.5
    np.testing.assert_allclose(clicks(audio), places / RATE, atol=1e-4)


# Physics


@pytest.mark.parametrize("f0_hz", [60, 110, 220, 440, 880, 1760])
def test_a_tone_does_not_click_nor_do_its_onset_and_end(f0_hz):
    edge = np.clip((TIME_S - 0.5) / 0.03, 0, 1) * np.clip((1.5 - TIME_S) / 0.03, 0, 1)
    assert clicks(tone(f0_hz)).size == 0
    assert clicks(np.sin(np.pi / 2 * edge) ** 2 * tone(f0_hz)).size == 0


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


def test_a_click_that_nobody_hears_is_none():
    audio = tone(440)
    audio[AT] += 0.001
    assert clicks(audio).size == 0
