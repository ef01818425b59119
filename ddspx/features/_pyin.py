"""pYIN of a whole sound, computed block by block so that a few programs serve all lengths."""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx.core.pitch._pyin import (
    PyinTracker,
    block_length,
    block_path,
    block_scores,
    first_scores,
    pyin_track,
    pyin_tracker,
)
from ddspx.features._blocks import chunk_of, chunk_sizes
from ddspx.features._range import frame_power, is_within_range
from ddspx.metrics import VOICED

# A frame holds four periods of the lowest pitch, rounded up to a power of two. At librosa's rate of
# 22050 Hz and from C2, its recommended `fmin`, this is its default of 2048 samples.
_PERIODS = 4
# Frames of the longest chunk, whose spectra are in memory together; its samples, which limits long
# hops; and chunks of a block, whose scores are in memory together.
_CHUNK, _LONGEST, _CHUNKS = 256, 1 << 18, 4


def track_pyin(
    audio: np.ndarray, *, sample_rate: int, hop_length: int, fmin: float, fmax: float
) -> tuple[np.ndarray, np.ndarray]:
    """Computes pitch, in unvoiced frames too, and confidence, one sound after the other."""
    options = {"sample_rate": sample_rate, "hop_length": hop_length, "fmin": fmin, "fmax": fmax}
    *batch, samples = audio.shape
    frames = core.n_frames(samples, hop_length=hop_length)
    f0_hz, confidence = np.zeros((2, math.prod(batch), frames), np.float32)
    for i, row in enumerate(audio.reshape(math.prod(batch), samples)):
        f0_hz[i], confidence[i] = _track_one(row[None], **options)
    return f0_hz.reshape(*batch, frames), confidence.reshape(*batch, frames)


def _track_one(
    rows: np.ndarray, *, sample_rate: int, hop_length: int, fmin: float, fmax: float
) -> tuple[np.ndarray, np.ndarray]:
    """Computes pitch and confidence of one sound (1, samples).

    A forward pass stores the scores at the start of every block (6 kB each). A backward pass then
    computes the scores within each block again and traces the path, from the last block to the
    first. All scores of a long sound would not fit into memory.
    """
    tracker, scores_after, path_through = _programs(sample_rate, hop_length, fmin, fmax)
    samples = rows.shape[-1]
    frames, before = core.n_frames(samples, hop_length=hop_length), tracker.frame_length // 2
    sizes = chunk_sizes(max(1, min(_CHUNK, _LONGEST // hop_length)))
    count = _CHUNKS * chunk_of(-(-frames // _CHUNKS), sizes)
    length, hop = block_length(tracker, count), count * hop_length

    def piece(block):
        start = block * hop - before
        inside = rows[:, max(0, start) : start + length]
        left = max(0, -start)
        return np.pad(inside, ((0, 0), (left, length - left - inside.shape[1])))

    first = first_scores(tracker, rows.dtype)
    starts = [jnp.broadcast_to(first, (len(rows), *first.shape))]
    blocks = range(-(-frames // count))
    for block in blocks[:-1]:
        position = jnp.int32(block * count), jnp.int32(frames)
        starts.append(scores_after(piece(block), starts[-1], *position))
    state, tracks = jnp.full(len(rows), -1, jnp.int32), []
    for block in reversed(blocks):
        position = jnp.int32(block * count), jnp.int32(frames)
        state, track = path_through(piece(block), starts[block], state, *position)
        tracks.append([np.asarray(x) for x in track])
    whole = (np.concatenate(x[::-1], axis=-1) for x in zip(*tracks, strict=True))
    f0_hz, is_voiced, probability = (x[0, :frames] for x in whole)
    # The path decides whether a frame is voiced, that is on which side of `VOICED` its confidence
    # lies; the frame's own probability of voicing decides how far from it.
    return f0_hz, np.where(is_voiced, VOICED + (1 - VOICED) * probability, VOICED * probability)


@lru_cache(maxsize=16)
def _programs(
    sample_rate: int, hop_length: int, fmin: float, fmax: float
) -> tuple[PyinTracker, Callable[..., Any], Callable[..., Any]]:
    """Returns the tracker and its two compiled functions, of scores and of paths.

    Both take the samples of a block for each row.
    """
    frame_length = 2 ** math.ceil(math.log2(_PERIODS * sample_rate / fmin))
    tracker = pyin_tracker(
        sample_rate=sample_rate,
        hop_length=hop_length,
        fmin=fmin,
        fmax=fmax,
        frame_length=frame_length,
    )
    scores = jax.vmap(partial(block_scores, tracker, _CHUNKS), in_axes=(0, 0, None, None))
    paths = jax.vmap(partial(block_path, tracker, _CHUNKS), in_axes=(0, 0, 0, None, None))

    # Spectra are computed of the middle half of each frame (two periods), to save memory.
    window, edge = frame_length // 2, -(-frame_length // (2 * hop_length))
    pitch_range = {"sample_rate": sample_rate, "fmin": fmin, "fmax": fmax}

    def path_through(pieces, *args):
        state, (path, voiced) = paths(pieces, *args)
        track = pyin_track(tracker, path, voiced)
        # The centre of the first frame is half a frame after the start of the piece.
        audio = jnp.pad(pieces, ((0, 0), (edge * hop_length - frame_length // 2, 0)))
        power = frame_power(audio, frame_length=window, hop_length=hop_length)
        power = power[:, edge : edge + path.shape[-1]]
        is_inside = is_within_range(track.f0_hz, power, **pitch_range)
        return state, track._replace(is_voiced=track.is_voiced & is_inside)

    return tracker, jax.jit(scores), jax.jit(path_through)
