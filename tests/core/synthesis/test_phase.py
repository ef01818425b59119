from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DTYPES, assert_close, check_grads, compiled

from ddspx import core

advance_phase, cumulative_phase = map(compiled, (core.advance_phase, core.cumulative_phase))

SAMPLE_RATE, HOP = 16000, 64


def as_cycles(phase: core.Phase) -> np.ndarray:
    limbs = [np.asarray(limb, np.longdouble) for limb in phase]
    return (limbs[0] + limbs[1] / 2**32) / 2**32


def frequency_at_samples(f0_hz: np.ndarray, hop_length: int) -> np.ndarray:
    f0_hz = np.asarray(f0_hz, np.longdouble)
    u = np.arange(hop_length) / np.longdouble(hop_length)
    return (f0_hz[:-1, None] + np.diff(f0_hz)[:, None] * u).reshape(-1)


def wrapped_distance(cycles: np.ndarray) -> float:
    return float(np.abs(cycles - np.round(cycles)).max())


# values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("sample_rate", "hop_length"), [(16000, 64), (44100, 147), (192000, 480), (16000, 65535)]
)
def test_advance_is_the_exact_sum_of_the_frequency(dtype, sample_rate, hop_length, rng):
    frames = 500 if hop_length < 1000 else 20
    f0_hz = rng.uniform(0.01, 0.6 * sample_rate, frames).astype(dtype)
    total = frequency_at_samples(f0_hz, hop_length).sum() / sample_rate
    phase = advance_phase(jnp.asarray(f0_hz), hop_length=hop_length, sample_rate=sample_rate)
    # A rounding for each hop: of 2**-65 in float32, whose increments are exact; of 2**-53 times the
    # cycles of one hop in float64.
    bound = (frames - 1) * (2.0**-64 if dtype == np.float32 else 2.0**-53 * hop_length)
    assert wrapped_distance(as_cycles(phase) - total) < bound + 1e-14


@pytest.mark.parametrize("dtype", DTYPES)
def test_cumulative_phase_is_the_inclusive_sum(dtype, rng):
    f_hz = rng.uniform(-300, 12000, (3, 400)).astype(dtype)
    expected = 2 * np.pi * np.cumsum(f_hz.astype(np.longdouble) / SAMPLE_RATE, -1)
    phase = cumulative_phase(jnp.asarray(f_hz), sample_rate=SAMPLE_RATE)
    assert phase.dtype == dtype
    error = wrapped_distance((np.asarray(phase, np.longdouble) - expected) / (2 * np.pi))
    # float64 rounds 400 increments before it sums them exactly; float32 does not.
    assert error < (1 if dtype == np.float32 else 400) * float(jnp.finfo(dtype).eps)
    assert np.abs(phase).max() <= np.pi * (1 + 1e-6)


# physics


def test_ten_minutes_at_a_constant_pitch_do_not_drift():
    f_hz = np.float32(439.9871)
    frames = 1 + 600 * SAMPLE_RATE // HOP
    phase = advance_phase(
        jnp.full(frames, f_hz, jnp.float32), hop_length=HOP, sample_rate=SAMPLE_RATE
    )
    total = np.longdouble(f_hz) * 600
    assert wrapped_distance(as_cycles(phase) - total) < 1e-13


def test_one_minute_of_samples_does_not_drift():
    f_hz = jnp.full(60 * 48000, 7900.1, jnp.float32)
    phase = cumulative_phase(f_hz, sample_rate=48000)
    expected = np.longdouble(np.float32(7900.1)) * np.arange(1, 60 * 48000 + 1) / 48000
    assert wrapped_distance(np.asarray(phase, np.longdouble) / (2 * np.pi) - expected) < 1e-7


# streaming


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_of_any_size_give_the_bits_of_one(dtype, rng):
    f0_hz = jnp.asarray(rng.uniform(20, 4000, (2, 31)).astype(dtype))
    rates = {"hop_length": HOP, "sample_rate": SAMPLE_RATE}
    advance = jax.jit(partial(core.advance_phase, **rates))
    state = core.Phase(*jnp.zeros((2, 2), jnp.uint32))
    whole = advance(f0_hz, initial_phase=state)
    for first, last in [(0, 1), (1, 2), (2, 16), (16, 30)]:
        state = advance(f0_hz[:, first : last + 1], initial_phase=state)
    for limb, expected in zip(state, whole, strict=True):
        np.testing.assert_array_equal(limb, expected)


def test_one_frame_advances_nothing():
    start = advance_phase(jnp.array([100.0, 200.0]), hop_length=3, sample_rate=8000)
    end = core.advance_phase(
        jnp.array([200.0]), hop_length=3, sample_rate=8000, initial_phase=start
    )
    assert jax.tree.map(int, start) == jax.tree.map(int, end)


def test_radians_start_the_phase():
    radians = jnp.asarray(-np.pi / 2)
    phase = core.advance_phase(jnp.zeros(1), hop_length=1, sample_rate=8000, initial_phase=radians)
    assert wrapped_distance(as_cycles(phase) - 0.75) < 1e-7


# gradients


def test_cumulative_phase_differentiates_as_the_unwrapped_sum(rng):
    phase = partial(core.cumulative_phase, sample_rate=2000, axis=-2)
    check_grads(lambda f: jnp.sin(phase(f)), rng.uniform(10, 90, (7, 2)))


# transformations


def test_axes_jit_and_vmap_agree(rng):
    f_hz = jnp.asarray(rng.uniform(0, 4000, (2, 3, 50)).astype(DTYPES[-1]))
    phase = partial(core.cumulative_phase, sample_rate=SAMPLE_RATE)
    expected = np.stack([[phase(row) for row in rows] for rows in f_hz])
    # The phase is exact, its conversion to radians rounds; a compiler may fuse that otherwise.
    assert_close(jax.jit(phase)(f_hz), expected)
    assert_close(jax.vmap(phase)(f_hz), expected)
    transposed = phase(jnp.swapaxes(f_hz, -1, -2), axis=-2)
    assert_close(np.swapaxes(transposed, -1, -2), expected)


# boundary


def test_rates_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"`hop_length` must be below .* got 32768 at 65536 Hz"):
        core.advance_phase(jnp.zeros(2), hop_length=2**15, sample_rate=2**16)
    with pytest.raises(
        ValueError, match=r"`hop_length` must be below 2\*\*16.* got 65536 at 16000"
    ):
        core.advance_phase(jnp.ones(2), hop_length=65536, sample_rate=16000)
    with pytest.raises(ValueError, match="`sample_rate` must be at most 1000000, got 8388608"):
        core.cumulative_phase(jnp.ones(2), sample_rate=2**23)
    with pytest.raises(ValueError, match="`axis` must be one of -1, -2, got 0"):
        core.cumulative_phase(jnp.zeros(2), sample_rate=8000, axis=0)
    with pytest.raises(TypeError, match="`hop_length` must be a Python int"):
        core.advance_phase(jnp.zeros(2), hop_length=True, sample_rate=16000)


def test_no_samples_have_no_phase():
    assert cumulative_phase(jnp.ones((2, 0)), sample_rate=16000).shape == (2, 0)
