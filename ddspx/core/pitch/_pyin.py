"""pYIN: YIN with a distribution of thresholds, and the best path through its candidates."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from ddspx._checks import at_least_ndim, floats, number, positive_int, size
from ddspx._typing import Array, ArrayLike, Bool, Float, Int
from ddspx.core._framing import n_frames, overlapping_blocks
from ddspx.core._numerics import varying_alike
from ddspx.core.pitch._viterbi import backtrack, best_scores
from ddspx.core.pitch._yin import difference_curve, lag_range, troughs, vertex

_N_THRESHOLDS = 100
_BOLTZMANN = 2.0
_LOG_ZERO = math.log(np.finfo(np.float64).tiny)
"""Logarithm that stands for probability 0. It is finite, so that no path is impossible."""
_SHORTEST = 2
"""Shortest lag whose minimum is considered, in samples: the period of half the sample rate."""
_CHUNK = 512
_CHUNKS_PER_BLOCK = 16
_MOVES = 32
"""Limit of loop unrolling over moves, so that the program does not grow with longer hops."""


class PyinTrack(NamedTuple):
    """The pitch of each frame.

    Attributes:
      f0_hz: in Hz; in an unvoiced frame, the pitch of the unvoiced state on the path.
      is_voiced: whether the state on the path is voiced.
      voiced_probability: probability of being voiced from this frame alone, from 0 to 1.
    """

    f0_hz: Float[Array, "*batch frames"]
    is_voiced: Bool[Array, "*batch frames"]
    voiced_probability: Float[Array, "*batch frames"]


class _Model(NamedTuple):
    """The hidden Markov model, in float64 and all static.

    Attributes:
      log_steps: log-weight of moving up or down by 0, 1, ... bins.
      log_norm: for each bin, the logarithm of the sum of its weights.
      log_switch: log-probability of a change between voiced and unvoiced.
      log_stay: log-probability of no such change.
    """

    log_steps: np.ndarray
    log_norm: np.ndarray
    log_switch: float
    log_stay: float


class PyinTracker(NamedTuple):
    """The static settings of :func:`pyin`, without the length of the sound.

    Attributes:
      frame_length: samples in a frame.
      hop_length: samples between frames.
      centres_hz: centres of the pitch bins.
      observe: function from frames to the probabilities of each pitch bin, of any pitch bin, and of
        a pitch outside of the bins.
      model: the hidden Markov model of pitch.
    """

    frame_length: int
    hop_length: int
    centres_hz: np.ndarray
    observe: Callable[[Array], tuple[Array, Array, Array]]
    model: _Model


class _Plan(NamedTuple):
    """Division of the frames into equal parts, which bounds the memory for long sounds.

    Attributes:
      frames: number of valid frames.
      chunk: frames in a chunk, whose spectra are in memory at the same time.
      chunks: chunks in a block, whose scores are in memory at the same time.
      blocks: number of blocks.
    """

    frames: int
    chunk: int
    chunks: int
    blocks: int


def pyin(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float,
    fmax: float,
    frame_length: int = 2048,
    bins_per_octave: int = 120,
    mean_threshold: float = 0.1,
    no_trough_probability: float = 0.01,
    switch_probability: float = 0.01,
    max_octaves_per_s: float = 35.92,
) -> PyinTrack:
    r"""Pitch track by probabilistic YIN: all thresholds at once, joined by a Markov model.

    .. math::
      P(\tau_i) = \sum_{j=1}^{100} \beta_j \, [d'_i < t_j] \,
      \frac{1 - e^{-2}}{1 - e^{-2 n_j}} \, e^{-2 k_{ij}},
      \qquad t_j = \frac{j}{100}

    with :math:`d'` of :func:`yin`, :math:`\tau_i` the local minima of it, :math:`n_j` how many
    of them lie below :math:`t_j`, :math:`k_{ij}` how many of those are shorter than
    :math:`\tau_i`, and :math:`\beta_j` the probability of a threshold between :math:`t_{j-1}` and
    :math:`t_j` in a beta distribution with first parameter 2. If no minimum lies below a threshold,
    the deepest minimum gets `no_trough_probability` of its :math:`\beta_j`. The probability of a
    pitch bin is the sum over the minima that fall into it. The rest up to 1 is shared by the
    unvoiced states, of which there is one for every bin. Minima outside the range, down to a lag of
    two samples, compete too: each unvoiced state gets their full probability. If no minimum lies
    below a threshold, and a minimum outside of the range, at up to half a frame, is twice as deep
    as the deepest within, the latter gets nothing. So a pitch outside the range does not give a
    false pitch within it. From frame to frame the pitch moves with triangular weights, in voiced
    and unvoiced states alike.

    Args:
      audio: linear amplitude, of any level; each frame is scaled by its own peak.
      sample_rate: samples per second. Static.
      hop_length: samples between frames. Static.
      fmin: frequency of the first bin, in Hz, above 0. Static.
      fmax: no bin lies above it, in Hz, at most half of `sample_rate`. Static.
      frame_length: samples in a frame, several periods of `fmin` (2048 is 128 ms at 16 kHz).
        Static.
      bins_per_octave: resolution; bin b is at ``fmin * 2**(b / bins_per_octave)``. Static.
      mean_threshold: mean of the distribution of thresholds, between 0 and 1. Higher values find
        pitch in more frames. Static.
      no_trough_probability: see above, between 0 and 1. Static.
      switch_probability: probability of a change between voiced and unvoiced from one frame to the
        next, between 0 and 1. Static.
      max_octaves_per_s: twice the fastest glide, which is the full width of the triangle, in
        octaves per second. Static.

    Returns:
      A :class:`PyinTrack` on the frame rule, in the dtype of `audio`; frequencies are centres of
      bins, finite in every frame.

    Raises:
      TypeError: a size is not a Python int, or `audio` is neither float32 nor float64.
      ValueError: the frequency range is empty or exceeds half the sample rate, a frame does not
        hold one period of `fmin`, or a probability is out of range.

    Properties:
      Not differentiable, because the path is a discrete choice. Spectra of at most 512 frames and
      scores of at most 8192 are in memory at a time; the scores of longer sounds are computed
      twice. Static: all but `audio`.

    Example:
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> from ddspx import core
      >>> tone = np.sin(2 * np.pi * 220 * np.arange(8000) / 16000)
      >>> audio = jnp.asarray(np.concatenate([tone, np.zeros(10000)]))
      >>> track = core.pyin(audio, sample_rate=16000, hop_length=4000, fmin=55.0, fmax=880.0)
      >>> [round(f) for f in track.f0_hz.tolist()[:2]], track.is_voiced.tolist()
      ([220, 220], [True, True, True, False, False])

    References:
      Mauch and Dixon, `pYIN <https://doi.org/10.1109/ICASSP.2014.6853678>`_, ICASSP 2014. Their
      software and ``librosa.pyin`` 0.11, which has the same defaults, weight troughs by their rank,
      as here; the paper gives all weight to the first. librosa uses the last candidate in a bin
      instead of their sum, and gives NaN for unvoiced frames.
    """
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    tracker = pyin_tracker(
        sample_rate=sample_rate,
        hop_length=hop_length,
        fmin=fmin,
        fmax=fmax,
        frame_length=frame_length,
        bins_per_octave=bins_per_octave,
        mean_threshold=mean_threshold,
        no_trough_probability=no_trough_probability,
        switch_probability=switch_probability,
        max_octaves_per_s=max_octaves_per_s,
    )
    plan = _plan(n_frames(audio.shape[-1], hop_length=hop_length))
    track = partial(_track, plan=plan, tracker=tracker)
    path, voiced_probability = jnp.vectorize(track, signature="(n)->(t),(t)")(audio)
    return pyin_track(tracker, path, voiced_probability)


def pyin_track(
    tracker: PyinTracker,
    path: Int[Array, "*batch frames"],
    voiced_probability: Float[Array, "*batch frames"],
) -> PyinTrack:
    """The pitch track of a path of states."""
    n_bins = tracker.centres_hz.size
    centres = jnp.asarray(tracker.centres_hz, voiced_probability.dtype)
    return PyinTrack(centres[path % n_bins], path < n_bins, voiced_probability)


def pyin_tracker(
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float,
    fmax: float,
    frame_length: int = 2048,
    bins_per_octave: int = 120,
    mean_threshold: float = 0.1,
    no_trough_probability: float = 0.01,
    switch_probability: float = 0.01,
    max_octaves_per_s: float = 35.92,
) -> PyinTracker:
    """Checks the arguments of :func:`pyin` and computes the settings of the tracker."""
    lags = lag_range(sample_rate, fmin, fmax, frame_length)
    hop_length = positive_int("hop_length", hop_length)
    bins_per_octave = size("bins_per_octave", bins_per_octave)
    for name, value in (
        ("mean_threshold", mean_threshold),
        ("no_trough_probability", no_trough_probability),
        ("switch_probability", switch_probability),
    ):
        number(name, value, above=0, below=1)
    n_bins = 1 + math.floor(bins_per_octave * math.log2(fmax / fmin) + 1e-9)
    semitones = round(12 * max_octaves_per_s * hop_length / sample_rate)
    reach = min(max(semitones * bins_per_octave // 24, 1), n_bins - 1)
    model = _model(n_bins, reach, switch_probability)
    observe = partial(
        _observe,
        lags=lags,
        sample_rate=sample_rate,
        bins_of_hz=(bins_per_octave, fmin, n_bins),
        prior=(_threshold_prior(mean_threshold), no_trough_probability),
    )
    centres_hz = fmin * 2 ** (np.arange(n_bins) / bins_per_octave)
    return PyinTracker(frame_length, hop_length, centres_hz, observe, model)


def _threshold_prior(mean: float) -> np.ndarray:
    """Probability of each threshold: a beta distribution of parameters 2 and b, in steps."""
    b = 2 / mean - 2
    t = np.linspace(0, 1, _N_THRESHOLDS + 1)
    return np.diff(1 - (1 - t) ** b * (1 + b * t))


def _model(n_bins: int, reach: int, switch_probability: float) -> _Model:
    """The Markov model with triangular weights, which reach 0 one bin beyond `reach`."""
    steps = 1 - np.arange(reach + 1) / (reach + 1)
    weights = np.concatenate([steps[:0:-1], steps])
    norm = np.convolve(np.ones(n_bins), weights)[reach : reach + n_bins]
    return _Model(
        np.log(steps), np.log(norm), math.log(switch_probability), math.log1p(-switch_probability)
    )


def _plan(frames: int) -> _Plan:
    """Divides the frames into chunks and blocks of limited size, with the least padding."""
    in_all = -(-frames // _CHUNK)
    blocks = -(-in_all // _CHUNKS_PER_BLOCK)
    chunks = -(-in_all // blocks)
    return _Plan(frames, -(-frames // (chunks * blocks)), chunks, blocks)


def _observe(
    frames: Float[Array, "frames length"],
    lags: tuple[int, int],
    sample_rate: int,
    bins_of_hz: tuple[int, float, int],
    prior: tuple[np.ndarray, float],
) -> tuple[Float[Array, "frames bins"], Float[Array, " frames"], Float[Array, " frames"]]:
    """Probabilities of each pitch bin, of any pitch bin, and of a pitch outside of the bins."""
    min_lag, max_lag = lags
    bins_per_octave, fmin, n_bins = bins_of_hz
    whole = difference_curve(frames, max(max_lag, frames.shape[-1] // 2))
    shortest = min(min_lag, _SHORTEST)
    heights, shift = (
        x[:, shortest : max_lag + 1]
        for x in (jnp.where(troughs(whole), whole, jnp.inf), vertex(whole))
    )
    whole_lags = np.arange(shortest, max_lag + 1, dtype=whole.dtype)
    n_short, n_long = min_lag - shortest, whole.shape[-1] - 1 - max_lag
    outside = jnp.concatenate([heights[:, :n_short], whole[:, -n_long:]], axis=-1)
    probability = _trough_probability(heights, n_short, jnp.min(outside, axis=-1), *prior)
    period = whole_lags[None] + shift
    position = bins_per_octave * jnp.log2(sample_rate / (fmin * period))
    bins = jnp.clip(jnp.round(position), 0, n_bins).astype(jnp.int32)
    bins = jnp.where(whole_lags >= min_lag, bins, n_bins)
    rows = np.broadcast_to(np.arange(len(frames))[:, None], bins.shape)
    pitch = jnp.zeros((len(frames), n_bins), whole.dtype)
    pitch = pitch.at[rows, bins].add(probability, mode="drop")
    voiced = jnp.clip(jnp.sum(pitch, axis=-1), 0, 1)
    return pitch, voiced, jnp.sum(jnp.where(bins < n_bins, 0, probability), axis=-1)


def _trough_probability(
    heights: Float[Array, "frames lags"],
    n_short: int,
    deepest_outside: Float[Array, " frames"],
    prior: np.ndarray,
    no_trough_probability: float,
) -> Float[Array, "frames lags"]:
    """Probability of every local minimum, summed over the thresholds; other heights are infinite.

    The scan goes through the lags, with all thresholds and frames in one step. A threshold gives a
    share of its weight to each minimum below it, and its share for the next minimum is smaller by a
    constant factor. The deepest minimum is searched from lag `n_short` on, and gets nothing if one
    outside is twice as deep.
    """
    heights = heights.T
    shape = (_N_THRESHOLDS, heights.shape[1])
    steps = np.arange(1, _N_THRESHOLDS + 1, dtype=heights.dtype) / _N_THRESHOLDS
    thresholds = np.broadcast_to(steps[:, None], shape)
    weights = np.broadcast_to(prior.astype(heights.dtype)[:, None], shape)

    def below(height):
        return jnp.broadcast_to(height, shape) < thresholds

    def count(total, height):
        return total + below(height), None

    def share(weight, height):
        is_below = below(height)
        probability = jnp.sum(jnp.where(is_below, weight, 0), axis=0)
        return jnp.where(is_below, math.exp(-_BOLTZMANN) * weight, weight), probability

    counts, _ = lax.scan(count, jnp.zeros_like(heights, shape=shape), heights)
    first = weights * jnp.expm1(-_BOLTZMANN) / jnp.expm1(-_BOLTZMANN * jnp.maximum(counts, 1))
    _, probability = lax.scan(share, first, heights)
    above_all = no_trough_probability * jnp.sum(jnp.where(counts == 0, weights, 0), axis=0)
    deepest = n_short + jnp.argmin(heights[n_short:], axis=0)
    is_deepest = np.arange(heights.shape[0])[:, None] == deepest[None]
    is_deepest = is_deepest & (heights <= 2 * deepest_outside[None]) & jnp.isfinite(heights)
    above_all = jnp.broadcast_to(above_all, probability.shape)
    return (probability + jnp.where(is_deepest, above_all, 0)).T


def _track(
    audio: Float[Array, " samples"], plan: _Plan, tracker: PyinTracker
) -> tuple[Int[Array, " frames"], Float[Array, " frames"]]:
    """Path and voiced probability of one recording.

    The forward pass through the blocks stores only the scores at their starts. The backward pass
    computes the scores within a block again. A short recording has one block and no forward pass.
    """
    per_block = plan.chunk * plan.chunks
    length = block_length(tracker, per_block)
    hop = per_block * tracker.hop_length
    before, end = tracker.frame_length // 2, (plan.blocks - 1) * hop + length
    audio = jnp.pad(audio[: end - before], (before, max(0, end - before - audio.size)))

    def piece(block):
        return lax.dynamic_slice(audio, (block * hop,), (length,))

    def forward(score, block):
        first = block * per_block
        return block_scores(tracker, plan.chunks, piece(block), score, first, plan.frames), score

    def backward(state, inputs):
        start, block = inputs
        first = block * per_block
        return block_path(tracker, plan.chunks, piece(block), start, state, first, plan.frames)

    blocks = jnp.arange(plan.blocks)
    start, best, _ = varying_alike(first_scores(tracker, audio.dtype), jnp.int32(-1), audio)
    if plan.blocks > 1:
        _, starts = lax.scan(forward, start, blocks)
    else:
        starts = start[None]
    _, (path, voiced) = lax.scan(backward, best, (starts, blocks), reverse=True)
    return path.reshape(-1)[: plan.frames], voiced.reshape(-1)[: plan.frames]


def block_length(tracker: PyinTracker, frames: int) -> int:
    """Number of samples that a block of so many frames covers."""
    return (frames - 1) * tracker.hop_length + tracker.frame_length


def first_scores(tracker: PyinTracker, dtype: jnp.dtype) -> Float[Array, "2 bins"]:
    """The scores before the first frame; they have no influence."""
    return jnp.zeros((2, tracker.centres_hz.size), dtype)


def block_scores(
    tracker: PyinTracker,
    chunks: int,
    piece: Float[Array, " samples"],
    start: Float[Array, "2 bins"],
    first: Int[Array, ""] | int,
    frames: Int[Array, ""] | int,
) -> Float[Array, "2 bins"]:
    """The scores after a block.

    Args:
      tracker: from `pyin_tracker`.
      chunks: number of equal parts whose frames are observed one part at a time.
      piece: samples of the block, from half a frame before its first frame to half a frame after
        its last.
      start: scores before the block.
      first: index of its first frame.
      frames: number of valid frames in the whole sound.
    """
    observations, valid, _ = _observations(tracker, chunks, piece, first, frames)
    return best_scores(partial(_arrive, tracker.model), start, observations, valid)[0]


def block_path(
    tracker: PyinTracker,
    chunks: int,
    piece: Float[Array, " samples"],
    start: Float[Array, "2 bins"],
    state: Int[Array, ""],
    first: Int[Array, ""] | int,
    frames: Int[Array, ""] | int,
) -> tuple[Int[Array, ""], tuple[Int[Array, " frames"], Float[Array, " frames"]]]:
    """The state before a block, the path through it, and its voiced probabilities.

    The arguments are those of `block_scores`, and `state`, the last state of the path; -1 means the
    state with the best score.
    """
    observations, valid, voiced = _observations(tracker, chunks, piece, first, frames)
    model = tracker.model
    last, scores = best_scores(partial(_arrive, model), start, observations, valid)
    state = jnp.where(state < 0, jnp.argmax(last).astype(jnp.int32), state)
    state, path = backtrack(partial(_depart, model), state, scores, valid)
    return state, (path, voiced)


def _observations(tracker, chunks, piece, first, frames):
    """What `_arrive` needs of each frame of a block, which are valid, and voiced probabilities."""
    hop, length = tracker.hop_length, tracker.frame_length
    count = 1 + (piece.size - length) // hop
    per_chunk, n_bins = count // chunks, tracker.centres_hz.size

    def chunk(index):
        start = index * per_chunk * hop
        part = lax.dynamic_slice(piece, (start,), (block_length(tracker, per_chunk),))
        return tracker.observe(overlapping_blocks(part, 0, per_chunk, length, hop))

    pitch, voiced, outside = lax.map(chunk, jnp.arange(chunks))
    pitch, voiced, outside = pitch.reshape(count, n_bins), voiced.reshape(count), outside.ravel()
    # The probability of no pitch is divided among the unvoiced states. That of a pitch outside of
    # the bins goes to each in full, because it excludes every voiced state.
    unvoiced = jnp.maximum(1 - voiced - outside, 0) / n_bins + outside
    index = first + jnp.arange(count)
    return (_log(pitch), _log(unvoiced), index == 0), index < frames, voiced


def _log(probability: Float[Array, "..."]) -> Float[Array, "..."]:
    """Logarithm of a probability; that of 0 is `_LOG_ZERO`."""
    is_positive = probability > 0
    return jnp.where(is_positive, jnp.log(jnp.where(is_positive, probability, 1)), _LOG_ZERO)


def _arrive(
    model: _Model,
    score: Float[Array, "2 bins"],
    pitch: Float[Array, " bins"],
    unvoiced: Float[Array, ""],
    is_first: Bool[Array, ""],
) -> Float[Array, "2 bins"]:
    """Best score of every state of the next frame."""
    n_bins = pitch.size
    reach = model.log_steps.size - 1
    leaving = score - jnp.asarray(np.broadcast_to(model.log_norm, score.shape), score.dtype)
    switched = jnp.maximum(leaving + model.log_stay, leaving[::-1] + model.log_switch)
    padded = jnp.pad(switched, ((0, 0), (reach, reach)), constant_values=-jnp.inf)
    best = jnp.maximum(switched, jnp.max(score) + _LOG_ZERO)
    log_steps = jnp.asarray(model.log_steps, score.dtype)

    def moved(d, best):
        down, up = (
            lax.dynamic_slice_in_dim(padded, i, n_bins, axis=1) for i in (reach - d, reach + d)
        )
        return jnp.maximum(best, jnp.maximum(down, up) + log_steps[d])

    best = lax.fori_loop(1, reach + 1, moved, best, unroll=max(1, min(reach, _MOVES)))
    observation = jnp.stack([pitch, jnp.broadcast_to(unvoiced, pitch.shape)])
    return jnp.where(is_first, 0, best) + observation


def _depart(
    model: _Model, score: Float[Array, "2 bins"], state: Int[Array, ""]
) -> Float[Array, "2 bins"]:
    """Score of each path to a state, by the state before."""
    n_bins = score.shape[-1]
    beyond = np.full(n_bins - model.log_steps.size, -np.inf)
    half = np.concatenate([model.log_steps, beyond])
    moves = jnp.asarray(np.concatenate([half[:0:-1], half]), score.dtype)
    is_unvoiced = (state >= n_bins).astype(jnp.int32)
    move = lax.dynamic_slice(moves, (n_bins - 1 - state % n_bins,), (n_bins,))
    move = move - jnp.asarray(model.log_norm, score.dtype)
    switch = jnp.where(is_unvoiced == np.arange(2), model.log_stay, model.log_switch)
    return score + jnp.maximum(switch[:, None] + move[None], _LOG_ZERO)
