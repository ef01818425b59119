import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DTYPES

from ddspx._checks import (
    at_least_ndim,
    broadcast_batch,
    floats,
    number,
    one_of,
    quantities,
    random_key,
    same_shape,
    sizes,
)


@pytest.mark.parametrize("dtype", [jnp.int16, jnp.bool_, jnp.float16, jnp.complex64])
def test_dtypes_other_than_float32_and_float64_are_refused(dtype):
    # The annotations' checker, on in tests only, would see it before an operation does.
    name = jnp.dtype(dtype).name
    with pytest.raises(
        TypeError, match=rf"`audio` must be float32 or float64, got {name}; .*32768"
    ):
        floats(pitch=jnp.ones(2), audio=jnp.ones(2, dtype))


def test_floats_are_converted_to_one_dtype():
    out = floats(a=jnp.ones(2, jnp.float32), b=jnp.ones(3, DTYPES[-1]), c=2.0)
    assert [x.dtype for x in out] == [DTYPES[-1]] * 3


def test_batch_axes_that_do_not_broadcast_are_named():
    assert broadcast_batch(a=(2, 1), b=(3,)) == (2, 3)
    with pytest.raises(ValueError, match=r"got \(2,\) of `a`, \(3,\) of `b`"):
        broadcast_batch(a=(2,), b=(3,))


@pytest.mark.parametrize("number", [3, np.int64(3), 3.0])
def test_a_single_number_may_be_an_int(number):
    (x,) = floats(x=number)
    assert x.dtype == jnp.zeros(()).dtype and x == 3


def test_integers_with_a_unit_become_the_default_float():
    whole, half = quantities(a=np.int16([20000]), b=np.float32([0.5]))
    assert whole.dtype == half.dtype == jnp.zeros(()).dtype
    assert whole[0] == 20000
    with pytest.raises(TypeError, match="`hz` must be float32 or float64, got bfloat16"):
        quantities(hz=jnp.ones(1, jnp.bfloat16))


class Tensor:
    """A tensor of torch that requires a gradient, as NumPy sees it."""

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


@pytest.mark.parametrize("value", ["words", Tensor(), [[1.0], [1.0, 2.0]], None])
def test_values_that_are_not_arrays_are_refused_by_name(value):
    with pytest.raises(TypeError, match=r"`audio` must be an array .*detach\(\).cpu\(\).numpy"):
        floats(audio=value)


def test_sizes_accept_one_int_or_several():
    assert sizes("n_ffts", 512) == sizes("n_ffts", np.int64(512)) == (512,)
    assert sizes("n_ffts", [512, 64]) == sizes("n_ffts", np.array([512, 64])) == (512, 64)
    for wrong in ("512", 512.0, (512, 64.0), None, {512}):
        with pytest.raises(TypeError, match="`n_ffts` must be a Python int"):
            sizes("n_ffts", wrong)
    with pytest.raises(ValueError, match="`n_ffts` must be one size or more"):
        sizes("n_ffts", ())


@pytest.mark.parametrize(
    ("shape", "axis", "message"),
    [
        ((101, 1), "frames", r"remove the trailing axis with `x\[..., 0\]`"),
        ((2, 101, 1), "frames", "the last axis is 1 and the frames seem to come before it"),
        ((1, 16000, 1), "samples", "the last axis is 1 and the samples seem"),
        ((44100, 2), "samples", r"looks like \(samples, channels\); put time last"),
        ((44100, 8), "samples", r"looks like \(samples, channels\); put time last"),
    ],
)
def test_an_axis_of_time_that_is_not_last_is_refused(shape, axis, message):
    axes = f"(*batch, {axis})"
    with pytest.raises(ValueError, match=message):
        at_least_ndim("x", shape, 1, axes)
    at_least_ndim("x", shape, 1, axes, is_block=True)
    at_least_ndim("x", shape, 1, "(*batch, features)")


def test_short_batches_are_not_taken_for_channels():
    for shape in [(3, 1), (2, 8), (16, 2), (1, 1), (0, 1), (2000, 64), (2, 44100)]:
        at_least_ndim("audio", shape, 1, "(*batch, samples)")
    at_least_ndim("f0_hz", (2000, 2), 1, "(*batch, frames)")


def test_shapes_that_would_be_broadcast_are_refused():
    same_shape(a=(2, 3), b=(2, 3))
    with pytest.raises(ValueError, match=r"`a` and `b` .* got \(5, 1\) and \(5,\); nothing is br"):
        same_shape(a=(5, 1), b=(5,))


@pytest.mark.parametrize("key", [0, np.int64(0), jnp.ones((3, 2)), None])
def test_a_seed_in_place_of_a_key_is_refused(key):
    with pytest.raises(TypeError, match=r"`key` must be a JAX random key, got .*random.key\(0\)"):
        random_key(key)


def test_typed_and_raw_keys_are_accepted():
    random_key(jax.random.key(0))
    random_key(jax.random.PRNGKey(0))
    jax.vmap(random_key)(jax.random.split(jax.random.key(0), 3))


def test_a_choice_of_another_type_is_refused():
    one_of("axis", -1, (-1, -2))
    one_of("norm", None, ("ortho", None))
    one_of("method", np.str_("hann"), ("hann", "linear"))
    for value in (True, 1.0, np.array([1]), jnp.asarray(1), "1", None):
        with pytest.raises(ValueError, match="`power` must be one of 1, 2, got"):
            one_of("power", value, (1, 2))


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (-0.1, {"least": 0}, "finite and at least 0"),
        (np.inf, {"least": 0}, "finite and at least 0"),
        (10**400, {"least": 0}, "finite and at least 0"),
        (0, {"above": 0}, "finite and above 0"),
        (np.nan, {"above": 0}, "finite and above 0"),
        (2, {"least": -1, "most": 1.5}, "from -1 to 1.5"),
        (1, {"least": 0, "below": 1}, "from 0 to below 1"),
        (np.float32(1), {"above": 0, "below": 1}, "above 0 and below 1"),
        (601, {"above": 0, "most": 600}, "above 0 and at most 600"),
        (np.nan, {}, "finite"),
        (7, {"most": 6}, "finite and at most 6"),
    ],
)
def test_a_number_outside_its_range_is_named(value, bounds, words):
    with pytest.raises(ValueError, match=rf"`share` must be {re.escape(words)}, got "):
        number("share", value, **bounds)


def test_numbers_of_python_and_numpy_are_accepted():
    for value in (1, 1.0, np.float32(1), np.int64(1), np.array(1.0)):
        found = number("share", value, least=0, most=1)
        assert found == 1.0 and type(found) is float
    for value in (True, "1", None, np.ones(1), 1j):
        with pytest.raises(TypeError, match="`share` must be a number, got"):
            number("share", value)
