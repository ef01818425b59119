"""pYIN of a whole sound, block by block with one program for all lengths."""

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
from ddspx.features._range import frame_power, is_within_range
from ddspx.metrics import VOICED

# What librosa recommends: four periods of the lowest pitch, here rounded up to a power of two.
_PERIODS = 4
# Frames of a chunk, whose spectra are held at once, fewer where they would be more than 16 s; and
# chunks of a block, whose scores are.
_CHUNK, _LONGEST, _CHUNKS = 256, 1 << 18, 4


def track_pyin(
    audio: np.ndarray, *, sample_rate: int, hop_length: int, fmin: float, fmax: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pitch of every frame, whether voiced or not, and confidence, one sound after the other."""
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
    """The tracks of one sound (1, samples).

    Forward the scores at the starts of the blocks are found, 6 kB for each, and then the path
    from the last block to the first.
    """
    tracker, scores_after, path_through = _programs(sample_rate, hop_length, fmin, fmax)
    samples = rows.shape[-1]
    frames, before = core.n_frames(samples, hop_length=hop_length), tracker.frame_length // 2
    count = _CHUNKS * _chunk(hop_length)
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
        now = jnp.int32(block * count), jnp.int32(frames)
        starts.append(scores_after(piece(block), starts[-1], *now))
    state, heard = jnp.full(len(rows), -1, jnp.int32), []
    for block in reversed(blocks):
        now = jnp.int32(block * count), jnp.int32(frames)
        state, track = path_through(piece(block), starts[block], state, *now)
        heard.append([np.asarray(x) for x in track])
    whole = (np.concatenate(x[::-1], axis=-1) for x in zip(*heard, strict=True))
    f0_hz, is_voiced, probability = (x[0, :frames] for x in whole)
    # The path decides; what the frame says by itself grades it on its side of `VOICED`.
    return f0_hz, np.where(is_voiced, VOICED + (1 - VOICED) * probability, VOICED * probability)


def _chunk(hop_length: int) -> int:
    return max(1, min(_CHUNK, _LONGEST // hop_length))


@lru_cache(maxsize=16)
def _programs(
    sample_rate: int, hop_length: int, fmin: float, fmax: float
) -> tuple[PyinTracker, Callable[..., Any], Callable[..., Any]]:
    """The tracker, and what is compiled of it: for rows of pieces, of one length."""
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

    # Of the frames' middle halves, two periods: so many spectra are small.
    window, edge = frame_length // 2, -(-frame_length // (2 * hop_length))
    asked = {"sample_rate": sample_rate, "fmin": fmin, "fmax": fmax}

    def path_through(pieces, *args):
        state, (path, voiced) = paths(pieces, *args)
        track = pyin_track(tracker, path, voiced)
        # The first frame is half a frame after the start.
        audio = jnp.pad(pieces, ((0, 0), (edge * hop_length - frame_length // 2, 0)))
        power = frame_power(audio, frame_length=window, hop_length=hop_length)
        power = power[:, edge : edge + path.shape[-1]]
        counts = is_within_range(track.f0_hz, power, **asked)
        return state, track._replace(is_voiced=track.is_voiced & counts)

    return tracker, jax.jit(scores), jax.jit(path_through)
