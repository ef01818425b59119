"""What an instrument is told about a sound beyond its pitch and loudness, by its own encoder."""

import math
from collections.abc import Iterable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._typing import Float
from ddspx.features._blocks import windows
from ddspx.nn import ZEncoder

_CHUNK_SECONDS = 2.0


def stream_z(
    encoder: ZEncoder, blocks: Iterable[np.ndarray]
) -> Float[np.ndarray, "*batch frames z"]:
    """The z of audio that arrives in blocks, in bounded memory.

    Args:
      encoder: of a model; its front-end must hear each frame by itself.
      blocks: consecutive blocks (*batch, samples) of one signal at the sample rate of the
        encoder's front-end, of any sizes, at least one.

    Returns:
      z of the blocks joined together on the frame rule: the same numbers whatever the blocks, and
      those of ``encoder(audio)`` to rounding. Memory holds these, one block and some seconds of
      audio.

    Raises:
      TypeError: the blocks are not of floating point.
      ValueError: there is no block, or the front-end hears the whole sound at once.

    Properties:
      Runs on the host, chunk by chunk: not for use under jit, vmap or grad.

    Example:
      >>> import numpy as np
      >>> from flax import nnx
      >>> from ddspx import features
      >>> from ddspx.nn import EncoderConfig, FrontendConfig, ZEncoder
      >>> config = EncoderConfig(FrontendConfig.mfcc(), rnn_channels=8, z_size=4)
      >>> encoder = ZEncoder(config, rngs=nnx.Rngs(0))
      >>> noise = np.random.default_rng(0).standard_normal(16000)
      >>> features.stream_z(encoder, np.split(noise, [1, 300, 4096])).shape
      (101, 4)
    """
    listening = encoder.config.frontend
    hop, margin = listening.hop_length, encoder.margin_frames
    chunk = max(16, math.ceil(_CHUNK_SECONDS * listening.sample_rate / hop))
    n_frames = partial(core.n_frames, hop_length=hop)
    graph, weights = nnx.split(encoder)
    carry, parts = None, []
    for window, n in windows(blocks, hop=hop, chunk=chunk, margin=margin, n_frames=n_frames):
        if carry is None:
            shape = (*window.shape[:-1], encoder.config.rnn_channels)
            carry = jnp.zeros(shape, jnp.float32)
        carry, z = _chunk_z(graph, margin, weights, carry, window)
        parts.append(np.asarray(z)[..., :n, :])
    return np.concatenate(parts, axis=-2)


@partial(jax.jit, static_argnums=(0, 1))
def _chunk_z(graph, margin, weights, carry, window):
    """The GRU's state after a chunk and its z, of the window with the chunk's margins."""
    encoder = nnx.merge(graph, weights)
    # The window ends with the samples of a frame of the next chunk.
    features = encoder.frontend(window)[..., margin : -margin - 1, :]
    z, carry = encoder.encode(features, carry)
    return carry, z
