"""Signals, tolerances and checks that the tests share; pytest puts this folder on the path."""

import itertools
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

DTYPES = (np.float32, np.float64) if jax.config.jax_enable_x64 else (np.float32,)
"""The float types that the current run can hold."""
quick_jit = partial(
    jax.jit,
    compiler_options={
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    },
)
"""Compiles in half the time to the same program in slower instructions."""


ORDERS = pytest.mark.parametrize("order", [1, pytest.param(2, marks=pytest.mark.slow)])
"""First derivatives, and in the slow tests second ones too: ten seconds of compiling."""
PEAK_KB = 'int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])'
"""In a script: the most memory its process had, in kilobytes.

Linux begins the `ru_maxrss` of a process with that of the process that started it.
"""


def compiled(f: Callable) -> Callable:
    """The function as one program for each choice of keyword arguments, which are static.

    As it stands, a call compiles each of its operations alone, often a hundred: seconds.
    """
    program = cache(lambda **options: jax.jit(partial(f, **options)))
    return lambda *args, **options: program(**options)(*args)


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


def check_grads(
    f: Callable, *args, order: int = 2, modes=("fwd", "rev"), eps=1e-6, rtol=1e-5, atol=1e-5
) -> None:
    """Compares derivatives with differences, in float64; skips the test where x64 is off.

    These are the compositions and the tolerances of `jax.test_util.check_grads`, along
    random directions and for a random sum of all outputs: one program, where that compiles 16.
    The sum is not linear in the outputs, so that a second derivative has the first ones' product:
    a rule written by hand may lose the derivative of the value that it gives beside the tangent.
    """
    if not jax.config.jax_enable_x64:
        pytest.skip("finite differences need float64")

    rng = np.random.default_rng(0)

    def normal(tree):
        return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape)), tree)

    def dot(first, second) -> jax.Array:
        products = jax.tree.map(lambda x, y: jnp.sum(x * y), first, second)
        return sum(jax.tree.leaves(products), jnp.zeros(()))

    args = tuple(jnp.asarray(arg, jnp.float64) for arg in args)
    weights, directions = normal(jax.eval_shape(f, *args)), (normal(args), normal(args))

    def derivative(g: Callable, mode: str, direction) -> Callable:
        """The slope of a scalar along a direction, and the scalar as the derivative has it."""
        if mode == "fwd":
            return lambda xs: jax.jvp(g, (xs,), (direction,))[::-1]

        def reverse(xs):
            value, gradient = jax.value_and_grad(g)(xs)
            return dot(gradient, direction), value

        return reverse

    # The function, its derivatives, and theirs; each with the index of what it derives from.
    def scalar(xs):
        bent = jax.tree.map(lambda y: y + jnp.sin(y), f(*xs))
        return dot(bent, weights), 0.0

    scalars, parents, depths = [scalar], [-1], [-1]
    for parent in itertools.count():
        if parent == len(scalars) or depths[parent] + 1 == order:
            break
        depth, g = depths[parent] + 1, scalars[parent]
        for mode in modes:
            scalars.append(derivative(lambda xs, g=g: g(xs)[0], mode, directions[depth]))
            parents.append(parent)
            depths.append(depth)

    @quick_jit
    def evaluate(xs):
        return [g(xs) for g in scalars]

    def moved(depth: int, by: float):
        return jax.tree.map(lambda x, d: x + by * d, args, directions[depth])

    here = evaluate(args)
    sides = [(evaluate(moved(d, eps)), evaluate(moved(d, -eps))) for d in range(order)]
    for (slope, value), parent, depth in zip(here[1:], parents[1:], depths[1:], strict=True):
        after, before = (side[parent][0] for side in sides[depth])
        np.testing.assert_allclose(value, here[parent][0], rtol=rtol, atol=atol)
        np.testing.assert_allclose(slope, (after - before) / (2 * eps), rtol=rtol, atol=atol)


def assert_finite_grads(f: Callable, *args) -> None:
    """Asserts that `f` and the gradient of its sum are finite, in every float type."""
    for dtype in DTYPES:
        xs = tuple(jnp.asarray(arg, dtype) for arg in args)

        def total(*ys):
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(f(*ys)))

        argnums = tuple(range(len(xs)))
        value, grads = quick_jit(jax.value_and_grad(total, argnums=argnums))(*xs)
        assert np.isfinite(value)
        for grad in grads:
            assert np.isfinite(np.asarray(grad)).all(), grad


def check_transformations(f: Callable, *args, scale: float = 1.0) -> None:
    """Asserts that f over a leading batch axis (or two) = vmap = a loop.

    Every argument has the batch axis. Equality with the loop also shows that no example can
    reach its neighbour.
    """
    xs = tuple(jnp.asarray(arg, DTYPES[-1]) for arg in args)
    whole, alike = quick_jit(partial(batched_alike, f))(*xs)
    for other in alike.values():
        assert_trees_close(other, whole, scale)


def batched_alike(f: Callable, *xs):
    """Of a batch, what f gives whole, and what it must give too in three other ways."""
    one_by_one = [f(*(x[i] for x in xs)) for i in range(len(xs[0]))]
    two_axes = f(*(x[:, None] for x in xs))
    return f(*xs), {
        "vmap": jax.vmap(f)(*xs),
        "a loop": jax.tree.map(lambda *leaves: jnp.stack(leaves), *one_by_one),
        "two batch axes": jax.tree.map(lambda y: y[:, 0], two_axes),
    }


def check_dtypes(f: Callable, *args) -> None:
    """Asserts that `f` takes arrays of NumPy, and that its outputs have their dtype."""
    for dtype in DTYPES:
        # Dtypes are static: nothing has to be compiled or computed to know them.
        given = partial(f, *(np.asarray(arg, dtype) for arg in args))
        for leaf in jax.tree.leaves(jax.eval_shape(given)):
            assert leaf.dtype == dtype


def assert_trees_close(actual, expected, scale: float = 1.0) -> None:
    """Asserts that trees have the same structure and their leaves are close."""
    jax.tree.map(lambda a, e: assert_close(a, e, scale), actual, expected)
