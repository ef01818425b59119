from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from helpers import DTYPES, ORDERS, assert_finite_grads, check_grads, noise, quick_jit

from ddspx import core

RATE = 16000
CENTERS = np.array([60.0, 500.0, 3100.0])
BANDWIDTHS = np.asarray(core.hz_to_erb(jnp.asarray(CENTERS, DTYPES[-1])))
run = jax.jit(partial(core.gammatone_filter, sample_rate=RATE))
step = quick_jit(partial(core.gammatone_filter_step, sample_rate=RATE))


def bands(dtype):
    return jnp.asarray(CENTERS, dtype), jnp.asarray(BANDWIDTHS, dtype)


def definition(centers_hz, bandwidths_hz, n_taps, order=4):
    """The cascade of one-poles, sample by sample, from an impulse; beta by its integral."""
    area = scipy.integrate.quad(lambda v: (1 + v * v) ** -float(order), -np.inf, np.inf)[0]
    pole = np.exp((-2 * np.pi * bandwidths_hz / area + 2j * np.pi * centers_hz) / RATE)
    state = np.zeros((order, len(centers_hz)), complex)
    out = []
    for k in range(n_taps):
        x = np.full(len(centers_hz), float(k == 0), complex)
        for i in range(order):
            x = state[i] = pole * state[i] + (1 - abs(pole)) * x
        out.append(x)
    return np.stack(out, -1)


# values


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_impulse_response_is_a_cascade_of_one_poles(dtype, order):
    taps = core.gammatone_impulse_response(*bands(dtype), sample_rate=RATE, n_taps=900, order=order)
    expected = definition(CENTERS, BANDWIDTHS, 900, order)
    assert taps.dtype == (np.complex64 if dtype == np.float32 else np.complex128)
    bound = (1e-4 if dtype == np.float32 else 1e-10) * np.abs(expected).max(-1, keepdims=True)
    assert (np.abs(taps - expected) < bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_frequency_response_is_that_of_the_taps(dtype):
    frequencies_hz = np.array([-3000.0, 0.0, 55.0, 60.0, 470.0, 3100.0, 7999.0])
    response = core.gammatone_response(
        jnp.asarray(frequencies_hz, dtype), *bands(dtype), sample_rate=RATE
    )
    taps = definition(CENTERS, BANDWIDTHS, 6000)
    turns = np.exp(-2j * np.pi * frequencies_hz[:, None] * np.arange(6000) / RATE)
    expected = np.einsum("bk,fk->bf", taps, turns)
    assert np.abs(response - expected).max() < (1e-5 if dtype == np.float32 else 1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_recursion_is_the_convolution_with_the_taps(dtype):
    audio = noise(2, 3000)
    out = run(jnp.asarray(audio, dtype), *bands(dtype))
    taps = definition(CENTERS, BANDWIDTHS, 3000)
    for i, example in enumerate(audio):
        for j, tap in enumerate(taps):
            expected = np.convolve(example, tap)[:3000]
            # In float32 within 1e-4 of the peak of the band.
            bound = (1e-4 if dtype == np.float32 else 1e-9) * np.abs(expected).max()
            assert np.abs(out[i, j] - expected).max() < bound


def test_spectnets_taps_are_those_that_its_authors_print():
    one = jnp.ones(2, DTYPES[-1])
    grid = core.frequency_grid(4, fmin=0.0, fmax=500.0, scale="mel")
    centers_hz = jnp.asarray(grid[:2], DTYPES[-1])
    taps = core.spectnet_impulse_response(centers_hz, 100 * one, 1e4 * one, sample_rate=1000)
    assert taps.shape == (2, 81)
    printed = [
        [0, 5.334881e-06, 2.276876e-05, 4.099567e-05, 5.184166e-05, 5.401740e-05],
        [0, 3.457793e-06, -3.638629e-06, -3.506386e-05, -4.919373e-05, -2.024456e-05],
    ]
    np.testing.assert_allclose(taps[:, :6], printed, rtol=3e-6, atol=2e-11)


# physics


def test_the_bandwidth_is_that_of_the_rectangle_that_passes_as_much_noise():
    frequencies_hz = jnp.arange(-8000, 8000, dtype=DTYPES[-1])
    power = jnp.abs(core.gammatone_response(frequencies_hz, *bands(DTYPES[-1]), sample_rate=RATE))
    area_hz = jnp.sum(power**2, axis=-1)
    np.testing.assert_allclose(area_hz, BANDWIDTHS, rtol=2e-3)


def test_a_tone_comes_out_of_its_band_with_half_its_amplitude():
    tone = np.cos(2 * np.pi * 500 * np.arange(4000) / RATE)
    out = np.abs(run(jnp.asarray(tone, DTYPES[-1]), *bands(DTYPES[-1])))[:, -1]
    assert out[1] == pytest.approx(0.5, abs=1e-4)
    assert max(out[0], out[2]) < 1e-3


def test_the_carrier_is_exact_after_an_hour_of_a_stream():
    # Moved to a sample count that float32 cannot hold, the same block gives the same bands.
    audio = jnp.asarray(noise(400), DTYPES[0])
    args = bands(DTYPES[0])
    rest = core.gammatone_filter_init(args[0])
    late = rest._replace(sample=jnp.uint32(2**32 - 200))
    at_once, out = (step(state, audio, *args)[1] for state in (rest, late))
    np.testing.assert_allclose(np.abs(out), np.abs(at_once), atol=3e-6)
    np.testing.assert_allclose(out, at_once, atol=3e-6)


# streaming, gradients, boundary


def test_blocks_equal_the_whole():
    audio = jnp.asarray(noise(2, 500), DTYPES[-1])
    args = bands(DTYPES[-1])
    state, out = core.gammatone_filter_init(args[0], batch_shape=(2,)), []
    for start, end in [(0, 1), (1, 130), (130, 500)]:
        state, block = step(state, audio[:, start:end], *args)
        out.append(block)
    np.testing.assert_allclose(np.concatenate(out, -1), run(audio, *args), atol=1e-5)


@ORDERS
def test_gradients_equal_differences(order):
    audio, centers, bandwidths = noise(40), np.array([0.5, 3.0]), np.array([0.4, 0.9])

    def parts(f, *args):
        out = f(*args[:-2], 1e3 * args[-2], 1e3 * args[-1], sample_rate=RATE)
        return out.real, out.imag

    check_grads(partial(parts, core.gammatone_filter), audio, centers, bandwidths, order=order)
    frequencies_hz = np.array([0.0, 700, 8e3])
    check_grads(
        partial(parts, core.gammatone_response), frequencies_hz, centers, bandwidths, order=order
    )
    short = partial(core.gammatone_impulse_response, n_taps=20)
    check_grads(partial(parts, short), centers, bandwidths, order=order)


def test_every_centre_has_a_gradient_where_spectnets_outer_centres_have_none():
    ends = jnp.asarray([0.0, 200.0, 500.0], DTYPES[-1])
    audio = jnp.asarray(noise(200), DTYPES[-1])

    def energy(taps):
        return jnp.sum(jnp.square(core.fft_convolve(audio[None], taps, mode="valid")))

    def spectnet(centers_hz):
        one = jnp.ones_like(centers_hz)
        return energy(
            core.spectnet_impulse_response(centers_hz, 100 * one, 1e4 * one, sample_rate=1000)
        )

    def ours(centers_hz):
        bandwidths_hz = core.hz_to_erb(centers_hz)
        bands = core.gammatone_filter(audio, centers_hz, bandwidths_hz, sample_rate=1000)
        return jnp.sum(jnp.abs(bands) ** 2)

    dead = np.abs(quick_jit(jax.grad(spectnet))(ends))
    assert dead[0] == 0
    assert dead[2] < 1e-9 * dead[1]
    alive = np.abs(quick_jit(jax.grad(ours))(jnp.asarray([20.0, 200.0, 480.0], DTYPES[-1])))
    assert alive.min() > 1e-3 * alive.max()


def test_gradients_are_finite_at_singular_points():
    ends = np.array([0.0, 8000.0])
    power = lambda *args: jnp.abs(core.gammatone_response(*args, sample_rate=RATE)) ** 2  # noqa: E731
    assert_finite_grads(power, np.array([0.0, 8000.0]), ends, np.array([1e-3, 4e3]))
    silent = lambda *args: jnp.real(core.gammatone_filter(*args, sample_rate=RATE))  # noqa: E731
    assert_finite_grads(silent, np.zeros(70), ends, np.array([25.0, 900.0]))


def test_wrong_arguments_are_refused():
    one = jnp.ones(2)
    with pytest.raises(ValueError, match="`order` must be at least 1, got 0"):
        core.gammatone_filter(jnp.ones(8), one, one, sample_rate=RATE, order=0)
