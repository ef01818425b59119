"""The program for a TPU, computed here, beside the one for other chips in float64."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DTYPES, assert_close, noise, quick_jit

from ddspx.core.losses import _loss_by_products, _spectral


# Sizes of one product and of two; frames that fill the last group, and that do not.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n_ffts", "samples", "delta_time"), [((64, 16), 805, 0.0), ((520, 12), 1599, 0.2)]
)
def test_loss_and_gradients_equal_those_by_fft(n_ffts, samples, delta_time, dtype, monkeypatch):
    monkeypatch.setattr(_loss_by_products, "_SAMPLES_AT_ONCE", 400)
    weights = _spectral._Weights(1.0, 0.7, delta_time, 0.5, 0.3)
    pair = noise(3, samples), noise(3, samples, seed=1)
    exact = _spectral._tile_value_and_gradients
    distance = partial(_spectral._distance, weights=weights, steps=partial(jnp.diff, axis=1))
    options = {"n_ffts": n_ffts, "argnums": (0, 1)}

    @quick_jit
    def run(pair):
        by_products = partial(
            _loss_by_products.loss_by_products,
            distance=distance,
            n_ffts=n_ffts,
            in_parts=not delta_time,
        )
        return by_products(pair, argnums=(0, 1)), by_products(pair, argnums=())[0]

    (value, gradients), alone = run(tuple(jnp.asarray(x, dtype) for x in pair))
    expected, slopes = exact(tuple(map(jnp.asarray, pair)), weights=weights, **options)
    assert_close(value, expected, scale=4)
    assert_close(alone, expected, scale=4)
    # Where a difference is zero up to rounding, its sign may be the other one.
    for actual, slope in zip(gradients, slopes, strict=True):
        error = np.linalg.norm(actual - slope) / np.linalg.norm(slope)
        assert error < (1e-3 if dtype == np.float32 else 1e-12)
