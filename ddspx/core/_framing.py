"""The frame rule, framing, overlap-add and windows.

Frames are centred: `n_samples` samples make ``1 + n_samples // hop_length`` frames, and frame
``i`` describes the audio around sample ``i * hop_length``. No other file states this rule.
"""

import operator
from functools import lru_cache, reduce

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import DTypeLike

from ddspx._checks import at_least_ndim, floats, non_negative_int, positive_int
from ddspx._typing import Array, ArrayLike, Float

# Up to this many hops in a frame, the sum over hops is unrolled. For more it is a loop, whose
# compile time does not grow with their number.
_UNROLLED = 32


def n_frames(n_samples: int, *, hop_length: int) -> int:
    r"""Number of centred frames of a signal.

    .. math:: F = 1 + \lfloor N / h \rfloor

    Args:
      n_samples: length of the signal, in samples; at least 0. Static.
      hop_length: samples between the centres of two frames. Static.

    Returns:
      The number of frames: one for every multiple of `hop_length` in ``[0, n_samples]``.

    Raises:
      TypeError: an argument is not a Python int.
      ValueError: `n_samples` is negative, or `hop_length` is not positive.

    Properties:
      Static: no array is involved.

    Example:
      >>> from ddspx import core
      >>> core.n_frames(64000, hop_length=64)
      1001

    References:
      librosa with ``center=True`` counts the same way. DDSP mixes three rules (``center``,
      ``same``, ``valid``), which puts its pitch 32 ms ahead of its loudness.
    """
    samples = non_negative_int("n_samples", n_samples)
    return 1 + samples // positive_int("hop_length", hop_length)


def n_samples_of(frames: int, *, hop_length: int, n_samples: int | None = None) -> int:
    """Length of the audio of `frames` frames: `n_samples` if it has that many, or the shortest."""
    hop_length = positive_int("hop_length", hop_length)
    if frames < 1:
        raise ValueError("the controls must have at least one frame, got an empty axis of frames.")
    shortest = (frames - 1) * hop_length
    if n_samples is None:
        return shortest
    if n_frames(n_samples, hop_length=hop_length) != frames:
        raise ValueError(
            f"`n_samples` must be from {shortest} to {shortest + hop_length - 1} for "
            f"{frames} frames at `hop_length` {hop_length}, got {n_samples}; "
            "frames = 1 + n_samples // hop_length."
        )
    return n_samples


def frame(
    audio: Float[ArrayLike, "*batch samples"], *, frame_length: int, hop_length: int
) -> Float[Array, "*batch frames frame_length"]:
    r"""Overlapping centred frames of a signal, with silence outside it.

    .. math:: y[i, j] = x[i h + j - \lfloor L / 2 \rfloor], \qquad 0 \le j < L

    Args:
      audio: any signal.
      frame_length: samples in a frame, :math:`L`. Static.
      hop_length: samples between the centres of two frames, :math:`h`; it may exceed
        `frame_length`. Static.

    Returns:
      ``n_frames(samples, hop_length=hop_length)`` frames; sample ``i * hop_length`` lies at
      index ``frame_length // 2`` of frame ``i``.

    Raises:
      TypeError: a size is not a Python int, or `audio` is neither float32 nor float64.
      ValueError: a size is not positive, or `audio` has no axis.

    Properties:
      Linear, and differentiable in `audio`; its adjoint is :func:`overlap_add`.
      Static: `frame_length`, `hop_length`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.frame(jnp.arange(1.0, 5.0), frame_length=4, hop_length=2).tolist()
      [[0.0, 0.0, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 0.0, 0.0]]

    References:
      Equals ``librosa.util.frame`` of a signal padded with ``L // 2`` zeros on both sides.
    """
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    frame_length = positive_int("frame_length", frame_length)
    samples = audio.shape[-1]
    frames = n_frames(samples, hop_length=hop_length)
    return overlapping_blocks(audio, frame_length // 2, frames, frame_length, hop_length)


def overlapping_blocks(
    audio: Float[Array, "*batch samples"],
    before: int,
    count: int,
    length: int,
    hop_length: int,
) -> Float[Array, "*batch count length"]:
    """Blocks of a signal; the first begins `before` samples before it, and outside it is zero.

    A block consists of `per_block` consecutive hops, the last one cut short. So hop j of all blocks
    is one contiguous slice, and no gather or scatter is needed for any length. Stacking the hops
    and reshaping takes a tenth of the time of concatenation along time.
    """
    *batch, samples = audio.shape
    per_block = -(-length // hop_length)
    hops = count - 1 + per_block
    padded = _pad_last(audio, before, hops * hop_length - samples - before)
    grid = padded.reshape(*batch, hops, hop_length)
    stacked = jnp.stack([grid[..., j : j + count, :] for j in range(per_block)], axis=-2)
    return stacked.reshape(*batch, count, per_block * hop_length)[..., :length]


def overlap_add(
    frames: Float[ArrayLike, "*batch frames frame_length"],
    *,
    hop_length: int,
    n_samples: int | None = None,
) -> Float[Array, "*batch samples"]:
    r"""Sum of centred frames, each added where :func:`frame` reads it.

    .. math:: y[n] = \sum_i x[i, n - i h + \lfloor L / 2 \rfloor]

    Args:
      frames: the frames, already windowed.
      hop_length: samples between the centres of two frames, :math:`h`. Static.
      n_samples: length of the result, in samples; any length that has this many frames. The
        default is the least, ``(frames - 1) * hop_length``. Static.

    Returns:
      The signal, in the dtype of `frames`; parts of frames outside of it are dropped.

    Raises:
      TypeError: a size is not a Python int, or `frames` is neither float32 nor float64.
      ValueError: `n_samples` samples do not have this number of frames, or an axis is missing.

    Properties:
      Linear, and differentiable in `frames`; the exact adjoint of :func:`frame`. Frames under a
      periodic Hann window with ``frame_length = r * hop_length``, r at least 2, add up to
      ``r / 2`` times the signal. Static: `hop_length`, `n_samples`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> frames = core.frame(jnp.arange(1.0, 7.0), frame_length=4, hop_length=2)
      >>> window = jnp.asarray(core.hann_window(4))
      >>> y = core.overlap_add(frames * window[None], hop_length=2)
      >>> [round(v, 3) for v in y.tolist()]
      [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    """
    (frames,) = floats(frames=frames)
    at_least_ndim("frames", frames.shape, 2, "(*batch, frames, frame_length)")
    *batch, count, frame_length = frames.shape
    n_samples = n_samples_of(count, hop_length=hop_length, n_samples=n_samples)
    per_frame = -(-frame_length // hop_length)
    grid = _pad_last(frames, 0, per_frame * hop_length - frame_length)
    grid = grid.reshape(*batch, count, per_frame, hop_length)
    total = (count - 1 + per_frame) * hop_length
    if per_frame > _UNROLLED:
        parts = jnp.moveaxis(grid, -2, 0).reshape(per_frame, *batch, count * hop_length)
        added = _added_in_a_loop(parts, hop_length)
    else:
        # The grid is split, because the gradient of slices would be a sum of as many padded arrays.
        parts = [
            _pad_last(
                part.reshape(*batch, count * hop_length),
                j * hop_length,
                (per_frame - 1 - j) * hop_length,
            )
            for j, part in enumerate(jnp.split(grid, per_frame, axis=-2))
        ]
        added = reduce(operator.add, parts)
    left = frame_length // 2
    return _pad_last(added, -left, n_samples + left - total)


@lru_cache(maxsize=64)
def hann_window(win_length: int, *, dtype: DTypeLike = np.float64) -> np.ndarray:
    r"""Periodic Hann window.

    .. math:: w[n] = \tfrac12 - \tfrac12 \cos(2 \pi n / N), \qquad 0 \le n < N

    Args:
      win_length: length :math:`N`, in samples. Static.
      dtype: dtype of the result; the design is in float64 and cast last. Static.

    Returns:
      A read-only NumPy array: a constant under jit, built once for each length and dtype.

    Raises:
      TypeError: `win_length` is not a Python int.
      ValueError: `win_length` is not positive.

    Properties:
      Copies shifted by ``N / r`` add up to ``r / 2`` for every divisor r of N from 2 on.

    Example:
      >>> from ddspx import core
      >>> [round(v, 3) for v in core.hann_window(4).tolist()]
      [0.0, 0.5, 1.0, 0.5]

    References:
      ``scipy.signal.get_window("hann", N)``. TensorFlow's, and so DDSP's, is symmetric instead
      for odd N; this one is periodic for all.
    """
    win_length = positive_int("win_length", win_length)
    phase = 2 * np.pi * np.arange(win_length) / win_length
    window = (0.5 - 0.5 * np.cos(phase)).astype(dtype)
    window.flags.writeable = False
    return window


def _added_in_a_loop(
    parts: Float[Array, "parts *batch samples"], hop_length: int
) -> Float[Array, "*batch longer"]:
    """Sum of the parts, each one hop later than the one before."""
    count, *_, samples = parts.shape

    def add(total: Array, item: tuple[Array, Array]) -> tuple[Array, None]:
        part, start = item
        overlap = jax.lax.dynamic_slice_in_dim(total, start, samples, axis=-1)
        return jax.lax.dynamic_update_slice_in_dim(total, overlap + part, start, axis=-1), None

    silence = _pad_last(jnp.zeros_like(parts[0]), 0, (count - 1) * hop_length)
    starts = jnp.arange(count, dtype=jnp.int32) * hop_length
    return jax.lax.scan(add, silence, (parts, starts))[0]


def _pad_last(x: Array, left: int, right: int) -> Array:
    """Pads the last axis with zeros; negative amounts crop."""
    edges = [(0, 0, 0)] * (x.ndim - 1) + [(left, right, 0)]
    return jax.lax.pad(x, jnp.zeros((), x.dtype), edges)
