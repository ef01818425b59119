"""The windows that sounds are cut into, and their sizes."""

from functools import partial

import numpy as np
import pytest

from ddspx import core, features
from ddspx.features import _network
from ddspx.features._blocks import Counted, chunk_sizes, windows

HOP, CHUNKS, MARGINS = 4, (1, 4, 16), (3, 2)


def cut(blocks):
    n_frames = partial(core.n_frames, hop_length=HOP)
    return list(windows(blocks, hop=HOP, chunks=CHUNKS, margins=MARGINS, n_frames=n_frames))


@pytest.mark.parametrize("samples", [0, 1, 3, 4, 15, 16, 63, 64, 70, 84, 100, 333])
def test_windows_hold_every_frame_with_its_margins_whatever_the_blocks(samples):
    audio = np.arange(1, 2 * samples + 1, dtype=np.float32).reshape(2, samples)
    padded = np.pad(audio, ((0, 0), (MARGINS[0] * HOP, 1000)))
    frames = 1 + samples // HOP
    expected = next((size for size in CHUNKS if size >= frames), 16)
    whole = cut([audio])
    assert [n for _, n in whole] == [min(expected, frames - i) for i in range(0, frames, expected)]
    for i, (window, _) in enumerate(whole):
        length = (expected + sum(MARGINS)) * HOP
        start = i * expected * HOP
        np.testing.assert_array_equal(window, padded[:, start : start + length])
    for size in (1, 5, 90):
        blocks = [audio[:, i : i + size] for i in range(0, samples, size)] or [audio]
        for (window, n), (again, m) in zip(whole, cut([*blocks, audio[:, :0]]), strict=True):
            assert n == m
            np.testing.assert_array_equal(window, again)


@pytest.mark.parametrize(
    ("longest", "unit", "sizes"),
    [(480, 1, (30, 120, 480)), (480, 125, (125, 500)), (201, 1, (13, 51, 201)), (1, 1, (1,))],
)
def test_sizes_of_chunks(longest, unit, sizes):
    assert chunk_sizes(longest, unit) == sizes


def test_samples_are_counted_as_they_are_read():
    counted = Counted([np.zeros((2, 3)), np.zeros((2, 0)), np.zeros((2, 5))])
    assert [counted.samples for _ in counted] == [3, 3, 8]


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100])
@pytest.mark.parametrize(
    ("seconds", "chunks"), [(0.064, [30]), (1, [120]), (7, [480]), (10, [480, 120, 120])]
)
def test_the_network_hears_little_more_than_a_short_sound(
    sample_rate, seconds, chunks, monkeypatch
):
    heard = []

    def run(weights, state, window):
        del weights
        heard.append(len(window) / sample_rate)
        return state, tuple(np.full((2, chunks[len(heard) - 1]), 100, np.float32))

    monkeypatch.setattr(_network, "_run_of", lambda grid: run)
    audio = np.zeros(round(seconds * sample_rate))
    rates = {"sample_rate": sample_rate, "hop_length": sample_rate // 100}
    features.track_pitch(audio, **rates)
    # Frames of 16 ms, which come nine frames late, and twice the reach of the resampling filter.
    np.testing.assert_allclose(heard, 0.016 * np.array(chunks), atol=0.17)
