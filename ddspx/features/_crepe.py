"""CREPE's pitch of audio that arrives in blocks, decoded by one Viterbi path through all of it."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx.features._blocks import RESAMPLER_REACH, Counted, by_rows, chunk_sizes, windows
from ddspx.features._network import between, resampled
from ddspx.models.crepe import (
    FRAME_LENGTH,
    N_BINS,
    SAMPLE_RATE as CREPE_RATE,
    WEIGHTS_VARIABLE,
    Capacity,
    CrepeNetwork,
    bins_to_hz,
    load_crepe,
)
from ddspx.models.crepe.model import chunks_of, map_chunks
from ddspx.models.crepe.path import (
    Steps,
    path_back,
    path_end,
    path_origins,
    path_start,
    path_steps,
)

# Frames of the longest chunk, and its samples at 16 kHz (16 s), which limits long hops.
_CHUNK, _LONGEST = 256, 1 << 18
# Frames that the network computes at once, which limits the memory of its intermediate results.
_AT_ONCE = 32


class CrepePlan(NamedTuple):
    """The static sizes of a run, counted in frames of CREPE's own, at 16 kHz.

    Attributes:
      sample_rate: of the audio.
      hop_length: samples between CREPE's frames, at 16 kHz.
      limits_hz: the lowest and the highest pitch that count as pitch; half a bin beyond the
        caller's range, because the network's pitch is only that exact.
    """

    sample_rate: int
    hop_length: int
    limits_hz: tuple[float, float]

    @classmethod
    def of(cls, sample_rate: int, hop_length: int, fmin: float, fmax: float) -> "CrepePlan":
        """Makes the plan from the audio's rate, the caller's hop and the range of pitch."""
        bins_hz = _bins_hz()
        limits_hz = fmin / 2 ** (1 / 120), fmax * 2 ** (1 / 120)
        if not np.any((bins_hz >= limits_hz[0]) & (bins_hz <= limits_hz[1])):
            raise ValueError(
                f"`fmin` and `fmax` must overlap the {bins_hz[0]:.0f} to {bins_hz[-1]:.0f} Hz that "
                f"CREPE detects, got {fmin} and {fmax}; use the method 'yin' or 'pyin'."
            )
        return cls(sample_rate, cls.hop_of(sample_rate, hop_length), limits_hz)

    @staticmethod
    def hop_of(sample_rate: int, hop_length: int) -> int:
        """The caller's hop if it is a whole number of samples at 16 kHz, otherwise 10 ms."""
        exact = hop_length * CREPE_RATE % sample_rate == 0
        return hop_length * CREPE_RATE // sample_rate if exact else CREPE_RATE // 100

    @property
    def rates(self) -> tuple[int, int]:
        """The ratio of the audio's rate to 16 kHz in lowest terms."""
        divisor = math.gcd(self.sample_rate, CREPE_RATE)
        return self.sample_rate // divisor, CREPE_RATE // divisor

    @property
    def unit(self) -> int:
        """The smallest number of frames that spans a whole number of samples at both rates."""
        return self.rates[1] // math.gcd(self.rates[1], self.hop_length)

    @property
    def chunks(self) -> tuple[int, ...]:
        """The sizes of chunks in frames, multiples of `unit`."""
        return chunk_sizes(max(1, min(_CHUNK, _LONGEST // self.hop_length)), self.unit)

    @property
    def margin(self) -> int:
        """Frames added on either side of a chunk, which its outermost frames reach into."""
        down, up = self.rates
        reach = FRAME_LENGTH // 2 + math.ceil(RESAMPLER_REACH * max(1, up / down))
        least = -(-reach // self.hop_length)
        return self.unit * -(-least // self.unit)

    def n_frames(self, samples: int) -> int:
        """Returns the number of CREPE's frames of `samples` samples of the audio."""
        down, up = self.rates
        return core.n_frames(-(-samples * up // down), hop_length=self.hop_length)


class _Chunk(NamedTuple):
    """A chunk of frames that the final path is not yet known through."""

    activation: np.ndarray
    steps: Steps
    origins: np.ndarray
    frames: int


def stream_crepe(
    blocks: Iterable[np.ndarray],
    *,
    capacity: Capacity,
    sample_rate: int,
    hop_length: int,
    fmin: float,
    fmax: float,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields pitch and confidence at CREPE's own frames, one chunk after the other.

    A chunk is yielded as soon as the best paths to all bins pass through the same bin at the end
    of that chunk, because later sound cannot change the path before that bin any more. Until then
    the chunk's activation is kept in memory.
    """
    plan = CrepePlan.of(sample_rate, hop_length, fmin, fmax)
    network = _network(capacity, os.environ.get(WEIGHTS_VARIABLE))
    counted, first, unit = Counted(blocks), 0, plan.unit
    cut = windows(
        counted,
        hop=plan.hop_length * unit * plan.rates[0] // plan.rates[1],
        chunks=[size // unit for size in plan.chunks],
        margins=(plan.margin // unit, plan.margin // unit),
        n_frames=lambda n: -(-plan.n_frames(n) // unit),
    )
    score, pending = None, []
    for window, units in cut:
        if score is None:
            score = np.asarray(path_start(window.shape[:-1], jnp.dtype(np.float32)))
        frames = min(units * unit, plan.n_frames(counted.samples) - first)
        activate = partial(_activate, network, jnp.int32(frames), plan)
        score, activation, steps = by_rows(activate, score, window, batch=window.shape[:-1])
        pending.append(
            _Chunk(
                activation, steps, np.asarray(_origins(jax.tree.map(jnp.asarray, steps))), frames
            )
        )
        first += frames
        n_decided, end = _common_origin(pending)
        yield from _decoded(pending[:n_decided], end, plan)
        pending = pending[n_decided:]
    assert score is not None, "every signal has a frame"
    yield from _decoded(pending, np.asarray(path_end(jnp.asarray(score))), plan)


def crepe_at_hops(
    tracks: Sequence[tuple[np.ndarray, np.ndarray]],
    n_frames: int,
    *,
    hop_length: int,
    sample_rate: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Joins the chunks of :func:`stream_crepe`, interpolated at the caller's frames."""
    f0_hz, confidence = (np.concatenate(x, axis=-1) for x in zip(*tracks, strict=True))
    hop = CrepePlan.hop_of(sample_rate, hop_length)
    position = np.arange(n_frames) * (hop_length * CREPE_RATE / sample_rate / hop)
    return between(f0_hz, confidence, position)


def _common_origin(pending: list[_Chunk]) -> tuple[int, np.ndarray]:
    """Returns the number of chunks that all paths agree on, and the bin at the end of the last."""
    bins = np.broadcast_to(np.arange(N_BINS), pending[-1].origins.shape)
    for n_decided in range(len(pending) - 1, 0, -1):
        bins = np.take_along_axis(pending[n_decided].origins, bins, axis=-1)
        if (bins == bins[..., :1]).all():
            return n_decided, bins[..., 0]
    return 0, bins[..., 0]


def _decoded(
    chunks: list[_Chunk], end: np.ndarray, plan: CrepePlan
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields pitch and confidence of chunks, given the bin in which the last of them ends."""
    tracks = []
    for chunk in reversed(chunks):
        end, *track = _decode(chunk.activation, chunk.steps, end, plan)
        tracks.append(tuple(np.asarray(x)[..., : chunk.frames] for x in track))
    yield from reversed(tracks)


@partial(jax.jit, static_argnames="plan")
def _activate(network: CrepeNetwork, frames, plan: CrepePlan, score, window):
    """Returns the path's scores after a chunk, the chunk's activation, and the steps through it."""
    audio = window
    in_window = window.shape[-1] * plan.rates[1] // plan.rates[0] // plan.hop_length
    chunk = in_window - 2 * plan.margin
    if plan.sample_rate != CREPE_RATE:
        audio = resampled(audio, plan.sample_rate, CREPE_RATE)
    first = plan.margin * plan.hop_length
    chunks = chunks_of(audio, plan.hop_length, _AT_ONCE, first=first, frames=chunk)
    activation = map_chunks(network, chunks, lambda x: x)
    score, steps = path_steps(score, activation, "argmax", np.arange(chunk) < frames)
    return score, activation, steps


_origins = jax.jit(path_origins)


@partial(jax.jit, static_argnames="plan")
def _decode(activation, steps, end, plan: CrepePlan):
    """Returns the bin before a chunk, and pitch and confidence along the path through the chunk.

    The path may take every bin, also those outside the caller's range. A pitch outside gets the
    confidence 0 then, where a path that is confined to the range would take a wrong pitch inside.
    """
    before, path = path_back(end, steps)
    f0_hz = bins_to_hz(activation, path)
    is_inside = (f0_hz >= plan.limits_hz[0]) & (f0_hz <= plan.limits_hz[1])
    return before, f0_hz, jnp.where(is_inside, jnp.max(activation, axis=-1), 0)


@cache
def _bins_hz() -> np.ndarray:
    return np.asarray(bins_to_hz(jnp.eye(N_BINS), jnp.arange(N_BINS)))


@lru_cache(maxsize=1)
def _network(capacity: Capacity, weights: str | None) -> CrepeNetwork:
    del weights  # their folder; an argument only so that the cache notices when it changes
    return load_crepe(capacity).network()
