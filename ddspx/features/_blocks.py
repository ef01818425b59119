"""Audio that arrives in blocks of any size, cut into windows on a fixed grid."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim

_NO_BLOCK = "`blocks` must hold at least one block of audio, got none."


def float32(audio: object, *, is_block: bool = False) -> np.ndarray:
    """Returns audio as float32 in NumPy; refuses integers, whose full scale is not 1, and NaN."""
    samples = np.asarray(audio)
    if not jnp.issubdtype(samples.dtype, jnp.floating):
        raise TypeError(
            f"`audio` must be of floating point, got {samples.dtype}; divide integer audio by its "
            "full scale, 32768 for int16."
        )
    at_least_ndim("audio", samples.shape, 1, "(*batch, samples)", is_block=is_block)
    samples = samples.astype(np.float32, copy=False)
    if not np.isfinite(samples).all():
        position = tuple(np.argwhere(~np.isfinite(samples))[0])
        raise ValueError(
            f"`audio` must be finite, got {samples[position]} at sample {position[-1]}; replace "
            "it by 0 (np.nan_to_num), or cut it out."
        )
    return samples


def by_rows(run: Callable[..., Any], *inputs: Any, batch: tuple[int, ...]) -> Any:
    """Runs a compiled function on each sound of a batch in turn and stacks the results in NumPy.

    The memory does not grow with the batch then, and one program serves batches of all sizes.

    Args:
      run: a compiled function that takes the inputs of one sound.
      inputs: arrays, or trees of arrays, whose leading axes are `batch`.
      batch: the sizes of these axes.
    """
    axes = len(batch)
    flat = jax.tree.map(lambda x: x.reshape((-1, *x.shape[axes:])), inputs)
    rows = range(math.prod(batch))
    results = [jax.device_get(run(*jax.tree.map(lambda x, i=i: x[i], flat))) for i in rows]
    if not results:
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[axes:], x.dtype), inputs)
        empty = jax.eval_shape(run, *shapes)
        return jax.tree.map(lambda x: np.zeros((*batch, *x.shape), x.dtype), empty)
    return jax.tree.map(lambda *x: np.stack(x).reshape((*batch, *x[0].shape)), *results)


def joined(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Joins blocks into the whole signal."""
    whole = [float32(block, is_block=True) for block in blocks]
    if not whole:
        raise ValueError(_NO_BLOCK)
    return np.concatenate(whole, axis=-1)


def windows(
    blocks: Iterable[np.ndarray],
    *,
    hop: int,
    chunk: int,
    margin: int,
    n_frames: Callable[[int], int],
) -> Iterator[tuple[np.ndarray, int]]:
    """Cuts blocks of audio into the samples of chunks of frames, with margins on both sides.

    Yields the samples of a chunk, and how many of its frames belong to the signal: all of them,
    but for the last chunk.

    Args:
      blocks: consecutive blocks ``(*batch, samples)`` of one signal.
      hop: samples between frames.
      chunk: frames of a chunk.
      margin: frames on either side of a chunk whose samples are added, because the first and the
        last frames of the chunk reach into them; samples outside the signal are zero.
      n_frames: gives the number of frames of a signal from its number of samples.
    """
    step, length = chunk * hop, (chunk + 2 * margin) * hop
    pending: list[np.ndarray] = []
    n_pending, samples, first_frame = 0, 0, 0
    for block in blocks:
        block = float32(block, is_block=True)
        if not pending:
            n_pending = margin * hop
            pending = [np.zeros((*block.shape[:-1], n_pending), np.float32)]
        pending.append(block)
        n_pending, samples = n_pending + block.shape[-1], samples + block.shape[-1]
        if n_pending >= length:
            rest = np.concatenate(pending, axis=-1)
            while rest.shape[-1] >= length:
                yield rest[..., :length], chunk
                rest, first_frame = rest[..., step:], first_frame + chunk
            pending, n_pending = [rest], rest.shape[-1]
    if not pending:
        raise ValueError(_NO_BLOCK)
    rest = np.concatenate(pending, axis=-1)
    for left in range(n_frames(samples) - first_frame, 0, -chunk):
        pad = [(0, 0)] * (rest.ndim - 1) + [(0, max(0, length - rest.shape[-1]))]
        yield np.pad(rest, pad)[..., :length], min(chunk, left)
        rest = rest[..., step:]
