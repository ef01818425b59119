"""Signals, tolerances and checks that the tests share; pytest puts this folder on the path."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

DTYPES = (np.float32, np.float64) if jax.config.jax_enable_x64 else (np.float32,)
"""The float types that the current run can hold."""


def tolerance(dtype, scale: float = 1.0) -> dict[str, float]:
    """rtol and atol of about 30 roundings in `dtype`; `scale` is the size of the values."""
    eps = float(jnp.finfo(dtype).eps)
    return {"rtol": 32 * eps, "atol": 32 * eps * scale}


def assert_close(actual, expected, scale: float = 1.0) -> None:
    """Asserts equality within the tolerance of the dtype of `actual`."""
    actual = np.asarray(actual)
    np.testing.assert_allclose(actual, expected, **tolerance(actual.dtype, scale))


def sine(
    frequency_hz: float,
    n_samples: int,
    *,
    sample_rate: int,
    amplitude: float = 1.0,
    phase_rad: float = 0.0,
) -> np.ndarray:
    """A float64 sine whose phase at sample 0 is `phase_rad`."""
    time_s = np.arange(n_samples) / sample_rate
    return amplitude * np.sin(2 * np.pi * frequency_hz * time_s + phase_rad)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal float64 noise."""
    return np.random.default_rng(seed).standard_normal(shape)


def check_grads(f: Callable, *args, order: int = 2, modes=("fwd", "rev"), **kwargs) -> None:
    """Compares derivatives with differences, in float64; skips the test where x64 is off."""
    if not jax.config.jax_enable_x64:
        pytest.skip("finite differences need float64")

    # jit: one compilation instead of one for each operation, and NumPy arguments become arrays.
    args = tuple(jnp.asarray(arg, jnp.float64) for arg in args)
    jax.test_util.check_grads(jax.jit(f), args, order=order, modes=list(modes), **kwargs)


def assert_finite_grads(f: Callable, *args) -> None:
    """Asserts that `f` and the gradient of its sum are finite, in every float type."""
    for dtype in DTYPES:
        xs = tuple(jnp.asarray(arg, dtype) for arg in args)

        def total(*ys):
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(f(*ys)))

        argnums = tuple(range(len(xs)))
        value, grads = jax.jit(jax.value_and_grad(total, argnums=argnums))(*xs)
        assert np.isfinite(value)
        for grad in grads:
            assert np.isfinite(np.asarray(grad)).all(), grad


def check_transformations(f: Callable, *args, scale: float = 1.0) -> None:
    """Asserts jit = eager and that f over a leading batch axis (or two) = vmap = a loop.

    Every argument has the batch axis. Equality with the loop also shows that no example can
    reach its neighbour.
    """
    xs = tuple(jnp.asarray(arg, DTYPES[-1]) for arg in args)
    expected = f(*xs)
    compiled = jax.jit(f)
    _assert_trees_close(compiled(*xs), expected, scale)
    _assert_trees_close(jax.jit(jax.vmap(f))(*xs), expected, scale)
    one_by_one = [compiled(*(x[i] for x in xs)) for i in range(len(xs[0]))]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *one_by_one)
    _assert_trees_close(stacked, expected, scale)
    two_axes = compiled(*(x[:, None] for x in xs))
    _assert_trees_close(jax.tree.map(lambda y: y[:, 0], two_axes), expected, scale)


def check_dtypes(f: Callable, *args) -> None:
    """Asserts that every output of `f` has the dtype of its inputs."""
    for dtype in DTYPES:
        # Dtypes are static: nothing has to be compiled or computed to know them.
        for leaf in jax.tree.leaves(jax.eval_shape(f, *(jnp.asarray(arg, dtype) for arg in args))):
            assert leaf.dtype == dtype


def _assert_trees_close(actual, expected, scale: float) -> None:
    jax.tree.map(lambda a, e: assert_close(a, e, scale), actual, expected)
