"""Convolution of a stream: the filter is divided into partitions that are applied one by one.

The first partition is applied to every block directly, so there is no latency. What the later ones
add to the next `size` samples is computed once, when the samples before them are complete: as a sum
of products of spectra, one for each partition, of which those of the sound are kept. So a block
costs a transform of its own length, and every `size` samples there is one pass over the filter.
A long block is filtered at once, and the spectra for the next block are computed from its end.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddspx._checks import at_least_ndim, broadcast_batch, floats, positive_int
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._fourier import irfft, next_fast_length, rfft
from ddspx.core._numerics import varying_alike, with_ndim

_LARGEST_PARTITION = 1024
# From so many partitions on, a block is long: one transform is faster than one for each of them.
_LONG_BLOCK = 16


class ConvolutionState(NamedTuple):
    """What a filter still needs of the past blocks.

    Attributes:
      past: the last samples of the input, as many as all partitions of the filter have taps.
      spectra: of the past input, cut where partitions begin: one for each partition after the
        first, the newest first; real parts and imaginary parts.
      later: what the partitions after the first add to the output between the last cut and the
        next one.
      position: samples since the last cut, a whole number.
    """

    past: Float[Array, "*batch past"]
    spectra: Float[Array, "*batch 2 partitions bins"]
    later: Float[Array, "*batch partition"]
    position: Float[Array, ""]


def fft_convolve_init(
    impulse_response: Float[ArrayLike, "*ir_batch taps"], *, batch_shape: tuple[int, ...] = ()
) -> ConvolutionState:
    """The state of a filter at rest, before the first block of :func:`fft_convolve_step`.

    Args:
      impulse_response: the filter.
      batch_shape: batch axes of the audio to come, broadcast with those of the filter. Static.

    Returns:
      The state, in the dtype of the filter.

    Raises:
      TypeError: `impulse_response` is neither float32 nor float64.
      ValueError: `impulse_response` is empty or has no axis.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.fft_convolve_init(jnp.ones(4), batch_shape=(2,)).past.shape
      (2, 4)
    """
    (impulse_response,) = floats(impulse_response=impulse_response)
    at_least_ndim("impulse_response", impulse_response.shape, 1, "(*batch, taps)")
    *ir_batch, taps = impulse_response.shape
    positive_int("impulse_response.shape[-1]", taps)
    batch = broadcast_batch(batch_shape=tuple(batch_shape), impulse_response=tuple(ir_batch))
    dtype = impulse_response.dtype
    arrays = {name: jnp.zeros((*batch, *axes), dtype) for name, axes in _axes(taps).items()}
    return ConvolutionState(**arrays, position=jnp.zeros((), dtype))


def _axes(taps: int) -> dict[str, tuple[int, ...]]:
    """The sizes of the arrays of a state, without batch axes, by their names."""
    size = min(taps, _LARGEST_PARTITION)
    others = (taps - 1) // size
    return {"past": ((1 + others) * size,), "spectra": (2, others, size + 1), "later": (size,)}


def fft_convolve_step(
    state: ConvolutionState,
    audio: Float[ArrayLike, "*batch samples"],
    impulse_response: Float[ArrayLike, "*ir_batch taps"],
) -> tuple[ConvolutionState, Float[Array, "*out_batch samples"]]:
    """Next block of a causal convolution, without latency.

    Args:
      state: from :func:`fft_convolve_init` or the step before.
      audio: the next block, of any size from 1.
      impulse_response: the filter, the same in all steps.

    Returns:
      The state after the block, and a block of the input's length.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: an input is empty, an axis is missing, the batch axes do not broadcast, or `state`
        is that of a filter of another length.

    Properties:
      Concatenated blocks of any sizes equal the beginning of :func:`fft_convolve` in ``full``
      mode (up to rounding). Differentiable in all arrays. The filter has partitions of
      1,024 taps, or is one of its own length if it is shorter. A block costs FFTs of its own length
      and a partition; the other partitions are applied once every 1,024 samples.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> echo = jnp.array([1.0, 0.0, 0.5])
      >>> state = core.fft_convolve_init(echo)
      >>> state, first = core.fft_convolve_step(state, jnp.array([1.0, 2.0]), echo)
      >>> state, second = core.fft_convolve_step(state, jnp.array([0.0, 0.0]), echo)
      >>> [round(abs(v), 3) for v in [*first.tolist(), *second.tolist()]]
      [1.0, 2.0, 0.5, 1.0]

    References:
      Uniformly partitioned convolution: Kulp, Digital equalization using Fourier transform
      techniques, AES Convention 85, 1988.
    """
    audio, impulse_response = floats(audio=audio, impulse_response=impulse_response)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)", is_block=True)
    at_least_ndim("impulse_response", impulse_response.shape, 1, "(*batch, taps)")
    samples = positive_int("audio.shape[-1]", audio.shape[-1])
    positive_int("impulse_response.shape[-1]", impulse_response.shape[-1])
    batch = broadcast_batch(
        audio=audio.shape[:-1],
        impulse_response=impulse_response.shape[:-1],
        state=state.past.shape[:-1],
    )
    _check_length(state, impulse_response.shape[-1])
    impulse_response = with_ndim(impulse_response, len(batch) + 1)
    audio = jnp.broadcast_to(audio, (*batch, samples))
    state, audio, impulse_response = _alike(state, audio, impulse_response)
    size = state.later.shape[-1]
    first, others = impulse_response[..., :size], _partitions(impulse_response[..., size:], size)
    if not others.shape[-2]:
        past = jnp.concatenate([state.past, audio], axis=-1)
        return state._replace(past=past[..., samples:]), _heard(past, first, samples)
    if samples >= _LONG_BLOCK * size:
        return _long_block(state, audio, impulse_response, others)
    count, rest = divmod(samples, size)
    whole, last = audio[..., : count * size], audio[..., count * size :]
    out = []
    if count:
        spectra = _spectra(others)

        def advance(state: ConvolutionState, block: Array) -> tuple[ConvolutionState, Array]:
            return _block(state, block, first, lambda: spectra)

        blocks = jnp.moveaxis(whole.reshape(*batch, count, size), -2, 0)
        state, wet = jax.lax.scan(advance, state, blocks)
        out.append(jnp.moveaxis(wet, 0, -2).reshape(whole.shape))
    if rest:
        state, wet = _block(state, last, first, lambda: _spectra(others))
        out.append(wet)
    return state, jnp.concatenate(out, axis=-1)


def _check_length(state: ConvolutionState, taps: int) -> None:
    """Raises a ValueError if a state is that of a filter of another length."""
    for name, expected in _axes(taps).items():
        axes = jnp.shape(getattr(state, name))[-len(expected) :]
        if axes != expected:
            raise ValueError(
                f"`state` must be that of a filter of {taps} taps, whose `{name}` ends in "
                f"{expected}, got {axes}; make it with the filter of the steps."
            )


def _alike(
    state: ConvolutionState, audio: Array, impulse_response: Array
) -> tuple[ConvolutionState, Array, Array]:
    """Gives the arrays of a state the batch axes and the dtype of the audio."""
    batch, dtype = audio.shape[:-1], audio.dtype

    def given(x: ArrayLike, n_axes: int) -> Array:
        x = jnp.asarray(x, dtype)
        return jnp.broadcast_to(x, (*batch, *x.shape[x.ndim - n_axes :]))

    arrays = given(state.past, 1), given(state.spectra, 3), given(state.later, 1)
    past, spectra, later, audio, impulse_response = varying_alike(*arrays, audio, impulse_response)
    position = jnp.asarray(state.position, dtype)
    return ConvolutionState(past, spectra, later, position), audio, impulse_response


def _partitions(taps: Array, size: int) -> Array:
    """Divides taps into rows of one size, and fills them with zeros to twice that size."""
    count = -(-taps.shape[-1] // size)
    edges = [(0, 0)] * (taps.ndim - 1)
    filled = jnp.pad(taps, [*edges, (0, count * size - taps.shape[-1])])
    return jnp.pad(filled.reshape(*taps.shape[:-1], count, size), [*edges, (0, 0), (0, size)])


def _heard(past: Array, taps: Array, samples: int) -> Array:
    """The last samples of a signal, through a filter that also reads the ones before them."""
    before = taps.shape[-1] - 1
    n_fft = next_fast_length(before + samples)
    past = past[..., past.shape[-1] - before - samples :]
    # The convolution is circular: samples before the ones that are asked for are wrong.
    return irfft(rfft(past, n_fft) * rfft(taps, n_fft), n_fft)[..., before : before + samples]


def _spectra(signals: Array) -> Array:
    """Spectra of signals in rows, ``(..., signals, samples)``: (..., 2, signals, bins)."""
    spectra = rfft(signals, signals.shape[-1])
    return jnp.stack([spectra.real, spectra.imag], axis=-3)


def _later(spectra: Array, responses: Array) -> Array:
    """What past samples add to the ones after the last cut, through the partitions that follow."""
    size = spectra.shape[-1] - 1
    (a, b), (c, d) = (jnp.moveaxis(x, -3, 0) for x in (spectra, responses))
    total = jax.lax.complex(jnp.sum(a * c - b * d, axis=-2), jnp.sum(a * d + b * c, axis=-2))
    return irfft(total, 2 * size)[..., size:]


def _block(
    state: ConvolutionState, block: Array, first: Array, responses: Callable[[], Array]
) -> tuple[ConvolutionState, Array]:
    """The step for a block of at most a partition; `responses` computes the other ones' spectra."""
    samples, size = block.shape[-1], state.later.shape[-1]
    past = jnp.concatenate([state.past, block], axis=-1)
    position = state.position.astype(jnp.int32)
    reach = position + samples

    def cut() -> tuple[Array, Array]:
        end = past.shape[-1] - reach + size
        newest = jax.lax.dynamic_slice_in_dim(past, end - 2 * size, 2 * size, axis=-1)
        newest = _spectra(newest[..., None, :])
        spectra = jnp.concatenate([newest, state.spectra[..., :-1, :]], axis=-2)
        return spectra, _later(spectra, responses())

    def keep() -> tuple[Array, Array]:
        return state.spectra, jnp.zeros_like(state.later)

    is_cut = reach >= size
    spectra, after = cut() if samples == size else jax.lax.cond(is_cut, cut, keep)
    around = jnp.concatenate([state.later, after], axis=-1)
    wet = _heard(past, first, samples)
    wet += jax.lax.dynamic_slice_in_dim(around, position, samples, axis=-1)
    later = jnp.where(is_cut, after, state.later)
    position = (reach % size).astype(state.position.dtype)
    return ConvolutionState(past[..., samples:], spectra, later, position), wet


def _long_block(
    state: ConvolutionState, block: Array, impulse_response: Array, others: Array
) -> tuple[ConvolutionState, Array]:
    """The step for a block much longer than a partition."""
    count, samples, size = others.shape[-2], block.shape[-1], state.later.shape[-1]
    past = jnp.concatenate([state.past, block], axis=-1)
    position = (state.position.astype(jnp.int32) + samples) % size
    start = past.shape[-1] - position - (count + 1) * size
    parts = jax.lax.dynamic_slice_in_dim(past, start, (count + 1) * size, axis=-1)
    parts = jnp.flip(parts.reshape(*block.shape[:-1], count + 1, size), -2)
    pairs = jnp.concatenate([parts[..., 1:, :], parts[..., :-1, :]], axis=-1)
    spectra = _spectra(pairs)
    later = _later(spectra, _spectra(others))
    wet = _heard(past, impulse_response, samples)
    position = position.astype(state.position.dtype)
    return ConvolutionState(past[..., samples:], spectra, later, position), wet
