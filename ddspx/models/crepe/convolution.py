"""Long convolutions over short signals, as three matrix products: a DFT, channels, a DFT.

A layer of CREPE applies 64 taps at 8 to 128 positions; the first layer applies 512 taps to a frame.
Computed directly, one output costs ``taps * channels`` multiplications. In the frequency domain, a
circular convolution of length n costs only n complex multiplications for all of its outputs. At
these lengths the dense DFT matrices are small compared with the channels. So matrix products with
them, which CPUs and GPUs do best, are faster than FFTs. Multiplications per frame, in millions:

    layer           1     2    3    4    5    6
    full, direct  134  1074   67   34   34   67
    full, DFT      34    66  4.7  2.6  2.3  4.3
    tiny, direct   17    17  1.0   .5   .5  1.0
    tiny, DFT     4.4   3.6  .25  .10  .06  .08

So every layer of every capacity uses the DFT. The result is exact up to rounding.

Arrays are (positions, channels, frames) and (frequencies, channels, frames). With the frames last,
each of the three products is one call, and no array has to be transposed between them.
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
# Outputs per block, and taps per part and phase. Of 16, 32 and 64, 32 needs the fewest
# multiplications (41, 33, 42 million for `full`).
_BLOCK = 32


def kernel_response(
    kernel: Float[Array, "taps inputs outputs"], positions: int
) -> Float[Array, "pairs outputs_2 inputs_2"]:
    """The kernel of a layer in the frequency domain, as `convolve` needs it."""
    offsets = np.arange(_TAPS) - _LEFT
    # The other taps connect no two positions. In the circular convolution they would wrap around.
    is_used = np.abs(offsets) < positions
    return _response(kernel[np.flatnonzero(is_used)], offsets[is_used], _circle(positions))


def convolve(
    inputs: Float[Array, "positions inputs frames"],
    response: Float[Array, "pairs outputs_2 inputs_2"],
) -> tuple[
    Float[Array, "half_positions outputs frames"], Float[Array, "half_positions outputs frames"]
]:
    """A layer with stride 1 and Keras' padding "same": returns its even and its odd outputs."""
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
    """The kernel of the first layer in the frequency domain, as `first_convolve` needs it."""
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
    """The first layer, 512 taps with stride 4: returns its even and its odd outputs.

    The taps of each phase of the stride are a convolution of 128 taps over 256 positions. It is
    computed by overlap-save with a partitioned filter: in blocks of outputs, each from as many
    segments of the input as the filter has parts. The inverse of one long DFT would cost as much as
    the layer itself.
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
    # For output block m, part j of the taps is applied to segment m + j.
    shifted = jnp.stack([spectrum[j : j + blocks] for j in range(parts)])
    shifted = shifted.transpose(2, 3, 0, 4, 1, 5).reshape(_BLOCK, -1, blocks * count)
    product = _product("foi,fix->fox", response, shifted).reshape(size, -1)
    outputs = _product("kn,nx->kx", _synthesis(size, _BLOCK), product)
    outputs = outputs.reshape(2, _BLOCK // 2, -1, blocks, count).transpose(0, 3, 1, 2, 4)
    even, odd = outputs.reshape(2, _FIRST_OUTPUTS // 2, -1, count)
    return even, odd


def _circle(positions: int) -> int:
    """Length of the circular convolution, long enough that no output wraps around."""
    return positions + min(_TAPS // 2, positions)


def _product(equation: str, left: Array | np.ndarray, right: Array) -> Array:
    """An einsum in the dtype of `right`, in full precision on accelerators too."""
    left = jnp.asarray(left, right.dtype)
    return jnp.einsum(equation, left, right, precision=jax.lax.Precision.HIGHEST)


def _analysis(size: int, positions: int) -> np.ndarray:
    """DFT of `positions` samples and zeros up to `size`, (size, positions) of real numbers.

    Rows 2 f and 2 f + 1 are the real and the imaginary part at frequency f. Frequency 0 and Nyquist
    have no imaginary part: row 0 is the real part of the first, row 1 that of the second.
    """
    angle = _angles(size, np.arange(positions))
    pairs = np.stack([np.cos(angle), -np.sin(angle)], axis=1)
    pairs[0, 1] = (-1.0) ** np.arange(positions)
    return pairs.reshape(size, positions)


def _synthesis(size: int, positions: int) -> np.ndarray:
    """The inverse DFT at the first positions, (positions, size); even positions come first."""
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
    # The first pair is frequency 0 and Nyquist; its off-diagonal entries are sin(0) = 0.
    lower = jnp.concatenate([nyquist, real[1:]])
    rows = [jnp.concatenate(row, axis=2) for row in ((real, -imaginary), (imaginary, lower))]
    return jnp.concatenate(rows, axis=1)


def _angles(size: int, offsets: np.ndarray) -> np.ndarray:
    """Phase of each frequency below Nyquist at each offset, in radians."""
    # The integers are reduced modulo `size` first, so that large angles are not rounded.
    steps = np.outer(np.arange(size // 2), offsets) % size
    return 2 * np.pi * steps / size
