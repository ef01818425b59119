"""Pitch by the network that ships with ddspx, at any rate and hop."""

import math
from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import Any

import jax
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._typing import Array
from ddspx.features._blocks import by_rows, windows
from ddspx.metrics import VOICED
from ddspx.models.pitch import PitchTracker, load_pitch_tracker

# Least frames of a chunk, and of a margin, which covers the network's context and the resampler's
# filter.
_CHUNK, _MARGIN = 480, 40
_SEMITONE = 1 / 12


def stream_network(
    blocks: Iterable[np.ndarray], *, sample_rate: int, fmin: float, fmax: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields pitch and confidence at the network's own frames, one chunk after the other."""
    config = _shipped()[0].config
    divisor = math.gcd(sample_rate, config.sample_rate)
    down, up = sample_rate // divisor, config.sample_rate // divisor
    # The smallest number of frames that spans a whole number of samples at both rates.
    unit = up // math.gcd(up, config.hop_length)
    chunk, margin = (unit * -(-n // unit) for n in (_CHUNK, _MARGIN))
    hop = config.hop_length * down * unit // up

    def n_units(samples):
        # One frame more than the signal has, so that the caller's last frames lie between two.
        return -(-(2 + samples * up // down // config.hop_length) // unit)

    run = _run_of(sample_rate, chunk, margin, fmin, fmax)
    grid = {"hop": hop, "chunk": chunk // unit, "margin": margin // unit}
    for window, n in windows(blocks, **grid, n_frames=n_units):
        run_row = partial(run, _shipped()[1])
        f0_hz, confidence = by_rows(run_row, window, batch=window.shape[:-1])
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


def check_range(fmin: float, fmax: float) -> None:
    """Raises a ValueError if a range of pitch exceeds that of the network."""
    config = _shipped()[0].config
    if fmin < config.fmin or fmax > config.fmax:
        raise ValueError(
            f"`fmin` and `fmax` must be within {config.fmin:.0f} to {config.fmax:.0f} Hz, the "
            f"range of the tracker 'ddspx', got {fmin} and {fmax}; use the method 'yin'."
        )


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
def _run_of(sample_rate: int, chunk: int, margin: int, fmin: float, fmax: float):
    model, _ = _shipped()
    graph, config = nnx.graphdef(model), model.config
    first = margin - (model.context - model.delay)

    @jax.jit
    def run(state, window):
        audio = resampled(window, sample_rate, config.sample_rate)
        track = nnx.merge(graph, state).track_section(audio, fmin=fmin, fmax=fmax)
        return tuple(x[..., first : first + chunk] for x in track)

    return run
