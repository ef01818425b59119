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
from ddspx.core._numerics import sinc, varying_alike

BAD_POINTS = np.array([-1.0, -1e-30, -0.0, 0.0, 1e-30, 1e-12, 1.0, 1e12])


# Values


@pytest.mark.parametrize("dtype", DTYPES)
def test_safe_log_is_the_log_of_the_floored_value(dtype):
    x = np.array([-3.0, 0.0, 1e-12, 0.99e-5, 1.01e-5, 0.5, 7.0])
    expected = [np.log(max(value, 1e-5)) for value in x]
    assert_close(core.safe_log(jnp.asarray(x, dtype)), expected)


def test_safe_log_floor_is_the_argument():
    assert_close(core.safe_log(jnp.array([0.0, 1.0]), eps=1e-3), [np.log(1e-3), 0.0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_safe_sqrt_is_exact(dtype):
    x = np.array([-4.0, 0.0, 1e-30, 2.0, 1e30])
    expected = np.sqrt(np.maximum(x, 0))
    np.testing.assert_allclose(
        core.safe_sqrt(jnp.asarray(x, dtype)), expected, rtol=4 * jnp.finfo(dtype).eps
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_safe_divide_keeps_the_denominator_off_zero(dtype):
    n = np.array([1.0, 1.0, 1.0, 1.0, 0.0, -6.0, 5.0])
    d = np.array([0.0, -0.0, 1e-9, -1e-9, 0.0, 3.0, -2.0])
    expected = np.array([1e7, 1e7, 1e7, -1e7, 0.0, -2.0, -2.5])
    actual = core.safe_divide(jnp.asarray(n, dtype), jnp.asarray(d, dtype))
    np.testing.assert_allclose(actual, expected, rtol=4 * jnp.finfo(dtype).eps)


def test_safe_divide_normalizes_over_an_axis():
    x = jnp.array([[1.0, 3.0], [0.0, 0.0]])
    shares = core.safe_divide(x, jnp.sum(x, axis=-1, keepdims=True))
    np.testing.assert_array_equal(shares, [[0.25, 0.75], [0.0, 0.0]])


# Physics


def test_safe_log_is_monotone():
    # A floor that replaced only x <= 0 would put silence above a quiet sound.
    y = core.safe_log(jnp.array([0.0, 1e-30, 1e-12, 1e-6, 1e-4]))
    assert (np.diff(y) >= 0).all()


# Gradients


def test_gradients_match_differences():
    def all_three(x, d):
        return core.safe_log(x), core.safe_sqrt(x), core.safe_divide(x, d)

    check_grads(all_three, np.array([0.3, 1.7, 20.0]), np.array([-0.5, 2.0, 0.7]))


def test_gradients_are_finite_everywhere():
    assert_finite_grads(core.safe_log, BAD_POINTS)
    assert_finite_grads(core.safe_sqrt, BAD_POINTS)
    assert_finite_grads(core.safe_divide, np.ones_like(BAD_POINTS), BAD_POINTS)


def test_no_gradient_reaches_what_is_floored():
    np.testing.assert_array_equal(jax.grad(lambda x: core.safe_sqrt(x).sum())(jnp.zeros(2)), 0)
    np.testing.assert_array_equal(jax.grad(lambda x: core.safe_log(x).sum())(jnp.zeros(2)), 0)
    assert jax.grad(core.safe_divide, argnums=1)(jnp.array(1.0), jnp.array(0.0)) == 0


# Transformations and dtypes


@pytest.mark.parametrize("f", [core.safe_log, core.safe_sqrt])
def test_transformations_and_dtypes(f):
    check_transformations(f, BAD_POINTS.reshape(2, 4), scale=1e6)
    check_dtypes(f, BAD_POINTS)


def test_safe_divide_transformations_and_dtypes():
    check_transformations(core.safe_divide, np.ones((2, 4)), BAD_POINTS.reshape(2, 4))
    check_dtypes(core.safe_divide, np.ones(8), BAD_POINTS)


# Programs


def test_sinc_and_its_curve_on_both_sides_of_the_series():
    x = jnp.asarray([-2.5, -1.0, -1.001e-3, -0.9e-3, 0.0, 0.999e-3, 1.1e-3, 0.3, 7.0], DTYPES[-1])
    np.testing.assert_allclose(sinc(x), np.sinc(x), rtol=1e-6, atol=1e-12)
    # About 0 the curve is -pi**2 / 3 (1 - 3 (pi x)**2 / 10).
    curve = jax.jit(jax.vmap(jax.grad(jax.grad(sinc))))(x[3:6])
    expected = -(np.pi**2) / 3 * (1 - 0.3 * (np.pi * np.asarray(x[3:6])) ** 2)
    np.testing.assert_allclose(curve, expected, rtol=1e-6)


def test_varying_alike_does_not_change_values():
    numbers, flags = varying_alike(jnp.asarray([-1.5, np.inf, np.nan]), jnp.asarray([True, False]))
    np.testing.assert_array_equal(numbers, [-1.5, np.inf, np.nan])
    np.testing.assert_array_equal(flags, [True, False])
