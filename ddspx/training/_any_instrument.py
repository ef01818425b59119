"""Training of one model of many instruments, on a dataset of each."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx import core
from ddspx._typing import Array, Float, Key
from ddspx.io import MixedBatch
from ddspx.nn import ReverbConfig
from ddspx.training._step import Loss, spectral_distance


class Rooms(NamedTuple):
    """The reverbs of several recordings, in one tree whose first axis is the recordings."""

    graphdef: nnx.GraphDef
    params: Any
    rest: Any


def rooms_of(config: ReverbConfig, n_rooms: int, *, sample_rate: int, seed: int) -> Rooms:
    """Initial reverbs, each drawn from its own key."""

    def build(rngs: nnx.Rngs) -> Any:
        return config.build(sample_rate=sample_rate, rngs=rngs)

    graphdef, *_ = nnx.split(nnx.eval_shape(lambda: build(nnx.Rngs(0))), nnx.Param, ...)
    drawn = [nnx.split(build(nnx.Rngs(seed + i)), nnx.Param, ...)[1:] for i in range(n_rooms)]
    params, rest = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(nnx.to_pure_dict, states))
        for states in zip(*drawn, strict=True)
    )
    return Rooms(graphdef, params, rest)


def any_instrument_loss(
    graphdef: nnx.GraphDef, rooms: nnx.GraphDef, *, loudness_weight: float, embedding_noise: float
) -> Loss:
    """Makes the loss: the mean spectral distance of each example and its rendering.

    The timbre of an example is the embedding of its reference, which is another stretch of the
    same recordings, so it cannot hold the notes of the example. Noise is added to the embedding:
    what lies between two instruments is trained too, and few bits remain for anything else.

    Args:
      graphdef: of an `Autoencoder` with an `nn.TimbreEncoder`.
      rooms: of a reverb.
      loudness_weight: as in `core.multi_scale_spectral_loss`.
      embedding_noise: standard deviation of the noise; the embedding has a mean square of 1.

    Returns:
      The loss as a function of (params, rest, key, batch), with the params and the rest of the
      model and of the rooms.
    """

    def loss(
        params: dict[str, Any], rest: dict[str, Any], key: Key, batch: MixedBatch
    ) -> tuple[Float[Array, ""], Any]:
        model = nnx.merge(graphdef, params["model"], rest["model"])
        noise_key, key = jax.random.split(key)
        z = model.encoder.embed(jnp.asarray(batch.reference))
        z = z + embedding_noise * jax.random.normal(noise_key, z.shape, z.dtype)
        dry = rendered(model, key, batch.examples, z)
        taps = responses(rooms, params["rooms"], rest["rooms"])[jnp.asarray(batch.source)]
        wet = core.convolution_reverb(dry, taps[:, : dry.shape[-1]], add_dry=True)
        return spectral_distance(model.config, batch.examples.audio, wet, loudness_weight), rest

    return loss
