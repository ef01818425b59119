"""The recurrent decoder: what its last stack takes, blocks of a stream, and refused configs.

Its values are tested where models of others are imported.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ddspx.models.autoencoder import AutoencoderConfig
from ddspx.nn import RnnFcDecoderConfig


@pytest.mark.parametrize("recurrence", ["gru", "min_gru"])
def test_a_decoder_that_skips_the_inputs_streams(recurrence, rng):
    config = RnnFcDecoderConfig(
        3, 4, 1, skip="inputs", slope=0.01, epsilon=1e-5, recurrence=recurrence
    )
    decoder = config.build((1, 2), 5, rngs=nnx.Rngs(0))
    assert decoder.out_stack.layers[0].in_features == 3 + 1 + 2
    graph, weights = nnx.split(decoder)
    inputs = [jnp.asarray(rng.normal(size=(2, 7, n)), jnp.float32) for n in (1, 2)]

    @jax.jit
    def both(weights, inputs):
        decoder = nnx.merge(graph, weights)
        state, first = decoder.step(decoder.init(batch_shape=(2,)), [x[:, :3] for x in inputs])
        _, second = decoder.step(state, [x[:, 3:] for x in inputs])
        return decoder(inputs), jnp.concatenate([first, second], axis=1)

    whole, blocks = both(weights, inputs)
    np.testing.assert_allclose(blocks, whole, atol=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [("slope", -0.1), ("slope", 1.5), ("epsilon", 0.0), ("epsilon", float("nan"))],
)
def test_configs_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=f"`{field}` must be"):
        RnnFcDecoderConfig(**{field: value})


def test_the_recurrent_layer_is_saved():
    config = AutoencoderConfig.tiny()
    decoder = dataclasses.replace(config.decoder, recurrence="min_gru")
    config = dataclasses.replace(config, decoder=decoder)
    fields = config.to_json()
    assert AutoencoderConfig.from_json(fields) == config
    del fields["decoder"]["recurrence"]  # as older versions saved it
    assert AutoencoderConfig.from_json(fields).decoder.recurrence == "gru"


def test_the_scale_of_the_pitch_is_saved():
    fields = AutoencoderConfig.tiny().to_json()
    assert AutoencoderConfig.from_json(fields | {"pitch_scale": "hz"}).pitch_scale == "hz"
    del fields["pitch_scale"]  # as older versions saved it
    assert AutoencoderConfig.from_json(fields).pitch_scale == "midi"
