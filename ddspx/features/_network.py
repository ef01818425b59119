"""Pitch by the networks that ship with ddspx, at any rate and hop."""

import itertools
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
from ddspx.features._blocks import RESAMPLER_REACH, appended, by_rows, chunk_sizes, windows
from ddspx.features._choices import NetworkMethod
from ddspx.models.pitch import PitchState, PitchTracker, load_pitch_tracker
from ddspx.models.pitch.limits import is_within

# Frames of the longest chunk.
_LONGEST = 480
# Octaves between two frames: up to the first number the pitch glides, and beyond the second it
# jumps. In between it glides if it also moves before or after, in the same direction, by at least
# this share.
_GLIDE, _JUMP, _SHARE = 1 / 12, 5 / 12, 0.25


class _Grid(NamedTuple):
    """How a sound is cut, counted in the network's frames; all but the rates are of whole units.

    Attributes:
      method: the network.
      sample_rate: of the audio.
      unit: the smallest number of frames that spans a whole number of samples at both rates.
      hop: samples of the audio in a unit.
      chunks: sizes of chunks.
      margin: frames before and after a chunk, which the resampler's filter reaches.
    """

    method: NetworkMethod
    sample_rate: int
    unit: int
    hop: int
    chunks: tuple[int, ...]
    margin: int

    @classmethod
    def of(cls, method: NetworkMethod, sample_rate: int) -> "_Grid":
        """Makes the grid from the audio's rate."""
        config = _shipped(method)[0].config
        divisor = math.gcd(sample_rate, config.sample_rate)
        down, up = sample_rate // divisor, config.sample_rate // divisor
        unit = up // math.gcd(up, config.hop_length)
        reach = math.ceil(RESAMPLER_REACH * max(1, up / down) / config.hop_length)
        margin = unit * -(-reach // unit) if sample_rate != config.sample_rate else 0
        hop = config.hop_length * down * unit // up
        return cls(method, sample_rate, unit, hop, chunk_sizes(_LONGEST, unit), margin)

    def n_frames(self, samples: int) -> int:
        """Returns the number of the network's frames in `samples` samples of the audio.

        It counts one frame more than the signal has, so that the caller's last frames lie between
        two.
        """
        config = _shipped(self.method)[0].config
        return 2 + samples * config.sample_rate // self.sample_rate // config.hop_length


def stream_network(
    blocks: Iterable[np.ndarray],
    method: NetworkMethod,
    *,
    sample_rate: int,
    fmin: float,
    fmax: float,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields pitch and confidence at the network's own frames, one chunk after the other."""
    grid = _Grid.of(method, sample_rate)
    unit, (model, weights) = grid.unit, _shipped(method)
    cut = windows(
        blocks,
        hop=grid.hop,
        chunks=[size // unit for size in grid.chunks],
        margins=(grid.margin // unit, grid.margin // unit),
        # The network's frames come late.
        n_frames=lambda samples: -(-(grid.n_frames(samples) + model.delay) // unit),
        short_end=len(grid.chunks) > 1,
    )
    run_row, state = partial(_run_of(grid), weights), None
    done = -model.delay
    for window, _ in cut:
        batch = window.shape[:-1]
        state = _silent(method, batch) if state is None else state
        state, (f0_hz, confidence) = by_rows(run_row, state, window, batch=batch)
        # Not in the compiled function, so that a range needs no program of its own.
        inside = is_within(jnp.asarray(f0_hz), model.config, fmin=fmin, fmax=fmax)
        confidence = np.where(inside, confidence, np.float32(0))
        early, done = max(0, -done), done + f0_hz.shape[-1]
        yield f0_hz[..., early:], confidence[..., early:]


def stream_at_hops(
    tracks: Iterable[tuple[np.ndarray, np.ndarray]],
    method: NetworkMethod,
    *,
    hop_length: int,
    sample_rate: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Interpolates the chunks of :func:`stream_network` at the caller's frames.

    The frames end with the network's, which are later than the signal's end.
    """
    config = _shipped(method)[0].config
    scale = hop_length * config.sample_rate / (sample_rate * config.hop_length)
    held: tuple[np.ndarray, ...] = ()
    first = done = 0
    for chunk in itertools.chain(tracks, [None]):
        held = appended(held, chunk)
        end = first + held[0].shape[-1]
        position = np.arange(done, math.ceil(end / scale) + 1) * scale
        # What a frame takes reaches from the network's frame before its neighbours to that after.
        known = position < end - 2 if chunk is not None else position <= end - 1
        position = position[known]
        yield between(held[0], held[1], position, first=first)
        done += position.size
        needed = max(first, int(done * scale) - 1)
        held, first = tuple(x[..., needed - first :] for x in held), needed


def between(
    f0_hz: np.ndarray, confidence: np.ndarray, position: np.ndarray, *, first: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolates a track at fractional frames: pitch in log-frequency, confidence linearly.

    Where the pitch jumps, to another note or by an error, the nearer frame counts. A glide of more
    than a semitone is told from a jump by the frames around it, which move too. `first` is the
    number of the track's first frame.
    """
    last = f0_hz.shape[-1] - 1
    before = np.minimum(position.astype(int) - first, last)
    after = np.minimum(before + 1, last)
    weight = (position - (before + first)).astype(np.float32)
    octave = np.log2(f0_hz)
    jumps = _jumps(octave)[..., before]
    step = np.where(jumps, np.round(weight), weight)
    octave = octave[..., before] * (1 - step) + octave[..., after] * step
    return np.exp2(octave), confidence[..., before] * (1 - weight) + confidence[..., after] * weight


def _jumps(octave: np.ndarray) -> np.ndarray:
    """Whether the pitch jumps between a frame and the next; the last frame has no next."""
    move = np.diff(octave, append=octave[..., -1:])
    size = np.abs(move)
    still = np.zeros_like(move[..., :1])
    before = np.concatenate([still, move[..., :-1]], axis=-1) * np.sign(move)
    after = np.concatenate([move[..., 1:], still], axis=-1) * np.sign(move)
    is_steady = np.maximum(before, after) < _SHARE * size
    return (size > _JUMP) | (size > _GLIDE) & is_steady


def network_range(method: NetworkMethod) -> tuple[float, float]:
    """Returns the lowest and the highest pitch that a network finds, in Hz."""
    config = _shipped(method)[0].config
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
def _shipped(method: NetworkMethod) -> tuple[PitchTracker, Any]:
    model = load_pitch_tracker(live=method == "ddspx-live")
    return model, nnx.split(model)[1]


@cache
def _silence(method: NetworkMethod) -> PitchState:
    """Returns the state of a stream that has been silent so far."""
    graph, weights = nnx.split(_shipped(method)[0])
    return jax.device_get(jax.jit(lambda weights: nnx.merge(graph, weights).init())(weights))


def _silent(method: NetworkMethod, batch: tuple[int, ...]) -> PitchState:
    """Returns the states of a batch of streams that have been silent so far."""
    silence = _silence(method)
    return jax.tree.map(lambda x: np.broadcast_to(x, (*batch, *x.shape)), silence)


@cache
def _run_of(grid: _Grid):
    """Returns the compiled network: a chunk's samples and margins in, its frames out."""
    model, _ = _shipped(grid.method)
    graph, config = nnx.graphdef(model), model.config

    @jax.jit
    def run(weights, state, window):
        audio = resampled(window, grid.sample_rate, config.sample_rate)
        margin = grid.margin * config.hop_length
        chunk = audio[..., margin : audio.shape[-1] - margin]
        return nnx.merge(graph, weights).step(state, chunk)

    return run
