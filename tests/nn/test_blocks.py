import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import assert_close, check_grads

from ddspx.nn import FcStack
from ddspx.nn._blocks import _stack


@pytest.mark.parametrize(("slope", "epsilon"), [(0.2, 1e-3), (0.01, 1e-5)])
def test_a_block_equals_dense_layer_norm_and_leaky_relu(rng, slope, epsilon):
    stack = FcStack(3, 5, 2, slope=slope, epsilon=epsilon, rngs=nnx.Rngs(0))
    for layer in stack.layers:
        for name in ("bias", "scale", "shift"):
            getattr(layer, name)[...] = jnp.asarray(rng.normal(size=5), jnp.float32)
    inputs = rng.normal(size=(2, 4, 3))
    expected = inputs
    for layer in stack.layers:
        u = expected @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])
        normal = (u - u.mean(-1, keepdims=True)) / np.sqrt(u.var(-1, keepdims=True) + epsilon)
        y = normal * np.asarray(layer.scale[...]) + np.asarray(layer.shift[...])
        expected = np.where(y > 0, y, slope * y)
    assert_close(stack(jnp.asarray(inputs, jnp.float32)), expected, scale=8)


def test_a_stack_without_layers_is_the_identity():
    stack = FcStack(3, 5, 0, rngs=nnx.Rngs(0))
    inputs = jnp.arange(6.0, dtype=jnp.float32).reshape(2, 3)
    np.testing.assert_array_equal(stack(inputs), inputs)
    assert stack.features == 3
    assert not jax.tree.leaves(nnx.state(stack, nnx.Param))


def test_the_gradient_is_that_of_the_definition(rng):
    stack = FcStack(3, 5, 2, rngs=nnx.Rngs(0))
    graph, state = nnx.split(stack)
    inputs = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32)
    cotangent = jnp.asarray(rng.normal(size=(6, 5)), jnp.float32)

    def definition(state, x):
        for layer in nnx.merge(graph, state).layers:
            u = x @ layer.kernel[...] + layer.bias[...][None]
            centred = u - u.mean(-1, keepdims=True)
            normal = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3)
            y = normal * layer.scale[...][None] + layer.shift[...][None]
            x = jnp.where(y > 0, y, 0.2 * y)
        return x

    def gradient(f):
        return jax.jit(jax.grad(lambda *x: jnp.sum(f(*x) * cotangent), argnums=(0, 1)))(
            state, inputs
        )

    ours = gradient(lambda s, x: nnx.merge(graph, s)(x))
    for got, want in zip(jax.tree.leaves(ours), jax.tree.leaves(gradient(definition)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_derivatives_equal_differences_in_both_modes(rng):
    def stack(first, second, *weights):
        return _stack(0.05, 1e-2, (first, second), (weights[:4], weights[4:]))

    shapes = (3, 2), (3, 1), (3, 4), (4,), (4,), (4,), (4, 4), (4,), (4,), (4,)
    check_grads(stack, *(rng.normal(size=shape) for shape in shapes))


def test_gradients_are_finite_in_silence():
    graph, state = nnx.split(FcStack(3, 5, 2, rngs=nnx.Rngs(0)))
    inputs = jnp.zeros((2, 3), jnp.float32)
    gradients = jax.jit(jax.grad(lambda s, x: jnp.sum(nnx.merge(graph, s)(x)), (0, 1)))(
        state, inputs
    )
    for gradient in jax.tree.leaves(gradients):
        assert np.isfinite(np.asarray(gradient)).all()


def test_a_negative_number_of_layers_is_refused():
    with pytest.raises(ValueError, match="`n_layers` must be at least 0, got -1"):
        FcStack(3, 5, -1, rngs=nnx.Rngs(0))
