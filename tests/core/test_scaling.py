import inspect
from functools import partial

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from helpers import (
    DTYPES,
    assert_close,
    assert_finite_grads,
    check_grads,
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


def test_sym_exp_sigmoid_is_its_definition():
    x = np.linspace(-3, 3, 13)
    expected = 2 * (1 / (1 + np.exp(-5.0 * (np.abs(x) / 2 - 1)))) ** np.log(10.0) + 1e-7
    assert_close(core.sym_exp_sigmoid(jnp.asarray(x), width=5.0), expected)


@pytest.mark.parametrize(
    ("minimum", "maximum", "width"), [(0.0, 1.0, 1.0), (20.0, 90.0, 1.0), (-3.0, 5.0, 0.25)]
)
def test_soft_limit_is_its_definition(minimum, maximum, width):
    x = np.linspace(minimum - 4, maximum + 4, 41)
    above, below = (np.log1p(np.exp((x - end) / width)) for end in (minimum, maximum))
    expected = minimum + width * (above - below)
    actual = core.soft_limit(jnp.asarray(x), minimum=minimum, maximum=maximum, width=width)
    assert_close(actual, expected, scale=200)


def softmax_by_loop(x, depth, fmin, fmax):
    out = []
    for row in x.reshape(-1, depth):
        weights = np.exp(row) / np.exp(row).sum()
        position = sum(w * d / (depth - 1) for d, w in enumerate(weights))
        out.append(fmin * (fmax / fmin) ** position)
    return np.array(out)


def sigmoid_by_loop(x, depth, fmin, fmax):
    out = []
    for row in x.reshape(-1, depth):
        scales = 4.0 ** -np.arange(depth)
        position = (scales / (1 + np.exp(-row))).sum() / scales.sum()
        out.append(fmin * (fmax / fmin) ** position)
    return np.array(out)


def critical_bands_by_loop(x, depth, fmin, fmax):
    rows = x.reshape(-1, depth)
    ends = [26.81 * f / (1960 + f) - 0.53 for f in (fmin, fmax)]
    out = []
    for bark, row in zip(np.linspace(*ends, len(rows)), rows, strict=True):
        centre = 1960 * (bark + 0.53) / (26.28 - bark)
        deviation = (4.0 ** -np.arange(depth) * np.tanh(row)).sum()
        hz = centre + 0.5 * (24.7 + 0.108 * centre) * deviation
        out.append(fmin + np.logaddexp(0, hz - fmin) - np.logaddexp(0, hz - fmax))
    return np.array(out)


FREQUENCIES = {
    "softmax": (core.frequencies_softmax, softmax_by_loop),
    "sigmoid": (partial(core.frequencies_sigmoid, depth_scale=4.0), sigmoid_by_loop),
    "critical_bands": (
        partial(core.frequencies_critical_bands, depth_scale=4.0, bandwidth_scale=0.5),
        critical_bands_by_loop,
    ),
}
RANGE = {"fmin": 30.0, "fmax": 7000.0}


@pytest.mark.parametrize("name", FREQUENCIES)
def test_frequencies_are_their_definitions(name, rng):
    function, by_loop = FREQUENCIES[name]
    x = rng.normal(0, 2, (2, 12))
    actual = function(jnp.asarray(x), depth=3, **RANGE)
    assert actual.shape == (2, 4)
    expected = np.stack([by_loop(row, 3, **RANGE) for row in x])
    assert_close(actual, expected, scale=7000)


# Physics


@pytest.mark.parametrize("name", FREQUENCIES)
@pytest.mark.parametrize("depth", [2, 4])
def test_frequencies_span_their_documented_range(name, depth):
    # DDSP's sum of sigmoids starts at 8.18 Hz for every output of a depth.
    function, _ = FREQUENCIES[name]
    x = 1e4 * jnp.stack([jnp.arange(depth) - 0.5, 0.5 - jnp.arange(depth), -jnp.ones(depth)])
    f_hz = np.asarray(function(x, depth=depth, **RANGE))
    assert (f_hz > 30 - 1e-3).all() and (f_hz < 7000 + 1e-2).all()
    if name == "softmax":
        np.testing.assert_allclose(f_hz[:2, 0], [7000, 30], rtol=1e-5)
    elif name == "sigmoid":
        low_high = function(1e4 * jnp.array([-1.0] * depth + [1.0] * depth), depth=depth, **RANGE)
        np.testing.assert_allclose(low_high, [30, 7000], rtol=1e-5)


def test_soft_limit_leaves_the_middle_of_its_range():
    # DDSP's moves it up by the lower end.
    x = jnp.array([-1e30, 40.0, 50.0, 70.0, 1e30])
    limited = core.soft_limit(x, minimum=20.0, maximum=90.0)
    np.testing.assert_allclose(limited, [20, 40, 50, 70, 90], rtol=1e-6)


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


@pytest.mark.parametrize("name", FREQUENCIES)
def test_frequency_gradients(name, rng):
    function, _ = FREQUENCIES[name]
    check_grads(partial(function, depth=2, fmin=1.0, fmax=20.0), rng.normal(0, 1, 6))
    for level in (0.0, 1e4, -1e4):
        assert_finite_grads(partial(function, depth=2, **RANGE), np.full(6, level))


def test_gradients_of_limits():
    check_grads(partial(core.soft_limit, maximum=5.0), np.array([-2.0, 0.0, 0.7, 4.0, 6.0]))
    check_grads(core.sym_exp_sigmoid, np.array([-2.0, -0.5, 0.5, 3.0]))
    assert_finite_grads(core.sym_exp_sigmoid, np.array([0.0, -1e30, 1e30]))
    assert_finite_grads(core.soft_limit, np.array([-1e30, 0.0, 0.5, 1.0, 1e30]))


def test_gradients_of_companding():
    x = np.array([-1.0, -0.01, 0.3, 1.0])
    check_grads(core.mu_law_encode, x)
    check_grads(core.mu_law_decode, x)
    # The curve is as steep at zero as beside it, where the product of sign and abs has slope 0.
    slope = jax.grad(core.mu_law_encode)
    assert_close(slope(jnp.array(0.0)), 255 / np.log(256), scale=50)
    assert_close(jax.grad(core.mu_law_decode)(jnp.array(0.0)), np.log(256) / 255)


# Companding


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mu", [255, 15])
def test_mu_law_is_librosas(mu, dtype):
    x = np.r_[np.linspace(-1, 1, 1001), 1e-4, -1e-4].astype(dtype)
    companded = core.mu_law_encode(jnp.asarray(x), mu=mu)
    assert companded.dtype == dtype
    expected = librosa.mu_compress(x.astype(np.float64), mu=mu, quantize=False)
    assert_close(companded, expected)
    assert_close(core.mu_law_decode(companded, mu=mu), x)
    # In the middle of the steps, where rounding cannot decide.
    levels = np.arange(-(mu // 2), mu // 2 + 1)
    audio = librosa.mu_expand((2.0 * levels / mu), mu=mu, quantize=False)
    np.testing.assert_array_equal(librosa.mu_compress(audio, mu=mu), levels)
    actual = core.mu_law_encode(jnp.asarray(audio, dtype), mu=mu, quantize=True)
    assert actual.dtype == jnp.int32
    np.testing.assert_array_equal(actual, levels)
    expected = librosa.mu_expand(levels, mu=mu)
    assert_close(core.mu_law_decode(actual, mu=mu), expected)


def test_levels_are_as_near_as_their_steps():
    x = np.linspace(-1, 1, 5001)
    levels = core.mu_law_encode(jnp.asarray(x), quantize=True)
    assert (int(levels.min()), int(levels.max())) == (-128, 127)
    error = core.mu_law_encode(core.mu_law_decode(levels)) - core.mu_law_encode(jnp.asarray(x))
    assert float(jnp.abs(error).max()) <= 2 / 255
    beyond = core.mu_law_encode(jnp.array([-3.0, 0.0, 3.0]), quantize=True)
    assert beyond.tolist() == [-128, 0, 127]


# Boundary errors


def test_an_odd_number_of_levels_is_refused():
    with pytest.raises(ValueError, match="`mu` must be odd"):
        core.mu_law_encode(jnp.zeros(1), mu=256, quantize=True)
    with pytest.raises(TypeError, match="`encoded` must be float32 or float64"):
        core.mu_law_decode(jnp.zeros(1, jnp.float16))


@pytest.mark.parametrize("exponent", [1.0, 0.0, -2.0, float("nan")])
def test_exponent_must_exceed_one(exponent):
    with pytest.raises(ValueError, match=r"`exponent` must be greater than 1"):
        core.exp_sigmoid(jnp.zeros(1), exponent=exponent)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("`width` must be positive", partial(core.sym_exp_sigmoid, width=0.0)),
        ("`width` must be positive", partial(core.soft_limit, width=-1.0)),
        ("`minimum` must be below `maximum`", partial(core.soft_limit, minimum=2.0)),
        ("`depth` must be at least 2", partial(core.frequencies_softmax, depth=1, **RANGE)),
        ("`depth` must divide", partial(core.frequencies_sigmoid, depth=4, **RANGE)),
        ("`depth` must be at least 1", partial(core.frequencies_sigmoid, depth=0, **RANGE)),
        ("`depth_scale` must be", partial(core.frequencies_sigmoid, depth_scale=0.0, **RANGE)),
        ("`fmin` must be above 0 Hz", partial(core.frequencies_sigmoid, fmin=0.0, fmax=9.0)),
        ("`fmin` must be", partial(core.frequencies_critical_bands, fmin=9.0, fmax=9.0)),
    ],
)
def test_empty_ranges_are_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call(jnp.zeros(6))


@pytest.mark.parametrize("mu", [7, 99, 127, 255, 1023, 65535])
@pytest.mark.parametrize("dtype", DTYPES)
def test_full_scale_has_the_outermost_levels(mu, dtype):
    audio = jnp.asarray([-2.0, -1.0, 0.0, 1.0, 2.0], dtype)
    half = (mu + 1) // 2
    levels = core.mu_law_encode(audio, mu=mu, quantize=True)
    assert levels.tolist() == [-half, -half, 0, half - 1, half - 1]


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.int32])
def test_network_outputs_of_half_precision_are_refused(dtype):
    for f in (core.exp_sigmoid, core.sym_exp_sigmoid, core.soft_limit, core.safe_log):
        with pytest.raises(TypeError, match="`x` must be float32 or float64"):
            inspect.unwrap(f)(jnp.ones(2, dtype))
