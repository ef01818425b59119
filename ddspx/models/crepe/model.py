"""CREPE: a network from frames of audio to the activation of each of 360 pitches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx import core
from ddspx._checks import at_least_ndim, floats, positive_int
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import overlapping_blocks
from ddspx.models.crepe.config import FRAME_LENGTH, N_BINS, CrepeConfig
from ddspx.models.crepe.convolution import (
    convolve,
    first_convolve,
    first_kernel_response,
    kernel_response,
)

_POSITIONS = (None, 128, 64, 32, 16, 8)
_LAST_POSITIONS = 4
_EPSILON = 1e-3

_he = nnx.initializers.he_normal()


class CrepeBlock(nnx.Module):
    """The arrays of one convolution and its batch norm, with Keras' shapes.

    Args:
      taps: length of the kernel.
      in_channels: channels of its input.
      channels: channels of its output.
      rngs: draws the kernel.
    """

    def __init__(self, taps: int, in_channels: int, channels: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(_he(rngs.params(), (taps, in_channels, channels), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.shift = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(channels, jnp.float32))
        self.variance = nnx.BatchStat(jnp.ones(channels, jnp.float32))

    def arrays(self) -> tuple[Array, ...]:
        """Kernel, bias, scale, shift, mean and variance."""
        names = ("kernel", "bias", "scale", "shift", "mean", "variance")
        return tuple(getattr(self, name)[...] for name in names)


class Layer(NamedTuple):
    """A `CrepeBlock` in the form for computing: kernel in frequency, batch norm as a line."""

    response: Float[Array, "pairs outputs_2 inputs_2"]
    bias: Float[Array, " channels"]
    slope: Float[Array, " channels"]
    offset: Float[Array, " channels"]


class CrepeNetwork(NamedTuple):
    """The arrays that `crepe_activation` computes with; made by `Crepe.network`."""

    layers: tuple[Layer, ...]
    kernel: Float[Array, "features bins"]
    bias: Float[Array, " bins"]


class Crepe(nnx.Module):
    """The weights of CREPE: six convolutions with batch norm, and a dense layer.

    A block is convolution, ReLU, batch norm with the stored statistics, maximum of neighbours.

    Args:
      config: the size.
      rngs: draws the initial weights; `load_crepe` reads trained ones.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.models.crepe import Crepe, CrepeConfig, crepe_activation
      >>> network = Crepe(CrepeConfig.of("tiny"), rngs=nnx.Rngs(0)).network()
      >>> audio = jnp.zeros(16000, jnp.float32)
      >>> crepe_activation(network, audio, hop_length=160).shape
      (101, 360)

    References:
      Kim et al., `CREPE: A Convolutional Representation for Pitch Estimation
      <https://arxiv.org/abs/1802.06182>`_, ICASSP 2018.
    """

    def __init__(self, config: CrepeConfig, *, rngs: nnx.Rngs):
        self.config = config
        sizes = (1, *config.channels)
        blocks = [CrepeBlock(64 if i else 512, sizes[i], sizes[i + 1], rngs=rngs) for i in range(6)]
        self.blocks = nnx.data(blocks)
        features = _LAST_POSITIONS * sizes[-1]
        self.kernel = nnx.Param(_he(rngs.params(), (features, N_BINS), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(N_BINS, jnp.float32))

    def network(self) -> CrepeNetwork:
        """The arrays for `crepe_activation` and `crepe_pitch`; make them once for many calls.

        It is differentiable in the weights, and takes less time than a second of audio. The kernels
        in frequency take about five times the memory of the weights, 225 MB for "full".
        """
        blocks = tuple(block.arrays() for block in self.blocks)
        return CrepeNetwork(_layers(blocks), self.kernel[...], self.bias[...])


@jax.jit
def _layers(blocks: tuple[tuple[Array, ...], ...]) -> tuple[Layer, ...]:
    layers = []
    for positions, (kernel, bias, scale, shift, mean, variance) in zip(
        _POSITIONS, blocks, strict=True
    ):
        slope = scale / jnp.sqrt(variance + _EPSILON)
        if positions is None:
            response = first_kernel_response(kernel)
        else:
            response = kernel_response(kernel, positions)
        layers.append(Layer(response, bias, slope, shift - slope * mean))
    return tuple(layers)


def normalize_frames(frames: Float[ArrayLike, "*batch samples"]) -> Float[Array, "*batch samples"]:
    r"""Subtracts the mean of each frame and divides by its standard deviation.

    .. math:: y = \frac{x - \bar x}{\max(\sigma_x, 10^{-8})}

    Args:
      frames: frames of audio, of any level.

    Returns:
      Frames of zero mean and, unless they are constant, unit variance.

    Properties:
      Differentiable; the gradient is finite for silence.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx.models.crepe import normalize_frames
      >>> normalize_frames(jnp.array([[1.0, 3.0], [5.0, 5.0]])).tolist()
      [[-1.0, 1.0], [0.0, 0.0]]
    """
    frames = jnp.asarray(frames)
    centred = frames - jnp.mean(frames, axis=-1, keepdims=True)
    deviation = core.safe_sqrt(jnp.mean(centred**2, axis=-1, keepdims=True))
    return centred / jnp.maximum(deviation, 1e-8)


def frames_activation(
    network: CrepeNetwork, frames: Float[ArrayLike, "frames samples"]
) -> Float[Array, "frames bins"]:
    """The activation of normalized frames, computed all at once.

    Args:
      network: from `Crepe.network`.
      frames: 1024 samples each, at 16 kHz.

    Returns:
      360 values from 0 to 1 for each frame.

    Raises:
      ValueError: a frame does not have 1024 samples.

    Properties:
      Differentiable in both arguments.
    """
    frames = jnp.asarray(frames)
    if frames.shape[-1] != FRAME_LENGTH:
        raise ValueError(f"`frames` must have {FRAME_LENGTH} samples each, got {frames.shape[-1]}.")
    first, *layers = network.layers
    outputs = _after(first, *first_convolve(frames, first.response.astype(frames.dtype)))
    for layer in layers:
        outputs = _after(layer, *convolve(outputs, layer.response.astype(frames.dtype)))
    features = outputs.reshape(-1, outputs.shape[-1])
    kernel, bias = network.kernel.astype(frames.dtype), network.bias.astype(frames.dtype)
    logits = jnp.einsum("ib,io->bo", features, kernel, precision=jax.lax.Precision.HIGHEST)
    return jax.nn.sigmoid(logits + bias[None])


def _after(layer: Layer, *outputs: Array) -> Array:
    """ReLU and batch norm of a convolution's even and odd outputs, then their maximum."""
    bias, slope, offset = (x.astype(outputs[0].dtype)[None, :, None] for x in layer[1:])
    even, odd = (slope * jax.nn.relu(x + bias) + offset for x in outputs)
    return jnp.maximum(even, odd)


def crepe_activation(
    network: CrepeNetwork,
    audio: Float[ArrayLike, "*batch samples"],
    *,
    hop_length: int,
    chunk_frames: int = 32,
) -> Float[Array, "*batch frames bins"]:
    """The activation of each pitch in each frame: framing, normalization and network.

    Args:
      network: from `Crepe.network`.
      audio: linear amplitude at 16 kHz, of any level.
      hop_length: samples between frames. Static.
      chunk_frames: how many frames are computed at a time. Only the intermediate results of one
        chunk are in memory (4 MB per frame for "full"). More frames are faster on a GPU. Static.

    Returns:
      360 values from 0 to 1 for each frame, on the frame rule; bin b stands for
      ``1997.38 + 20 * b`` cents above 10 Hz.

    Raises:
      TypeError: a size is not a Python int, or `audio` neither float32 nor float64.
      ValueError: a size is below 1, or `audio` has no axis.

    Properties:
      Differentiable in `audio` and in `network`. The backward pass computes each chunk again, so
      it needs the memory of one chunk too. Static: `hop_length`, `chunk_frames`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.models.crepe import Crepe, CrepeConfig, crepe_activation
      >>> network = Crepe(CrepeConfig(1), rngs=nnx.Rngs(0)).network()
      >>> audio = jnp.zeros((2, 8000), jnp.float32)
      >>> crepe_activation(network, audio, hop_length=100).shape
      (2, 81, 360)

    References:
      The `crepe` package centres its frames the same way.
    """
    return map_chunks(network, chunks_of(audio, hop_length, chunk_frames), lambda x: x)


class Chunks(NamedTuple):
    """Audio, cut into overlapping pieces with the same number of frames, to be computed in turn.

    Attributes:
      pieces: the pieces of the first example, then those of the second, and so on.
      batch: the batch axes of the audio.
      per_example: number of pieces of an example.
      per_piece: number of frames of a piece; the last piece may have more than are needed.
      frames: number of frames of an example.
      hop_length: samples between frames.
    """

    pieces: Float[Array, "pieces samples"]
    batch: tuple[int, ...]
    per_example: int
    per_piece: int
    frames: int
    hop_length: int


def chunks_of(
    audio: Float[ArrayLike, "*batch samples"],
    hop_length: int,
    chunk_frames: int,
    *,
    first: int = 0,
    frames: int | None = None,
) -> Chunks:
    """Cuts audio into chunks, for all frames or for `frames` frames from sample `first` on."""
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    *batch, samples = audio.shape
    frames = core.n_frames(samples, hop_length=hop_length) if frames is None else frames
    chunks = -(-frames // positive_int("chunk_frames", chunk_frames))
    count = -(-frames // chunks)
    length = (count - 1) * hop_length + FRAME_LENGTH
    pieces = overlapping_blocks(
        audio, FRAME_LENGTH // 2 - first, chunks, length, count * hop_length
    )
    return Chunks(pieces.reshape(-1, length), tuple(batch), chunks, count, frames, hop_length)


def chunk_activation(
    network: CrepeNetwork, piece: Float[Array, " samples"], chunks: Chunks
) -> Float[Array, "frames bins"]:
    """The activation of one piece."""
    framed = overlapping_blocks(piece, 0, chunks.per_piece, FRAME_LENGTH, chunks.hop_length)
    return frames_activation(network, normalize_frames(framed))


def map_chunks(
    network: CrepeNetwork, chunks: Chunks, finish: Callable[..., Any], *extras: Array
) -> Any:
    """Applies `finish` to the activation of each piece, and joins the results along the frames.

    Each of `extras` has one row per piece, which `finish` gets together with the activation.
    """

    @jax.checkpoint
    def run(inputs):
        piece, *rows = inputs
        return finish(chunk_activation(network, piece, chunks), *rows)

    results = jax.lax.map(run, (chunks.pieces, *extras))

    def join(x):
        whole = x.reshape(-1, chunks.per_example * chunks.per_piece, *x.shape[2:])
        return whole[:, : chunks.frames].reshape(*chunks.batch, chunks.frames, *x.shape[2:])

    return jax.tree.map(join, results)
