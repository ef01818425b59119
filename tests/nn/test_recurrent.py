import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import assert_close, check_grads

from ddspx.nn import Gru, MinGru, _recurrent
from ddspx.nn._recurrent import _gru, _min_gru

# 23 frames are several blocks and a rest, on every platform.
BATCH, FRAMES, INPUTS, STATE = 3, 23, 2, 4


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def definition(inputs, kernel, recurrent_kernel, bias, h):
    """Keras' GRU with `reset_after`, frame by frame, gates in the order z, r, n."""
    states = []
    for x in inputs:
        u = x @ kernel + bias[0]
        v = h @ recurrent_kernel + bias[1]
        (uz, ur, un), (vz, vr, vn) = np.split(u, 3, -1), np.split(v, 3, -1)
        z, r = sigmoid(uz + vz), sigmoid(ur + vr)
        h = z * h + (1 - z) * np.tanh(un + r * vn)
        states.append(h)
    return np.stack(states)


def averages(inputs, kernel, bias, h):
    """Moving averages whose weights and values depend on the input of their frame alone."""
    states = []
    for x in inputs:
        gate, candidate = np.split(x @ kernel + bias, 2, -1)
        h = (1 - sigmoid(gate)) * h + sigmoid(gate) * candidate
        states.append(h)
    return np.stack(states)


@pytest.fixture
def gru(rng) -> Gru:
    layer = Gru(INPUTS, STATE, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.asarray(rng.normal(size=(2, 3 * STATE)), jnp.float32)
    return layer


@pytest.fixture
def min_gru(rng) -> MinGru:
    layer = MinGru(INPUTS, STATE, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.asarray(rng.normal(size=2 * STATE), jnp.float32)
    return layer


@pytest.fixture(params=["cpu", "cuda"])
def program(request, monkeypatch):
    """Lets this machine run the program of a platform."""

    def chosen(*arguments, default, **programs):
        return programs.get(request.param, default)(*arguments)

    monkeypatch.setattr(jax.lax, "platform_dependent", chosen)


def weights(layer):
    return [np.asarray(w[...]) for w in (layer.kernel, layer.recurrent_kernel, layer.bias)]


def states_of(layer, inputs, carry):
    arrays = jnp.asarray(inputs, jnp.float32), jnp.asarray(carry, jnp.float32)
    return jax.jit(lambda *x: nnx.merge(*nnx.split(layer))(*x))(*arrays)


# values


def test_results_equal_the_definition(gru, program, rng):
    inputs = rng.normal(size=(BATCH, FRAMES, INPUTS))
    carry = rng.uniform(-1, 1, (BATCH, STATE))
    states, last = states_of(gru, inputs, carry)
    expected = np.stack(
        [definition(i, *weights(gru), c) for i, c in zip(inputs, carry, strict=True)]
    )
    assert_close(states, expected, scale=4)
    assert_close(last, expected[:, -1], scale=4)


def test_averages_equal_the_definition(min_gru, program, rng):
    inputs = rng.normal(size=(BATCH, FRAMES, INPUTS))
    carry = rng.uniform(-1, 1, (BATCH, STATE))
    states, last = states_of(min_gru, inputs, carry)
    kernel, bias = (np.asarray(w[...], np.float64) for w in (min_gru.kernel, min_gru.bias))
    expected = np.stack([averages(i, kernel, bias, c) for i, c in zip(inputs, carry, strict=True)])
    assert states.dtype == jnp.float32
    assert_close(states, expected, scale=4)
    assert_close(last, expected[:, -1], scale=4)


def test_the_gru_has_the_number_of_weights_of_keras():
    layer = Gru(7, 5, rngs=nnx.Rngs(0))
    count = sum(w.size for w in jax.tree.leaves(nnx.state(layer, nnx.Param)))
    assert count == 3 * (7 * 5 + 5 * 5 + 2 * 5)
    recurrent = np.asarray(layer.recurrent_kernel[...])
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(5), atol=1e-5)


def test_blocks_leave_few_frames_over():
    lengths = {n: _recurrent._block_length(n, 16) for n in (0, 1, 5, 16, 751, 1000, 1001)}
    assert lengths == {0: 1, 1: 1, 5: 5, 16: 16, 751: 15, 1000: 10, 1001: 13}
    assert {_recurrent._block_length(n, 1) for n in (1, 2, 1001)} == {1}


# streaming


@pytest.mark.parametrize("kind", ["gru", "min_gru"])
def test_the_carry_continues_a_sequence(kind, request, rng):
    layer = request.getfixturevalue(kind)
    inputs = jnp.asarray(rng.normal(size=(2, BATCH, FRAMES, INPUTS)), jnp.float32)
    whole, _ = layer(inputs)
    first, carry = layer(inputs[:, :, :3])
    second, _ = layer(inputs[:, :, 3:], carry)
    assert_close(jnp.concatenate([first, second], -2), whole)


# gradients


def test_the_custom_derivative_equals_the_automatic_one(program, rng):
    if not jax.config.jax_enable_x64:
        pytest.skip("1e-10 needs float64")
    gates = 3 * STATE
    shapes = ((FRAMES, BATCH, INPUTS), (BATCH, STATE), (INPUTS, gates), (STATE, gates), (2, gates))
    args = [jnp.asarray(rng.normal(size=shape)) for shape in shapes]
    cotangent = jnp.asarray(rng.normal(size=(FRAMES, BATCH, STATE)))

    averaged = (*args[:2], *(jnp.asarray(rng.normal(size=s)) for s in ((INPUTS, 8), (8,))))

    @jax.jit
    def gradients(*both):
        def of(f, args):
            return jax.grad(lambda args: jnp.sum(f(*args) * cotangent))(args)

        pairs = zip((_gru, _min_gru), both, strict=True)
        pairs = [(of(f, args), of(f.fun, args)) for f, args in pairs]
        return [jax.tree.leaves(sides) for sides in zip(*pairs, strict=True)]

    for custom, automatic in zip(*gradients(args, averaged), strict=True):
        np.testing.assert_allclose(custom, automatic, rtol=1e-10, atol=1e-12)


def test_derivatives_equal_differences_in_both_modes(rng):
    shapes = (3, 1, 2), (1, 2), (2, 6), (2, 6), (2, 6)
    check_grads(_gru, *(rng.normal(size=shape) for shape in shapes))
    shapes = (3, 1, 2), (1, 2), (2, 4), (4,)
    check_grads(_min_gru, *(rng.normal(size=shape) for shape in shapes))


# boundary


@pytest.mark.parametrize("kind", ["gru", "min_gru"])
def test_inputs_of_another_size_are_refused(kind, request):
    with pytest.raises(ValueError, match="must have the same number of features, got 3 and 2"):
        request.getfixturevalue(kind)(jnp.ones((1, 2, 3), jnp.float32))
