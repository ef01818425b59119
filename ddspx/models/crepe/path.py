"""The hidden Markov model of CREPE's Viterbi decoders: the forward pass and the backtracking.

The forward pass carries only the score of each bin. For each frame it keeps one byte per bin: the
distance to the best predecessor of that bin.
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

# The longest step between two frames, in bins.
_REACH = 11
# The weight of a leap: a transition of any length, which only the observation "activation" has.
_LEAP = 1e-5
# The value in place of a step for a leap, whose predecessor is the best of all bins.
_LEAPED = 127
# Scores are multiples of 1 / _GRID, which float32 adds exactly, so that paths with equal
# probabilities have equal scores. This holds because the scores of a frame differ by less than
# 2**9: 33 steps reach every bin.
_GRID = 2.0**14
_GAIN = round(_GRID * math.log((0.1 + 0.9 / N_BINS) / (0.9 / N_BINS))) / _GRID


class Steps(NamedTuple):
    """The best predecessor of each bin, for the frames of a block.

    Attributes:
      steps: the distance from each bin to its best predecessor, in bins; 127 for a leap.
      leaps: for each frame, the predecessor of all leaps.
    """

    steps: Int[Array, "*batch frames bins"]
    leaps: Int[Array, "*batch frames"]


def path_start(batch: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "*batch bins"]:
    """The scores before the first frame.

    The log-probability of staying at a bin is subtracted, so that all bins of the first frame have
    the same initial score.
    """
    return jnp.broadcast_to(jnp.asarray(-_log_glide()[:, _REACH], dtype), (*batch, N_BINS))


def path_steps(
    score: Float[Array, "*batch bins"],
    activation: Float[Array, "*batch frames bins"],
    observation: Observation,
    valid: Bool[Array, " frames"],
) -> tuple[Float[Array, "*batch bins"], Steps]:
    """The forward pass over some frames: returns the scores after them, and the predecessors.

    Frames that are not `valid` change nothing. Of paths with equal scores the one with the higher
    bins is taken, as in the `crepe` package. This matters often, because the steps of a glide have
    the same probability in any order.
    """
    activation = jax.lax.stop_gradient(activation)
    if observation == "activation":
        evidence, leap = _GAIN * activation, math.log(_LEAP / (_REACH + 1) ** 2)
    else:
        peaks = jnp.argmax(activation, axis=-1, keepdims=True)
        bins = np.broadcast_to(np.arange(N_BINS), activation.shape)
        evidence, leap = _GAIN * (bins == peaks).astype(activation.dtype), -math.inf
    moves = np.maximum(_log_glide(), leap).T
    # Row d holds the log-probability of reaching bin j from bin j + _REACH - d; it is -inf where
    # that bin does not exist.
    arrivals = np.full((2 * _REACH + 1, N_BINS), -np.inf)
    for d, bins in enumerate(np.arange(N_BINS) + _REACH - np.arange(2 * _REACH + 1)[:, None]):
        inside = (bins >= 0) & (bins < N_BINS)
        arrivals[d, inside] = moves[d, bins[inside]]
    arrivals = jnp.asarray(arrivals, activation.dtype)

    def forward(score, frame):
        frame_evidence, is_valid = frame
        flat = score.reshape(-1, N_BINS)
        padded = jnp.pad(flat, ((0, 0), (_REACH, _REACH)))
        best, step = jnp.full_like(flat, -jnp.inf), jnp.full(flat.shape, _LEAPED, jnp.int8)
        # The highest predecessor comes first, so that it wins ties.
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
        after = jnp.maximum(best, leaping) + frame_evidence.reshape(flat.shape)
        # Only differences of scores matter. With the largest at 0 they stay exact in long audio.
        after = after - jnp.max(after, axis=-1, keepdims=True)
        after = jnp.where(is_valid, after.reshape(score.shape), score)
        step = jnp.where(is_valid, step, jnp.int8(0)).reshape(score.shape)
        return after, (step, top.reshape(score.shape[:-1]))

    score, (steps, leaps) = jax.lax.scan(forward, score, (jnp.moveaxis(evidence, -2, 0), valid))
    return score, Steps(jnp.moveaxis(steps, 0, -2), jnp.moveaxis(leaps, 0, -1))


def path_end(score: Float[Array, "*batch bins"]) -> Int[Array, "*batch"]:
    """The bin with the best score; of equal ones, the highest."""
    return N_BINS - 1 - jnp.argmax(score[..., ::-1], axis=-1).astype(jnp.int32)


def path_back(
    last: Int[Array, "*batch"], steps: Steps
) -> tuple[Int[Array, "*batch"], Int[Array, "*batch frames"]]:
    """Backtracks from the bin `last`: returns the bin before the first frame, and the path."""
    before, path = _back(last[..., None], steps)
    return before[..., 0], path[..., 0]


def _back(
    states: Int[Array, "*batch ends"], steps: Steps
) -> tuple[Int[Array, "*batch ends"], Int[Array, "*batch frames ends"]]:
    """Backtracks several paths from their last bins."""

    def backward(states, frame):
        step, leap = frame
        step = jnp.take_along_axis(step, states, axis=-1).astype(jnp.int32)
        return jnp.where(step == _LEAPED, leap[..., None], states + step), states

    frames = jnp.moveaxis(steps.steps, -2, 0), jnp.moveaxis(steps.leaps, -1, 0)
    before, paths = jax.lax.scan(backward, states, frames, reverse=True)
    return before, jnp.moveaxis(paths, 0, -2)


def path_origins(steps: Steps) -> Int[Array, "*batch bins"]:
    """For each bin of the last frame: the bin before the first frame in which its path begins."""
    ends = jnp.arange(N_BINS, dtype=jnp.int32)
    batch = steps.leaps.shape[:-1]
    ends = jnp.broadcast_to(ends, (*batch, N_BINS))
    return _back(ends, steps)[0]


@functools.lru_cache(maxsize=1)
def _log_glide() -> np.ndarray:
    """Log-probability of the step from bin i to bin i + d - 11, in row i and column d.

    The table is symmetric: reversing both axes does not change it.
    """
    steps = np.arange(-_REACH, _REACH + 1)
    target = np.arange(N_BINS)[:, None] + steps
    weight = np.where((target >= 0) & (target < N_BINS), _REACH + 1 - np.abs(steps), 0)
    with np.errstate(divide="ignore"):
        scores = np.log(weight / weight.sum(axis=1, keepdims=True))
    return np.round(scores * _GRID) / _GRID
