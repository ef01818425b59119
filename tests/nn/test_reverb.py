import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from helpers import assert_close

from ddspx.nn import Reverb


def test_the_response_to_an_impulse_is_the_impulse_and_then_the_taps(rng):
    reverb = Reverb(6, rngs=nnx.Rngs(0))
    taps = rng.normal(size=6).astype(np.float32)
    reverb.taps[...] = jnp.asarray(taps)
    impulse = jnp.zeros((2, 9), jnp.float32).at[:, 1].set(1.0)
    expected = np.zeros((2, 9))
    expected[:, 1] = 1.0
    expected[:, 2:7] = taps[1:]
    assert_close(reverb(impulse), expected, scale=4)


def test_only_the_masked_tap_has_no_gradient(rng):
    reverb = Reverb(6, rngs=nnx.Rngs(0))
    audio = jnp.asarray(rng.normal(size=20), jnp.float32)
    graph, state = nnx.split(reverb)
    gradient = jax.grad(lambda s: jnp.sum(nnx.merge(graph, s)(audio) ** 2))(state)
    taps = np.asarray(jax.tree.leaves(gradient)[0])
    assert taps[0] == 0
    assert np.all(np.abs(taps[1:]) > 0)


def test_a_room_may_be_longer_than_the_sound(rng):
    # A warning of a response that is longer than the audio would be an error in tests.
    reverb = Reverb(4000, rngs=nnx.Rngs(0))
    audio = jnp.asarray(rng.normal(size=300), jnp.float32)
    padded = jnp.pad(audio, (0, 4000))
    assert_close(reverb(audio), np.asarray(reverb(padded))[:300], scale=4)
