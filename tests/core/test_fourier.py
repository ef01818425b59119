"""The program for a TPU is computed here too, where it gives what the FFT gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DTYPES, noise, quick_jit

from ddspx.core import _fourier

# One product, the fewest bins, an odd number; two products, with an odd factor, and of two odd
# ones; a prime number that is too large for a factor.
SIZES = (1, 2, 9, 64, 1024, 6144, 3375, 521)


def error(actual, expected) -> float:
    return np.linalg.norm(np.asarray(actual) - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_transform_as_numpy_does(dtype):
    spectra = [np.fft.rfft(noise(2, n)) for n in SIZES]

    @quick_jit
    def both(signals, spectra):
        return [
            (_fourier.rfft_by_products(x, n=n), _fourier.irfft_by_products(y, n=n))
            for x, y, n in zip(signals, spectra, SIZES, strict=True)
        ]

    given = [y.astype(np.result_type(dtype, np.complex64)) for y in spectra]
    signals = [noise(2, n) for n in SIZES]
    for there, back, y, x in zip(
        *zip(*both([x.astype(dtype) for x in signals], given), strict=True),
        spectra,
        signals,
        strict=True,
    ):
        assert there.dtype == np.result_type(dtype, np.complex64) and back.dtype == dtype
        assert max(error(there, y), error(back, x)) < (2e-6 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("samples", [50, 70])
def test_products_fill_with_zeros_and_crop(samples):
    x = noise(3, samples)
    for n in (64, 1025):
        assert error(_fourier.rfft_by_products(jnp.asarray(x), n=n), np.fft.rfft(x, n)) < 2e-6


def test_bins_that_cannot_be_imaginary_are_ignored():
    spectrum = noise(2, 5) + 1j * noise(2, 5, seed=1)
    for n in (8, 9):
        expected = np.fft.irfft(spectrum, n)
        assert error(_fourier.irfft_by_products(jnp.asarray(spectrum), n=n), expected) < 2e-6


# Of one sample; with more rounds than one, and an audio that is shorter than the filter.
@pytest.mark.parametrize(("samples", "taps"), [(1, 1), (700, 300), (40, 90)])
def test_products_convolve_and_differentiate(samples, taps, monkeypatch):
    monkeypatch.setattr(_fourier, "_BINS_AT_ONCE", 8)
    x, h, weights = noise(2, samples), noise(1, taps, seed=1), noise(2, samples + taps - 1, seed=2)
    expected = np.stack([np.convolve(row, h[0]) for row in x])
    dx = np.stack([np.correlate(row, h[0], "valid") for row in weights])
    pairs = zip(weights, x, strict=True)
    dh = sum(np.correlate(row, one, "valid") for row, one in pairs)[None]

    @quick_jit
    def run(x, h, weights):
        out, transpose = jax.vjp(_fourier.convolve_by_products, x, h)
        return out, *transpose(weights)

    for actual, exact in zip(run(x, h, weights), (expected, dx, dh), strict=True):
        assert error(actual, exact) < 2e-6


def test_each_platform_has_its_program():
    def run(x, h):
        y = _fourier.convolve(x, h)
        return _fourier.irfft(_fourier.rfft(y, 128) ** 2, 128)

    slope = jax.grad(lambda *xs: jnp.sum(run(*xs)), (0, 1))
    traced = jax.jit(slope).trace(*(jax.ShapeDtypeStruct((n,), jnp.float32) for n in (100, 40)))
    cpu, tpu = (traced.lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "tpu"))
    assert "stablehlo.fft" in cpu and "dot_general" not in cpu
    assert "stablehlo.fft" not in tpu and "dot_general" in tpu


def test_long_and_prime_sizes_are_left_to_the_fft():
    x = noise(5000)
    assert error(_fourier.rfft(jnp.asarray(x), 4999), np.fft.rfft(x, 4999)) < 2e-6
    taps = jnp.ones(1)
    shape = jax.eval_shape(_fourier.convolve_by_products, jnp.zeros(1 << 21), taps)
    assert shape.shape == (1 << 21,)
