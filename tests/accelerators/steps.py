"""The training step of an autoencoder, as `train_autoencoder` compiles it, without any weights."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx.io import Batch
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig
from ddspx.training import adam, autoencoder_loss, initial_state, train_step
from ddspx.training._state import TrainState

PRESETS = ("tiny", "small", "solo_instrument", "nsynth")


def autoencoder_step(
    config: AutoencoderConfig, *, batch_size: int, n_hops: int
) -> tuple[Callable, TrainState, Batch]:
    """The jitted step, and the shapes of its state and its batch."""
    shape = nnx.eval_shape(lambda: Autoencoder(config, rngs=nnx.Rngs(0)))
    graphdef, *states = nnx.split(shape, nnx.Param, ...)
    params, rest = map(nnx.to_pure_dict, states)
    optimizer = adam()
    state = jax.eval_shape(lambda p, r: initial_state(p, optimizer, seed=0, rest=r), params, rest)
    audio = jax.ShapeDtypeStruct((batch_size, n_hops * config.hop_length), jnp.float32)
    frames = jax.ShapeDtypeStruct((batch_size, 1 + n_hops), jnp.float32)
    return train_step(autoencoder_loss(graphdef), optimizer), state, Batch(audio, *3 * [frames])
