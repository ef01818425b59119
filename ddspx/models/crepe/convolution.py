"""Long convolutions over short signals, as three matrix products: a DFT, channels, a DFT.

A layer of CREPE slides 64 taps over 8 to 128 positions, the first one 512 taps over a frame. Done
directly, one output costs ``taps * channels`` products. In frequency a circular convolution of
length n costs n complex ones for all of its outputs, and at these lengths the dense DFT matrices
are so small beside the channels that no fast transform is called for: what a CPU does best, and a
GPU too, is matrix products. Multiplications per frame, in millions:

    layer           1     2    3    4    5    6
    full, direct  134  1074   67   34   34   67
    full, DFT      34    66  4.7  2.6  2.3  4.3
    tiny, direct   17    17  1.0   .5   .5  1.0
    tiny, DFT     4.4   3.6  .25  .10  .06  .08

So the rule is the same for every layer of every capacity: the DFT. It is exact, but for rounding.

Arrays are (positions, channels, frames) and (frequencies, channels, frames). Frames come last, so
each of the three products is one call, and what one makes the next one takes as it lies.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._typing import Array, Float

_TAPS = 64
_LEFT = 31
_FIRST_TAPS = 512
_FIRST_STRIDE = 4
_FIRST_OUTPUTS = 256
_FIRST_LEFT = 254
# Blocks of 32 outputs and 32 taps of each phase: of 16, 32, 64 the fewest multiplications
# (41, 33, 42 million for `full`).
_BLOCK = 32


def kernel_response(
    kernel: Float[Array, "taps inputs outputs"], positions: int
) -> Float[Array, "pairs outputs_2 inputs_2"]:
    """What `convolve` multiplies by in place of a layer's kernel, for so many positions."""
    offsets = np.arange(_TAPS) - _LEFT
    # The others reach from no position to any other; they would wrap around.
    heard = np.abs(offsets) < positions
    return _response(kernel[np.flatnonzero(heard)], offsets[heard], _circle(positions))


def convolve(
    inputs: Float[Array, "positions inputs frames"],
    response: Float[Array, "pairs outputs_2 inputs_2"],
) -> tuple[
    Float[Array, "half_positions outputs frames"], Float[Array, "half_positions outputs frames"]
]:
    """A layer with stride 1 and Keras' padding "same": its even and its odd outputs."""
    positions, channels, frames = inputs.shape
    size = _circle(positions)
    spectrum = _product("nk,kx->nx", _analysis(size, positions), inputs.reshape(positions, -1))
    spectrum = spectrum.reshape(size // 2, 2 * channels, frames)
    product = _product("foi,fix->fox", response, spectrum).reshape(size, -1)
    outputs = _product("kn,nx->kx", _synthesis(size, positions), product)
    even, odd = outputs.reshape(2, positions // 2, -1, frames)
    return even, odd


def first_kernel_response(
    kernel: Float[Array, "taps one outputs"],
) -> Float[Array, "pairs outputs_2 inputs_2"]:
    """What `first_convolve` multiplies by in place of the first layer's kernel."""
    parts = _FIRST_TAPS // (_BLOCK * _FIRST_STRIDE)
    # Tap _FIRST_STRIDE * (_BLOCK * j + t) + r is tap t of phase r of part j: (j, r) are channels.
    taps = kernel.reshape(parts, _BLOCK, _FIRST_STRIDE, -1).transpose(1, 0, 2, 3)
    taps = taps.reshape(_BLOCK, parts * _FIRST_STRIDE, -1)
    return _response(taps, np.arange(_BLOCK), 2 * _BLOCK)


def first_convolve(
    frames: Float[Array, "frames samples"],
    response: Float[Array, "pairs outputs_2 inputs_2"],
) -> tuple[
    Float[Array, "half_positions outputs frames"], Float[Array, "half_positions outputs frames"]
]:
    """The first layer, 512 taps with stride 4: its even and its odd outputs.

    The taps of one phase of the stride are a convolution of 128 taps over 256 positions. Its
    outputs are made in blocks, from as many segments of the input as there are parts of the
    taps (overlap and save, with a partitioned filter): one long DFT would have an inverse as
    expensive as the layer.
    """
    count, samples = frames.shape
    parts = _FIRST_TAPS // (_BLOCK * _FIRST_STRIDE)
    blocks, size = _FIRST_OUTPUTS // _BLOCK, 2 * _BLOCK
    length = (blocks + parts) * _BLOCK * _FIRST_STRIDE
    padded = jnp.pad(frames.T, ((_FIRST_LEFT, length - _FIRST_LEFT - samples), (0, 0)))
    halves = padded.reshape(blocks + parts, _BLOCK, _FIRST_STRIDE * count)
    segments = jnp.concatenate([halves[:-1], halves[1:]], axis=1)
    spectrum = _product("nk,skx->snx", _analysis(size, size), segments)
    spectrum = spectrum.reshape(-1, _BLOCK, 2, _FIRST_STRIDE, count)
    # Part j of the taps sees block m through segment m + j.
    seen = jnp.stack([spectrum[j : j + blocks] for j in range(parts)])
    seen = seen.transpose(2, 3, 0, 4, 1, 5).reshape(_BLOCK, -1, blocks * count)
    product = _product("foi,fix->fox", response, seen).reshape(size, -1)
    outputs = _product("kn,nx->kx", _synthesis(size, _BLOCK), product)
    outputs = outputs.reshape(2, _BLOCK // 2, -1, blocks, count).transpose(0, 3, 1, 2, 4)
    even, odd = outputs.reshape(2, _FIRST_OUTPUTS // 2, -1, count)
    return even, odd


def _circle(positions: int) -> int:
    """Length of the circle on which nothing that is heard wraps onto another position."""
    return positions + min(_TAPS // 2, positions)


def _product(equation: str, left: Array | np.ndarray, right: Array) -> Array:
    """An einsum in the dtype of `right`, exact where accelerators would round to 10 bits."""
    left = jnp.asarray(left, right.dtype)
    return jnp.einsum(equation, left, right, precision=jax.lax.Precision.HIGHEST)


def _analysis(size: int, positions: int) -> np.ndarray:
    """DFT of `positions` samples and zeros up to `size`, (size, positions) of real numbers.

    Rows 2 f and 2 f + 1 are the real and the imaginary part at frequency f; those of frequency 0
    and of Nyquist, which have no imaginary part, share the first two.
    """
    angle = _angles(size, np.arange(positions))
    pairs = np.stack([np.cos(angle), -np.sin(angle)], axis=1)
    pairs[0, 1] = (-1.0) ** np.arange(positions)
    return pairs.reshape(size, positions)


def _synthesis(size: int, positions: int) -> np.ndarray:
    """The inverse at the first positions, even ones before odd ones: (positions, size)."""
    inverse = _analysis(size, positions).T * (2 / size)
    inverse[:, :2] /= 2
    return np.concatenate([inverse[::2], inverse[1::2]])


def _response(
    kernel: Float[Array, "taps inputs outputs"], offsets: np.ndarray, size: int
) -> Float[Array, "pairs outputs_2 inputs_2"]:
    """The complex product with a kernel's spectrum, as a real matrix for each frequency."""
    taps, inputs, outputs = kernel.shape
    flat = kernel.transpose(0, 2, 1).reshape(taps, -1)
    angle = _angles(size, offsets)
    real, imaginary, nyquist = (
        _product("fk,kx->fx", wave, flat).reshape(-1, outputs, inputs)
        for wave in (np.cos(angle), np.sin(angle), ((-1.0) ** offsets)[None])
    )
    # The first pair is frequency 0 and Nyquist; sin(0) leaves nothing that crosses between them.
    lower = jnp.concatenate([nyquist, real[1:]])
    rows = [jnp.concatenate(row, axis=2) for row in ((real, -imaginary), (imaginary, lower))]
    return jnp.concatenate(rows, axis=1)


def _angles(size: int, offsets: np.ndarray) -> np.ndarray:
    """Phase of each frequency below Nyquist at each offset, in radians."""
    # Reduced in whole numbers first, so that every angle is as exact as a small one.
    steps = np.outer(np.arange(size // 2), offsets) % size
    return 2 * np.pi * steps / size
