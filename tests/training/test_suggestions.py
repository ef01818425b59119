"""Sizes that the recordings suggest."""

import numpy as np

from ddspx import io
from ddspx.training import suggested_sample_rate, suggested_segment_s


def recordings(folder, *rates_and_seconds):
    made = []
    for i, (rate, seconds) in enumerate(rates_and_seconds):
        path = folder / f"{i}.wav"
        io.write_audio(path, np.ones(round(rate * seconds)), sample_rate=rate)
        made.append(io.Recording(path, path.name, "a", "train", path.name))
    return made


def test_the_commonest_rate_but_not_above_16_khz(tmp_path):
    assert suggested_sample_rate(recordings(tmp_path, (8000, 1), (8000, 1), (48_000, 1))) == 8000
    assert suggested_sample_rate(recordings(tmp_path, (8000, 1), (48_000, 1))) == 16_000
    (tmp_path / "0.wav").write_text("")
    assert suggested_sample_rate(recordings(tmp_path)) == 16_000


def test_a_length_that_nine_of_ten_recordings_keep_to(tmp_path):
    lengths = [0.1 * i for i in range(1, 12)]
    made = recordings(tmp_path, *((1000, seconds) for seconds in lengths))
    assert suggested_segment_s(made) == 1.0
    assert suggested_segment_s(recordings(tmp_path, (1000, 60))) == 2.5
    assert suggested_segment_s(recordings(tmp_path, (1000, 0.01))) == 0.1
    assert suggested_segment_s([]) == 2.5
