"""Pictures show what they are given."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import sine

from ddspx import core, plot

HOP = 80
RATES = {"sample_rate": 8000, "hop_length": HOP}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib.*")


@pytest.fixture(autouse=True)
def matplotlib():
    pytest.importorskip("librosa")
    return pytest.importorskip("matplotlib")


def sound(f0_hz, seconds=1.0, sample_rate=8000):
    frames = core.n_frames(round(seconds * sample_rate), hop_length=HOP)
    return plot.Sound(
        f"{f0_hz} Hz",
        sine(f0_hz, round(seconds * sample_rate), sample_rate=sample_rate),
        np.full(frames, float(f0_hz)),
        np.where(np.arange(frames) < frames // 2, 0.9, 0.1),
        np.full(frames, -20.0),
    )


def test_a_tone_is_drawn_at_its_frequency_with_the_confident_half_of_its_pitch():
    figure = plot.plot_sounds([sound(1000), sound(3000)], **RATES)
    above = figure.axes[:2]
    for axes, f0_hz in zip(above, (1000, 3000), strict=True):
        (image,), (line,) = axes.collections, axes.lines
        levels, edges = image.get_array(), image.get_coordinates()
        loudest = np.argmax(levels[:, levels.shape[1] // 2])
        (_, low), (_, high) = edges[loudest : loudest + 2, 0]
        assert low < f0_hz < high < low + 10
        assert (axes.get_yscale(), axes.get_ylim()) == ("symlog", (0, 4000))
        seconds, pitch = line.get_data()
        assert np.nanmax(pitch) == f0_hz
        assert np.isnan(pitch[seconds > 0.52]).all() and not np.isnan(pitch[:50]).any()
    assert [axes.get_title() for axes in above] == ["1000 Hz", "3000 Hz"]


def test_a_long_sound_has_no_more_columns_than_a_screen():
    figure = plot.plot_sounds([sound(440, seconds=200.0)], **RATES)
    assert figure.axes[0].collections[0].get_array().shape[1] <= 600
    # Nor has it more points than a picture can show, from its beginning to its end.
    for axes in figure.axes:
        time_s, _ = axes.lines[0].get_data()
        assert len(time_s) <= 20_000 and time_s[0] == 0 and time_s[-1] > 199.9


def test_a_column_is_the_mean_power_of_its_span():
    audio = sine(440, 400 * 8000, sample_rate=8000)
    # Two thirds of every column are silent; of single frames most would be all or nothing.
    audio[np.arange(audio.size) % 4000 > 1333] = 0.0
    still = np.zeros(2)
    figure = plot.plot_sounds([plot.Sound("bursts", audio, *[still] * 3)], **RATES)
    levels = figure.axes[0].collections[0].get_array().max(axis=0)
    assert np.ptp(levels[1:-1]) < 3


def test_blocks_and_whole_sounds_are_drawn_alike():
    whole = sound(440, seconds=3.3)
    blocks = plot.Sound(
        whole.title,
        iter(np.split(whole.audio, [1, 700, 701, 20_000])),
        *whole[2:5],
        n_samples=whole.audio.size,
    )
    figure = plot.plot_sounds([whole, blocks], **RATES)
    first, second = (axes.collections[0] for axes in figure.axes[:2])
    np.testing.assert_allclose(first.get_array(), second.get_array(), atol=1e-9)
    np.testing.assert_array_equal(first.get_coordinates(), second.get_coordinates())
    with pytest.raises(ValueError, match="`n_samples` of 'endless' must be given"):
        plot.plot_sounds([plot.Sound("endless", iter([]), *whole[2:5])], **RATES)


def test_pitch_is_drawn_on_the_spectrogram_and_its_confidence_below():
    tracked = sound(1000)._replace(loudness_db=None)
    above, below = plot.plot_pitch(tracked, **RATES).axes
    assert (above.get_title(), above.get_yscale()) == ("1000 Hz", "symlog")
    assert (above.get_xlim(), above.get_ylim()) == ((0, 1), (0, 4000))
    levels = above.collections[0].get_array()
    edges_hz = above.collections[0].get_coordinates()[:, 0, 1]
    loudest = np.argmax(levels[:, levels.shape[1] // 2])
    assert edges_hz[loudest] < 1000 < edges_hz[loudest + 1]
    seconds, pitch = above.lines[0].get_data()
    np.testing.assert_array_equal(pitch, np.where(seconds < 0.495, 1000, np.nan))
    confidence, threshold = below.lines
    np.testing.assert_array_equal(confidence.get_data(), [seconds, tracked.f0_confidence])
    assert set(threshold.get_ydata()) == {0.5}
    with pytest.raises(ValueError, match="`loudness_db` of '1000 Hz' must be given"):
        plot.plot_sounds([tracked], **RATES)


def test_a_frame_is_drawn_at_its_time():
    """Of a sound that ends between two frames too."""
    audio, still = sine(440, 11_999, sample_rate=8000), np.full(2, 440.0)
    for figure in (
        plot.plot_pitch(
            plot.Sound("long hop", audio, still, still), sample_rate=8000, hop_length=8000
        ),
        plot.plot_sounds(
            [plot.Sound("long hop", audio, *[still] * 3)], sample_rate=8000, hop_length=8000
        ),
    ):
        for axes in figure.axes:
            np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0, 1])


def test_a_low_pitch_is_within_the_axis():
    low = sound(30)
    for figure in (
        plot.plot_pitch(low, **RATES),
        plot.plot_sounds([low], **RATES),
    ):
        assert figure.axes[0].get_ylim()[0] < 30


@pytest.mark.parametrize(
    ("y_axis", "label", "texts"),
    [
        ("log", "Hz", {"128", "1024", "2048"}),
        ("mel", "Hz", {"512", "1024", "2048"}),
        ("fft_note", "Note", {"C3", "C4", "C7"}),
    ],
)
def test_frequency_is_in_hertz_mel_or_notes(y_axis, label, texts):
    figure = plot.plot_pitch(sound(440), **RATES, y_axis=y_axis)
    axes, below = figure.axes
    figure.canvas.draw()
    assert texts <= {text.get_text() for text in axes.get_yticklabels()}
    # Time is named once, under the last panel.
    assert (axes.get_ylabel(), axes.get_xlabel(), below.get_xlabel()) == (label, "", "Time")
    place = axes.transData.transform([0.2, 440])[1] - axes.transAxes.transform([0, 0])[1]
    height = np.diff(axes.transAxes.transform([[0, 0], [0, 1]])[:, 1])[0]
    assert 0.1 < place / height < 0.75


def test_an_unknown_axis_is_refused():
    with pytest.raises(ValueError, match="`y_axis` must be"):
        plot.plot_pitch.__wrapped__(sound(440), **RATES, y_axis="bark")
    with pytest.raises(ValueError, match="`y_axis` must be"):
        plot.plot_sounds.__wrapped__([sound(440)], **RATES, y_axis="bark")


def test_dollar_signs_in_a_title_are_not_a_formula(tmp_path):
    figure = plot.plot_pitch(sound(440)._replace(title="$x^{$.wav"), **RATES)
    figure.savefig(tmp_path / "picture.png")


def test_silence_is_drawn_dark():
    nothing = plot.Sound("nothing", np.zeros(8000), *[np.zeros(11)] * 3)
    figure = plot.plot_sounds([nothing], **RATES)
    image = figure.axes[0].collections[0]
    assert image.get_array().max() < image.get_clim()[0]


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


def test_an_empty_input_is_refused():
    with pytest.raises(ValueError, match="`sounds` must hold at least one"):
        plot.plot_sounds([], **RATES)
    with pytest.raises(ValueError, match="`records` must hold numbers"):
        plot.plot_training([{"step": 1}])


@pytest.mark.parametrize("missing", ["matplotlib", "librosa"])
def test_a_missing_package_is_named(missing, monkeypatch):
    monkeypatch.setattr(plot, "find_spec", lambda name: None if name == missing else "there")
    match = rf"^Plotting needs {missing}; install it with `pip install 'ddspx\[plot\]'`\.$"
    with pytest.raises(ModuleNotFoundError, match=match):
        plot.plot_sounds([sound(440)], **RATES)


def bank(title, centers_hz):
    bins_hz = jnp.linspace(0, 4000, 2049)
    centers_hz = jnp.asarray(centers_hz)
    power = core.gabor_response(bins_hz, centers_hz, core.hz_to_erb(centers_hz)) ** 2
    return plot.Filterbank(title, np.asarray(power), np.asarray(centers_hz))


def test_filterbanks_show_their_peaks_and_how_far_they_moved():
    before = bank("before", [300.0, 1000.0, 2500.0])
    after = bank("after", [300.0, 1000.0 + 0.01 * (24.7 + 108.0), 2500.0])
    figure = plot.plot_filterbanks([before, after], sample_rate=8000)
    first, second, below = figure.axes
    peaks_hz = [line.get_xdata()[line.get_ydata().argmax()] for line in first.get_lines()]
    np.testing.assert_allclose(peaks_hz, before.centers_hz, atol=2)
    assert [axes.get_title() for axes in (first, second)] == ["before", "after"]
    moved = below.get_lines()[0]
    np.testing.assert_allclose(moved.get_xdata(), before.centers_hz)
    np.testing.assert_allclose(moved.get_ydata(), [0, 0.01, 0], atol=1e-4)
    assert len(plot.plot_filterbanks([before], sample_rate=8000).axes) == 1


def test_filterbanks_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="`banks` must hold at least one bank"):
        plot.plot_filterbanks([], sample_rate=8000)
    banks = [bank("a", [300.0]), bank("b", [300.0, 900.0])]
    with pytest.raises(ValueError, match=r"equal numbers of filters, got \[1, 2\]"):
        plot.plot_filterbanks(banks, sample_rate=8000)


def test_a_confusion_matrix_shows_counts_and_the_shares_of_their_rows():
    counts = np.array([[8, 2, 0], [1, 1, 2], [0, 0, 0]])
    figure = plot.plot_confusion(counts, ["a", "b_$x", "c"])
    axes, bar = figure.axes
    (image,) = axes.images
    np.testing.assert_allclose(image.get_array(), [[80, 20, 0], [25, 25, 50], [0, 0, 0]])
    written = {(round(t.get_position()[1]), round(t.get_position()[0])): t for t in axes.texts}
    assert {place: int(text.get_text()) for place, text in written.items()} == {
        (i, j): counts[i, j] for i, j in zip(*np.nonzero(counts), strict=True)
    }
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b_$x", "c"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert bar.get_ylabel() == "share of the class (%)"
    with pytest.raises(ValueError, match=r"a column for each of the 2 labels, got \(3, 3\)"):
        plot.plot_confusion(counts, ["a", "b"])
