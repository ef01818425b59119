"""CREPE's pitch of audio that arrives in blocks, by the path through all of it."""

import math
import os
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx.features._blocks import by_rows, windows
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

# Frames of a chunk, at least; fewer where they would be more than 16 s.
_CHUNK, _LONGEST = 256, 1 << 18
# Frames whose intermediate results are held at once.
_AT_ONCE = 32
# Samples that resampling reaches, at the lower rate.
_REACH = 80


class CrepePlan(NamedTuple):
    """The static sizes of a run; frames are CREPE's own, at 16 kHz.

    Attributes:
      sample_rate: of the audio.
      hop_length: samples between frames, at 16 kHz.
      limits_hz: the lowest and the highest pitch that count, half a bin beyond the range asked for.
    """

    sample_rate: int
    hop_length: int
    limits_hz: tuple[float, float]

    @classmethod
    def of(cls, sample_rate: int, hop_length: int, fmin: float, fmax: float) -> "CrepePlan":
        """That for audio of a rate, frames asked for, and a range of pitch."""
        bins_hz = _bins_hz()
        limits_hz = fmin / 2 ** (1 / 120), fmax * 2 ** (1 / 120)
        if not np.any((bins_hz >= limits_hz[0]) & (bins_hz <= limits_hz[1])):
            raise ValueError(
                f"`fmin` and `fmax` must leave some of {bins_hz[0]:.0f} to {bins_hz[-1]:.0f} Hz, "
                f"which is what CREPE hears, got {fmin} and {fmax}; use the method 'yin' or 'pyin'."
            )
        return cls(sample_rate, cls.hop_of(sample_rate, hop_length), limits_hz)

    @staticmethod
    def hop_of(sample_rate: int, hop_length: int) -> int:
        """Ten milliseconds, unless the frames asked for are a whole number of samples apart."""
        exact = hop_length * CREPE_RATE % sample_rate == 0
        return hop_length * CREPE_RATE // sample_rate if exact else CREPE_RATE // 100

    @property
    def rates(self) -> tuple[int, int]:
        """Smallest numbers that are to each other as the audio's rate is to 16 kHz."""
        divisor = math.gcd(self.sample_rate, CREPE_RATE)
        return self.sample_rate // divisor, CREPE_RATE // divisor

    @property
    def unit(self) -> int:
        """The fewest frames that are a whole number of samples at either rate."""
        return self.rates[1] // math.gcd(self.rates[1], self.hop_length)

    @property
    def chunk(self) -> int:
        """Frames of a chunk."""
        most = max(1, min(_CHUNK, _LONGEST // self.hop_length))
        return self.unit * -(-most // self.unit)

    @property
    def margin(self) -> int:
        """Frames on either side of a chunk whose samples its outermost frames reach into."""
        down, up = self.rates
        reach = FRAME_LENGTH // 2 + math.ceil(_REACH * max(1, up / down))
        least = -(-reach // self.hop_length)
        return self.unit * -(-least // self.unit)

    def n_frames(self, samples: int) -> int:
        """Frames of so many samples of the audio."""
        down, up = self.rates
        return core.n_frames(-(-samples * up // down), hop_length=self.hop_length)


class _Chunk(NamedTuple):
    """A chunk whose path is not yet known."""

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
    """Pitch and confidence at CREPE's own frames, one chunk after the other.

    A chunk is decided as soon as the best paths to all bins come through the same one at its
    end, which later sound cannot change; until then its activation is kept.
    """
    plan = CrepePlan.of(sample_rate, hop_length, fmin, fmax)
    network = _network(capacity, os.environ.get(WEIGHTS_VARIABLE))
    n_samples = first = 0

    def counted():
        nonlocal n_samples
        for block in blocks:
            n_samples += block.shape[-1]
            yield block

    grid = {"chunk": plan.chunk // plan.unit, "margin": plan.margin // plan.unit}
    hop = plan.hop_length * plan.unit * plan.rates[0] // plan.rates[1]
    cut = windows(counted(), hop=hop, n_frames=lambda n: -(-plan.n_frames(n) // plan.unit), **grid)
    score, pending = None, []
    for window, _ in cut:
        if score is None:
            score = np.asarray(path_start(window.shape[:-1], jnp.dtype(np.float32)))
        frames = min(plan.chunk, plan.n_frames(n_samples) - first)
        listen = partial(_listen, network, jnp.int32(frames), plan)
        score, activation, steps = by_rows(listen, score, window, batch=window.shape[:-1])
        pending.append(
            _Chunk(
                activation, steps, np.asarray(_origins(jax.tree.map(jnp.asarray, steps))), frames
            )
        )
        first += frames
        known, end = _meeting(pending)
        yield from _decided(pending[:known], end, plan)
        pending = pending[known:]
    assert score is not None, "every signal has a frame"
    yield from _decided(pending, np.asarray(path_end(jnp.asarray(score))), plan)


def crepe_at_hops(
    track: tuple[np.ndarray, np.ndarray], n_frames: int, *, hop_length: int, sample_rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """CREPE's track at the frames that were asked for."""
    hop = CrepePlan.hop_of(sample_rate, hop_length)
    return between(*track, np.arange(n_frames) * (hop_length * CREPE_RATE / sample_rate / hop))


def _meeting(pending: list[_Chunk]) -> tuple[int, np.ndarray]:
    """How many chunks are decided, and the bin that the last of them ends in."""
    bins = np.broadcast_to(np.arange(N_BINS), pending[-1].origins.shape)
    for known in range(len(pending) - 1, 0, -1):
        bins = np.take_along_axis(pending[known].origins, bins, axis=-1)
        if (bins == bins[..., :1]).all():
            return known, bins[..., 0]
    return 0, bins[..., 0]


def _decided(
    chunks: list[_Chunk], end: np.ndarray, plan: CrepePlan
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pitch and confidence of chunks, from the bin that the last of them ends in."""
    heard = []
    for chunk in reversed(chunks):
        end, *track = _finish(chunk.activation, chunk.steps, end, plan)
        heard.append(tuple(np.asarray(x)[..., : chunk.frames] for x in track))
    yield from reversed(heard)


@partial(jax.jit, static_argnames="plan")
def _listen(network: CrepeNetwork, frames, plan: CrepePlan, score, window):
    """The activation of a chunk, the steps through it, and the scores after it."""
    audio = window
    if plan.sample_rate != CREPE_RATE:
        audio = resampled(audio, plan.sample_rate, CREPE_RATE)
    first = plan.margin * plan.hop_length
    chunks = chunks_of(audio, plan.hop_length, _AT_ONCE, first=first, frames=plan.chunk)
    activation = map_chunks(network, chunks, lambda x: x)
    score, steps = path_steps(score, activation, "argmax", np.arange(plan.chunk) < frames)
    return score, activation, steps


_origins = jax.jit(path_origins)


@partial(jax.jit, static_argnames="plan")
def _finish(activation, steps, end, plan: CrepePlan):
    """The bin before a chunk, and pitch and confidence along the path through it.

    The path goes through all bins: a pitch outside the range is not taken for one within.
    """
    before, path = path_back(end, steps)
    f0_hz = bins_to_hz(activation, path)
    counts = (f0_hz >= plan.limits_hz[0]) & (f0_hz <= plan.limits_hz[1])
    return before, f0_hz, jnp.where(counts, jnp.max(activation, axis=-1), 0)


@cache
def _bins_hz() -> np.ndarray:
    return np.asarray(bins_to_hz(jnp.eye(N_BINS), jnp.arange(N_BINS)))


@lru_cache(maxsize=1)
def _network(capacity: Capacity, weights: str | None) -> CrepeNetwork:
    del weights  # where they are; part of what is remembered
    return load_crepe(capacity).network()
