"""Pictures of sounds and of training, drawn by matplotlib and librosa (the extra `plot`).

Spectrograms are ``librosa.display.specshow``'s, with its axes: frequency is in Hz, mel or notes, by
librosa's names for these axes. Figures are made without pyplot's state: no window and no display
is needed. Save one with ``figure.savefig(path)``; in a notebook it shows itself.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import chain, pairwise
from math import log2
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ddspx import core
from ddspx._checks import one_of
from ddspx._typing import Bool, Float, Int
from ddspx.core._units import ERB_HZ, ERB_SLOPE
from ddspx.metrics import VOICED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

FrequencyAxis = Literal["linear", "log", "mel", "fft_note"]
"""An axis of frequency, by its name in librosa: three in Hz, and `fft_note` in notes."""

_FREQUENCY_AXES = ("linear", "log", "mel", "fft_note")

# Long enough to show the harmonics of a low voice apart.
_FRAME_SECONDS = 0.1
_MAX_COLUMNS = 600
# A long sound has more frames than a picture can show. Of the features at most so many frames are
# drawn, evenly spaced: dozens for each pixel of the width.
_MAX_POINTS = 20_000
_RANGE_DB = 80.0
# Lowest level of the top of the colour range, so that a very quiet sound is drawn dark.
_QUIETEST_TOP_DB = -30.0
# Filters are drawn down to this level below the highest peak of their bank.
_BANK_RANGE_DB = 40.0


class Sound(NamedTuple):
    """A sound to be drawn, with its features.

    Attributes:
      title: title of the panel.
      audio: the samples, or an iterable over consecutive blocks of a sound too long for memory.
      f0_hz: pitch, on the frame rule.
      f0_confidence: confidence of the pitch; only frames with `metrics.VOICED` or more are drawn.
      loudness_db: loudness, on the same frames; :func:`plot_pitch` does not use it.
      n_samples: number of samples in all blocks; not needed if `audio` is an array.
      notes: whether each frame is in a note; notes are shaded in the panel of the loudness. None
        shades nothing.
    """

    title: str
    audio: Float[np.ndarray, " samples"] | Iterable[np.ndarray]
    f0_hz: Float[np.ndarray, " frames"]
    f0_confidence: Float[np.ndarray, " frames"]
    loudness_db: Float[np.ndarray, " frames"] | None = None
    n_samples: int | None = None
    notes: Bool[np.ndarray, " frames"] | None = None


def plot_sounds(
    sounds: Sequence[Sound],
    *,
    sample_rate: int,
    hop_length: int,
    y_axis: FrequencyAxis = "log",
) -> "Figure":
    """Draws sounds side by side: the spectrogram with the pitch on it, and the loudness.

    A column of the spectrogram is the mean power over its time span. Of pitch and loudness at most
    20,000 frames are drawn, evenly spaced. If a sound comes in blocks, the memory that is needed
    does not grow with its duration.

    Args:
      sounds: one sound or more, for example a recording and an instrument's version of it.
      sample_rate: samples per second of all sounds.
      hop_length: samples from one frame of pitch and loudness to the next, in all sounds.
      y_axis: the axis of frequency.

    Returns:
      A matplotlib figure.

    Raises:
      ModuleNotFoundError: matplotlib or librosa is not installed.
      ValueError: `sounds` is empty, a sound has no loudness, a sound in blocks has no `n_samples`,
        or `y_axis` is unknown.

    Example:
      >>> import numpy as np
      >>> from ddspx import features, plot
      >>> grid = {"sample_rate": 16000, "hop_length": 160}
      >>> tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
      >>> tracks = features.conditioning_features(tone, **grid)
      >>> figure = plot.plot_sounds([plot.Sound("A4", tone, *tracks)], **grid)
      >>> [axes.get_title() for axes in figure.axes]
      ['A4', '']
    """
    one_of("y_axis", y_axis, _FREQUENCY_AXES)
    if not sounds:
        raise ValueError("`sounds` must hold at least one sound, got none.")
    figure = _figure(width=6.0 * len(sounds), height=6.0)
    axes = figure.subplots(
        2, len(sounds), squeeze=False, sharex="col", sharey="row", height_ratios=(3, 1)
    )
    frame_s = hop_length / sample_rate
    for (above, below), sound in zip(axes.T, sounds, strict=True):
        if sound.loudness_db is None:
            raise ValueError(f"`loudness_db` of {sound.title!r} must be given, got None.")
        _draw_pitch(above, sound, sample_rate, frame_s, y_axis)
        shown = _drawn_frames(sound.f0_hz.size)
        time_s = shown * frame_s
        below.plot(time_s, sound.loudness_db[shown], linewidth=1)
        if sound.notes is not None:
            # In this transform, y goes from 0 to 1 over the height of the panel.
            whole = below.get_xaxis_transform()
            where = sound.notes[shown]
            below.fill_between(
                time_s, 0, 1, where=where, transform=whole, color="gray", alpha=0.2, lw=0
            )
        below.set_xlabel("Time")
        above.label_outer()
    axes[1, 0].set_ylabel("loudness (dB)")
    return figure


def plot_pitch(
    sound: Sound, *, sample_rate: int, hop_length: int, y_axis: FrequencyAxis = "log"
) -> "Figure":
    """Draws the pitch of a sound on its spectrogram, and the confidence below.

    Args:
      sound: the sound, with its pitch.
      sample_rate: samples per second.
      hop_length: samples from one frame of the pitch to the next.
      y_axis: the axis of frequency.

    Returns:
      A matplotlib figure.

    Raises:
      ModuleNotFoundError: matplotlib or librosa is not installed.
      ValueError: the sound comes in blocks without `n_samples`, or `y_axis` is unknown.

    Example:
      >>> import numpy as np
      >>> from ddspx import features, plot
      >>> grid = {"sample_rate": 16000, "hop_length": 160}
      >>> tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
      >>> track = features.track_pitch(tone, **grid)
      >>> figure = plot.plot_pitch(plot.Sound("A4", tone, *track), **grid)
      >>> [axes.get_ylabel() for axes in figure.axes][1]
      'confidence'
    """
    one_of("y_axis", y_axis, _FREQUENCY_AXES)
    figure = _figure(width=12.0, height=6.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    frame_s = hop_length / sample_rate
    _draw_pitch(above, sound, sample_rate, frame_s, y_axis)
    above.label_outer()
    shown = _drawn_frames(sound.f0_hz.size)
    below.plot(shown * frame_s, sound.f0_confidence[shown], linewidth=0.8)
    below.axhline(VOICED, color="gray", linestyle="--", linewidth=0.8)
    below.set_ylim(-0.05, 1.05)
    below.set_yticks([0, VOICED, 1])
    below.set_ylabel("confidence")
    below.set_xlabel("Time")
    return figure


def plot_training(records: Sequence[Mapping[str, float | int]]) -> "Figure":
    """Draws the log of a training run: one curve over the steps for each logged number.

    Args:
      records: the lines of a run's `metrics.jsonl`, parsed; each has a `step` and some numbers.

    Returns:
      A matplotlib figure. Numbers whose names are equal after the last slash share a panel, for
      example `train/loss` and `valid/loss`.

    Raises:
      ModuleNotFoundError: matplotlib or librosa is not installed.
      ValueError: the records hold no numbers.

    Example:
      >>> from ddspx import plot
      >>> figure = plot.plot_training(
      ...     [
      ...         {"step": 1, "train/loss": 20.0},
      ...         {"step": 2, "train/loss": 12.0, "valid/loss": 13.0},
      ...         {"step": 3, "train/loss": 9.0},
      ...     ]
      ... )
      >>> [line.get_label() for line in figure.axes[0].lines]
      ['train/loss', 'valid/loss']
    """
    names = sorted({name for record in records for name in record} - {"step", "time"})
    if not names:
        raise ValueError("`records` must hold numbers beside `step`, got none.")
    panels = sorted({name.rpartition("/")[2] for name in names})
    figure = _figure(width=7.0, height=2.8 * len(panels))
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    for panel, axis in zip(panels, axes, strict=True):
        for name in (name for name in names if name.rpartition("/")[2] == panel):
            points = [(record["step"], record[name]) for record in records if name in record]
            axis.plot(*zip(*points, strict=True), label=name, linewidth=1)
        axis.set_ylabel(panel)
        axis.legend()
    axes[-1].set_xlabel("step")
    return figure


def plot_confusion(confusion: Int[np.ndarray, "true predicted"], labels: Sequence[str]) -> "Figure":
    """Draws a confusion matrix: counts of examples by true and predicted class.

    The colour is the share of the true class, so that rare classes are as visible as frequent ones.

    Args:
      confusion: counts, as `metrics.confusion_matrix` gives them: true classes are rows.
      labels: names of the classes.

    Returns:
      A matplotlib figure.

    Raises:
      ModuleNotFoundError: matplotlib or librosa is not installed.
      ValueError: `confusion` does not have one row and one column for each label.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics, plot
      >>> true, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
      >>> confusion = metrics.confusion_matrix(true, predicted, n_classes=2)
      >>> figure = plot.plot_confusion(confusion, ["rain", "wind"])
      >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
      ['rain', 'wind']
    """
    n_classes = len(labels)
    if confusion.shape != (n_classes, n_classes):
        raise ValueError(
            f"`confusion` must have a row and a column for each of the {n_classes} labels, got "
            f"{confusion.shape}."
        )
    totals = confusion.sum(1, keepdims=True)
    shares = confusion / np.maximum(totals, 1)
    side = 2.0 + 0.5 * max(n_classes, 4)
    figure = _figure(width=side + 2.0, height=side)
    axes = figure.subplots()
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            color = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(n_classes), labels, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(n_classes), labels, parse_math=False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    figure.colorbar(image, label="share of the class (%)", shrink=0.8)
    return figure


class Filterbank(NamedTuple):
    """A filterbank to be drawn.

    Attributes:
      title: title of the panel.
      power: power gain of each filter, at equally spaced frequencies from 0 Hz to Nyquist.
      centers_hz: centre of each filter, in Hz.
    """

    title: str
    power: Float[np.ndarray, "bands bins"]
    centers_hz: Float[np.ndarray, " bands"]


def plot_filterbanks(banks: Sequence[Filterbank], *, sample_rate: int) -> "Figure":
    """Draws filterbanks one above the other, and how far the centres moved from the first bank.

    Args:
      banks: one bank or more, with equal numbers of filters, for example before and after training:
        ``Filterbank("before", np.asarray(frontend.power_response(n_fft=4096)),
        np.asarray(frontend.centers_hz()))``.
      sample_rate: samples per second of all banks.

    Returns:
      A matplotlib figure: the responses in dB and, for several banks, the distance in ERB by which
      each centre moved, drawn at its frequency in the first bank.

    Raises:
      ModuleNotFoundError: matplotlib or librosa is not installed.
      ValueError: `banks` is empty, or their numbers of filters differ.

    Example:
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> from ddspx import core, plot
      >>> bins_hz = jnp.linspace(0.0, 4000.0, 257)
      >>> def bank(title, *centers_hz):
      ...     centers = jnp.array(centers_hz)
      ...     response = core.gabor_response(bins_hz, centers, core.hz_to_erb(centers))
      ...     return plot.Filterbank(title, np.square(np.abs(response)), np.asarray(centers))
      >>> banks = [bank("before", 500.0, 1000.0), bank("after", 500.0, 1200.0)]
      >>> figure = plot.plot_filterbanks(banks, sample_rate=8000)
      >>> [axes.get_title() for axes in figure.axes][:2]
      ['before', 'after']
    """
    if not banks:
        raise ValueError("`banks` must hold at least one bank, got none.")
    if len(sizes := sorted({len(bank.centers_hz) for bank in banks})) > 1:
        raise ValueError(f"`banks` must have equal numbers of filters, got {sizes}.")
    n_rows = len(banks) + (len(banks) > 1)
    figure = _figure(width=9.0, height=2.4 * n_rows)
    axes = figure.subplots(n_rows, 1, squeeze=False, sharex=True)[:, 0]
    for above, bank in zip(axes, banks, strict=False):
        _draw_bank(above, bank, sample_rate)
    if len(banks) > 1:
        # A filter at a negative frequency is the same as that at the positive one.
        before_hz, *later_hz = (np.abs(np.asarray(b.centers_hz, np.float64)) for b in banks)
        for bank, after_hz in zip(banks[1:], later_hz, strict=True):
            ratio = (ERB_HZ + ERB_SLOPE * after_hz) / (ERB_HZ + ERB_SLOPE * before_hz)
            axes[-1].plot(before_hz, np.log(ratio) / ERB_SLOPE, ".-", lw=0.6, label=bank.title)
        axes[-1].axhline(0, color="gray", linewidth=0.5)
        axes[-1].set_ylabel("moved by (ERB)")
        axes[-1].legend()
    axes[-1].set_xlabel("Hz")
    return figure


def _draw_bank(axes: "Axes", bank: Filterbank, sample_rate: int) -> None:
    """Draws each filter in dB, with colours in the order of the frequencies."""
    from librosa.display import LogHzFormatter
    from matplotlib import colormaps

    level_db = 10 * np.log10(np.maximum(np.asarray(bank.power, np.float64), 1e-30))
    bins_hz = np.linspace(0, sample_rate / 2, level_db.shape[-1])
    order = np.argsort(bank.centers_hz)
    for color, i in zip(
        colormaps["turbo"](np.linspace(0.05, 0.95, len(order))), order, strict=True
    ):
        # A logarithmic axis cannot show 0 Hz.
        axes.plot(bins_hz[1:], level_db[i, 1:], color=color, linewidth=0.8)
    top_db = level_db.max()
    axes.set_ylim(top_db - _BANK_RANGE_DB, top_db + 3)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(LogHzFormatter())
    axes.set_xlim(max(bins_hz[1], sample_rate / 400), sample_rate / 2)
    axes.set_ylabel("dB")
    axes.set_title(bank.title, parse_math=False)


def plot_features(
    values: Float[np.ndarray, "*shape"],
    *,
    title: str,
    label: str,
    sample_rate: int,
    hop_length: int,
    frequencies_hz: Float[np.ndarray, " features"] | None = None,
    level_of: Literal["amplitude", "power"] | None = None,
    y_axis: FrequencyAxis | None = None,
) -> "Figure":
    """Draws features over time: vectors as an image, numbers as a curve.

    A column of the image is the mean over its time span. The colour range of coefficients ignores
    the zeroth coefficient, which is the level and may exceed the range.

    Args:
      values: ``(frames, features)`` or ``(frames,)``, on the frame rule.
      title: title of the figure.
      label: name of the values, with their unit.
      sample_rate: samples per second.
      hop_length: samples between frames.
      frequencies_hz: frequency of each feature, for bins (from 0 Hz) or bands; None for
        coefficients.
      level_of: ``amplitude`` or ``power`` draws the level in dB of values of this kind, down to
        80 dB below the highest; None draws the values themselves.
      y_axis: the axis of frequency; by default `log` for bins and `mel` for bands.

    Returns:
      A matplotlib figure.

    Raises:
      ModuleNotFoundError: matplotlib or librosa is not installed.
      ValueError: `values` has neither one nor two axes, or no frames, or `y_axis` is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> from ddspx import core, plot
      >>> noise = jnp.asarray(np.random.default_rng(0).normal(size=8000), jnp.float32)
      >>> figure = plot.plot_features(
      ...     np.asarray(core.spectrogram(noise, n_fft=512, hop_length=80)),
      ...     title="noise",
      ...     label="magnitude",
      ...     sample_rate=8000,
      ...     hop_length=80,
      ...     frequencies_hz=np.fft.rfftfreq(512, 1 / 8000),
      ...     level_of="amplitude",
      ... )
      >>> figure.axes[0].get_title()
      'noise'
    """
    if y_axis is not None:
        one_of("y_axis", y_axis, _FREQUENCY_AXES)
    if values.ndim not in (1, 2) or not values.size:
        raise ValueError(
            f"`values` must be (frames, features) or (frames,), of one frame or more, got the "
            f"shape {values.shape}."
        )
    is_curve, frame_s = values.ndim == 1, hop_length / sample_rate
    figure = _figure(width=12.0, height=3.5 if is_curve else 5.0)
    axes = figure.subplots()
    n_frames = len(values)
    columns = min(n_frames, _MAX_COLUMNS)
    edges = -(-np.arange(columns + 1) * n_frames // columns)
    # One column at a time, because `values` may be mapped from a file that is larger than memory.
    means = np.array([values[a:b].mean(axis=0, dtype=np.float64) for a, b in pairwise(edges)])
    if is_curve:
        from librosa.display import TimeFormatter

        axes.plot((edges[:-1] + edges[1:] - 1) / 2 * frame_s, means, linewidth=1)
        axes.xaxis.set_major_formatter(TimeFormatter())
        axes.set_xlabel("Time")
        axes.set_ylabel(label)
    else:
        if level_of is not None:
            means = (10 if level_of == "power" else 20) * np.log10(np.maximum(means, 1e-12))
            label = f"level of the {label} (dB)"
        colors = _color_range(means, frequencies_hz, level_of)
        # Frames are centred, so a column begins half a frame before its first frame.
        edges_s = (edges - 0.5) * frame_s
        if frequencies_hz is None:
            image = _draw_coefficients(axes, means, edges_s, colors)
        else:
            y_axis = y_axis or ("mel" if frequencies_hz[0] else "log")
            image = _draw_spectrum(axes, means, edges_s, frequencies_hz, y_axis, colors)
        figure.colorbar(image, ax=axes, label=label, pad=0.01)
    axes.set_xlim(0, max(n_frames - 1, 0.5) * frame_s)
    axes.set_title(title, parse_math=False)
    return figure


def require_plotting() -> None:
    """Raises a ModuleNotFoundError that says what to install, if the extra `plot` is missing.

    Example:
      >>> from ddspx import plot
      >>> plot.require_plotting()
    """
    for name in ("matplotlib", "librosa"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(
                f"Plotting needs {name}; install it with `pip install 'ddspx[plot]'`.", name=name
            )


def _figure(*, width: float, height: float) -> "Figure":
    require_plotting()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _draw_pitch(
    axes: "Axes", sound: Sound, sample_rate: int, frame_s: float, y_axis: FrequencyAxis
) -> None:
    """Draws the spectrogram, and on it the pitch of the voiced frames."""
    _draw_spectrogram(axes, sound, sample_rate, y_axis)
    shown = _drawn_frames(sound.f0_hz.size)
    is_voiced = sound.f0_confidence[shown] >= VOICED
    voiced_hz = np.where(is_voiced, sound.f0_hz[shown], np.nan)
    # Points, because a line would connect separate notes and would not show single frames.
    axes.plot(shown * frame_s, voiced_hz, ".", color="cyan", markersize=1.5)
    axes.set_title(sound.title, parse_math=False)
    axes.set_xlim(0, _n_samples(sound) / sample_rate)


def _drawn_frames(n_frames: int) -> Int[np.ndarray, " points"]:
    """The frames that are drawn: all, or as many of a long sound as a picture can show."""
    return np.arange(0, n_frames, max(1, -(-n_frames // _MAX_POINTS)))


def _draw_spectrogram(axes: "Axes", sound: Sound, sample_rate: int, y_axis: FrequencyAxis) -> None:
    n_fft = 2 ** round(log2(_FRAME_SECONDS * sample_rate))
    hop_length = n_fft // 4
    level_db = 10 * np.log10(np.maximum(_mean_power(sound, n_fft, hop_length), 1e-24))
    top_db = max(level_db[:, 1:].max(), _QUIETEST_TOP_DB)
    frames = core.n_frames(_n_samples(sound), hop_length=hop_length)
    # Frames are centred, so a column begins half a frame before its first frame.
    starts = np.linspace(0, frames, len(level_db) + 1) - 0.5
    _draw_spectrum(
        axes,
        level_db,
        starts * hop_length / sample_rate,
        np.fft.rfftfreq(n_fft, 1 / sample_rate),
        y_axis,
        (top_db - _RANGE_DB, top_db),
    )


def _specshow(values: np.ndarray, **options: Any) -> "QuadMesh":
    """Calls `librosa.display.specshow`, and hides its warning of a missing notebook widget."""
    from librosa.display import specshow

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        return specshow(values, **options)


def _draw_spectrum(
    axes: "Axes",
    columns: np.ndarray,
    edges_s: np.ndarray,
    frequencies_hz: np.ndarray,
    y_axis: FrequencyAxis,
    colors: tuple[float, float],
) -> "QuadMesh":
    """Draws bins or bands over time; rows end halfway between their frequencies."""
    half_hz = np.diff(frequencies_hz) / 2 if len(frequencies_hz) > 1 else frequencies_hz / 2
    upper_hz = frequencies_hz + np.append(half_hz, half_hz[-1])[: len(frequencies_hz)]
    edges_hz = np.append(frequencies_hz[0] - half_hz[0], upper_hz)
    # The bin at 0 Hz is left out: it is a constant offset, which is inaudible.
    first = int(frequencies_hz[0] == 0)
    image = _specshow(
        columns[:, first:].T,
        x_coords=edges_s,
        y_coords=edges_hz[first:],
        x_axis="time",
        y_axis=y_axis,
        cmap="magma",
        vmin=colors[0],
        vmax=colors[1],
        ax=axes,
    )
    axes.set_ylim(0, frequencies_hz[-1] if first else edges_hz[-1])
    return image


def _draw_coefficients(
    axes: "Axes", columns: np.ndarray, edges_s: np.ndarray, colors: tuple[float, float]
) -> "QuadMesh":
    """Draws numbered coefficients over time."""
    image = _specshow(
        columns.T,
        x_coords=edges_s,
        y_coords=np.arange(columns.shape[1] + 1) - 0.5,
        x_axis="time",
        cmap="RdBu_r",
        vmin=colors[0],
        vmax=colors[1],
        ax=axes,
    )
    axes.set_ylabel("coefficient")
    axes.set_yticks(range(0, columns.shape[1], 1 + columns.shape[1] // 12))
    return image


def _color_range(
    means: np.ndarray, frequencies_hz: np.ndarray | None, level_of: str | None
) -> tuple[float, float]:
    if level_of is not None:
        return means.max() - _RANGE_DB, means.max()
    if frequencies_hz is None:
        widest = np.percentile(np.abs(means[:, 1:] if means.shape[1] > 1 else means), 98)
        return -widest, widest
    return np.percentile(means, 1), np.percentile(means, 99.9)


def _mean_power(sound: Sound, n_fft: int, hop_length: int) -> Float[np.ndarray, "columns bins"]:
    """Power of the frames, averaged over time to at most `_MAX_COLUMNS` columns."""
    frames = core.n_frames(_n_samples(sound), hop_length=hop_length)
    columns = min(frames, _MAX_COLUMNS)
    column = np.arange(frames) * columns // frames
    total = np.zeros((columns, n_fft // 2 + 1))
    first = 0
    for power in _powers(_blocks(sound), n_fft, hop_length):
        np.add.at(total, column[first : first + len(power)], power)
        first += len(power)
    return total / np.bincount(column)[:, None]


def _powers(
    blocks: Iterable[np.ndarray], n_fft: int, hop_length: int
) -> Iterator[Float[np.ndarray, "frames bins"]]:
    """Yields power spectra of the centred frames, some frames at a time."""
    window = np.hanning(n_fft + 1)[:-1]
    ends = np.zeros(n_fft // 2)
    rest = ends
    for block in chain(blocks, [ends]):
        rest = np.concatenate([rest, block])
        if rest.size < n_fft:
            continue
        frames = np.lib.stride_tricks.sliding_window_view(rest, n_fft)[::hop_length]
        for first in range(0, len(frames), 256):
            yield np.abs(np.fft.rfft(window * frames[first : first + 256])) ** 2
        rest = rest[len(frames) * hop_length :]


def _blocks(sound: Sound) -> Iterable[np.ndarray]:
    return [sound.audio] if isinstance(sound.audio, np.ndarray) else sound.audio


def _n_samples(sound: Sound) -> int:
    if isinstance(sound.audio, np.ndarray):
        return sound.audio.size
    if sound.n_samples is None:
        raise ValueError(f"`n_samples` of {sound.title!r} must be given, as it comes in blocks.")
    return sound.n_samples
