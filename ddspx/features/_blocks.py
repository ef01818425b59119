"""Audio that arrives in blocks of any size, cut into windows on a fixed grid."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim


def float32(audio: object, *, is_block: bool = False) -> np.ndarray:
    """Audio on the host; integers are refused, as their full scale is not 1, and so is NaN."""
    samples = np.asarray(audio)
    if not jnp.issubdtype(samples.dtype, jnp.floating):
        raise TypeError(
            f"`audio` must be of floating point, got {samples.dtype}; divide integer audio by its "
            "full scale, 32768 for int16."
        )
    at_least_ndim("audio", samples.shape, 1, "(*batch, samples)", is_block=is_block)
    samples = samples.astype(np.float32, copy=False)
    if not np.isfinite(samples).all():
        at = int(np.argwhere(~np.isfinite(samples))[0][-1])
        raise ValueError(
            f"`audio` must be finite, got {samples[..., at][~np.isfinite(samples[..., at])][0]} at "
            f"sample {at}; put 0 there (np.nan_to_num), or cut it out."
        )
    return samples


def by_rows(run: Callable[..., Any], *inputs: Any, batch: tuple[int, ...]) -> Any:
    """What `run` makes of each sound of a batch by itself, on the host.

    So memory does not grow with the batch, and one program serves batches of all sizes.

    Args:
      run: a compiled function of the inputs of one sound.
      inputs: arrays, or trees of them, whose leading axes are `batch`.
      batch: those axes.
    """
    axes = len(batch)
    flat = jax.tree.map(lambda x: x.reshape((-1, *x.shape[axes:])), inputs)
    rows = range(math.prod(batch))
    made = [jax.device_get(run(*jax.tree.map(lambda x, i=i: x[i], flat))) for i in rows]
    if not made:
        one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[axes:], x.dtype), inputs)
        empty = jax.eval_shape(run, *one)
        return jax.tree.map(lambda x: np.zeros((*batch, *x.shape), x.dtype), empty)
    return jax.tree.map(lambda *x: np.stack(x).reshape((*batch, *x[0].shape)), *made)


def windows(
    blocks: Iterable[np.ndarray],
    *,
    hop: int,
    chunk: int,
    margin: int,
    n_frames: Callable[[int], int],
) -> Iterator[tuple[np.ndarray, int]]:
    """The samples of each chunk of frames with its margins, and how many of its frames count.

    Args:
      blocks: consecutive blocks ``(*batch, samples)`` of one signal.
      hop: samples between frames.
      chunk: frames of a chunk.
      margin: frames on either side of a chunk whose samples its outermost frames reach into;
        outside the signal they are zero.
      n_frames: how many frames a signal of so many samples has.
    """
    step, length = chunk * hop, (chunk + 2 * margin) * hop
    pending: list[np.ndarray] = []
    held, samples, first_frame = 0, 0, 0
    for block in blocks:
        block = float32(block, is_block=True)
        if not pending:
            held = margin * hop
            pending = [np.zeros((*block.shape[:-1], held), np.float32)]
        pending.append(block)
        held, samples = held + block.shape[-1], samples + block.shape[-1]
        if held >= length:
            rest = np.concatenate(pending, axis=-1)
            while rest.shape[-1] >= length:
                yield rest[..., :length], chunk
                rest, first_frame = rest[..., step:], first_frame + chunk
            pending, held = [rest], rest.shape[-1]
    if not pending:
        raise ValueError("`blocks` must hold at least one block of audio, got none.")
    rest = np.concatenate(pending, axis=-1)
    for left in range(n_frames(samples) - first_frame, 0, -chunk):
        pad = [(0, 0)] * (rest.ndim - 1) + [(0, max(0, length - rest.shape[-1]))]
        yield np.pad(rest, pad)[..., :length], min(chunk, left)
        rest = rest[..., step:]
