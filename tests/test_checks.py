import jax.numpy as jnp
import pytest
from helpers import DTYPES

from ddspx._checks import broadcast_batch, floats


@pytest.mark.parametrize("dtype", [jnp.int16, jnp.bool_, jnp.float16, jnp.complex64])
def test_what_is_no_full_float_is_refused(dtype):
    # The annotations' checker, on in tests only, would see it before an operation does.
    name = jnp.dtype(dtype).name
    with pytest.raises(
        TypeError, match=rf"`audio` must be float32 or float64, got {name}; .*32768"
    ):
        floats(pitch=jnp.ones(2), audio=jnp.ones(2, dtype))


def test_floats_have_one_dtype():
    out = floats(a=jnp.ones(2, jnp.float32), b=jnp.ones(3, DTYPES[-1]), c=2.0)
    assert [x.dtype for x in out] == [DTYPES[-1]] * 3


def test_batch_axes_that_do_not_broadcast_are_named():
    assert broadcast_batch(a=(2, 1), b=(3,)) == (2, 3)
    with pytest.raises(ValueError, match=r"got \(2,\) of `a`, \(3,\) of `b`"):
        broadcast_batch(a=(2,), b=(3,))
