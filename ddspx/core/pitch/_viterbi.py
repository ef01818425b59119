"""The most likely path through pitch bins and an unvoiced state."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from ddspx._checks import at_least_ndim, floats, positive_int, same_size, size
from ddspx._typing import Array, ArrayLike, Bool, Float, Int
from ddspx.core._numerics import varying_alike


class PitchTransition(NamedTuple):
    """Log-scores of transitions between pitch bins and the unvoiced state, which comes last.

    Attributes:
      log_glide: score from bin i to bin i + d - width // 2, in column d; the width is odd.
      log_leap: score from any bin to any bin, used if it is higher than that of the glide.
      log_onset: score from the unvoiced state to any bin.
      log_offset: score from any bin to the unvoiced state.
      log_rest: score from the unvoiced state to itself.
    """

    log_glide: Float[Array, "bins width"]
    log_leap: Float[Array, ""]
    log_onset: Float[Array, ""]
    log_offset: Float[Array, ""]
    log_rest: Float[Array, ""]


def pitch_transition(
    n_bins: int,
    *,
    reach: int,
    leap_probability: float = 1e-3,
    switch_probability: float = 1e-2,
) -> PitchTransition:
    r"""Transition scores for :func:`viterbi`: glides to near bins, leaps, onsets and offsets.

    .. math:: T_{i \to j} = \log \max\Bigl(1 - \frac{|i - j|}{w + 1},\; p_\mathrm{leap}\Bigr)

    Args:
      n_bins: number of pitch bins, without the unvoiced state. Static.
      reach: bins by which the pitch can glide within a frame, :math:`w`. Static.
      leap_probability: probability of a move beyond `reach`, relative to that of staying; above 0.
      switch_probability: probability of a change from voiced to unvoiced, or back, relative to that
        of staying; above 0.

    Returns:
      Scores in float32, relative to staying. Their exponentials need not sum to one.

    Raises:
      TypeError: a size is not a Python int.
      ValueError: a size is below 1.

    Properties:
      Static: `n_bins`, `reach`.

    Example:
      >>> from ddspx import core
      >>> transition = core.pitch_transition(5, reach=1)
      >>> [round(v, 2) for v in transition.log_glide[0].tolist()]
      [-0.69, 0.0, -0.69]
    """
    n_bins, reach = size("n_bins", n_bins), positive_int("reach", reach)
    glide = np.log(1 - np.abs(np.arange(-reach, reach + 1)) / (reach + 1))
    scores = np.broadcast_to(glide, (n_bins, glide.size)), np.log(leap_probability)
    switch = np.log(switch_probability)
    return PitchTransition(*(jnp.asarray(x, jnp.float32) for x in (*scores, switch, switch, 0.0)))


def viterbi(
    log_observation: Float[ArrayLike, "*batch frames states"],
    transition: PitchTransition,
    *,
    initial: Float[ArrayLike, "*batch states"] | None = None,
    n_valid: Int[ArrayLike, ""] | int | None = None,
) -> Int[Array, "*batch frames"]:
    r"""Most likely sequence of pitch bins and unvoiced frames.

    .. math:: \arg\max_s \; a_{s_{-1}} + \sum_i \bigl(T_{s_{i-1} \to s_i} + L_{i, s_i}\bigr)

    The transitions are a band and a few constants, so a frame takes ``bins * width`` steps and
    not ``states**2``.

    Args:
      log_observation: log-probability of each state in each frame, the unvoiced state last.
      transition: scores of moving between states, see :func:`pitch_transition`.
      initial: score :math:`a` of each state in the frame before the first: if its state is known, 0
        there and minus infinity elsewhere; all 0 by default.
      n_valid: number of valid frames, for audio that is padded to a fixed length. The frames after
        them repeat the last valid state. By default all frames are valid.

    Returns:
      The state of each frame; equal scores go to the lowest state.

    Raises:
      TypeError: `log_observation` is neither float32 nor float64.
      ValueError: `log_observation` has fewer than two axes, or another number of bins than
        `transition`.

    Properties:
      Not differentiable. A stream can be decoded block by block, with `initial` set to the last
      state of the block before. Each block needs enough frames beyond its end for all paths to have
      the same beginning: the tracker of `ddspx.features` waits two seconds.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> clear, unsure = [0.0, -9.0, -9.0, -9.0], [-1.0, -1.0, -0.9, -9.0]
      >>> path = core.viterbi(
      ...     jnp.array([clear, unsure, clear]), core.pitch_transition(3, reach=1)
      ... )
      >>> path.tolist()
      [0, 0, 0]

    References:
      Viterbi, `Error bounds for convolutional codes
      <https://doi.org/10.1109/TIT.1967.1054010>`_, 1967.
    """
    (log_observation,) = floats(log_observation=log_observation)
    at_least_ndim("log_observation", log_observation.shape, 2, "(*batch, frames, states)")
    *batch, frames, states = log_observation.shape
    n_bins = transition.log_glide.shape[0]
    same_size("`log_observation` and `transition`", states - 1, n_bins, "pitch bins")
    if initial is None:
        initial = jnp.zeros((*batch, states), log_observation.dtype)
    valid = jnp.arange(frames) < (frames if n_valid is None else n_valid)
    decode = jnp.vectorize(_decode, excluded=(2, 3), signature="(t,s),(s)->(t)")
    return decode(log_observation, initial, valid, transition)


def _decode(
    log_observation: Float[Array, "frames states"],
    initial: Float[Array, " states"],
    valid: Bool[Array, " frames"],
    transition: PitchTransition,
) -> Int[Array, " frames"]:
    """Viterbi for one sequence."""
    log_observation, initial, valid, *moves = varying_alike(
        log_observation, initial, valid, *transition
    )
    glide, leap, onset, offset, rest = (x.astype(log_observation.dtype) for x in moves)
    n_bins, width = glide.shape
    reach = width // 2

    def arrive(score, observation):
        bins, unvoiced = score[:-1], score[-1]
        top = jnp.max(bins)
        best = jnp.full(n_bins, jnp.maximum(top + leap, unvoiced + onset))
        moved = jnp.pad(bins[:, None] + glide, ((reach, reach), (0, 0)), constant_values=-jnp.inf)
        for d in range(width):
            best = jnp.maximum(best, moved[width - 1 - d : width - 1 - d + n_bins, d])
        silent = jnp.maximum(unvoiced + rest, top + offset)
        return jnp.append(best, silent) + observation

    def depart(score, state):
        d = state - np.arange(n_bins) + reach
        near = jnp.take_along_axis(glide, jnp.clip(d, 0, width - 1)[:, None], axis=1)[:, 0]
        near = jnp.where((d >= 0) & (d < width), near, -jnp.inf)
        to_bin = jnp.append(jnp.maximum(near, leap), onset)
        to_unvoiced = jnp.append(jnp.full(n_bins, offset), rest)
        return score + jnp.where(state < n_bins, to_bin, to_unvoiced)

    start = initial.astype(log_observation.dtype)
    last, scores = best_scores(arrive, start, (log_observation,), valid)
    return backtrack(depart, jnp.argmax(last).astype(jnp.int32), scores, valid)[1]


def best_scores(
    arrive: Callable[..., Array], start: Array, observations: tuple[Array, ...], valid: Array
) -> tuple[Array, Array]:
    """The forward pass of the Viterbi algorithm: the score of the best path to each state.

    Args:
      arrive: ``arrive(scores, *observation) -> scores``, over one frame.
      start: the scores before the first frame.
      observations: what `arrive` needs of each frame, in arrays whose first axis is the frames.
      valid: whether each frame is valid; the others change nothing.

    Returns:
      The scores after the last frame, and those before each frame.
    """

    def step(score, frame):
        observation, is_valid = frame
        after = arrive(score, *observation)
        # Only differences of scores matter. The largest is kept at 0, so that scores do not grow
        # and lose digits in long audio.
        return jnp.where(is_valid, after - jnp.max(after), score), score

    return lax.scan(step, start, (observations, valid))


def backtrack(
    depart: Callable[[Array, Array], Array], last: Array, scores: Array, valid: Array
) -> tuple[Array, Array]:
    """The backward pass of the Viterbi algorithm: the path that ends in the state `last`.

    It is cheaper to compute the best predecessor of each state on the path again, going back, than
    to store the predecessors of all states.

    Args:
      depart: ``depart(scores, state) -> scores``, the score of each path that goes to a state from
        the states before it.
      last: index of the last state.
      scores: the scores before each frame, from `best_scores`.
      valid: as there.

    Returns:
      The state before the first frame, and the state in each frame.
    """

    def step(state, frame):
        score, is_valid = frame
        before = jnp.argmax(depart(score, state)).astype(jnp.int32)
        return jnp.where(is_valid, before, state), state

    return lax.scan(step, last, (scores, valid), reverse=True)
