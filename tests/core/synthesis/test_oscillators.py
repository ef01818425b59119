from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DTYPES, assert_close, assert_finite_grads, check_grads

from ddspx import core

SAMPLE_RATE = 16000
bank_of = partial(core.oscillator_bank, sample_rate=SAMPLE_RATE)
audible = partial(core.remove_above_nyquist, sample_rate=SAMPLE_RATE)
normalize = partial(core.normalize_harmonics, sample_rate=SAMPLE_RATE)


# values


@pytest.mark.parametrize("dtype", DTYPES)
def test_oscillator_bank_equals_the_definition(dtype, rng):
    f_hz = rng.uniform(0, 9000, (50, 3)).astype(dtype)
    amplitudes = rng.uniform(0, 1, (50, 3)).astype(dtype)
    phase = 2 * np.pi * np.cumsum(f_hz.astype(np.float64) / SAMPLE_RATE, 0)
    expected = (np.where(f_hz < 8000, amplitudes, 0) * np.sin(phase)).sum(-1)
    bank = core.oscillator_bank(jnp.asarray(f_hz), jnp.asarray(amplitudes), sample_rate=SAMPLE_RATE)
    assert bank.dtype == dtype
    assert_close(bank, expected, scale=30)
    each = bank_of(jnp.asarray(f_hz), jnp.asarray(amplitudes), sum_sinusoids=False)
    assert each.dtype == dtype
    assert_close(each, np.where(f_hz < 8000, amplitudes, 0) * np.sin(phase), scale=30)


def test_normalize_harmonics_equals_the_definition():
    weights = jnp.asarray([[1.0, 1.0, 2.0], [1.0, 1.0, 2.0], [1.0, 1.0, 2.0]])
    f0_hz = jnp.asarray([100.0, 3000.0, 9000.0])
    out = core.normalize_harmonics(weights, f0_hz, sample_rate=SAMPLE_RATE)
    assert_close(out, [[0.25, 0.25, 0.5], [0.5, 0.5, 0], [0, 0, 0]])


def test_nyquist_silences_either_sign():
    f_hz = jnp.asarray([7999.0, 8000.0, -7999.0, -8000.0, -9000.0])
    np.testing.assert_array_equal(audible(jnp.ones(5), f_hz), [1, 0, 1, 0, 0])


# gradients


def test_gradients_equal_differences(rng):
    check_grads(bank_of, rng.uniform(100, 7000, (6, 2)), rng.uniform(0, 1, (6, 2)))
    weights = rng.uniform(0.1, 1, (3, 4))
    check_grads(lambda w: normalize(w, jnp.asarray([100.0, 2500.0, 9000.0])), weights)


def test_gradients_are_finite_at_singular_points():
    bad_hz = np.array([0.0, 8000.0 / 3, 8000.0, 1e5])
    assert_finite_grads(bank_of, np.tile(bad_hz, (5, 1)), np.zeros((5, 4)))
    assert_finite_grads(normalize, np.zeros((2, 3)), np.zeros(2))
    silenced = jax.grad(lambda a: audible(a, jnp.asarray(bad_hz)).sum())(jnp.ones(4))
    np.testing.assert_array_equal(silenced, [0, 1, 0, 0])


# boundary


def test_wrong_arguments_are_refused():
    ones = jnp.ones((3, 2))
    with pytest.raises(ValueError, match="`sample_rate` must be at least 1, got 0"):
        core.remove_above_nyquist(ones, ones, sample_rate=0)
