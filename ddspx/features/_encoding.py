"""z: what an instrument's encoder extracts from a sound beyond its pitch and loudness."""

import math
from collections.abc import Iterable
from functools import partial

import jax
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._typing import Float
from ddspx.features._blocks import joined, windows
from ddspx.nn import Encoder

_CHUNK_SECONDS = 2.0


def blockwise_z(
    encoder: Encoder, blocks: Iterable[np.ndarray]
) -> Float[np.ndarray, "*batch frames z"]:
    """Computes the z of audio that arrives in blocks, in bounded memory.

    Args:
      encoder: a model's encoder. If its `margin_frames` are None it needs the whole sound, which
        is then held in memory.
      blocks: consecutive blocks ``(*batch, samples)`` of one signal at the encoder's sample rate:
        at least one, of any sizes.

    Returns:
      z of the joined blocks, by the frame rule. The sizes of the blocks do not change it, and it
      equals ``encoder(audio)`` up to rounding. Memory holds z, one block and a few seconds of
      audio, unless the encoder needs the whole sound.

    Raises:
      TypeError: the blocks are not of floating point.
      ValueError: there is no block.

    Properties:
      Runs on the host, chunk by chunk. It cannot be used under jit, vmap or grad.

    Example:
      >>> import numpy as np
      >>> from flax import nnx
      >>> from ddspx import features
      >>> from ddspx.nn import ZEncoderConfig, FrontendConfig, ZEncoder
      >>> config = ZEncoderConfig(FrontendConfig.mfcc(), rnn_channels=8, z_size=4)
      >>> encoder = ZEncoder(config, rngs=nnx.Rngs(0))
      >>> noise = np.random.default_rng(0).standard_normal(16000)
      >>> features.blockwise_z(encoder, np.split(noise, [1, 300, 4096])).shape
      (101, 4)
    """
    config, margin = encoder.config, encoder.margin_frames()
    graph, weights = nnx.split(encoder)
    if margin is None:
        return np.asarray(_whole_z(graph, weights, joined(blocks)))
    hop_length = config.hop_length
    chunk = max(16, math.ceil(_CHUNK_SECONDS * config.sample_rate / hop_length))
    n_frames = partial(core.n_frames, hop_length=hop_length)
    state, parts = None, []
    cut = {"hop": hop_length, "chunks": (chunk,), "margins": (margin, margin)}
    for window, n in windows(blocks, **cut, n_frames=n_frames):
        if state is None:
            state = encoder.init(batch_shape=window.shape[:-1])
        state, z = _chunk_z(graph, weights, state, window)
        parts.append(np.asarray(z)[..., :n, :])
    return np.concatenate(parts, axis=-2)


@partial(jax.jit, static_argnums=0)
def _whole_z(graph, weights, audio):
    """The z of a whole sound."""
    return nnx.merge(graph, weights)(audio)


@partial(jax.jit, static_argnums=0)
def _chunk_z(graph, weights, state, window):
    """Returns the encoder's state after a chunk and the chunk's z; `window` includes margins."""
    return nnx.merge(graph, weights).step(state, window)
