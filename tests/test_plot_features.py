"""Pictures of features: what is drawn where."""

import numpy as np
import pytest

from ddspx import plot

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib.*")
GRID = {"sample_rate": 8000, "hop_length": 80, "title": "a_title", "label": "a label"}


@pytest.fixture(autouse=True)
def matplotlib():
    pytest.importorskip("matplotlib")
    pytest.importorskip("librosa")


def image_of(figure):
    return figure.axes[0].collections[0]


def corners(figure):
    """Borders in seconds, and those of the rows."""
    grid = image_of(figure).get_coordinates()
    return grid[0, :, 0], grid[:, 0, 1]


def test_frames_and_bands_are_drawn_at_their_time_and_frequency():
    values = np.zeros((101, 40), np.float32)
    values[30, 25] = 1.0
    centres_hz = np.geomspace(60, 3900, 40)
    figure = plot.plot_features(values, **GRID, frequencies_hz=centres_hz)
    edges_s, edges_hz = corners(figure)
    levels = image_of(figure).get_array()
    row, column = np.unravel_index(np.argmax(levels), levels.shape)
    assert (row, column) == (25, 30)
    np.testing.assert_allclose(edges_s[30:32], [0.295, 0.305])
    np.testing.assert_allclose(edges_hz[1:-1], (centres_hz[1:] + centres_hz[:-1]) / 2)
    assert edges_hz[0] < centres_hz[0] and centres_hz[-1] < edges_hz[-1]
    axes = figure.axes[0]
    # As librosa's users know it: the scale is straight up to 1 kHz, then octaves are equal.
    y_of = np.diff(axes.transData.transform([[0, f] for f in (0, 500, 1000, 2000, 4000)])[:, 1])
    np.testing.assert_allclose(y_of / y_of[-1], 1, rtol=1e-6)
    assert axes.get_title() == "a_title" and axes.get_xlim() == (0, 1.0)


def test_bins_lie_on_a_logarithmic_axis_and_are_drawn_in_decibels():
    values = np.full((11, 129), 1e-9, np.float32)
    values[:, 32] = 0.1
    bins_hz = np.linspace(0, 4000, 129)
    for level_of, level_db in (("amplitude", -20), ("power", -10)):
        figure = plot.plot_features(values, **GRID, frequencies_hz=bins_hz, level_of=level_of)
        _, edges_hz = corners(figure)
        levels = image_of(figure).get_array()
        loudest = int(np.argmax(levels[:, 5]))
        assert edges_hz[loudest] < 1000 < edges_hz[loudest + 1]
        np.testing.assert_allclose(levels[loudest, 5], level_db, atol=1e-4)
        np.testing.assert_allclose(
            image_of(figure).get_clim(), (level_db - 80, level_db), atol=1e-4
        )
        assert figure.axes[0].get_yscale() == "symlog"
        assert figure.axes[1].get_ylabel() == "level of the a label (dB)"


def test_coefficients_and_levels_have_different_colours():
    values = np.random.default_rng(0).standard_normal((50, 13))
    values[:, 0] = -500
    low, high = image_of(plot.plot_features(values, **GRID)).get_clim()
    assert low == -high and 1 < high < 4


@pytest.mark.parametrize("n_frames", [1, 599, 600, 601, 100_003])
def test_a_column_is_the_mean_of_its_span(n_frames):
    values = np.arange(n_frames, dtype=np.float32)
    line = plot.plot_features(values, **GRID).axes[0].lines[0]
    time_s, means = line.get_data()
    assert len(means) == min(n_frames, 600)
    # Of a ramp the mean is the value in the middle.
    np.testing.assert_allclose(means, time_s / 0.01, rtol=1e-5, atol=1e-6)
    image = plot.plot_features(np.stack([values] * 3, 1), **GRID)
    levels, (edges_s, _) = image_of(image).get_array(), corners(image)
    assert levels.shape == (3, len(means))
    middles = (edges_s[:-1] + edges_s[1:]) / 2
    np.testing.assert_allclose(levels[0], middles / 0.01, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 4), (0,), (0, 4), (4, 0)])
def test_arrays_that_are_not_features_are_refused(shape):
    with pytest.raises(ValueError, match=r"`values` must be \(frames, features\) or \(frames,\)"):
        plot.plot_features(np.zeros(shape), **GRID)


def test_one_band_has_a_height_and_an_axis_can_be_chosen():
    figure = plot.plot_features(np.ones((5, 1)), **GRID, frequencies_hz=np.array([300.0]))
    np.testing.assert_allclose(corners(figure)[1], [150, 450])
    notes = plot.plot_features(
        np.ones((5, 3)), **GRID, frequencies_hz=np.array([100.0, 200, 400]), y_axis="fft_note"
    )
    assert notes.axes[0].get_ylabel() == "Note"
    with pytest.raises(ValueError, match="`y_axis` must be"):
        plot.plot_features.__wrapped__(np.ones((5, 3)), **GRID, y_axis="hertz")
