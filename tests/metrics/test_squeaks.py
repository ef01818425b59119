"""Squeaks are found, and nothing that a musician plays is one."""

import numpy as np
import pytest

from ddspx import metrics

RATE = 250.0


def squeaks(f0_hz, confidence=1.0, loudness_db=-20.0, **options):
    f0_hz = np.asarray(f0_hz, np.float64)
    others = (np.broadcast_to(x, f0_hz.shape).astype(float) for x in (confidence, loudness_db))
    return metrics.squeaks(f0_hz, *others, frame_rate=RATE, **options).tolist()


def notes(*pairs):
    """A track of notes, each given by its number and its length in ms."""
    midi = np.concatenate([np.full(round(ms * RATE / 1000), number) for number, ms in pairs])
    return 440 * 2 ** ((midi - 69) / 12)


def by_definition(f0_hz, sounding):
    """The times of runs under 60 ms that are off by over 300 cents from both neighbours."""
    frames, runs = np.flatnonzero(sounding), []
    for i in frames:
        near = runs and abs(1200 * np.log2(f0_hz[i] / f0_hz[runs[-1][-1]])) <= 300
        runs[-1].append(i) if near else runs.append([i])
    return [run[0] / RATE for run in runs if len(run) < 0.06 * RATE]


# Values


@pytest.mark.parametrize("ms", [4, 32, 56])
@pytest.mark.parametrize("leap", [-24.0, -3.1, 3.1, 32.0])
def test_a_wrong_moment_is_found_at_its_time(ms, leap):
    assert squeaks(notes((60, 400), (60 + leap, ms), (60, 400))) == [0.4]
    assert squeaks(notes((60, 400), (60 + leap, ms), (60 - np.sign(leap), 400))) == [0.4]
    # At either end of a sound there is one neighbour.
    assert squeaks(notes((60 + leap, ms), (60, 400))) == [0.0]
    assert squeaks(notes((60, 400), (60 + leap, ms))) == [0.4]


def test_several_are_found_as_by_the_definition(rng):
    parts = []
    for _ in range(40):
        parts += [(rng.uniform(55, 65), 4 * rng.integers(30, 60)), (rng.uniform(75, 90), 8)]
    f0_hz = notes(*parts, (60, 200))
    confidence = (rng.random(f0_hz.size) > 0.1).astype(float)
    found = squeaks(f0_hz, confidence)
    assert found == by_definition(f0_hz, confidence > 0)
    assert len(found) > 20


def test_neighbours_lie_beyond_a_pause():
    f0_hz = notes((60, 400), (96, 8), (30, 100), (61, 400))
    confidence = np.where(f0_hz < 60, 0.0, 1.0)
    assert squeaks(f0_hz, confidence) == [0.4]


def test_a_cluster_of_wrong_moments_is_one_squeak_and_what_it_interrupts_is_none():
    assert squeaks(notes((60, 32), (96, 8), (80, 12), (100, 4), (60, 40), (67, 300))) == [0.032]


def test_the_parts_of_a_note_between_wrong_moments_are_none():
    assert squeaks(notes((60, 28), (96, 8), (60, 28), (96, 8), (60, 28))) == [0.028, 0.064]


def test_a_squeak_has_to_be_heard():
    f0_hz = notes((60, 400), (96, 8), (60, 400))
    for below, found in ((29.0, [0.4]), (31.0, [])):
        loudness_db = np.where(f0_hz > 400, -20.0 - below, -20.0)
        assert squeaks(f0_hz, 1.0, loudness_db) == found
    assert squeaks(f0_hz, 1.0, loudness_db, depth_db=35.0) == [0.4]
    assert squeaks(f0_hz, np.where(f0_hz > 400, 0.4, 1.0)) == []
    assert squeaks(f0_hz, np.where(f0_hz > 400, 0.4, 1.0), threshold=0.3) == [0.4]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_frame_without_a_pitch_does_not_sound(bad):
    f0_hz = notes((60, 400), (96, 8), (60, 400))
    f0_hz[f0_hz > 400] = bad
    assert squeaks(f0_hz) == []
    assert squeaks(np.full(50, bad)) == squeaks(np.zeros(0)) == []
    assert squeaks(f0_hz, 1.0, np.where(np.arange(f0_hz.size) == 5, np.nan, -20.0)) == []


# Physics


@pytest.mark.parametrize("ms", [32, 40, 48, 55])
@pytest.mark.parametrize(
    "passage",
    [
        [60, 64, 68, 72, 76, 72, 68, 64],  # an arpeggio up and down
        [60, 67] * 6,  # a trill of a fifth
        [72, 84, 72],  # a turn of octaves
        [64, 72],  # two grace notes
    ],
)
@pytest.mark.parametrize("rest_ms", [0, 100])
def test_a_fast_passage_is_no_squeak(passage, ms, rest_ms, rng):
    for uneven in (0, 8):
        pairs = [(56, 400)]
        for midi in passage:
            pairs += [(midi, max(32, ms - uneven * rng.random())), (1, rest_ms)]
        for music in ([*pairs, (56, 400)], pairs[1:]):
            f0_hz = notes(*music)
            assert squeaks(f0_hz, np.where(f0_hz < 20, 0.0, 1.0)) == []


def test_a_note_that_is_a_phrase_by_itself_is_no_squeak():
    staccato = [pair for midi in (60, 67, 60, 72, 64, 69) for pair in ((midi, 56), (1, 350))]
    f0_hz = notes((55, 400), (1, 350), *staccato, (55, 400))
    assert squeaks(f0_hz, np.where(f0_hz < 20, 0.0, 1.0)) == []
    # After a shorter rest it is beside a note, and leaps away from it.
    f0_hz = notes((55, 400), (1, 250), (67, 56), (1, 250), (55, 400))
    assert squeaks(f0_hz, np.where(f0_hz < 20, 0.0, 1.0)) == [0.648]


@pytest.mark.parametrize("frames", [1, 3, 7])
def test_a_pitch_that_flutters_is_wrong_wherever_it_is(frames):
    flutter = [(59, 4 * frames), (91, 4 * frames)] * 10
    assert squeaks(notes(*flutter)) == [0.0]
    assert squeaks(notes((59, 400), *flutter[1:], (59, 400))) != []


@pytest.mark.parametrize(
    "music",
    [
        [(60, 300), (72, 300), (48, 300)],  # leaps of octaves
        [(60, 400), (64, 60), (62, 400)],  # a grace note
        [(60, 50), (62, 50)] * 10,  # a trill
        [(60 + 2 * i, 40) for i in range(20)],  # a fast scale
        [(60 + 4 * i, 60) for i in range(8)],  # a fast arpeggio
        [(60 + 0.5 * i, 4) for i in range(60)],  # a glide of 10 octaves a second
        [(60, 40), (67, 40), (60, 40)],  # too short to tell what is wrong
    ],
)
def test_what_a_musician_plays_is_no_squeak(music):
    assert squeaks(notes(*music)) == []


def test_a_soft_note_that_is_heard_only_at_its_peak_is_none():
    f0_hz = notes((60, 400), (67, 200), (60, 400))
    swell = np.where(np.abs(np.arange(f0_hz.size) - 125) < 5, -29.0, -35.0)
    assert squeaks(f0_hz, 1.0, np.where(f0_hz > 300, swell, 0.0)) == []


# Boundary errors


@pytest.mark.parametrize(
    ("sizes", "options", "complaint"),
    [
        ((3, 4, 3), {}, "`f0_hz` and `confidence`"),
        ((3, 3, 4), {}, "`f0_hz` and `loudness_db`"),
        ((3, 3, 3), {"frame_rate": 0.0}, "`frame_rate` must be finite and above 0"),
        ((3, 3, 3), {"threshold": 1.1}, "`threshold` must be from 0 to 1"),
        ((3, 3, 3), {"depth_db": -1.0}, "`depth_db` must be finite and at least 0"),
    ],
)
def test_what_does_not_fit_is_refused(sizes, options, complaint):
    tracks = (np.ones(size) for size in sizes)
    with pytest.raises(ValueError, match=complaint):
        metrics.squeaks.__wrapped__(*tracks, **{"frame_rate": RATE} | options)
