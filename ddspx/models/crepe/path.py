"""The chain of pitches behind CREPE's Viterbi decoders, frame by frame and back.

Going forward only the score of each bin is carried, and of each frame no more is kept than one
byte for each bin: how far away the bin lies that it was best reached from.
"""

import functools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array, Bool, Float, Int
from ddspx.models.crepe.config import N_BINS

Observation = Literal["argmax", "activation"]

# Moves of up to 11 bins, an observation that is right one time in ten and says nothing else.
_REACH = 11
_LEAP = 1e-5
# In place of a step, where the best predecessor is that of all bins.
_LEAPED = 127
# Scores lie on a grid on which float32 adds exactly, so that equal paths have equal scores; those
# of a frame differ by less than 2**9, as no bin is further than 33 moves away.
_GRID = 2.0**14
_GAIN = round(_GRID * math.log((0.1 + 0.9 / N_BINS) / (0.9 / N_BINS))) / _GRID


class Steps(NamedTuple):
    """How the bins of frames are best reached.

    Attributes:
      steps: from each bin to its best predecessor, in bins, or 127 for a leap.
      leaps: the bin that leaps come from.
    """

    steps: Int[Array, "*batch frames bins"]
    leaps: Int[Array, "*batch frames"]


def path_start(batch: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "*batch bins"]:
    """Scores in the frame before the first.

    Less what staying costs, so that no bin of the first frame is favoured.
    """
    return jnp.broadcast_to(jnp.asarray(-_log_glide()[:, _REACH], dtype), (*batch, N_BINS))


def path_steps(
    score: Float[Array, "*batch bins"],
    activation: Float[Array, "*batch frames bins"],
    observation: Observation,
    valid: Bool[Array, " frames"],
) -> tuple[Float[Array, "*batch bins"], Steps]:
    """Scores after some frames, and how they came about; frames that do not count change nothing.

    Of equal paths the highest is taken, as in the `crepe` package: a glide's steps in any other
    order are such a path, so this decides often.
    """
    activation = jax.lax.stop_gradient(activation)
    if observation == "activation":
        seen, leap = _GAIN * activation, math.log(_LEAP / (_REACH + 1) ** 2)
    else:
        peaks = jnp.argmax(activation, axis=-1, keepdims=True)
        bins = np.broadcast_to(np.arange(N_BINS), activation.shape)
        seen, leap = _GAIN * (bins == peaks).astype(activation.dtype), -math.inf
    moves = np.maximum(_log_glide(), leap).T
    # Column d of the glide comes from bin j + _REACH - d, and none from outside.
    arrivals = np.full((2 * _REACH + 1, N_BINS), -np.inf)
    for d, bins in enumerate(np.arange(N_BINS) + _REACH - np.arange(2 * _REACH + 1)[:, None]):
        inside = (bins >= 0) & (bins < N_BINS)
        arrivals[d, inside] = moves[d, bins[inside]]
    arrivals = jnp.asarray(arrivals, activation.dtype)

    def forward(score, frame):
        seen, is_valid = frame
        flat = score.reshape(-1, N_BINS)
        padded = jnp.pad(flat, ((0, 0), (_REACH, _REACH)))
        best, step = jnp.full_like(flat, -jnp.inf), jnp.full(flat.shape, _LEAPED, jnp.int8)
        # From the highest predecessor down.
        for d in range(2 * _REACH + 1):
            start = 2 * _REACH - d
            into = padded[:, start : start + N_BINS] + arrivals[d][None]
            step = jnp.where(into > best, jnp.int8(_REACH - d), step)
            best = jnp.maximum(best, into)
        top = N_BINS - 1 - jnp.argmax(flat[:, ::-1], axis=-1)[:, None].astype(jnp.int32)
        leaping = jnp.max(flat, axis=-1, keepdims=True) + leap
        near = np.arange(N_BINS)[None] + step.astype(jnp.int32)
        leaps = (leaping > best) | ((leaping == best) & (top > near))
        step = jnp.where(leaps, jnp.int8(_LEAPED), step)
        after = jnp.maximum(best, leaping) + seen.reshape(flat.shape)
        # Only differences count; keeping the largest at 0 keeps their digits in long audio.
        after = after - jnp.max(after, axis=-1, keepdims=True)
        after = jnp.where(is_valid, after.reshape(score.shape), score)
        step = jnp.where(is_valid, step, jnp.int8(0)).reshape(score.shape)
        return after, (step, top.reshape(score.shape[:-1]))

    score, (steps, leaps) = jax.lax.scan(forward, score, (jnp.moveaxis(seen, -2, 0), valid))
    return score, Steps(jnp.moveaxis(steps, 0, -2), jnp.moveaxis(leaps, 0, -1))


def path_end(score: Float[Array, "*batch bins"]) -> Int[Array, "*batch"]:
    """The bin of the best score, the highest of equal ones."""
    return N_BINS - 1 - jnp.argmax(score[..., ::-1], axis=-1).astype(jnp.int32)


def path_back(
    last: Int[Array, "*batch"], steps: Steps
) -> tuple[Int[Array, "*batch"], Int[Array, "*batch frames"]]:
    """The path that ends in a bin, and the bin before its first frame."""
    before, path = _back(last[..., None], steps)
    return before[..., 0], path[..., 0]


def _back(
    states: Int[Array, "*batch ends"], steps: Steps
) -> tuple[Int[Array, "*batch ends"], Int[Array, "*batch frames ends"]]:
    """Several paths, from their ends."""

    def backward(states, frame):
        step, leap = frame
        step = jnp.take_along_axis(step, states, axis=-1).astype(jnp.int32)
        return jnp.where(step == _LEAPED, leap[..., None], states + step), states

    frames = jnp.moveaxis(steps.steps, -2, 0), jnp.moveaxis(steps.leaps, -1, 0)
    before, paths = jax.lax.scan(backward, states, frames, reverse=True)
    return before, jnp.moveaxis(paths, 0, -2)


def path_origins(steps: Steps) -> Int[Array, "*batch bins"]:
    """For each bin of the last frame the bin before the first one that its path comes from."""
    ends = jnp.arange(N_BINS, dtype=jnp.int32)
    batch = steps.leaps.shape[:-1]
    ends = jnp.broadcast_to(ends, (*batch, N_BINS))
    return _back(ends, steps)[0]


@functools.lru_cache(maxsize=1)
def _log_glide() -> np.ndarray:
    """Log-probability of moving from bin i to bin i + d - 11, in column d; same upside down."""
    steps = np.arange(-_REACH, _REACH + 1)
    target = np.arange(N_BINS)[:, None] + steps
    weight = np.where((target >= 0) & (target < N_BINS), _REACH + 1 - np.abs(steps), 0)
    with np.errstate(divide="ignore"):
        scores = np.log(weight / weight.sum(axis=1, keepdims=True))
    return np.round(scores * _GRID) / _GRID
