import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    DTYPES,
    assert_close,
    assert_finite_grads,
    check_dtypes,
    check_grads,
    check_transformations,
    noise,
)

from ddspx import core

crossfade = jax.jit(core.crossfade)


def mixes(*shape):
    return np.random.default_rng(2).uniform(0, 1, shape)


def test_results_equal_the_definition():
    first, second, mix = noise(9), noise(9, seed=1), mixes(9)
    mix[:2] = 0, 1
    expected = [
        np.sqrt(1 - m) * a + np.sqrt(m) * b for a, b, m in zip(first, second, mix, strict=True)
    ]
    for dtype in DTYPES:
        y = crossfade(*(jnp.asarray(x, dtype) for x in (first, second, mix)))
        assert_close(y, expected)


def test_the_ends_of_a_crossfade_are_one_sound_alone():
    # DDSP's is silent at 0, and holds both at 1.
    first, second = noise(9), noise(9, seed=1)
    np.testing.assert_array_equal(crossfade(first, second, np.zeros(9)), first)
    np.testing.assert_array_equal(crossfade(first, second, np.ones(9)), second)


def test_the_power_stays_constant():
    first, second = noise(2, 200_000)
    for mix in (0.1, 0.5, 0.8):
        y = crossfade(first, second, np.full(1, mix))
        np.testing.assert_allclose((y**2).mean(), 1, atol=0.015)


def test_gradients():
    check_grads(core.crossfade, noise(6), noise(6, seed=1), mixes(6))


def test_gradients_are_finite_at_the_ends():
    ends = np.array([0.0, 1.0, 1e-30, 1 - 1e-7])
    assert_finite_grads(core.crossfade, noise(4), noise(4, seed=1), ends)
    slope = jax.grad(lambda m: core.crossfade(jnp.ones(2), jnp.ones(2), m).sum())
    # The slope of the root that is not at 0: one half.
    np.testing.assert_allclose(slope(jnp.array([0.0, 1.0])), [-0.5, 0.5])


def test_transformations_and_dtypes():
    check_transformations(core.crossfade, noise(2, 6), noise(2, 6, seed=1), mixes(2, 6))
    check_transformations(core.crossfade, noise(2, 6), noise(2, 6, seed=1), mixes(2, 1))
    check_dtypes(core.crossfade, noise(6), noise(6), mixes(6))
    np.testing.assert_array_equal(core.crossfade(ones := jnp.ones(4), ones, 1.0), ones)
    together = crossfade(noise(6), noise(2, 6), mixes(3, 1, 6))
    assert together.shape == (3, 2, 6)


def test_wrong_arguments_are_refused():
    ones = jnp.ones(4)
    with pytest.raises(ValueError, match="`first` and `mix` must have the same number of samples"):
        core.crossfade(ones, ones, jnp.ones(3))
    with pytest.raises(ValueError, match="the batch axes must be equal or broadcast"):
        core.crossfade(jnp.ones((2, 4)), jnp.ones((3, 4)), ones)
