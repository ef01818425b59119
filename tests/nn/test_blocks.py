import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import assert_close, assert_finite_grads, check_grads

from ddspx.nn import FcStack
from ddspx.nn._blocks import _normalise


def test_equals_dense_then_layer_norm_then_leaky_relu(rng):
    stack = FcStack(3, 5, 2, rngs=nnx.Rngs(0))
    for layer in stack.layers:
        for name in ("bias", "scale", "shift"):
            getattr(layer, name)[...] = jnp.asarray(rng.normal(size=5), jnp.float32)
    inputs = rng.normal(size=(2, 4, 3))
    expected = inputs
    for layer in stack.layers:
        u = expected @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])
        normal = (u - u.mean(-1, keepdims=True)) / np.sqrt(u.var(-1, keepdims=True) + 1e-3)
        y = normal * np.asarray(layer.scale[...]) + np.asarray(layer.shift[...])
        expected = np.where(y > 0, y, 0.2 * y)
    assert_close(stack(jnp.asarray(inputs, jnp.float32)), expected, scale=8)


def test_no_layers_are_the_identity_of_the_same_size():
    stack = FcStack(3, 5, 0, rngs=nnx.Rngs(0))
    inputs = jnp.arange(6.0, dtype=jnp.float32).reshape(2, 3)
    np.testing.assert_array_equal(stack(inputs), inputs)
    assert stack.features == 3
    assert not jax.tree.leaves(nnx.state(stack, nnx.Param))


def test_the_derivative_by_hand(rng):
    check_grads(_normalise, rng.normal(size=(3, 5)), order=1, modes=["rev"])
    assert_finite_grads(_normalise, np.zeros((2, 5)))


def test_a_negative_number_of_layers_is_refused():
    with pytest.raises(ValueError, match="`n_layers` must be 0 or more, got -1"):
        FcStack(3, 5, -1, rngs=nnx.Rngs(0))
