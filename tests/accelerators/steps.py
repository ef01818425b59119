"""The training steps of the autoencoders, as training compiles them, without any weights."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx.io import Batch, MixedBatch
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig
from ddspx.training import (
    AnyInstrumentTrainConfig,
    adam,
    autoencoder_loss,
    initial_state,
    train_step,
)
from ddspx.training._any_instrument import _initial_rooms, _room_graph
from ddspx.training._any_instrument_loss import any_instrument_loss
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
    batch = _batch(config, batch_size, n_hops)
    return train_step(autoencoder_loss(graphdef), optimizer), state, batch


def any_instrument_step(
    config: AutoencoderConfig, *, batch_size: int, n_hops: int, n_instruments: int = 12
) -> tuple[Callable, TrainState, MixedBatch]:
    """Likewise of one model for many instruments, each in its room."""
    room = AutoencoderConfig.small(sample_rate=config.sample_rate).reverb
    shape = nnx.eval_shape(lambda: Autoencoder(config, rngs=nnx.Rngs(0)))
    graphdef, *states = nnx.split(shape, nnx.Param, ...)
    params, rest = map(nnx.to_pure_dict, states)
    rooms = jax.eval_shape(lambda: _initial_rooms(room, n_instruments, config.sample_rate, 0))
    optimizer, settings = adam(), AnyInstrumentTrainConfig()
    state = jax.eval_shape(
        lambda p, r: initial_state(p, optimizer, seed=0, rest=r),
        {"model": params, "rooms": rooms[0]},
        {"model": rest, "rooms": rooms[1]},
    )
    loss = any_instrument_loss(
        graphdef,
        _room_graph(room, config.sample_rate),
        loudness_weight=settings.loudness_weight,
        embedding_noise=settings.embedding_noise,
        contrast_weight=settings.contrast_weight,
        equalization_db=settings.equalization_db,
    )
    examples = _batch(config, batch_size, n_hops)
    source = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    return train_step(loss, optimizer), state, MixedBatch(examples, examples.audio, source)


def _batch(config: AutoencoderConfig, batch_size: int, n_hops: int) -> Batch:
    audio = jax.ShapeDtypeStruct((batch_size, n_hops * config.hop_length), jnp.float32)
    frames = jax.ShapeDtypeStruct((batch_size, 1 + n_hops), jnp.float32)
    return Batch(audio, *3 * [frames])
