import inspect
import math
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
    check_dtypes,
    check_grads,
    check_transformations,
)

from ddspx import core

HZ = np.array([0.0, 1e-3, 8.175799, 20.0, 440.0, 1000.0, 8000.0, 24000.0])
DB = np.array([-120.0, -60.0, -3.0, 0.0, 6.0, 40.0])

# Each conversion, its definition for one float, and the points where it is tested.
DEFINITIONS = {
    core.hz_to_midi: (lambda f: 69 + 12 * math.log2(f / 440) if f > 0 else 0.0, HZ),
    core.midi_to_hz: (lambda m: 440 * 2 ** ((m - 69) / 12), np.array([-5, 0, 60.5, 69, 127])),
    core.hz_to_mel: (lambda f: 2595 * math.log1p(f / 700) / math.log(10), HZ),
    core.mel_to_hz: (
        lambda m: 700 * math.expm1(m / 2595 * math.log(10)),
        np.array([0.0, 1e-3, 500.0, 3900.0]),
    ),
    core.hz_to_bark: (lambda f: 26.81 * f / (1960 + f) - 0.53, HZ),
    core.bark_to_hz: (
        lambda z: 1960 * (z + 0.53) / (26.28 - z),
        np.array([-0.53, 0.0, 8.5, 24.0]),
    ),
    core.hz_to_erb: (lambda f: 0.108 * f + 24.7, HZ),
    core.power_to_db: (
        lambda p: 10 * math.log10(max(p, 1e-8)),
        np.array([-1.0, 0.0, 1e-30, 0.9e-8, 1.1e-8, 0.5, 1.0, 1e6]),
    ),
    core.amplitude_to_db: (
        lambda a: 20 * math.log10(max(abs(a), 1e-4)),
        np.array([-0.5, 0.0, 1e-30, 0.9e-4, 1.1e-4, 0.5, 1.0, 1e3]),
    ),
    core.db_to_power: (lambda level: 10 ** (level / 10), DB),
    core.db_to_amplitude: (lambda level: 10 ** (level / 20), DB),
}
CONVERSIONS = pytest.mark.parametrize("f", DEFINITIONS, ids=lambda f: f.__name__)


def convert_all(x):
    """Every conversion of the same numbers: one compilation serves them all."""
    return {f.__name__: f(x) for f in DEFINITIONS}


INVERSES = [
    (core.hz_to_midi, core.midi_to_hz, HZ[1:]),
    (core.hz_to_mel, core.mel_to_hz, HZ),
    (core.hz_to_bark, core.bark_to_hz, HZ),
    (core.power_to_db, core.db_to_power, np.array([1e-7, 0.5, 1.0, 1e6])),
    (core.amplitude_to_db, core.db_to_amplitude, np.array([1e-3, 0.5, 1.0, 1e3])),
]


# Values


@CONVERSIONS
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_the_definition(f, dtype):
    definition, points = DEFINITIONS[f]
    points = points.astype(dtype)
    expected = np.array([definition(float(point)) for point in points])
    actual = f(jnp.asarray(points))
    np.testing.assert_allclose(
        actual, expected, rtol=64 * jnp.finfo(dtype).eps, atol=64 * jnp.finfo(dtype).eps
    )


@CONVERSIONS
def test_python_numbers_and_integer_arrays(f):
    expected = DEFINITIONS[f][0](20.0)
    for number in (20, 20.0, jnp.array(20)):
        np.testing.assert_allclose(f(number), expected, rtol=1e-5)


def test_python_numbers_do_not_widen_arrays():
    product = core.db_to_amplitude(-6.0) * jnp.ones(1, jnp.float32)
    assert product.dtype == jnp.float32


def test_conversions_equal_those_of_librosa():
    f = np.array([27.5, 440.0, 5000.0])
    assert_close(core.hz_to_midi(jnp.asarray(f)), librosa.hz_to_midi(f), scale=100)
    assert_close(core.midi_to_hz(jnp.asarray(f / 50)), librosa.midi_to_hz(f / 50), scale=100)
    assert_close(core.hz_to_mel(jnp.asarray(f)), librosa.hz_to_mel(f, htk=True), scale=1e3)
    assert_close(core.mel_to_hz(jnp.asarray(f)), librosa.mel_to_hz(f, htk=True), scale=1e4)
    p = np.array([1e-4, 0.3, 2.0])
    expected = librosa.power_to_db(p, amin=1e-8, top_db=None)
    assert_close(core.power_to_db(jnp.asarray(p)), expected, scale=100)


UNITS = np.array([-0.5, 0.0, 0.25, 1.0, 1.5])


@pytest.mark.parametrize("clip", [False, True])
def test_positions_in_a_range_are_their_definitions(clip):
    u = np.clip(UNITS, 0, 1) if clip else UNITS
    notes, hz = 30 + 50 * UNITS, 25 * 40.0**UNITS
    x, midi, f = map(jnp.asarray, (UNITS, notes, hz))
    options = {"midi_min": 30.0, "midi_max": 80.0, "clip": clip}
    assert_close(core.unit_to_midi(x, **options), 30 + 50 * u, scale=100)
    assert_close(core.midi_to_unit(midi, **options), u)
    options = {"fmin": 25.0, "fmax": 1000.0, "clip": clip}
    assert_close(core.unit_to_hz(x, **options), 25 * 40.0**u, scale=1e4)
    assert_close(core.hz_to_unit(f, **options), u)


# Physics


def test_unit_to_hz_has_the_documented_range():
    # DDSP takes 0 Hz for the note 0, 8.18 Hz.
    ends = core.unit_to_hz(jnp.array([0.0, 1.0]), fmin=20.0, fmax=8000.0)
    assert_close(ends, [20, 8000], scale=1e4)
    for fmin in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="`fmin` must be above 0 Hz"):
            core.unit_to_hz(0.5, fmin=fmin, fmax=8000.0)
    with pytest.raises(ValueError, match="`fmin` must be below `fmax`"):
        core.hz_to_unit(100.0, fmin=80.0, fmax=80.0)
    for convert in (core.unit_to_midi, core.midi_to_unit):
        with pytest.raises(ValueError, match="`midi_min` must be below `midi_max`"):
            convert(0.5, midi_min=80.0, midi_max=20.0)


def test_known_pitches():
    assert_close(core.midi_to_hz(jnp.array([69.0, 57.0, 81.0])), [440, 220, 880], scale=1e3)
    assert core.hz_to_midi(440.0) == 69
    assert core.hz_to_midi(0.0) == 0
    assert core.hz_to_midi(-3.0) == 0


@pytest.mark.parametrize(("there", "back", "points"), INVERSES, ids=lambda p: None)
def test_conversions_and_their_inverses_give_the_value_back(there, back, points):
    x = jnp.asarray(points)
    eps = jnp.finfo(x.dtype).eps
    # Near 24 Bark a rounding of the rate moves the frequency 13 times as much.
    np.testing.assert_allclose(back(there(x)), points, rtol=500 * eps, atol=500 * eps)


@pytest.mark.parametrize("ref_db", [-20.0, 0.0, 20.7])
def test_floor_is_exactly_range_below_the_reference(ref_db):
    power = jnp.array([-1.0, 0.0, 1e-30, 1.0, 1e3])
    level = np.asarray(core.power_to_db(power, ref_db=ref_db, range_db=60.0))
    np.testing.assert_array_equal(level[:3], -60.0)
    np.testing.assert_allclose(level[3:], [max(-ref_db, -60), 30 - ref_db], atol=1e-4)


def test_amplitude_level_is_the_level_of_its_power():
    a = np.array([0.0, 1e-3, -0.5, 2.0])
    np.testing.assert_allclose(
        core.amplitude_to_db(jnp.asarray(a), ref_db=3.0, range_db=50.0),
        core.power_to_db(jnp.asarray(a**2), ref_db=3.0, range_db=50.0),
        atol=1e-4,
    )


@pytest.mark.parametrize("f", [core.power_to_db, core.amplitude_to_db])
def test_a_range_below_the_maximum_is_librosas_for_each_example(f):
    x = np.exp(5 * np.random.default_rng(0).standard_normal((2, 6, 5)))
    x[1] *= 1e-4
    x[1, 2] = 0
    oracle = getattr(librosa, f.__name__)
    for top_db in (0.0, 20.0, 80.0):
        expected = np.stack([oracle(example, top_db=top_db) for example in x])
        assert_close(f(jnp.asarray(x), range_db=100.0, top_db=top_db), expected, scale=100)
    # Of fewer axes, all are one example.
    expected = oracle(x[0, 0], top_db=20.0)
    assert_close(f(jnp.asarray(x[0, 0]), range_db=100.0, top_db=20.0), expected, scale=100)


def test_the_reference_may_be_the_peak_of_each_example():
    x = np.exp(3 * np.random.default_rng(0).standard_normal((2, 6, 5)))
    x[1] *= 100
    peaks = core.power_to_db(jnp.asarray(x.max((-2, -1), keepdims=True)))
    expected = np.stack([librosa.power_to_db(p, ref=np.max, top_db=30.0) for p in x])
    assert_close(core.power_to_db(jnp.asarray(x), ref_db=peaks, range_db=30.0), expected, scale=60)
    silence = core.power_to_db(jnp.zeros((2, 3)), ref_db=core.power_to_db(jnp.zeros((1, 1))))
    assert_close(silence, np.full((2, 3), -80.0))


def test_a_range_cannot_be_negative():
    with pytest.raises(ValueError, match="`top_db` must be at least 0, got -1"):
        core.power_to_db(1.0, top_db=-1.0)


# Gradients


def test_gradients_of_a_range_below_the_maximum():
    def f(x):
        return core.power_to_db(x, top_db=10.0)

    check_grads(f, np.array([[0.3, 4.0, 11.0], [0.01, 2.0, 9.0]]), order=1)
    assert_finite_grads(f, np.zeros((3, 2)))


def test_gradients_match_differences():
    check_grads(convert_all, np.array([0.3, 4.0, 11.0]))


@CONVERSIONS
def test_gradients_are_finite_at_zero(f):
    assert_finite_grads(f, np.array([0.0, -0.0, 1e-12, 1.0]))


def test_gradients_of_positions():
    def f(x):
        midi, hz = core.unit_to_midi(x), core.unit_to_hz(x, fmin=2.0, fmax=9.0)
        return core.midi_to_unit(midi**2), core.hz_to_unit(hz**2, fmin=1.0, fmax=5.0)

    check_grads(f, np.array([0.1, 0.6, 0.9]))
    to_unit = partial(core.hz_to_unit, fmin=20.0, fmax=100.0, clip=True)
    assert_finite_grads(to_unit, np.array([0.0, 1e-12, 20.0, 100.0, 1e9]))


def test_no_gradient_below_the_floor_or_without_pitch():
    zeros = jnp.zeros(2)
    for f in (core.hz_to_midi, core.power_to_db, core.amplitude_to_db):
        np.testing.assert_array_equal(jax.grad(lambda x, f=f: f(x).sum())(zeros), 0)


# Transformations and dtypes


def test_transformations_and_dtypes():
    points = np.array([0.0, 0.2, 3.0, 20.0])
    check_transformations(convert_all, points.reshape(2, 2), scale=100)
    check_dtypes(convert_all, points)


def test_integers_do_not_overflow():
    assert_close(core.amplitude_to_db(jnp.array([300], jnp.int16)), [20 * np.log10(300)], scale=50)


def test_a_thousandth_of_a_hertz_is_no_pitch():
    f = jnp.asarray([2e-38, 9e-4], jnp.float32)
    assert_close(core.hz_to_midi(f), [0, 0])
    assert_close(jax.grad(lambda x: core.hz_to_midi(x).sum())(f), [0, 0])


def test_integers_are_floats_and_half_precision_is_refused():
    hz = np.array([100, 1000, 10000])
    for f in (*DEFINITIONS, core.a_weighting_db):
        expected = f(jnp.asarray(hz, jnp.zeros(()).dtype))
        for dtype in (np.int16, np.int32, np.uint16):
            actual = inspect.unwrap(f)(jnp.asarray(hz, dtype))
            assert actual.dtype == expected.dtype
            np.testing.assert_array_equal(actual, expected)
        for half in (jnp.float16, jnp.bfloat16):
            with pytest.raises(TypeError, match=r"must be float32 or float64, got b?float16"):
                inspect.unwrap(f)(jnp.asarray(hz, half))


def test_levels_of_amplitudes_whose_squares_leave_float32():
    a = jnp.asarray([1e-30, 1e-21, 1e25], jnp.float32)

    def f(x):
        return core.amplitude_to_db(x, range_db=700.0)

    assert_close(f(a), [-600, -420, 500], scale=1e3)
    slope = jax.grad(lambda x: f(x).sum())(a)
    np.testing.assert_allclose(slope, 20 / math.log(10) / np.asarray(a, np.float64), rtol=1e-5)


@pytest.mark.parametrize("range_db", [-1.0, float("nan")])
def test_a_floor_above_the_reference_is_refused(range_db):
    with pytest.raises(ValueError, match="`range_db` must be at least 0"):
        core.amplitude_to_db(1.0, range_db=range_db)
