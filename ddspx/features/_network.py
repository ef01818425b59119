"""Pitch by the network that ships with ddspx, at any rate and hop."""

import math
from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._typing import Array
from ddspx.features._blocks import RESAMPLER_REACH, by_rows, chunk_sizes, windows
from ddspx.metrics import VOICED
from ddspx.models.pitch import PitchTracker, load_pitch_tracker
from ddspx.models.pitch.limits import is_within

# Frames of the longest chunk.
_LONGEST = 480
_SEMITONE = 1 / 12


class _Grid(NamedTuple):
    """How a sound is cut, counted in the network's frames; all but the rates are of whole units.

    Attributes:
      sample_rate: of the audio.
      unit: the smallest number of frames that spans a whole number of samples at both rates.
      hop: samples of the audio in a unit.
      chunks: sizes of chunks.
      before: frames before a chunk, which cover the network's context and the resampler's filter.
      after: frames after a chunk, which cover the look-ahead and the filter.
    """

    sample_rate: int
    unit: int
    hop: int
    chunks: tuple[int, ...]
    before: int
    after: int

    @classmethod
    def of(cls, sample_rate: int) -> "_Grid":
        """Makes the grid from the audio's rate."""
        model = _shipped()[0]
        config = model.config
        divisor = math.gcd(sample_rate, config.sample_rate)
        down, up = sample_rate // divisor, config.sample_rate // divisor
        unit = up // math.gcd(up, config.hop_length)
        reach = math.ceil(RESAMPLER_REACH * max(1, up / down) / config.hop_length)
        before, after = (
            unit * -(-(frames + reach) // unit)
            for frames in (model.context - model.delay, model.delay)
        )
        hop = config.hop_length * down * unit // up
        return cls(sample_rate, unit, hop, chunk_sizes(_LONGEST, unit), before, after)

    def n_units(self, samples: int) -> int:
        """Returns the number of units of `samples` samples of the audio.

        It counts one frame more than the signal has, so that the caller's last frames lie between
        two.
        """
        config = _shipped()[0].config
        at_rate = samples * config.sample_rate // self.sample_rate
        return -(-(2 + at_rate // config.hop_length) // self.unit)


def stream_network(
    blocks: Iterable[np.ndarray], *, sample_rate: int, fmin: float, fmax: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields pitch and confidence at the network's own frames, one chunk after the other."""
    grid = _Grid.of(sample_rate)
    unit, (model, weights) = grid.unit, _shipped()
    cut = windows(
        blocks,
        hop=grid.hop,
        chunks=[size // unit for size in grid.chunks],
        margins=(grid.before // unit, grid.after // unit),
        n_frames=grid.n_units,
    )
    run_row = partial(_run_of(grid), weights)
    for window, n in cut:
        f0_hz, confidence = by_rows(run_row, window, batch=window.shape[:-1])
        # Not in the compiled function, so that a range needs no program of its own.
        inside = is_within(jnp.asarray(f0_hz), model.config, fmin=fmin, fmax=fmax)
        confidence = np.where(inside, confidence, np.float32(0))
        yield f0_hz[..., : n * unit], confidence[..., : n * unit]


def at_hops(
    track: tuple[np.ndarray, np.ndarray], n_frames: int, *, hop_length: int, sample_rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolates the network's track at the caller's frames; pitch is NaN if unvoiced."""
    config = _shipped()[0].config
    scale = hop_length * config.sample_rate / (sample_rate * config.hop_length)
    f0_hz, confidence = between(*track, np.arange(n_frames) * scale)
    return np.where(confidence >= VOICED, f0_hz, np.float32(np.nan)), confidence


def between(
    f0_hz: np.ndarray, confidence: np.ndarray, position: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolates a track at fractional frames: pitch in log-frequency, confidence linearly.

    Where the pitch jumps by more than a semitone it is not interpolated: the nearer frame counts.
    """
    before = np.minimum(position.astype(int), f0_hz.shape[-1] - 1)
    after = np.minimum(before + 1, f0_hz.shape[-1] - 1)
    weight = (position - before).astype(np.float32)
    octave = np.log2(f0_hz)
    jumps = np.abs(octave[..., after] - octave[..., before]) > _SEMITONE
    step = np.where(jumps, np.round(weight), weight)
    octave = octave[..., before] * (1 - step) + octave[..., after] * step
    return np.exp2(octave), confidence[..., before] * (1 - weight) + confidence[..., after] * weight


def network_range() -> tuple[float, float]:
    """Returns the lowest and the highest pitch that the network hears, in Hz."""
    config = _shipped()[0].config
    return config.fmin, config.fmax


def resampled(audio: Array, sample_rate: int, target_rate: int) -> Array:
    """Calls `core.resample`; its error names the caller's argument and the other trackers."""
    try:
        return core.resample(audio, orig_rate=sample_rate, target_rate=target_rate)
    except ValueError as error:
        raise ValueError(
            f"`sample_rate` must have a ratio of small whole numbers to the tracker's "
            f"{target_rate} Hz, got {sample_rate}; resample the audio, or use the method 'yin' or "
            "'pyin'."
        ) from error


@cache
def _shipped() -> tuple[PitchTracker, Any]:
    model = load_pitch_tracker()
    return model, nnx.split(model)[1]


@cache
def _run_of(grid: _Grid):
    """Returns the compiled network."""
    model, _ = _shipped()
    graph, config = nnx.graphdef(model), model.config
    first = grid.before - (model.context - model.delay)

    @jax.jit
    def run(state, window):
        chunk = window.shape[-1] // grid.hop * grid.unit - grid.before - grid.after
        audio = resampled(window, grid.sample_rate, config.sample_rate)
        track = nnx.merge(graph, state).track_section(audio)
        return tuple(x[..., first : first + chunk] for x in track)

    return run
