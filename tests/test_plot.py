"""Pictures show what they are given."""

import numpy as np
import pytest
from helpers import sine

from ddspx import plot

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib.*")


@pytest.fixture(autouse=True)
def matplotlib():
    return pytest.importorskip("matplotlib")


def sound(f0_hz, seconds=1.0, sample_rate=8000):
    frames = round(seconds * 100) + 1
    return plot.Sound(
        f"{f0_hz} Hz",
        sine(f0_hz, round(seconds * sample_rate), sample_rate=sample_rate),
        np.full(frames, float(f0_hz)),
        np.where(np.arange(frames) < frames // 2, 0.9, 0.1),
        np.full(frames, -20.0),
    )


def test_a_tone_is_a_line_at_its_frequency_with_the_sure_half_of_the_pitch_on_it():
    figure = plot.plot_sounds([sound(1000), sound(3000)], sample_rate=8000)
    above = figure.axes[:2]
    for axes, f0_hz in zip(above, (1000, 3000), strict=True):
        (image,), (line,) = axes.images, axes.lines
        levels, (_, _, low, high) = image.get_array(), image.get_extent()
        loudest = np.argmax(levels[:, levels.shape[1] // 2]) / (levels.shape[0] - 1)
        assert abs(low + loudest * (high - low) - f0_hz) < 10
        seconds, pitch = line.get_data()
        assert np.nanmax(pitch) == f0_hz
        assert np.isnan(pitch[seconds > 0.52]).all() and not np.isnan(pitch[:50]).any()
    assert [axes.get_title() for axes in above] == ["1000 Hz", "3000 Hz"]


def test_a_long_sound_has_no_more_columns_than_a_screen():
    figure = plot.plot_sounds([sound(440, seconds=200.0)], sample_rate=8000)
    assert figure.axes[0].images[0].get_array().shape[1] <= 1201


def test_training_curves_of_one_name_share_a_panel():
    records = [
        {"step": 1, "time": 0.0, "train/loss": 9.0, "train/gradient_norm": 2.0},
        {"step": 2, "time": 1.0, "train/loss": 8.0, "train/gradient_norm": 1.0},
        {"step": 2, "time": 1.5, "valid/loss": 8.5},
    ]
    norm, loss = plot.plot_training(records).axes
    assert [line.get_label() for line in loss.lines] == ["train/loss", "valid/loss"]
    np.testing.assert_array_equal(loss.lines[0].get_data(), [[1, 2], [9.0, 8.0]])
    np.testing.assert_array_equal(norm.lines[0].get_data(), [[1, 2], [2.0, 1.0]])


def test_nothing_to_draw_is_said():
    with pytest.raises(ValueError, match="`sounds` must hold at least one"):
        plot.plot_sounds([], sample_rate=8000)
    with pytest.raises(ValueError, match="`records` must hold numbers"):
        plot.plot_training([{"step": 1}])


def test_a_missing_matplotlib_is_explained(monkeypatch):
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ddspx\[plot\]'"):
        plot.plot_sounds([sound(440)], sample_rate=8000)
