r"""A cascade of second-order sections whose coefficients are linear between frames.

The state of a section is two numbers with :math:`s_n = \sigma (I + D_n) s_{n-1} + u_n`. In terms of
:math:`r_n = \sigma^n s_n` the sign drops out: :math:`r_n = (I + D_n) r_{n-1} + v_n`. The signal is
divided into blocks. One loop over the samples of a block composes the maps of all blocks at once,
`recurrence` computes the state at the start of each block, and a second loop filters all blocks
from there. Only the result is stored: the coefficients are computed from their line in each block.

For JAX this is the solution of a linear system. So its derivatives of any order are further
solutions, of this system and of its transpose, which is the same recurrence backward in time.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array
from ddspx.core.filters._recurrence import composed, recurrence
from ddspx.core.filters._sections import (
    Section,
    about_a_point,
    about_both,
    about_point,
    nearest_point,
)

# Longest block, in samples. Each step of the loops has a fixed cost of some microseconds, and the
# number of steps is the length of a block plus about twice the square root of the number of blocks.
# A hop must be a whole number of blocks.
_LONGEST_BLOCK = 128

_Pair = tuple[Array, Array]


def moving_sections(state: Array, audio: Array, sos: Array, hop_length: int) -> tuple[Array, Array]:
    """Applies sections in series; returns the state ``(*batch, sections, 3)`` and the audio."""
    *batch, samples = audio.shape
    if samples == 0:
        return state, audio
    length = max(n for n in range(1, min(hop_length, _LONGEST_BLOCK) + 1) if hop_length % n == 0)
    n_hops = -(-samples // hop_length)
    n_blocks = n_hops * (hop_length // length)
    sos = jnp.broadcast_to(sos, (*batch, *sos.shape[-3:]))
    points = nearest_point(jnp.mean(sos[..., 4], axis=-2))
    # The small differences d1 and d2 are interpolated, not the coefficients, which would lose as
    # many digits to rounding as a direct form does.
    frames = about_a_point(sos, jnp.broadcast_to(points[..., None, :], sos.shape[:-1]))
    glides = [_glide(frame, hop_length, length, n_hops) for frame in frames[1:]]
    fill = [(0, 0)] * len(batch) + [(0, n_hops * hop_length - samples)]
    blocks = jnp.moveaxis(jnp.pad(audio, fill).reshape(*batch, n_blocks, length), -1, 0)
    last = (samples - 1) % length, ..., (samples - 1) // length

    # With `checkpoint` the derivative computes coefficients and gains again, which is faster than
    # reading stored ones. Its optimization barriers are needed: without them jaxlib 0.7.2 compiles
    # wrong second derivatives.
    @jax.checkpoint
    def filter_section(blocks, section):
        state, point, glides = section
        state, blocks = _moving_section(state, blocks, point, glides, last)
        return blocks, state

    # A scan over the sections: for four sections it compiles in a fourth of the time.
    sections = jnp.moveaxis(state, -2, 0), *jax.tree.map(_sections_first, (points, glides))
    blocks, states = jax.lax.scan(filter_section, blocks, sections)
    audio = jnp.moveaxis(blocks, 0, -1).reshape(*batch, n_blocks * length)[..., :samples]
    return jnp.moveaxis(states, 0, -2), audio


def _sections_first(x: Array) -> Array:
    return jnp.moveaxis(x, -1, 0)


class _Glide(NamedTuple):
    """A coefficient that is linear over each block: its first value, and its slope per sample."""

    start: Array
    slope: Array

    def at(self, j: Array | int) -> Array:
        """The value at sample j of each block, ``(*batch, blocks)``."""
        return self.start + self.slope * j

    def everywhere(self, length: int) -> Array:
        """The values at all samples, ``(length, *batch, blocks)``."""
        j = np.arange(length).reshape(-1, *(1,) * self.start.ndim)
        return self.start[None] + self.slope[None] * j.astype(self.start.dtype)


def _glide(frames: Array, hop_length: int, length: int, n_hops: int) -> _Glide:
    """Lines over the blocks, ``(*batch, blocks, sections)``, from frames, at axis -2."""
    after = jnp.concatenate([frames[..., 1:, :], frames[..., -1:, :]], axis=-2)
    now, after = frames[..., :n_hops, :], after[..., :n_hops, :]
    slope = ((after - now) / hop_length)[..., None, :]
    offset = np.arange(0, hop_length, length).astype(frames.dtype)
    start = now[..., None, :] + slope * offset.reshape(*(1,) * (slope.ndim - 2), -1, 1)
    shape = (*start.shape[:-3], start.shape[-3] * start.shape[-2], start.shape[-1])
    return _Glide(start.reshape(shape), jnp.broadcast_to(slope, start.shape).reshape(shape))


def _moving_section(
    state: Array, blocks: Array, point: Array, glides: list[_Glide], last: tuple
) -> tuple[Array, Array]:
    """One section over ``(length, *batch, blocks)``; the state is that after the sample `last`."""
    length, n_blocks = blocks.shape[0], blocks.shape[-1]
    odd = np.add.outer(np.arange(1, length + 1), length * np.arange(n_blocks)) % 2 == 1
    odd = odd.reshape(length, *(1,) * (blocks.ndim - 2), n_blocks)
    sign = point[None, ..., None]
    turns = jnp.where(odd, sign, 1)
    section = Section(sign, *(glide.everywhere(length) for glide in glides))
    entering = about_point(state, point)
    d1, d2, *_ = glides
    # The initial state is included by adding its first step to the first sample's input.
    first = _step(d1.start[..., 0], d2.start[..., 0], (entering[..., 0], entering[..., 1]))
    x, y = (turns * gain * blocks for gain in section.gains())
    offset = x.at[0, ..., 0].add(first[0]), y.at[0, ..., 0].add(first[1])
    first, second = (turns * r for r in _solve(d1, d2, offset))
    end = about_both(jnp.stack([first[last], second[last]], axis=-1), point)
    return end, section.b0 * blocks + _before(first, entering[..., 0])


def _solve(d1: _Glide, d2: _Glide, offset: _Pair) -> Array:
    r""":math:`r_n = (I + D_n) r_{n-1} + v_n` from rest, with the derivatives of that equation.

    Both numbers are in one array, because the transpose of a pair may lack a cotangent of one.
    """
    rest = jnp.zeros_like(offset[0][0, ..., 0])
    all_d1, all_d2 = (d.everywhere(len(offset[0])) for d in (d1, d2))

    def equation(r: Array) -> Array:
        s, t = (_before(x, rest) for x in r)
        return jnp.stack([r[0] - s + (all_d1 * s - t), r[1] - t + all_d2 * s])

    def solution(_, offset: Array, *, backward: bool = False) -> Array:
        return jnp.stack(_run(d1, d2, (offset[0], offset[1]), backward=backward))

    transposed = partial(solution, backward=True)
    return jax.lax.custom_linear_solve(equation, jnp.stack(offset), solution, transposed)


def _step(d1: Array, d2: Array, state: _Pair, *, backward: bool = False) -> _Pair:
    """``(I + D) r`` with D = ``((-d1, 1), (-d2, 0))``; with `backward`, by the transpose of D."""
    s, t = state
    if backward:
        return s - (d1 * s + d2 * t), t + s
    return s + (t - d1 * s), t - d2 * s


def _run(d1: _Glide, d2: _Glide, offset: _Pair, *, backward: bool) -> _Pair:
    """Solves `equation` of :func:`_solve`, or its transpose, in blocks."""
    loops, doubling = (partial(f, backward=backward) for f in (in_loops, by_doubling))
    return jax.lax.platform_dependent(d1, d2, offset, cpu=loops, default=doubling)


def by_doubling(d1: _Glide, d2: _Glide, offset: _Pair, *, backward: bool) -> _Pair:
    """:func:`_run` on a GPU or a TPU: the maps of all samples, composed by doubling."""

    def turned(tree):
        return jax.tree.map(lambda x: jnp.flip(x, (0, -1)), tree) if backward else tree

    # As in `_step`, the transpose uses D of the sample after.
    places = (np.arange(len(offset[0])) + backward).reshape(-1, *(1,) * d1.start.ndim)
    a, c = (d.start[None] + d.slope[None] * places.astype(d.start.dtype) for d in (d1, d2))
    one, zero = jnp.ones_like(a), jnp.zeros_like(a)
    columns = ((-a, one), (-c, zero)) if backward else ((-a, -c), (one, zero))
    inside = composed(_compose, turned((columns, offset)), axis=0)
    rest = jnp.zeros_like(a[0, ..., 0])
    whole = jax.tree.map(lambda x: x[-1], inside)
    s, t = (_shifted(x)[None] for x in recurrence(_compose, _apply, whole, (rest, rest)))
    return turned(_apply(inside, (s, t)))


def in_loops(d1: _Glide, d2: _Glide, offset: _Pair, *, backward: bool) -> _Pair:
    """:func:`_run` on a CPU: a loop composes the samples of each block, another filters them."""
    length = len(offset[0])
    # The transpose of the step from n to n + 1 is a step from n + 1 to n that uses D of n + 1.
    places = (jnp.arange(length) + backward).astype(offset[0].dtype)
    rest = jnp.zeros_like(offset[0][0])

    def add(state: _Pair, inputs: tuple[Array, _Pair]) -> _Pair:
        j, (x, y) = inputs
        s, t = _step(d1.at(j), d2.at(j), state, backward=backward)
        return s + x, t + y

    def extend(block, inputs):
        """Appends a sample to the map of each block: columns of ``M - I``, and offset."""
        (left, right), sum_ = block
        a, c = d1.at(inputs[0]), d2.at(inputs[0])
        left, right = (_step(a, c, column, backward=backward) for column in (left, right))
        own = (-a, jnp.ones_like(c)) if backward else (-a, -c)
        other = (-c, rest) if backward else (jnp.ones_like(a), rest)
        columns = tuple(
            tuple(x + y for x, y in zip(*pair, strict=True))
            for pair in ((left, own), (right, other))
        )
        return (columns, add(sum_, inputs)), None

    def run(state: _Pair, inputs: tuple[Array, _Pair]) -> tuple[_Pair, _Pair]:
        state = add(state, inputs)
        return state, state

    zeros = (rest, rest)
    inputs = (places, offset)
    blocks, _ = jax.lax.scan(extend, ((zeros, zeros), zeros), inputs, reverse=backward)
    turned = (lambda x: x[..., ::-1]) if backward else (lambda x: x)
    blocks = jax.tree.map(turned, blocks)
    after = recurrence(_compose, _apply, blocks, (rest[..., 0], rest[..., 0]))
    before = tuple(turned(_shifted(x)) for x in after)
    return jax.lax.scan(run, before, inputs, reverse=backward)[1]


def _shifted(x: Array) -> Array:
    """What is before each block: nothing before the first."""
    return jnp.concatenate([jnp.zeros_like(x[..., :1]), x[..., :-1]], axis=-1)


def _compose(earlier, later):
    """Composes two maps ``r -> r + M r + v``; M is given by its columns."""
    columns, offset = earlier
    moved = (_times(later[0], column) for column in columns)
    columns = tuple(
        tuple(x + y + z for x, y, z in zip(*three, strict=True))
        for three in zip(columns, later[0], moved, strict=True)
    )
    return columns, _apply(later, offset)


def _apply(block, state: _Pair) -> _Pair:
    moved = _times(block[0], state)
    s, t = (x + (y + z) for x, y, z in zip(state, moved, block[1], strict=True))
    return s, t


def _times(columns, vector: _Pair) -> _Pair:
    (a, c), (b, d) = columns
    return a * vector[0] + b * vector[1], c * vector[0] + d * vector[1]


def _before(blocks: Array, entering: Array) -> Array:
    """The value before each sample, of shape ``(length, *batch, blocks)``."""
    ends = jnp.concatenate([entering[..., None], blocks[-1, ..., :-1]], axis=-1)
    return jnp.concatenate([ends[None], blocks[:-1]], axis=0)
