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
    check_grads,
)

from ddspx import core

SAMPLE_RATE, HOP = 16000, 16
RATES = {"hop_length": HOP, "sample_rate": SAMPLE_RATE}
SIZES = ("hop_length", "sample_rate", "n_samples", "n_harmonics")
NAMES = ["sawtooth", "square", "triangle", "pulse"]
WAVEFORMS = {name: jax.jit(getattr(core, name), static_argnames=SIZES) for name in NAMES}
EACH = pytest.mark.parametrize("name", NAMES)


def partial_of(name, k, phase, width):
    """Harmonic k of the textbook's series, at a phase in cycles."""
    if name == "sawtooth":
        return -2 / np.pi / k * np.sin(2 * np.pi * k * phase)
    if name == "pulse":
        edge = np.sin(2 * np.pi * k * phase) - np.sin(2 * np.pi * k * (phase - width))
        return 2 / np.pi / k * edge
    if k % 2 == 0:
        return 0.0
    if name == "square":
        return 4 / np.pi / k * np.sin(2 * np.pi * k * phase)
    return 8 / np.pi**2 / k**2 * (-1) ** ((k - 1) // 2) * np.sin(2 * np.pi * k * phase)


def definition(name, f0_hz, amplitudes, width, n_samples, n_harmonics=400):
    """The docstring, sample by sample."""
    frames, audio, phase = len(f0_hz), np.zeros(n_samples), 0.0
    for n in range(n_samples):
        i, j = divmod(n, HOP)
        later, u = min(i + 1, frames - 1), j / HOP
        fade = 0.5 - 0.5 * np.cos(np.pi * u)
        f_hz = (1 - u) * f0_hz[i] + u * f0_hz[later]
        phase += f_hz / SAMPLE_RATE
        gain = (1 - fade) * amplitudes[i] + fade * amplitudes[later]
        w = (1 - u) * width[i] + u * width[later]
        for k in range(1, n_harmonics + 1):
            audible = np.clip((1 - k * f_hz / (SAMPLE_RATE / 2)) / 0.05, 0, 1)
            if audible:
                audio[n] += gain * audible * partial_of(name, k, phase % 1, w)
    return audio


def controls(rng, frames=6, batch=(), low=60, high=900):
    return (
        rng.uniform(low, high, (*batch, frames)),
        rng.uniform(0, 1, (*batch, frames)),
        rng.uniform(0.1, 0.9, (*batch, frames)),
    )


def of(name, args):
    """The arguments that this waveform takes."""
    return args if name == "pulse" else args[:2]


# values


@EACH
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_equal_the_definition(name, dtype, rng):
    args = [x.astype(dtype) for x in controls(rng)]
    n_samples = 5 * HOP + 9
    audio = WAVEFORMS[name](*of(name, args), **RATES, n_samples=n_samples)
    assert audio.dtype == dtype
    expected = definition(name, *(x.astype(np.float64) for x in args), n_samples)
    np.testing.assert_allclose(audio, expected, atol=2e-5 if dtype == np.float32 else 1e-12)


@EACH
def test_low_pitches_are_the_waveforms_of_scipy(name):
    # Away from the edges, where 400 harmonics of 20 Hz ring by less than 1 / (pi k x).
    frames = 101
    phase = 2 * np.pi * np.arange(1, (frames - 1) * HOP + 1) * 20 / SAMPLE_RATE
    expected = {
        "sawtooth": scipy.signal.sawtooth(phase),
        "square": scipy.signal.square(phase),
        "triangle": scipy.signal.sawtooth(phase + np.pi / 2, 0.5),
        "pulse": scipy.signal.square(phase, 0.3) - (2 * 0.3 - 1),
    }[name]
    args = jnp.full(frames, 20.0), jnp.ones(frames), jnp.full(frames, 0.3)
    audio = WAVEFORMS[name](*of(name, args), **RATES)
    cycles = phase / (2 * np.pi) % 1
    edges = {"sawtooth": [0, 1], "square": [0, 0.5, 1], "triangle": [], "pulse": [0, 0.3, 1]}
    near = np.zeros(len(cycles), bool)
    for edge in edges[name]:
        near |= np.abs(cycles - edge) < 0.1
    assert np.abs(audio - expected)[~near].max() < 0.02


# physics


@EACH
@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_waveforms_have_no_energy_beside_the_harmonics(name, sample_rate):
    n, hop_length, worst = 2048, 64, -np.inf
    frames = 1 + n // hop_length
    ones = jnp.ones(frames, jnp.float32)
    for f0_hz in (400, 1000, 2000, 4000):
        # A whole, odd number of periods, so that no alias can hide behind a harmonic.
        periods = round(f0_hz * n / sample_rate) | 1
        args = ones * np.float32(periods * sample_rate / n), ones, 0.3 * ones
        audio = WAVEFORMS[name](*of(name, args), hop_length=hop_length, sample_rate=sample_rate)
        power = np.abs(np.fft.rfft(np.asarray(audio, np.float64))) ** 2
        harmonics = np.arange(periods, n // 2 + 1, periods)
        beside = np.delete(power, harmonics).sum() / power.sum()
        worst = max(worst, 10 * np.log10(beside))
        # And the harmonics are those of the waveform, up to 95 % of Nyquist.
        heard = harmonics[harmonics < 0.95 * n / 2]
        for k, height in enumerate(2 / n * np.sqrt(power[heard]), start=1):
            x = np.arange(1024) / 1024
            wave = np.broadcast_to(partial_of(name, k, x, 0.3), x.shape)
            np.testing.assert_allclose(height, np.sqrt(2 * np.mean(wave**2)), atol=1e-6)
    assert worst < -130, worst


def test_a_glide_through_nyquist_neither_aliases_nor_clicks():
    # The second harmonic leaves; it fades over the last twentieth of the band.
    frames = 201
    f0_hz = np.linspace(3000, 4500, frames)
    audio = WAVEFORMS["sawtooth"](f0_hz, np.ones(frames), **RATES)
    hz = np.interp(np.arange(1, 1 + len(audio)) - 1, np.arange(frames) * HOP, f0_hz)
    phase = 2 * np.pi * np.cumsum(hz / SAMPLE_RATE)
    rest = np.asarray(audio) + 2 / np.pi * np.sin(phase)
    np.testing.assert_allclose(rest[hz >= 4000], 0, atol=1e-5)
    loud = np.abs(np.sin(2 * phase)) > 0.3
    gain = -np.pi * rest[loud] / np.sin(2 * phase[loud])
    np.testing.assert_allclose(gain, np.clip((4000 - hz[loud]) / 200, 0, 1), atol=1e-4)


def test_half_a_pulse_is_a_square_and_none_is_silent():
    ones = jnp.ones(6)
    args = 333.0 * ones, ones
    square = WAVEFORMS["square"](*args, **RATES)
    assert_close(WAVEFORMS["pulse"](*args, ones / 2, **RATES), square, scale=8)
    for width in (0 * ones, ones):
        np.testing.assert_allclose(WAVEFORMS["pulse"](*args, width, **RATES), 0, atol=1e-5)


def test_n_harmonics_bounds_the_sum():
    ones = jnp.ones(6)
    for n_harmonics in (1, 2, 3, 17, 40):
        audio = WAVEFORMS["sawtooth"](50 * ones, ones, **RATES, n_harmonics=n_harmonics)
        flat = np.full(6, 50.0), np.ones(6), np.ones(6)
        expected = definition("sawtooth", *flat, 5 * HOP, n_harmonics)
        np.testing.assert_allclose(audio, expected, atol=1e-5)


# gradients


@ORDERS
@pytest.mark.parametrize("name", ["triangle", "pulse"])
def test_gradients_equal_differences(name, rng, order):
    # Pitches at which no harmonic fades: the fade at Nyquist counts as a constant.
    f0_hz, amplitudes, width = controls(rng, frames=3, low=2000, high=2100)
    run = partial(WAVEFORMS[name], **RATES)
    check_grads(run, *of(name, (f0_hz, amplitudes, width)), order=order)


@pytest.mark.parametrize("name", ["square", "pulse"])
def test_gradients_are_finite_at_singular_points(name):
    bad_hz = np.repeat(np.array([0.0, -50.0, 8000.0 / 3, 8000.0, 1e5])[:, None], 3, 1)
    args = bad_hz, np.zeros((5, 3)), np.zeros((5, 3))
    assert_finite_grads(partial(WAVEFORMS[name], **RATES), *of(name, args))


# transformations


def test_batch_axes_broadcast(rng):
    f0_hz, amplitudes, width = (jnp.asarray(x) for x in controls(rng, batch=(3,)))
    run = partial(WAVEFORMS["pulse"], **RATES)
    together = run(f0_hz[0], amplitudes, width[:1])
    for i in range(3):
        assert_close(together[i], run(f0_hz[0], amplitudes[i], width[0]), scale=8)


# boundary


def test_wrong_arguments_are_refused():
    ones = jnp.ones(4)
    with pytest.raises(ValueError, match="`n_harmonics` must be at least 1, got 0"):
        core.sawtooth(ones, ones, **RATES, n_harmonics=0)
    with pytest.raises(ValueError, match="the batch axes must be equal or broadcast"):
        core.pulse(jnp.ones((2, 4)), ones, jnp.ones((3, 4)), **RATES)
    with pytest.raises(ValueError, match="`n_samples` must be from 48 to 63"):
        core.square(ones, ones, **RATES, n_samples=64)
    with pytest.raises(TypeError, match="`hop_length` must be a Python int"):
        core.triangle(ones, ones, hop_length=True, sample_rate=SAMPLE_RATE)
