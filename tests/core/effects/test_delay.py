from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    DTYPES,
    assert_close,
    assert_finite_grads,
    check_dtypes,
    check_grads,
    noise,
    sine,
)

from ddspx import core

variable_delay = jax.jit(core.variable_delay, static_argnames=("max_delay", "interpolation"))
variable_delay_step = jax.jit(
    core.variable_delay_step, static_argnames=("max_delay", "interpolation")
)
modulated_delay = jax.jit(
    core.modulated_delay,
    static_argnames=("sample_rate", "center_ms", "depth_ms", "add_dry", "interpolation"),
)
EACH = pytest.mark.parametrize("interpolation", ["linear", "cubic"])
MAX = 11


def definition(audio, delay, max_delay, interpolation):
    """One sample after the other, from the polynomial through the samples around the delay."""

    def x(n):
        return audio[n] if 0 <= n < len(audio) else 0.0

    output = np.zeros(len(audio))
    for n in range(len(audio)):
        d = min(max(delay[n], 0 if interpolation == "linear" else 1), max_delay)
        i = int(np.floor(d))
        u = d - i
        if interpolation == "linear":
            output[n] = x(n - i) + u * (x(n - i - 1) - x(n - i))
        else:
            # Hermite: values at the ends and central differences as their slopes.
            a, b, c, e = (x(n - i + 1 - t) for t in range(4))
            start, end = (c - a) / 2, (e - b) / 2
            output[n] = (
                (1 + 2 * u) * (1 - u) ** 2 * b
                + u * (1 - u) ** 2 * start
                + u**2 * (3 - 2 * u) * c
                + u**2 * (u - 1) * end
            )
    return output


def delays(*shape, seed=1):
    """Within bounds, at them and beyond."""
    delay = np.random.default_rng(seed).uniform(-1, MAX + 1, shape)
    delay[..., 5:8] = MAX, 0, 3
    return delay


# values


@EACH
def test_results_equal_the_definition(interpolation):
    audio, delay = noise(40), delays(40)
    for dtype in DTYPES:
        x, d = audio.astype(dtype), delay.astype(dtype)
        y = variable_delay(x, d, max_delay=MAX, interpolation=interpolation)
        expected = definition(x.astype(float), d.astype(float), MAX, interpolation)
        assert_close(y, expected, scale=4.0)


@pytest.mark.parametrize("add_dry", [True, False])
def test_modulated_delay_is_a_variable_delay(add_dry):
    audio, modulation = noise(60), np.random.default_rng(1).uniform(-1, 1, 60)
    y = modulated_delay(
        audio, modulation, sample_rate=4000, center_ms=2.0, depth_ms=1.5, gain=0.7, add_dry=add_dry
    )
    delayed = definition(audio, 8 + 6 * modulation, 14, "linear")
    assert_close(y, add_dry * audio + 0.7 * delayed, scale=4.0)


# physics


@EACH
def test_whole_delays_shift_a_sound_by_up_to_the_maximum(interpolation):
    audio = noise(40)
    for delay in (1, 4, MAX, MAX + 5):
        y = variable_delay(
            audio, np.full(40, float(delay)), max_delay=MAX, interpolation=interpolation
        )
        moved = min(delay, MAX)
        np.testing.assert_array_equal(y[:moved], 0)
        assert_close(y[moved:], audio[: 40 - moved])


@pytest.mark.parametrize(("interpolation", "loss_db"), [("linear", -3.0), ("cubic", -1.1)])
def test_a_delay_of_half_a_sample_attenuates_as_documented(interpolation, loss_db):
    audio = sine(4000, 400, sample_rate=16000, phase_rad=0.3)
    y = variable_delay(audio, np.full(400, 4.5), max_delay=8, interpolation=interpolation)
    expected = 10 ** (loss_db / 20) * sine(
        4000, 400, sample_rate=16000, phase_rad=0.3 - 4.5 * np.pi / 2
    )
    np.testing.assert_allclose(y[20:], expected[20:], atol=0.01)


def test_the_modulation_spans_centre_plus_and_minus_depth():
    # DDSP's spans the centre to centre plus depth, and wraps to no delay there.
    click = np.zeros(200)
    click[0] = 1.0
    for modulation, at in [(-1.0, 40), (0.0, 80), (1.0, 120)]:
        y = modulated_delay(
            click,
            np.full(200, modulation),
            sample_rate=8000,
            center_ms=10.0,
            depth_ms=5.0,
            add_dry=False,
        )
        assert np.flatnonzero(np.asarray(y)).tolist() == [at]


def test_the_gain_may_have_a_number_at_each_sample(rng):
    audio, modulation = noise(2, 40), rng.uniform(-1, 1, 40)
    rates = {"sample_rate": 1000, "center_ms": 4.0, "depth_ms": 3.0}
    wet = modulated_delay(audio, modulation, **rates, add_dry=False)
    for gain in (rng.uniform(-1, 1, 40), rng.uniform(-1, 1, (2, 40)), np.array([[0.5], [2.0]])):
        y = modulated_delay(audio, modulation, **rates, gain=gain)
        assert_close(y, audio + gain * np.asarray(wet), scale=3)


def test_a_vibrato_bends_the_pitch():
    # The delay falls by v samples each sample: everything is played (1 + v) times as fast.
    n, speed = np.arange(4000), 0.02
    audio = sine(500, 4000, sample_rate=16000)
    y = variable_delay(audio, 100 - speed * n, max_delay=100, interpolation="cubic")
    expected = np.sin(2 * np.pi * 500 / 16000 * ((1 + speed) * n - 100))
    np.testing.assert_allclose(y[200:], expected[200:], atol=2e-3)


# streaming


@EACH
def test_blocks_of_any_size_equal_the_whole(interpolation):
    audio, delay = jnp.asarray(noise(2, 60)), jnp.asarray(delays(2, 60))
    size = {"max_delay": MAX, "interpolation": interpolation}
    state = core.variable_delay_init(max_delay=MAX, batch_shape=(2,), dtype=audio.dtype)
    blocks = []
    for start, stop in [(0, 1), (1, 6), (6, 35), (35, 36), (36, 60)]:
        state, block = variable_delay_step(
            state, audio[:, start:stop], delay[:, start:stop], **size
        )
        blocks.append(block)
    whole = variable_delay(audio, delay, **size)
    assert_close(jnp.concatenate(blocks, -1), whole)
    np.testing.assert_array_equal(state.past, audio[:, -(MAX + 2) :])


def test_memory_is_a_few_arrays_of_the_size_of_the_audio():
    """Weighing all 512 samples of the line for each one would take five hundred."""
    run = partial(core.variable_delay, max_delay=512, interpolation="cubic")
    grad = jax.grad(lambda *xs: jnp.sum(run(*xs)), argnums=(0, 1))
    args = [jax.ShapeDtypeStruct((16000,), jnp.float32)] * 2
    for f in (run, grad):
        memory = jax.jit(f).lower(*args).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 20 * 16000 * 4


# gradients


@EACH
def test_gradients_equal_differences(interpolation):
    # Away from whole delays, where the slope of the linear form jumps.
    delay = np.floor(np.random.default_rng(0).uniform(1, MAX - 1, 20)) + 0.4
    run = partial(core.variable_delay, max_delay=MAX, interpolation=interpolation)
    check_grads(run, noise(20), delay)


def test_gradients_of_the_modulation_and_the_gain():
    def run(audio, modulation, gain):
        rates = {"sample_rate": 1000, "center_ms": 4.2, "depth_ms": 0.5}
        return core.modulated_delay(audio, modulation, **rates, gain=gain)

    modulation = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 12))
    check_grads(run, noise(2, 12), modulation, noise(2, 12, seed=1))


@EACH
def test_gradients_are_finite_at_the_bounds(interpolation):
    delay = np.repeat(np.array([-3.0, 0.0, 1.0, MAX, MAX + 4])[:, None], 20, 1)
    run = partial(core.variable_delay, max_delay=MAX, interpolation=interpolation)
    assert_finite_grads(run, np.zeros((5, 20)), delay)


# broadcasting


def test_batch_axes_broadcast():
    audio, delay = jnp.asarray(noise(30)), jnp.asarray(delays(3, 30))
    y = variable_delay(audio, delay, max_delay=MAX)
    assert_close(y[1], variable_delay(audio, delay[1], max_delay=MAX))
    many = modulated_delay(audio, jnp.sin(audio), sample_rate=1000, gain=jnp.array([[1.0], [2.0]]))
    one = modulated_delay(audio, jnp.sin(audio), sample_rate=1000, gain=2.0)
    assert_close(many[1], one)


# dtypes


def test_numbers_do_not_widen_the_audio():
    check_dtypes(partial(variable_delay, max_delay=MAX), noise(20), delays(20))
    check_dtypes(partial(modulated_delay, sample_rate=1000), noise(20), np.sin(noise(20)))


# boundary


def test_wrong_arguments_are_refused():
    ones = jnp.ones(8)
    with pytest.raises(ValueError, match="`max_delay` must be at least 1, got 0"):
        core.variable_delay(ones, ones, max_delay=0)
    with pytest.raises(ValueError, match=r"`state.past` and `max_delay` \+ 2 must have the same"):
        core.variable_delay_step(core.variable_delay_init(max_delay=3), ones, ones, max_delay=4)
    with pytest.raises(ValueError, match="`depth_ms` must be from 0 to `center_ms`"):
        core.modulated_delay(ones, ones, sample_rate=8000, center_ms=1.0, depth_ms=2.0)
    with pytest.raises(
        ValueError, match=r"`gain` must be one number, or have a last axis of 8 .*`gain\[:, None\]`"
    ):
        core.modulated_delay(jnp.ones((2, 8)), ones, sample_rate=8000, gain=jnp.ones(2))
    with pytest.raises(ValueError, match="the batch axes must be equal or broadcast"):
        core.variable_delay(jnp.ones((2, 8)), jnp.ones((3, 8)), max_delay=3)
