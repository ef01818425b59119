"""Pictures of sounds and of training; matplotlib (the extra `plot`) is needed to draw them.

Figures are made without pyplot: no window, no state, no display needed. Save one with
``figure.savefig(path)``; in a notebook it shows itself.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx._typing import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_N_FFT = 1024
_MAX_COLUMNS = 1200
_RANGE_DB = 80.0


class Sound(NamedTuple):
    """What there is to draw of one sound.

    Attributes:
      title: written above it.
      audio: its samples.
      f0_hz: its pitch, on equally spaced frames from the first sample to the last.
      f0_confidence: how sure the pitch is; only frames above 0.5 are drawn.
      loudness_db: its loudness, on the same frames.
    """

    title: str
    audio: Float[np.ndarray, " samples"]
    f0_hz: Float[np.ndarray, " frames"]
    f0_confidence: Float[np.ndarray, " frames"]
    loudness_db: Float[np.ndarray, " frames"]


def plot_sounds(sounds: Sequence[Sound], *, sample_rate: int) -> "Figure":
    """Draws sounds side by side: the spectrogram with the pitch on it, and the loudness.

    Args:
      sounds: one or more, for example a recording and what an instrument made of it.
      sample_rate: samples per second of all.

    Returns:
      A matplotlib figure.

    Raises:
      ModuleNotFoundError: matplotlib is not installed.
      ValueError: there is no sound.
    """
    if not sounds:
        raise ValueError("`sounds` must hold at least one sound, got none.")
    figure = _figure(width=6.0 * len(sounds), height=6.0)
    axes = figure.subplots(
        2, len(sounds), squeeze=False, sharex="col", sharey="row", height_ratios=(3, 1)
    )
    for (above, below), sound in zip(axes.T, sounds, strict=True):
        _draw_spectrogram(above, sound, sample_rate)
        seconds = np.linspace(0, sound.audio.size / sample_rate, sound.loudness_db.size)
        below.plot(seconds, sound.loudness_db, linewidth=1)
        below.set_xlabel("time (s)")
    axes[0, 0].set_ylabel("frequency (Hz)")
    axes[1, 0].set_ylabel("loudness (dB)")
    return figure


def plot_training(records: Sequence[Mapping[str, float | int]]) -> "Figure":
    """Draws what a run logged: one curve for each number over the steps.

    Args:
      records: the lines of a run's `metrics.jsonl`, parsed; each has a `step` and some numbers.

    Returns:
      A matplotlib figure with one panel for each kind of number, as named after the last
      slash: `train/loss` and `valid/loss` share a panel.

    Raises:
      ModuleNotFoundError: matplotlib is not installed.
      ValueError: there is nothing to draw.
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


def require_matplotlib() -> None:
    """Raises a ModuleNotFoundError that says what to install, if matplotlib is missing."""
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError(
            "Pictures need matplotlib; install it with `pip install 'ddspx[plot]'`.",
            name="matplotlib",
        )


def _figure(*, width: float, height: float) -> "Figure":
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _draw_spectrogram(axes: "Axes", sound: Sound, sample_rate: int) -> None:
    # At most one column per pixel, however long the sound.
    hop_length = max(_N_FFT // 4, -(-sound.audio.size // _MAX_COLUMNS))
    magnitudes = core.spectrogram(jnp.asarray(sound.audio), n_fft=_N_FFT, hop_length=hop_length)
    level_db = 20 * np.log10(np.maximum(np.asarray(magnitudes, np.float64), 1e-12)).T
    duration_s = sound.audio.size / sample_rate
    axes.imshow(
        level_db,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmin=level_db.max() - _RANGE_DB,
        vmax=level_db.max(),
        extent=(0, duration_s, 0, sample_rate / 2),
    )
    seconds = np.linspace(0, duration_s, sound.f0_hz.size)
    sure = np.where(sound.f0_confidence > 0.5, sound.f0_hz, np.nan)
    axes.plot(seconds, sure, color="cyan", linewidth=0.8)
    axes.set_ylim(0, sample_rate / 2)
    axes.set_title(sound.title)
