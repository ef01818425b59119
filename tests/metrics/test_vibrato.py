"""Vibrato is measured exactly where it is sinusoidal, and nothing else is vibrato."""

import numpy as np
import pytest

from ddspx import metrics

RATE = 100.0
TIME_S = np.arange(300) / RATE


def vibrato(cents, confidence=1.0, frame_rate=RATE):
    f0_hz = 440 * 2 ** (np.asarray(cents) / 1200)
    sure = np.broadcast_to(confidence, f0_hz.shape).astype(float)
    return metrics.vibrato(f0_hz, sure, frame_rate=frame_rate)


# Physics


@pytest.mark.parametrize("rate_hz", [4.3, 5.55, 7.02, 8.5])
@pytest.mark.parametrize("extent_cents", [12.0, 80.0])
def test_rate_and_extent_are_found_on_a_glide(rate_hz, extent_cents):
    glide = 30 * TIME_S**2 - 50 * TIME_S
    found = vibrato(glide + extent_cents * np.sin(2 * np.pi * rate_hz * TIME_S + 1))
    assert found.rate_hz == pytest.approx(rate_hz, abs=0.01)
    assert found.extent_cents == pytest.approx(extent_cents, rel=0.01)
    assert found.share == 1


def test_the_frame_rate_does_not_matter():
    for frame_rate in (50.0, 250.0, 172.27):
        time_s = np.arange(round(3 * frame_rate)) / frame_rate
        found = vibrato(50 * np.sin(2 * np.pi * 6 * time_s), frame_rate=frame_rate)
        assert found.rate_hz == pytest.approx(6, abs=0.01)
        assert found.extent_cents == pytest.approx(50, rel=0.02)


def test_noise_on_the_pitch_changes_little(rng):
    found = vibrato(40 * np.sin(2 * np.pi * 5.5 * TIME_S) + 5 * rng.normal(size=300))
    assert found.rate_hz == pytest.approx(5.5, abs=0.1)
    assert found.extent_cents == pytest.approx(40, abs=3)


def test_only_a_part_of_the_notes_may_have_vibrato():
    swing = 50 * np.sin(2 * np.pi * 6 * TIME_S)
    found = vibrato(np.where(TIME_S < 1.5, 0, swing))
    assert found.rate_hz == pytest.approx(6, abs=0.01) and 0.3 < found.share < 0.6
    # Rests are no held notes.
    assert vibrato(swing, TIME_S >= 1.5).share == 1


@pytest.mark.parametrize(
    "cents",
    [
        np.zeros(300),
        200 * TIME_S,
        50 * np.sin(2 * np.pi * 3 * TIME_S),
        50 * np.sin(2 * np.pi * 10.5 * TIME_S),
        5 * np.sin(2 * np.pi * 6 * TIME_S),
        *(np.interp(TIME_S, [1, 1 + ms / 1000], [0, 200]) for ms in (10, 30, 60, 200)),
        5 * np.random.default_rng(0).normal(size=300),
        np.cumsum(8 * np.random.default_rng(0).normal(size=300)),
    ],
)
def test_what_is_not_vibrato_is_not_found(cents):
    rate_hz, extent_cents, share = vibrato(cents)
    assert np.isnan(rate_hz) and np.isnan(extent_cents) and share == 0


@pytest.mark.parametrize("bad", [np.nan, 0.0, -1.0, np.inf])
def test_without_held_notes_nothing_is_defined(bad):
    assert np.isnan(metrics.vibrato(np.full(300, bad), np.ones(300), frame_rate=RATE)).all()
    assert np.isnan(vibrato(np.zeros(300), 0.4)).all() and np.isnan(vibrato(np.zeros(0))).all()
    assert np.isnan(vibrato(np.zeros(59))).all() and not np.isnan(vibrato(np.zeros(60)).share)


# Boundary errors


def test_wrong_tracks_are_refused():
    with pytest.raises(ValueError, match="same number of frames, got 3 and 4"):
        metrics.vibrato.__wrapped__(np.ones(3), np.ones(4), frame_rate=RATE)
    with pytest.raises(ValueError, match=r"`frame_rate` must be .*at least 20"):
        metrics.vibrato(np.ones(3), np.ones(3), frame_rate=10.0)
