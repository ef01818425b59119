from functools import partial

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from helpers import DTYPES, assert_close, check_grads, noise, quick_jit

from ddspx import core

RATE, HOP = 16000, 160
SMOOTHING = 0.0246895
# One compilation each instead of one for every operation.
pcen = jax.jit(core.pcen, static_argnames=("initial", "eps"))
pcen_step = jax.jit(core.pcen_step)


def energies(*shape):
    """From silence to loud."""
    return np.exp(4 * noise(*shape)) * (noise(*shape, seed=1) > -1)


def definition(x, smoothing, gain=0.98, bias=2.0, power=0.5, eps=1e-6, state=1.0):
    """The formula of the docstring, frame by frame in float64."""
    y = np.zeros_like(x)
    for i in range(x.shape[-2]):
        state = (1 - smoothing) * state + smoothing * x[..., i, :]
        y[..., i, :] = (x[..., i, :] / (eps + state) ** gain + bias) ** power - bias**power
    return y


# Values


@pytest.mark.parametrize("frames", [1, 2, 9, 50])
def test_pcen_is_its_definition_with_parameters_of_each_band(frames):
    x = energies(2, frames, 3)
    smoothing, gain = np.array([0.02, 0.5, 1.0]), np.array([0.6, 0.98, 0.0])
    bias, power = np.array([0.5, 2.0, 10.0]), np.array([0.25, 0.5, 1.0])
    actual = pcen(
        jnp.asarray(x),
        jnp.asarray(smoothing),
        gain=jnp.asarray(gain),
        bias=jnp.asarray(bias),
        power=jnp.asarray(power),
        eps=1e-3,
    )
    expected = definition(x, smoothing, gain, bias, power, 1e-3)
    assert_close(actual, expected, scale=np.abs(expected).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options",
    [{}, {"gain": 0.8, "bias": 10.0, "power": 0.25, "eps": 1e-3}, {"time_constant": 0.06}],
)
def test_pcen_is_librosas(options, dtype):
    # librosa's scale: audio as 32-bit integers.
    x = energies(2, 300, 5) * 2.0**31
    expected = np.swapaxes(
        librosa.pcen(np.swapaxes(x, -1, -2), sr=RATE, hop_length=HOP, **options), -1, -2
    )
    time_constant_s = options.pop("time_constant", 0.4)
    smoothing = core.pcen_smoothing(time_constant_s, sample_rate=RATE, hop_length=HOP)
    actual = pcen(jnp.asarray(x, dtype), smoothing.astype(dtype), **options)
    assert actual.dtype == dtype
    # The exponential of a large logarithm has fewer digits, in librosa too.
    np.testing.assert_allclose(actual, expected, rtol=1e-4 if dtype is np.float32 else 1e-9)


def test_the_smoothing_of_a_time_is_librosas():
    for rate, hop, expected in ((22050, 512, 0.0563894), (16000, 160, 0.0246895)):
        actual = core.pcen_smoothing(0.4, sample_rate=rate, hop_length=hop)
        np.testing.assert_allclose(actual, expected, rtol=2e-6)
    t = np.array([1e-3, 1.0, 100.0])
    expected = (np.sqrt(1 + 4 * (100 * t) ** 2) - 1) / (2 * (100 * t) ** 2)
    actual = core.pcen_smoothing(jnp.asarray(t), sample_rate=RATE, hop_length=HOP)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize(("initial", "state"), [("one", 1.0), ("zero", 0.0), ("first", None)])
def test_the_assumed_past_is_as_documented(initial, state):
    x = energies(2, 7, 3) + 0.1
    expected = definition(x, 0.04, gain=0.96, eps=1e-12, state=x[:, 0] if state is None else state)
    actual = pcen(jnp.asarray(x), 0.04, gain=0.96, eps=1e-12, initial=initial)
    assert_close(actual, expected, scale=np.abs(expected).max())


# Physics


def test_a_change_of_level_has_no_lasting_effect():
    x = jnp.asarray(energies(1, 4) + 1) * jnp.ones((600, 1))
    quiet, loud = (pcen(g * x, 0.1, gain=1.0, eps=1e-9)[-1] for g in (1.0, 1000.0))
    np.testing.assert_allclose(quiet, loud, rtol=1e-5)
    np.testing.assert_allclose(quiet, np.sqrt(3) - np.sqrt(2), rtol=1e-5)


def test_silence_is_zero():
    np.testing.assert_array_equal(pcen(jnp.zeros((9, 2)), 0.1), 0)


def test_a_hundred_thousand_frames_do_not_overflow():
    x = np.abs(noise(100_000, 2)).astype(np.float32)
    y = np.asarray(pcen(jnp.asarray(x), SMOOTHING))
    expected = librosa.pcen(x.T.astype(np.float64), b=SMOOTHING).T
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_the_gradient_of_100000_frames_is_that_of_float64():
    if not jax.config.jax_enable_x64:
        pytest.skip("float64 is what it is compared with")
    # With silence within, and numbers for each band.
    x = np.abs(noise(100_000, 2)) * (np.arange(100_000) % 1000 > 300)[:, None]
    numbers = [np.array([a, b]) for a, b in ((0.02, 0.3), (0.98, 0.6), (2.0, 0.5), (0.5, 0.25))]

    @jax.jit
    @partial(jax.grad, argnums=(0, 1, 2, 3, 4))
    def gradient(x, smoothing, gain, bias, power):
        return jnp.mean(core.pcen(x, smoothing, gain=gain, bias=bias, power=power) ** 2)

    single, double = (gradient(*(jnp.asarray(a, d) for a in (x, *numbers))) for d in DTYPES)
    for found, expected in zip(single, double, strict=True):
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


# Streaming


@pytest.mark.parametrize("initial", ["one", "first", "zero"])
def test_blocks_of_any_size_equal_the_whole(initial):
    x = jnp.asarray(energies(2, 40, 3))
    smoothing = jnp.asarray([0.02, 0.3, 0.9], x.dtype)
    whole = pcen(x, smoothing, initial=initial)
    state, blocks = core.pcen_init(x[:, :1], initial=initial), []
    for first, last in [(0, 1), (1, 1), (1, 3), (3, 20), (20, 40)]:
        state, block = pcen_step(state, x[:, first:last], smoothing)
        blocks.append(block)
    assert_close(jnp.concatenate(blocks, -2), whole, scale=np.abs(whole).max())


def test_the_state_is_the_recent_past():
    x = energies(10, 2)
    state, _ = core.pcen_step(jnp.zeros(2), jnp.asarray(x), 0.25)
    expected = sum(0.25 * 0.75 ** (9 - i) * x[i] for i in range(10))
    assert_close(state, expected, scale=x.max())


# Gradients


def test_gradients():
    def f(x, smoothing, gain, bias, power, state):
        return core.pcen_step(state, x, smoothing, gain=gain, bias=bias, power=power)

    parameters = [0.1, 0.9], [0.98, 0.5], [2.0, 0.5], [0.5, 0.25], [1.0, 0.2]
    check_grads(f, np.abs(noise(2, 5, 2)), *parameters, rtol=1e-4)


def test_gradients_of_one_number_for_all_bands():
    def f(smoothing, gain):
        return pcen(jnp.asarray(np.abs(noise(4, 2))), smoothing, gain=gain)

    check_grads(f, 0.3, 0.9, order=1)


@pytest.mark.parametrize("initial", ["one", "first", "zero"])
def test_gradients_are_finite_for_all_parameters(initial):
    """In float32, whose range is narrower."""

    def total(x, smoothing, gain, bias, power):
        y = core.pcen(x, smoothing, gain=gain, bias=bias, power=power, eps=1e-12, initial=initial)
        return jnp.sum(y)

    gradient = quick_jit(jax.grad(total, argnums=(0, 1, 2, 3, 4)))
    for level in (0.0, 1e-20, 1e10):
        for smoothing in (0.0, 0.04, 1.0):
            x = jnp.full((5, 2), level, jnp.float32)
            parameters = (jnp.asarray(p, x.dtype) for p in (smoothing, 0.98, 2.0, 0.5))
            for leaf in gradient(x, *parameters):
                assert np.isfinite(leaf).all(), (level, smoothing)


# Transformations


def test_vmap_of_a_batch_of_parameters():
    x, smoothing = jnp.asarray(energies(3, 6, 2)), jnp.asarray(np.abs(noise(3, 2)) / 9)
    together = pcen(x, smoothing)
    assert_close(quick_jit(jax.vmap(core.pcen))(x, smoothing), together, scale=100.0)
    assert_close(pcen(x[0], smoothing)[2], pcen(x[0], smoothing[2]), scale=100.0)


# Boundary errors


@pytest.mark.parametrize("name", ["bias", "power", "eps"])
def test_parameters_that_must_be_positive_are_checked(name):
    with pytest.raises(ValueError, match=f"`{name}` must be above 0 and finite, got 0"):
        core.pcen(jnp.ones((3, 2)), 0.1, **{name: 0.0})


def test_axes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="the batch axes must be equal or broadcast"):
        core.pcen(jnp.ones((4, 3, 2)), jnp.ones(3))
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        core.pcen(jnp.ones((0, 2)), 0.1, initial="first")


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("`smoothing` must be from 0 to 1, got 1.5", {"smoothing": 1.5}),
        ("`smoothing` must be from 0 to 1, got nan", {"smoothing": float("nan")}),
        ("`gain` must be at least 0 and finite, got -0.1", {"gain": -0.1}),
        ("`eps` must be above 0 and finite, got inf", {"eps": float("inf")}),
    ],
)
def test_numbers_out_of_range_are_refused(message, options):
    with pytest.raises(ValueError, match=message):
        core.pcen(jnp.ones((3, 2)), **{"smoothing": 0.5, **options})


def test_a_negative_time_is_refused():
    with pytest.raises(ValueError, match=r"`time_constant_s` must be at least 0, got -0.1"):
        core.pcen_smoothing(-0.1, sample_rate=16000, hop_length=160)


def test_energies_slightly_below_zero_count_as_silence():
    energies = jnp.asarray([[1.0, -1e-9], [-1.0, 0.0], [2.0, 3.0]])
    value, slope = jax.value_and_grad(lambda e: core.pcen(e, 0.5, initial="zero").sum())(energies)
    assert_close(value, core.pcen(jnp.maximum(energies, 0), 0.5, initial="zero").sum())
    assert np.all(np.isfinite(slope)) and slope[1, 0] == 0
