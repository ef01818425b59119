"""One instrument out of a model of any: its embedding and its room in place of the encoder."""

import dataclasses

import jax.numpy as jnp
from flax import nnx

from ddspx._typing import ArrayLike, Float
from ddspx.models.autoencoder.model import Autoencoder
from ddspx.nn import Reverb, StoredTimbreConfig, TimbreEncoder


def with_timbre(
    model: Autoencoder, embedding: Float[ArrayLike, " z"], *, reverb: Reverb | None = None
) -> Autoencoder:
    """The model of one instrument: decoder and synthesizer of `model`, and a stored embedding.

    Args:
      model: a model of any instrument, whose encoder is an `nn.TimbreEncoder`.
      embedding: what the encoder says of a recording, or a mixture of such vectors.
      reverb: the room of the instrument; None for none.

    Returns:
      A model that is played, saved and trained like that of any instrument. It shares no array
      with `model`.

    Raises:
      ValueError: the model has no such encoder, or the embedding has another size.
    """
    encoder = timbre_encoder(model)
    embedding = jnp.asarray(embedding, jnp.float32)
    if embedding.shape != (encoder.config.z_size,):
        raise ValueError(
            f"`embedding` must have the {encoder.config.z_size} values of the model's encoder, got "
            f"the shape {embedding.shape}."
        )
    c = model.config
    config = dataclasses.replace(
        c,
        encoder=StoredTimbreConfig(c.sample_rate, c.hop_length, encoder.config.z_size),
        reverb=None if reverb is None else reverb.config,
    )
    single = Autoencoder(config, rngs=nnx.Rngs(0))
    parts = {"decoder": model.decoder, "synthesizer": model.synthesizer, "reverb": reverb}
    for name, part in parts.items():
        setattr(single, name, part if part is None else nnx.clone(part))
    single.encoder.embedding[...] = embedding
    return single


def timbre_encoder(model: Autoencoder) -> TimbreEncoder:
    """The encoder of a model of any instrument; raises a ValueError for another model."""
    if not isinstance(model.encoder, TimbreEncoder):
        raise ValueError(
            "The model cannot listen to an instrument: its encoder must be an nn.TimbreEncoder, as "
            "in AutoencoderConfig.any_instrument()."
        )
    return model.encoder
