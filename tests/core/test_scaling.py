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
)

from ddspx import core

# Values


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_sigmoid_is_its_definition(dtype):
    x = np.linspace(-9, 9, 37)
    expected = [2.0 * (1 / (1 + np.exp(-v))) ** np.log(10.0) + 1e-7 for v in x]
    np.testing.assert_allclose(
        core.exp_sigmoid(jnp.asarray(x, dtype)), expected, rtol=64 * jnp.finfo(dtype).eps
    )


def test_exp_sigmoid_golden_numbers_of_ddsp():
    x = jnp.array([-10.0, -5.0, -1.0, 0.0, 1.0, 5.0, 10.0])
    golden = [1.002e-7, 1.9793e-5, 0.0972229, 0.405399, 0.972229, 1.96931, 1.99979]
    np.testing.assert_allclose(core.exp_sigmoid(x), golden, rtol=3e-5)


def test_exp_sigmoid_parameters():
    x = np.array([-3.0, 0.0, 2.0])
    expected = 5.0 * (1 / (1 + np.exp(-x))) ** np.log(4.0) + 0.25
    actual = core.exp_sigmoid(jnp.asarray(x), exponent=4.0, max_value=5.0, threshold=0.25)
    assert_close(actual, expected, scale=5.0)


# Physics


def test_equal_steps_far_below_zero_are_equal_ratios():
    y = np.asarray(core.exp_sigmoid(jnp.array([-9.0, -8.0, -7.0]), threshold=0.0))
    np.testing.assert_allclose(y[1:] / y[:-1], 10.0, rtol=5e-3)


def test_bounds_hold_at_any_input():
    x = jnp.array([-jnp.inf, -1e30, -200.0, 200.0, 1e30, jnp.inf])
    y = np.asarray(core.exp_sigmoid(x))
    assert_close(y, [1e-7, 1e-7, 1e-7, 2 + 1e-7, 2 + 1e-7, 2 + 1e-7], scale=1e-7)


# Gradients


def test_gradient_matches_differences():
    check_grads(core.exp_sigmoid, np.array([-4.0, -0.5, 0.0, 0.5, 4.0]))


def test_gradient_is_finite_where_the_power_of_a_sigmoid_overflows():
    x = np.array([-1e30, -1e4, -100.0, 0.0, 100.0, 1e4, 1e30])
    assert_finite_grads(core.exp_sigmoid, x)
    slope = jax.grad(lambda v: core.exp_sigmoid(v).sum())(jnp.asarray(x))
    assert (np.asarray(slope) >= 0).all()
    assert slope[0] == slope[-1] == 0


# Transformations and dtypes


def test_transformations_and_dtypes():
    x = np.linspace(-9, 9, 6)
    check_transformations(core.exp_sigmoid, x.reshape(2, 3))
    check_dtypes(core.exp_sigmoid, x)


# Boundary errors


@pytest.mark.parametrize("exponent", [1.0, 0.0, -2.0, float("nan")])
def test_exponent_must_exceed_one(exponent):
    with pytest.raises(ValueError, match=r"`exponent` must be greater than 1"):
        core.exp_sigmoid(jnp.zeros(1), exponent=exponent)
