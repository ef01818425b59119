"""Pitch from activations: the weighted mean around a bin, and two ways to choose the bin."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx._checks import at_least_ndim, floats, one_of, same_size
from ddspx._typing import Array, ArrayLike, Float, Int
from ddspx.models.crepe.config import N_BINS
from ddspx.models.crepe.model import (
    Chunks,
    CrepeNetwork,
    chunk_activation,
    chunks_of,
    map_chunks,
)
from ddspx.models.crepe.path import Observation, path_back, path_end, path_start, path_steps

Decoder = Literal["weighted_argmax", "viterbi", "activation_viterbi"]
"""How the pitch is found from the activation, see `decode_crepe`."""

_DECODERS = ("weighted_argmax", "viterbi", "activation_viterbi")
_OBSERVATIONS: dict[Decoder, Observation] = {
    "viterbi": "argmax",
    "activation_viterbi": "activation",
}
_FIRST_CENTS = 1997.3794084376191
_BIN_CENTS = 20.0
_AROUND = 4
# Up to this number of frames, the activation of all frames is kept in memory (12 MB).
_MOST_KEPT = 8192


def bins_to_hz(
    activation: Float[ArrayLike, "*batch frames bins"], bins: Int[ArrayLike, "*batch frames"]
) -> Float[Array, "*batch frames"]:
    r"""Frequency of the mean of the nine bins around one, weighted by the activation.

    .. math:: f = 10 \cdot 2^{c / 1200}, \qquad
        c = c_0 + 20 \frac{\sum_{|k - b| \le 4} a_k k}{\sum_{|k - b| \le 4} a_k}

    with :math:`c_0 = 1997.379` cents. At the ends of the range there are fewer bins.

    Args:
      activation: from `crepe_activation`.
      bins: one bin for each frame, from 0 to 359.

    Returns:
      Frequency in Hz, from 31.7 to 2006, in the dtype of `activation`. If all nine activations are
      zero, it is the frequency of the bin.

    Raises:
      TypeError: `activation` is neither float32 nor float64.
      ValueError: `activation` does not have 360 bins.

    Properties:
      Differentiable in `activation`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx.models.crepe import bins_to_hz
      >>> activation = jnp.zeros((1, 360), jnp.float32).at[0, 227:229].set(0.5)
      >>> round(float(bins_to_hz(activation, jnp.array([228]))[0]))
      439

    References:
      ``to_local_average_cents`` of the `crepe` package. DDSP's function averages over ten bins.
    """
    (activation,) = floats(activation=activation)
    at_least_ndim("activation", activation.shape, 2, "(*batch, frames, bins)")
    same_size("`activation` and the network", activation.shape[-1], N_BINS, "bins")
    bins = jnp.asarray(bins)
    steps = np.broadcast_to(np.arange(-_AROUND, _AROUND + 1), (*bins.shape, 2 * _AROUND + 1))
    near = bins[..., None] + steps
    weights = jnp.take_along_axis(activation, jnp.clip(near, 0, N_BINS - 1), axis=-1)
    weights = jnp.where((near >= 0) & (near < N_BINS), weights, 0)
    # The mean is taken relative to the chosen bin, so that float32 resolves thousandths of a cent.
    offset = jnp.sum(weights * steps, axis=-1)
    offset = core.safe_divide(offset, jnp.sum(weights, axis=-1), eps=1e-15)
    cents = _FIRST_CENTS + _BIN_CENTS * (bins.astype(activation.dtype) + offset)
    return 10 * 2 ** (cents / 1200)


def pitch_path(
    activation: Float[ArrayLike, "*batch frames bins"],
    *,
    observation: Observation = "argmax",
) -> Int[Array, "*batch frames"]:
    r"""Most likely sequence of bins in a hidden Markov model whose pitch moves slowly (Viterbi).

    All bins are equally likely in the first frame. The probability of a transition from bin i to
    bin j is proportional to :math:`\max(12 - |i - j|, 0)`. In the state j, bin j is observed with
    probability :math:`e_j = 0.1 + 0.9 / 360` and each other bin with :math:`e = 0.9 / 360`.

    Args:
      activation: from `crepe_activation`.
      observation: "argmax": the observation is the bin of the largest activation; the size of the
        activation does not matter. "activation": every bin counts as observed in proportion to its
        activation, which adds :math:`a_j \ln (e_j / e)` to the score of bin j, and every transition
        has a probability of at least 1e-5 / 144.

    Returns:
      A bin for each frame.

    Raises:
      TypeError: `activation` is neither float32 nor float64.
      ValueError: `activation` does not have 360 bins, or `observation` is unknown.

    Properties:
      Not differentiable. Static: `observation`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx.models.crepe import pitch_path
      >>> peaks = jnp.array([100, 103, 250, 105, 105])  # one frame is an outlier
      >>> activation = jnp.zeros((5, 360), jnp.float32).at[jnp.arange(5), peaks].set(0.5)
      >>> pitch_path(activation)[jnp.array([0, 1, 3, 4])].tolist()
      [100, 103, 105, 105]

    References:
      "argmax" is ``to_viterbi_cents`` of the `crepe` package. "activation" is the function of
      DDSP, except that DDSP's longest transitions from bins near either end are up to nearly twice
      as likely.
    """
    (activation,) = floats(activation=activation)
    at_least_ndim("activation", activation.shape, 2, "(*batch, frames, bins)")
    same_size("`activation` and the network", activation.shape[-1], N_BINS, "bins")
    one_of("observation", observation, ("argmax", "activation"))
    *batch, frames, _ = activation.shape
    valid = jnp.ones(frames, bool)
    start = path_start(tuple(batch), activation.dtype)
    score, steps = path_steps(start, activation, observation, valid)
    return path_back(path_end(score), steps)[1]


def decode_crepe(
    activation: Float[ArrayLike, "*batch frames bins"], *, decoder: Decoder = "weighted_argmax"
) -> tuple[Float[Array, "*batch frames"], Float[Array, "*batch frames"]]:
    """Pitch and confidence from activations.

    Args:
      activation: from `crepe_activation`.
      decoder: how the bin of each frame is chosen, before `bins_to_hz` refines it.
        "weighted_argmax": the bin of the largest activation. "viterbi": `pitch_path` with the
        observation "argmax". "activation_viterbi": `pitch_path` with the observation "activation".
        Static.

    Returns:
      Frequency in Hz, and the largest activation of each frame, from 0 to 1.

    Raises:
      TypeError: `activation` is neither float32 nor float64.
      ValueError: `activation` does not have 360 bins, or `decoder` is unknown.

    Properties:
      Differentiable in `activation`; the choice of the bins is not. Static: `decoder`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx.models.crepe import decode_crepe
      >>> activation = jnp.zeros((1, 360), jnp.float32).at[0, 228].set(0.75)
      >>> f0_hz, confidence = decode_crepe(activation)
      >>> round(float(f0_hz[0])), float(confidence[0])
      (442, 0.75)

    References:
      ``predict`` of the `crepe` package, without and with ``viterbi=True``.
    """
    one_of("decoder", decoder, _DECODERS)
    if decoder == "weighted_argmax":
        bins = jnp.argmax(activation, axis=-1)
    else:
        bins = pitch_path(activation, observation=_OBSERVATIONS[decoder])
    return bins_to_hz(activation, bins), jnp.max(activation, axis=-1)


def crepe_pitch(
    network: CrepeNetwork,
    audio: Float[ArrayLike, "*batch samples"],
    *,
    hop_length: int,
    decoder: Decoder = "weighted_argmax",
    chunk_frames: int = 32,
) -> tuple[Float[Array, "*batch frames"], Float[Array, "*batch frames"]]:
    """Pitch and confidence of audio: `decode_crepe` of `crepe_activation`.

    Args:
      network: from `Crepe.network`.
      audio: linear amplitude at 16 kHz, of any level.
      hop_length: samples between frames. Static.
      decoder: as in `decode_crepe`. With "weighted_argmax" the memory is that of one chunk, beside
        `audio` and the result. The Viterbi decoders keep 1.4 kB per frame for up to 8192 frames.
        For longer audio they keep 360 bytes per frame, and run the network twice. Static.
      chunk_frames: as in `crepe_activation`. Static.

    Returns:
      Frequency in Hz and confidence from 0 to 1, on the frame rule.

    Raises:
      TypeError: a size is not a Python int, or `audio` neither float32 nor float64.
      ValueError: a size is below 1, `audio` has no axis, or `decoder` is unknown.

    Properties:
      Differentiable in `audio` and in `network`; the choice of the bins is not. Static:
      `hop_length`, `decoder`, `chunk_frames`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.models.crepe import Crepe, CrepeConfig, crepe_pitch
      >>> network = Crepe(CrepeConfig(1), rngs=nnx.Rngs(0)).network()
      >>> f0_hz, confidence = crepe_pitch(network, jnp.zeros(8000, jnp.float32), hop_length=100)
      >>> f0_hz.shape
      (81,)
    """
    one_of("decoder", decoder, _DECODERS)
    chunks = chunks_of(audio, hop_length, chunk_frames)
    if decoder == "weighted_argmax":
        return map_chunks(network, chunks, decode_crepe)
    if chunks.frames <= _MOST_KEPT:
        return decode_crepe(map_chunks(network, chunks, lambda x: x), decoder=decoder)
    return _long_pitch(network, chunks, _OBSERVATIONS[decoder])


def _long_pitch(
    network: CrepeNetwork, chunks: Chunks, observation: Observation
) -> tuple[Float[Array, "*batch frames"], Float[Array, "*batch frames"]]:
    """Pitch and confidence by Viterbi, without keeping the activation of all frames.

    A first pass over the audio finds the path. A second pass computes the activation of each frame
    again, and reads pitch and confidence at the bins of the path.
    """
    start = path_start((), chunks.pieces.dtype)
    # The choice of the bins has no gradient.
    fixed_network, pieces = jax.lax.stop_gradient((network, chunks.pieces))

    def forward(score, inputs):
        piece, index = inputs
        score = jnp.where(index == 0, start, score)
        valid = index * chunks.per_piece + np.arange(chunks.per_piece) < chunks.frames
        activation = chunk_activation(fixed_network, piece, chunks)
        score, steps = path_steps(score, activation, observation, valid)
        return score, (steps, path_end(score))

    index = jnp.arange(len(pieces)) % chunks.per_example
    _, (steps, ends) = jax.lax.scan(forward, start, (pieces, index))
    examples = len(pieces) // chunks.per_example
    steps = jax.tree.map(lambda x: x.reshape(examples, -1, *x.shape[2:]), steps)
    path = path_back(ends.reshape(examples, -1)[:, -1], steps)[1]

    def finish(activation, bins):
        return bins_to_hz(activation, bins), jnp.max(activation, axis=-1)

    return map_chunks(network, chunks, finish, path.reshape(len(pieces), -1))
