"""What is heard in a recording of an instrument: how much has a pitch, and how many voices."""

import warnings
from functools import partial

import numpy as np
import pytest
from helpers import noise
from toy_instrument import HOP, SAMPLE_RATE, tone

from ddspx import io
from ddspx.instruments._hearing import Heard, _second_voice, _stretches, check_heard, hear

GRID = {"sample_rate": SAMPLE_RATE, "hop_length": HOP}


def objection(heard):
    """The error or the warning about what was heard; "" for none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_heard(heard, "kazoo.wav")
        except io.AudioError as error:
            return str(error)
    return " ".join(str(warning.message) for warning in caught)


@pytest.mark.parametrize(
    ("sound", "sentence"),
    [
        (tone(6.0), ""),
        (tone(2.5), "clear pitch was found in 2.5 s of 2.5 s, and 3 s are needed"),
        (0.1 * noise(6 * SAMPLE_RATE), "clear pitch was found in 0.0 s of 6.0 s"),
        (
            tone(6.0) + tone(6.0, f0_hz=311.0),
            "kazoo.wav has more than one voice: in 100% of its steady sound",
        ),
        (
            np.concatenate([tone(4.0), 0.05 * noise(16 * SAMPLE_RATE)]),
            "kazoo.wav is mostly unpitched: only 20% of its audible frames",
        ),
    ],
    ids=["instrument", "short", "noise", "chord", "drums"],
)
def test_each_kind_of_recording_has_its_sentence(sound, sentence):
    found = objection(hear(lambda: [sound.astype(np.float32)], **GRID)[0])
    assert sentence in found and bool(found) == bool(sentence)


def test_the_bounds_of_the_checks():
    good = Heard(4.0, 4.0, 3.0, 2.0, 0.6)
    assert objection(good) == ""
    assert "needed" in objection(good._replace(pitched_s=2.99))
    assert "unpitched" in objection(good._replace(sounding_s=12.5))
    assert "40%" in objection(good._replace(doubled_s=0.8))
    # A glide is never steady: nothing is said of its voices.
    assert objection(good._replace(steady_s=0.5, doubled_s=0.5)) == ""


@pytest.mark.parametrize("f0_hz", [65.4, 110.0, 440.0, 1760.0])
def test_a_second_voice_is_heard_at_its_level(f0_hz):
    time_s = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE

    def voice(hz):
        vibrato = 5 * np.sin(2 * np.pi * 5.5 * time_s) / 1200
        phase = 2 * np.pi * np.cumsum(hz * 2**vibrato) / SAMPLE_RATE
        return sum(np.sin(k * phase) / k for k in range(1, min(9, int(8000 / hz))))

    track = np.full(2 * SAMPLE_RATE // HOP, f0_hz)
    alone, other = voice(f0_hz), voice(f0_hz * 2 ** (4 / 12))
    shares = []
    for gain in (0.0, 0.1, 0.5, 1.0):
        n_steady, n_doubled = _second_voice(alone + gain * other, track, **GRID)
        shares.append(n_doubled / n_steady)
        assert n_steady > 20
    assert shares[:2] == [0, 0] and shares[2:] == [1, 1]
    # What glides by a semitone in a window, or has no pitch, is not judged.
    assert _second_voice(alone, track * 2 ** np.linspace(0, 3, track.size), **GRID) == (0, 0)
    assert _second_voice(alone, np.nan * track, **GRID) == (0, 0)


def test_stretches_cover_the_sound_whatever_its_blocks():
    audio = np.arange(1000, dtype=np.float32)
    for n_samples, starts in ((1000, [0, 300, 600, 700]), (900, [0, 300, 600]), (310, [0, 10])):
        for size in (1, 7, 300, 1000):
            blocks = (audio[i : min(i + size, n_samples)] for i in range(0, n_samples, size))
            found = list(_stretches(blocks, 300, 10))
            assert [10 * first for first, _ in found] == starts
            for first, stretch in found:
                np.testing.assert_array_equal(stretch, audio[10 * first : 10 * first + 300])
    assert [(first, x.size) for first, x in _stretches([audio[:299]], 300, 10)] == [(0, 299)]


def test_memory_does_not_grow_with_the_stretches():
    """All stretches of a long sound are one after the other: none is kept."""
    alive, most = 0, 0

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def blocks():
        nonlocal alive, most
        for _ in range(50):
            alive += 1
            most = max(most, alive)
            yield np.zeros(300, np.float32).view(Counted)

    for _ in _stretches(blocks(), 300, 10):
        pass
    assert most < 10


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("sources/sms_cello-phrase.flac", ""),
        ("sources/librosa_robin.flac", "clear pitch was found in 0.3 s of 2.7 s"),
        ("sources/sms_flute-A4.flac", "clear pitch was found in 2.0 s of 2.2 s"),
    ],
)
def test_real_recordings(shared_data, name, sentence):
    read = partial(
        io.stream_audio, shared_data / name, sample_rate=SAMPLE_RATE, block_length=1 << 16
    )
    found = objection(hear(read, **GRID)[0])
    assert sentence in found and bool(found) == bool(sentence)
