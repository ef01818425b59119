"""Mixing channels to one: the average, unless sound would cancel in it."""

import warnings

import numpy as np
import pytest
import soundfile

from ddspx import io

RATE = 8000


@pytest.fixture
def sound(rng):
    t = np.arange(3 * RATE) / RATE
    return np.sin(2 * np.pi * 150 * t) * (
        0.3 + 0.1 * np.sin(3 * t)
    ), lambda n: 1e-3 * rng.standard_normal(n)


def read(folder, channels, match=None):
    path = folder / "a.wav"
    soundfile.write(path, np.stack(channels, 1), RATE, subtype="FLOAT")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        audio = io.read_audio(path, sample_rate=RATE)
        blocks = io.stream_audio(path, sample_rate=RATE, block_length=999)
        np.testing.assert_array_equal(np.concatenate(list(blocks)), audio)
    messages = {str(one.message) for one in caught}
    assert len(messages) == (match is not None)
    assert match is None or (match in messages.pop() and caught)
    return audio


def level_db(audio, sound):
    """Level of the sound in the mix, in dB relative to the sound itself; the rest is noise."""
    return 20 * np.log10(abs(audio @ sound) / (sound @ sound))


def test_inverted_stereo_keeps_its_sound(tmp_path, sound):
    tone, noise = sound
    n = len(tone)
    message = "channels that cancel each other: averaged, 100% of its sound would be lost"
    audio = read(tmp_path, [tone + noise(n), -tone + noise(n)], message)
    assert level_db(audio, tone) == pytest.approx(0, abs=0.1)
    # A copy that is weaker, and the stronger channel second.
    audio = read(tmp_path, [-0.7 * tone, tone], "averaged with channel 1 inverted")
    assert level_db(audio, tone) == pytest.approx(20 * np.log10(0.85), abs=0.1)


def test_a_source_behind_an_ambisonic_microphone_is_heard(tmp_path, sound):
    tone, noise = sound
    n = len(tone)
    channels = [tone + noise(n), noise(n), noise(n), -tone + noise(n)]
    audio = read(tmp_path, channels, "100% of its sound would be lost, so it is averaged with")
    assert level_db(audio, tone) > -6.1


def test_a_part_that_cancels_is_not_lost(tmp_path, sound):
    tone, _ = sound
    sign = np.where(np.arange(len(tone)) < 2 * RATE, 1, -1)
    audio = read(
        tmp_path, [tone, sign * tone], "33% of its sound would be lost, so channel 1 alone"
    )
    np.testing.assert_array_equal(audio, tone.astype(np.float32))


def test_all_inverted_channels_are_named(tmp_path, sound):
    tone, _ = sound
    message = "averaged with channels 2, 4 inverted"
    np.testing.assert_array_equal(
        read(tmp_path, [tone, -tone, tone, -tone], message), tone.astype(np.float32)
    )


def test_a_signal_that_every_mix_cancels_is_reported(tmp_path, sound):
    tone, _ = sound
    # In each second another pair of the three channels cancels, and the third is silent.
    channels = np.zeros((3, len(tone)))
    for i in range(3):
        second = slice(i * RATE, (i + 1) * RATE)
        channels[i, second], channels[(i + 1) % 3, second] = tone[second], -tone[second]
    audio = read(tmp_path, channels, "is still lost")
    assert np.abs(audio).max() > 0.1


@pytest.mark.parametrize("case", ["alike", "apart", "wide", "one of six", "offset", "silent side"])
def test_channels_that_do_not_cancel_are_averaged_exactly(tmp_path, sound, case):
    tone, noise = sound
    other = np.roll(tone, 777) * np.sign(noise(1))
    quiet = 0 * tone
    channels = {
        "alike": [tone, 0.5 * tone],
        "apart": [tone, 300 * noise(len(tone))],
        "wide": [tone + 0.6 * other, tone - 0.6 * other],
        "one of six": [quiet, quiet, tone, quiet, quiet, quiet],
        # Constant offsets do not count as sound: the tone is the same in both channels.
        "offset": [tone + 0.4, tone - 0.4],
        "silent side": [tone, 1e-6 * noise(len(tone))],
    }[case]
    audio = read(tmp_path, channels)
    block = np.stack(channels, 1).astype(np.float32)
    np.testing.assert_array_equal(audio, block.mean(axis=1))
