import typing
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from helpers import (
    DTYPES,
    ORDERS,
    assert_close,
    assert_finite_grads,
    check_dtypes,
    check_grads,
    check_transformations,
    noise,
)

from ddspx import core
from ddspx.core.filters import _time_varying

SAMPLE_RATE, HOP = 16000, 8
BAND = scipy.signal.butter(4, [300, 3000], "band", fs=SAMPLE_RATE, output="sos")
GENTLE = np.array([[0.5, 0.2, 0.1, 1, -0.6, 0.3], [0.8, -0.3, 0.2, 1, 0.4, 0.2]])
PREDICTOR = np.array([-1.2, 0.9, -0.3])
# One compilation each instead of one for every operation.
run = jax.jit(core.sos_filter, static_argnames="hop_length")
step = jax.jit(core.sos_filter_step, static_argnames="hop_length")
allpole, allpole_step = jax.jit(core.allpole), jax.jit(core.allpole_step)


def response_db(section, frequency_hz) -> np.ndarray:
    response = scipy.signal.sosfreqz(
        np.asarray(section, np.float64)[None], np.atleast_1d(frequency_hz), fs=SAMPLE_RATE
    )[1]
    return 20 * np.log10(np.abs(response) + 1e-12)


def moving_filter(audio, frames, hop_length):
    """A cascade with the coefficients of every sample, in a loop."""
    state = np.zeros((frames.shape[1], 2))
    out = np.zeros(len(audio))
    for n, x in enumerate(audio):
        i, j = divmod(n, hop_length)
        later = frames[min(i + 1, len(frames) - 1)]
        for s, (b0, b1, b2, _, a1, a2) in enumerate(
            frames[i] + (later - frames[i]) * j / hop_length
        ):
            y = b0 * x + state[s, 0]
            state[s] = b1 * x - a1 * y + state[s, 1], b2 * x - a2 * y
            x = y
        out[n] = x
    return out


def moving_sections(rng, *shape) -> np.ndarray:
    logits = rng.normal(0, 0.7, (*shape, 5))
    return np.asarray(core.stable_biquad(jnp.asarray(logits)))


# values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_samples", [1, 64, 65, 1000])
def test_sos_filter_equals_that_of_scipy(n_samples, dtype):
    audio, sos = noise(3, n_samples).astype(dtype), BAND.astype(dtype)
    exact = sos.astype(np.float64), audio.astype(np.float64)
    expected, zf = scipy.signal.sosfilt(*exact, zi=np.zeros((len(sos), 3, 2)))
    state, out = step(None, jnp.asarray(audio), jnp.asarray(sos))
    assert out.dtype == dtype
    bound = 3e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(out, expected, atol=bound)
    first, second = zf[..., 0].T, zf[..., 1].T
    expected = np.stack([first, first + second, first - second], -1)
    np.testing.assert_allclose(state, expected, atol=bound)


@pytest.mark.parametrize(
    ("frequency_hz", "kind", "q"),
    [
        (40.0, "lowpass", 10.0),
        (100.0, "bandpass", 30.0),
        (20.0, "highpass", 0.7),
        (23e3, "peak", 9.0),
    ],
)
def test_narrow_filters_near_0_hz_and_nyquist_keep_their_precision(frequency_hz, kind, q):
    section = core.biquad(frequency_hz, kind=kind, sample_rate=48000, q=q, gain_db=6.0)
    sos = np.asarray(section, np.float32)[None]
    audio = noise(20000).astype(np.float32)
    expected = scipy.signal.sosfilt(sos.astype(np.float64), audio.astype(np.float64))
    peak = np.abs(expected).max()
    fixed = run(audio, sos)
    assert np.abs(fixed - expected).max() < 4e-5 * peak
    frames = jnp.broadcast_to(jnp.asarray(sos), (21, 1, 6))
    moving = run(audio, frames, hop_length=1000)
    assert np.abs(moving - expected).max() < 4e-5 * peak


@pytest.mark.parametrize("dtype", DTYPES)
def test_allpole_equals_the_filter_of_scipy(dtype):
    audio, coefficients = noise(2, 300).astype(dtype), PREDICTOR.astype(dtype)
    exact = np.concatenate([[1], coefficients]).astype(np.float64)
    expected = scipy.signal.lfilter([1], exact, audio.astype(np.float64))
    out = allpole(audio, coefficients)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, expected, atol=2e-5 if dtype == np.float32 else 1e-12)


# Hops of one block, of two, and of as many as samples; whole and cut ones.
@pytest.mark.parametrize(
    ("n_samples", "hop_length"), [(5 * HOP, HOP), (5 * HOP + 3, HOP), (600, 256), (300, 131)]
)
def test_a_moving_filter_is_its_definition(n_samples, hop_length, rng):
    frames = moving_sections(rng, 1 + n_samples // hop_length, 2)
    audio = noise(n_samples)
    out = run(audio, frames, hop_length=hop_length)
    assert_close(out, moving_filter(audio, frames, hop_length), scale=100)


def test_filters_differ_over_the_batch(rng):
    audio, sos = jnp.asarray(noise(2, 1, 100)), jnp.asarray(np.stack([GENTLE, GENTLE[::-1]]))
    out = run(audio, sos[:, None])
    for i in range(2):
        expected = scipy.signal.sosfilt(np.array(sos[i]), np.array(audio[i, 0]))
        assert_close(out[i, 0], expected, scale=4)
    both = run(audio[1, 0], sos)
    assert_close(both[1], out[1, 0], scale=4)


def test_reflection_coefficients_step_up_to_levinsons():
    k = np.array([0.5, -0.3, 0.8])
    expected = np.array([1.0])
    for value in k:
        longer = np.append(expected, 0)
        expected = longer + value * longer[::-1]
    assert_close(core.reflection_to_allpole(jnp.asarray(k)), expected[1:])


# physics


@pytest.mark.parametrize(
    ("kind", "at_dc", "at_frequency", "at_nyquist"),
    [
        ("lowpass", 0, 20 * np.log10(2.0), None),
        ("highpass", None, 20 * np.log10(2.0), 0),
        ("bandpass", None, 0, None),
        ("notch", 0, None, 0),
        ("allpass", 0, 0, 0),
        ("peak", 0, 6, 0),
        ("low_shelf", 6, 3, 0),
        ("high_shelf", 0, 3, 6),
    ],
)
def test_each_kind_of_biquad_has_its_gains_at_dc_frequency_and_nyquist(
    kind, at_dc, at_frequency, at_nyquist
):
    frequencies = jnp.asarray([50.0, 1000.0, 7000.0])
    sections = core.biquad(frequencies, kind=kind, sample_rate=SAMPLE_RATE, q=2.0, gain_db=6.0)
    for section, frequency_hz in zip(sections, frequencies, strict=True):
        points = [1e-9, float(frequency_hz), SAMPLE_RATE / 2 * (1 - 1e-12)]
        got = response_db(section, points)
        for level, expected in zip(got, (at_dc, at_frequency, at_nyquist), strict=True):
            if expected is None:
                assert level < -100
            else:
                np.testing.assert_allclose(level, expected, atol=2e-3)


def test_quality_is_centre_over_bandwidth():
    section = core.biquad(500.0, kind="bandpass", sample_rate=SAMPLE_RATE, q=5.0)
    # The bilinear transform warps frequencies: the -3 dB points are 100 Hz apart on its scale.
    hz = np.linspace(300, 800, 20001)
    inside = hz[response_db(section, hz) > -10 * np.log10(2)]
    low, high = (np.tan(np.pi * f / SAMPLE_RATE) for f in inside[[0, -1]])
    assert np.tan(np.pi * 500 / SAMPLE_RATE) / (high - low) == pytest.approx(5, rel=1e-3)


def test_one_pole_follows_a_step_with_its_time_constant():
    section = core.one_pole(0.01, sample_rate=SAMPLE_RATE)
    out = run(jnp.ones(1600, section.dtype), section[None])
    expected = 1 - np.exp(-np.arange(1, 1601) / (0.01 * SAMPLE_RATE))
    np.testing.assert_allclose(out, expected, atol=2e-6)
    through = core.sos_filter(jnp.arange(3.0), core.one_pole(0.0, sample_rate=8000)[None])
    assert_close(through, [0, 1, 2])


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_rounding_makes_a_section_unstable(dtype):
    """Next to 0 Hz and Nyquist, at extreme qualities and gains, and where logits saturate."""
    grid = np.meshgrid([0.01, 1, 40, 23990, 23999, 23999.9], [1e-9, 0.01, 1, 1e6], [-60, 0, 60])
    f_hz, q, gain_db = (jnp.asarray(x.ravel(), dtype) for x in grid)

    @jax.jit
    def sections():
        options = {"sample_rate": 48000, "q": q, "gain_db": gain_db}
        return [
            core.biquad(f_hz, kind=kind, **options) for kind in typing.get_args(core.BiquadKind)
        ]

    logits = np.array(np.meshgrid([-40.0, -5, 0, 5, 40], [-99.0, -9, 0, 9, 99])).reshape(2, -1).T
    learned = core.stable_biquad(jnp.asarray(np.pad(logits, [(0, 0), (3, 0)]), dtype))
    for section in np.concatenate([*sections(), learned]).astype(np.float64):
        a1, a2 = section[4:]
        assert abs(a1) < 1 + a2 and abs(a2) < 1


def test_any_logits_give_a_stable_filter(rng):
    for scale in (1.0, 3.0):
        section = np.asarray(core.stable_biquad(jnp.asarray(rng.normal(0, scale, (500, 5)))))
        poles = np.array([np.roots([1, *row[4:]]) for row in section])
        assert np.abs(poles).max() < 1
    reflection = np.tanh(rng.normal(0, 2, (200, 6)))
    rows = np.asarray(core.reflection_to_allpole(jnp.asarray(reflection)))
    assert max(np.abs(np.roots([1, *row])).max() for row in rows) < 1


@pytest.mark.parametrize("frequency_hz", [2.0, 5.0, 20.0, 23990.0])
def test_gains_are_exact_near_0_hz_and_nyquist(frequency_hz):
    """At the ends a float32 design rounds its poles, which must not show in the gain."""
    for kind, z in (("lowpass", 1.0), ("highpass", -1.0)):
        section = core.biquad(jnp.float32(frequency_hz), kind=kind, sample_rate=48000)
        b, a = np.split(np.asarray(section, np.float64), 2)
        assert np.polyval(b, z) / np.polyval(a, z) == pytest.approx(1, abs=1e-6)
    for seconds in (1.0, 10.0, 100.0):
        section = np.asarray(core.one_pole(jnp.float32(seconds), sample_rate=48000), np.float64)
        assert section[0] / (1 + section[4]) == pytest.approx(1, abs=1e-6)


# streaming


@pytest.mark.parametrize("frequency_hz", [40.0, 23990.0])
def test_blocks_of_a_narrow_filter_keep_its_precision(frequency_hz):
    """One sample at a time in float32: the state between blocks must not lose digits."""
    section = core.biquad(frequency_hz, kind="lowpass", sample_rate=48000, q=10.0)
    sos, audio = section.astype(jnp.float32)[None], jnp.asarray(noise(3000), jnp.float32)
    state = core.sos_filter_init(sos)
    moving = partial(core.sos_filter_step, sos=jnp.stack([sos, sos]), hop_length=1)
    expected = run(audio, sos)
    for advance in (partial(core.sos_filter_step, sos=sos), moving):
        _, blocks = jax.lax.scan(advance, state, audio[:, None])
        bound = 4e-5 * np.abs(expected).max()
        np.testing.assert_allclose(blocks[:, 0], expected, rtol=0, atol=bound)


def test_blocks_equal_the_whole(rng):
    audio = jnp.asarray(noise(2, 300))
    filters = {
        "sos": (step, core.sos_filter_init, run, BAND),
        "allpole": (allpole_step, core.allpole_init, allpole, PREDICTOR),
    }
    for advance, init, whole, coefficients in filters.values():
        coefficients = jnp.asarray(coefficients)
        state, out = init(coefficients, batch_shape=(2,)), []
        for start, end in [(0, 1), (1, 101), (101, 228), (228, 300)]:
            state, block = advance(state, audio[:, start:end], coefficients)
            out.append(block)
        expected = whole(audio, coefficients)
        np.testing.assert_allclose(np.concatenate(out, -1), expected, atol=1e-5)


def test_blocks_of_a_moving_filter_equal_the_whole(rng):
    frames, audio = jnp.asarray(moving_sections(rng, 7, 2)), jnp.asarray(noise(6 * HOP + 5))
    state, out = core.sos_filter_init(frames[0]), []
    for start, end in [(0, 1), (1, 4), (4, 6)]:
        samples = slice(start * HOP, end * HOP if end < 6 else None)
        rows = slice(start, end + 1)
        state, block = step(state, audio[samples], frames[rows], hop_length=HOP)
        out.append(block)
    expected = run(audio, frames, hop_length=HOP)
    np.testing.assert_allclose(np.concatenate(out), expected, atol=1e-5)


def test_an_empty_block_does_not_change_the_state():
    state = jnp.ones((2, 3))
    after, out = core.sos_filter_step(state, jnp.zeros(0), jnp.asarray(GENTLE))
    np.testing.assert_array_equal(after, state)
    assert out.shape == (0,)


# gradients


@ORDERS
def test_gradients_equal_differences(order):
    audio = noise(70)
    check_grads(core.sos_filter, audio, GENTLE, order=order)
    check_grads(core.allpole, audio, PREDICTOR, order=order)


@ORDERS
def test_gradients_of_a_moving_filter_equal_differences(rng, monkeypatch, order):
    # Two blocks a hop, three of them whole.
    monkeypatch.setattr(_time_varying, "_LONGEST_BLOCK", 4)
    moving = partial(core.sos_filter, hop_length=8)
    check_grads(moving, noise(15), 0.5 * moving_sections(rng, 2, 1), order=order)


@pytest.mark.parametrize("kind", ["lowpass", "bandpass", "allpass", "peak", "high_shelf"])
def test_gradients_of_designs_equal_differences(kind):
    design = partial(core.biquad, kind=kind, sample_rate=SAMPLE_RATE)
    check_grads(lambda f, q, g: design(1e3 * f, q=q, gain_db=g), 1.3, 0.8, -3.0)


def test_gradients_are_finite_at_singular_points():
    edges = np.array([1e-3, SAMPLE_RATE / 2 - 1e-2])
    for kind in ("lowpass", "notch", "low_shelf"):
        assert_finite_grads(partial(core.biquad, kind=kind, sample_rate=SAMPLE_RATE), edges)
    assert_finite_grads(
        partial(core.one_pole, sample_rate=SAMPLE_RATE), np.array([0.0, 1e-25, 1e-9, 1e9])
    )
    assert_finite_grads(core.stable_biquad, np.zeros((2, 5)))
    assert_finite_grads(core.sos_filter, np.zeros(70), GENTLE)
    one = jax.grad(lambda t: core.one_pole(t, sample_rate=SAMPLE_RATE)[0])(0.0)
    assert one == 0


# transformations


def test_transformations(rng):
    # Filters with fixed coefficients are checked in tests/core/test_contracts.py.
    moving = partial(core.sos_filter, hop_length=HOP)
    check_transformations(moving, noise(2, 2 * HOP), moving_sections(rng, 2, 3, 1), scale=9)
    check_dtypes(moving, noise(HOP), moving_sections(rng, 2, 1))


# boundary


def test_wrong_arguments_are_refused():
    audio, sos = jnp.ones(16), jnp.asarray(GENTLE)
    with pytest.raises(ValueError, match="same number of frames, got 2 and 3"):
        core.sos_filter(audio, sos[None].repeat(2, 0), hop_length=8)
    with pytest.raises(ValueError, match=r"batch axes .* \(3,\) of `sos`"):
        core.sos_filter(jnp.ones((2, 16)), sos[None].repeat(3, 0))
    with pytest.raises(ValueError, match="`sample_rate` must be at least 1, got 0"):
        core.biquad(100.0, kind="peak", sample_rate=0)


@pytest.mark.parametrize("kind", typing.get_args(core.BiquadKind))
@pytest.mark.parametrize("program", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_the_coefficient_that_is_one_is_exactly_one(kind, program, rng):
    f, q, gain = rng.uniform(30, 7900, 200), rng.uniform(0.3, 8, 200), rng.uniform(-24, 24, 200)
    numbers = [jnp.asarray(x, jnp.float32) for x in (f, q, gain)]
    design = partial(core.biquad, kind=kind, sample_rate=SAMPLE_RATE)
    sections = np.asarray(program(lambda f, q, g: design(f, q=q, gain_db=g))(*numbers))
    assert sections.dtype == np.float32
    np.testing.assert_array_equal(sections[:, 3], 1)
    # SciPy refuses sections whose fourth coefficient is not exactly 1.
    assert np.all(np.isfinite(scipy.signal.sosfilt(sections[:2], np.ones(4))))
