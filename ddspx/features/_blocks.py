"""Audio that arrives in blocks of any size, cut into windows on a fixed grid."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim

RESAMPLER_REACH = 80
"""Half the length of the filter of `core.resample`, in samples at the lower of the two rates."""

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
    axes, count = len(batch), math.prod(batch)
    # Of an array of size 0, the size of an axis cannot be inferred.
    flat = jax.tree.map(lambda x: x.reshape((count, *x.shape[axes:])), inputs)
    rows = range(count)
    results = [jax.device_get(run(*jax.tree.map(lambda x, i=i: x[i], flat))) for i in rows]
    if not results:
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[axes:], x.dtype), inputs)
        empty = jax.eval_shape(run, *shapes)
        return jax.tree.map(lambda x: np.zeros((*batch, *x.shape), x.dtype), empty)
    return jax.tree.map(lambda *x: np.stack(x).reshape((*batch, *x[0].shape)), *results)


def blocks_of(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks as float32; raises a TypeError if there is nothing to iterate over."""
    if not isinstance(blocks, Iterable) or getattr(blocks, "ndim", 1) == 0:
        raise TypeError(
            f"`blocks` must be an iterable of arrays, such as `io.stream_audio` gives, got "
            f"{type(blocks).__name__}; put a whole signal into a list."
        )
    return (float32(block, is_block=True) for block in blocks)


class Counted:
    """Blocks of audio as float32, and how many samples have been read from them.

    Attributes:
      samples: number of samples of the blocks that have been read.
    """

    def __init__(self, blocks: Iterable[np.ndarray]):
        self._blocks = blocks
        self.samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in blocks_of(self._blocks):
            self.samples += block.shape[-1]
            yield block


def joined(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Joins blocks into the whole signal."""
    whole = list(blocks_of(blocks))
    if not whole:
        raise ValueError(_NO_BLOCK)
    return np.concatenate(whole, axis=-1)


def appended(
    held: tuple[np.ndarray, ...], chunk: tuple[np.ndarray, ...] | None
) -> tuple[np.ndarray, ...]:
    """Returns tracks with the frames of a chunk behind theirs; each may be empty or None."""
    if not held or not chunk:
        return held or chunk or ()
    return tuple(np.concatenate(x, axis=-1) for x in zip(held, chunk, strict=True))


def chunk_sizes(longest: int, unit: int = 1) -> tuple[int, ...]:
    """Returns the sizes of the chunks that a signal may be cut into, for :func:`windows`.

    There are three, each four times as long as the one before, because every size is one more
    program to compile. Thus a short sound costs up to four times as much as a chunk of its length
    would, and not as much as the longest chunk.

    Args:
      longest: frames of the longest chunk.
      unit: number of frames of which each size is a multiple.
    """
    return tuple(sorted({unit * max(1, -(-longest // (part * unit))) for part in (16, 4, 1)}))


def chunk_of(frames: int, sizes: Sequence[int]) -> int:
    """Returns the smallest size of chunk that holds so many frames, or the largest of all."""
    return next((size for size in sizes if size >= frames), sizes[-1])


def windows(
    blocks: Iterable[np.ndarray],
    *,
    hop: int,
    chunks: Sequence[int],
    margins: tuple[int, int],
    n_frames: Callable[[int], int],
    short_end: bool = False,
) -> Iterator[tuple[np.ndarray, int]]:
    """Cuts blocks of audio into the samples of chunks of frames, with margins on both sides.

    Yields the samples of a chunk, and how many of its frames belong to the signal: all of them,
    but for the last chunk. All chunks of a signal, but those of a `short_end`, have one size: the
    smallest that holds the whole signal, or the largest if none does. So the sizes depend on the
    length of the signal only, and never on the blocks.

    Args:
      blocks: consecutive blocks ``(*batch, samples)`` of one signal.
      hop: samples between frames.
      chunks: the sizes of chunks, in frames, in ascending order.
      margins: frames before and after a chunk whose samples are added, because the first and the
        last frames of the chunk reach into them; samples outside the signal are zero.
      n_frames: gives the number of frames of a signal from its number of samples.
      short_end: cut the end of a signal of several chunks into up to three chunks of the second
        largest size, if they hold it. Thus less is computed beyond the end, by one more program.
    """
    before, chunk, around = margins[0], chunks[-1], sum(margins)
    step, length = chunk * hop, (chunk + around) * hop
    pending: list[np.ndarray] = []
    n_pending, samples, first_frame = 0, 0, 0
    for block in blocks_of(blocks):
        if not pending:
            n_pending = before * hop
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
    n_left = n_frames(samples) - first_frame
    if first_frame == 0:
        chunk = chunk_of(n_left, chunks)
    while n_left > 0:
        if short_end and first_frame and n_left <= 3 * chunks[-2]:
            chunk = chunks[-2]
        step, length = chunk * hop, (chunk + around) * hop
        pad = [(0, 0)] * (rest.ndim - 1) + [(0, max(0, length - rest.shape[-1]))]
        yield np.pad(rest, pad)[..., :length], min(chunk, n_left)
        rest, n_left = rest[..., step:], n_left - chunk
