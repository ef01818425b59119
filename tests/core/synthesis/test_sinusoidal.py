from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    DTYPES,
    assert_close,
    assert_finite_grads,
    check_grads,
    quick_jit,
)
from jaxtyping import TypeCheckError

from ddspx import core

RATE = 16000
synthesize = partial(core.sinusoidal_synthesis, hop_length=8, sample_rate=RATE)
to_sinusoidal = partial(core.harmonic_to_sinusoidal, sample_rate=RATE)
to_harmonic = partial(core.sinusoidal_to_harmonic, sample_rate=RATE, n_harmonics=4)


def controls(rng, *shape):
    return rng.uniform(50, 7900, shape), rng.uniform(0, 1, shape)


# Values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["nearest", "linear", "cubic", "hann"])
def test_sinusoids_equal_the_definition(dtype, method, rng):
    f_hz, amplitudes = (x.astype(dtype) for x in controls(rng, 6, 3))
    position = np.minimum(np.arange(43) / 8, 5)
    frames = np.arange(6)
    f = np.stack([np.interp(position, frames, c.astype(float)) for c in f_hz.T])
    a = core.upsample(jnp.asarray(amplitudes.T, float), hop_length=8, method=method, n_samples=43)
    expected = (np.asarray(a) * np.sin(2 * np.pi * np.cumsum(f / RATE, -1))).sum(0)
    actual = synthesize(
        jnp.asarray(f_hz), jnp.asarray(amplitudes), n_samples=43, amplitude_upsampling=method
    )
    assert actual.dtype == dtype
    # The frequencies jump by kilohertz from frame to frame; see the phase's own tests.
    assert_close(actual, expected, scale=20)


def test_sinusoids_on_harmonics_are_harmonic_synthesis(rng):
    f0_hz, amplitudes = rng.uniform(100, 2500, (2, 9)), rng.uniform(0, 1, (2, 9))
    distribution = rng.uniform(0, 1, (2, 9, 5))
    f0_hz, amplitudes, distribution = map(jnp.asarray, (f0_hz, amplitudes, distribution))
    normalized = core.normalize_harmonics(distribution, f0_hz, sample_rate=RATE)
    expected = core.harmonic_synthesis(
        f0_hz, amplitudes, normalized, hop_length=8, sample_rate=RATE
    )
    assert_close(synthesize(*to_sinusoidal(amplitudes, distribution, f0_hz)), expected, scale=20)


def harmonics_by_loop(f_hz, amplitudes, f0_hz, width, normalize):
    out = np.zeros(4)
    for k in range(1, 5):
        weights = [np.exp(-(((f - k * f0_hz) / f0_hz / width) ** 2)) for f in f_hz]
        out[k - 1] = np.dot(weights, amplitudes)
        if normalize:
            out[k - 1] /= max(1, sum(weights))
        if k * f0_hz >= RATE / 2:
            out[k - 1] = 0
    return out


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("f0_hz", [200.0, 2500.0])
def test_nearest_harmonics_are_the_definition(f0_hz, normalize, rng):
    f_hz, amplitudes = f0_hz * rng.uniform(0.5, 4.5, 7), rng.uniform(0, 1, 7)
    expected = harmonics_by_loop(f_hz, amplitudes, f0_hz, 0.5, normalize)
    total, distribution = to_harmonic(
        *map(jnp.asarray, (f_hz, amplitudes, f0_hz)), harmonic_width=0.5, normalize=normalize
    )
    assert_close(total, expected.sum(), scale=5)
    assert_close(distribution, expected / expected.sum(), scale=5)


def test_sinusoids_begin_at_the_phase_that_is_given(rng):
    f_hz, radians = rng.uniform(50, 7900, 3), rng.uniform(-9, 9, 3)
    n = np.arange(1, 33)[:, None]
    expected = np.sin(radians + 2 * np.pi * f_hz * n / RATE).sum(-1)
    frames = jnp.asarray(np.tile(f_hz, (5, 1)))
    audio = synthesize(frames, jnp.ones((5, 3)), initial_phase=jnp.asarray(radians))
    assert_close(audio, expected, scale=9)


# Physics


def test_converting_harmonics_to_sinusoids_and_back_keeps_them(rng):
    f0_hz, amplitudes = rng.uniform(100, 3000, (2, 5)), rng.uniform(0.1, 1, (2, 5))
    distribution = core.normalize_harmonics(
        jnp.asarray(rng.uniform(0, 1, (2, 5, 4))), jnp.asarray(f0_hz), sample_rate=RATE
    )
    f0_hz, amplitudes = jnp.asarray(f0_hz), jnp.asarray(amplitudes)
    f_hz, a = to_sinusoidal(amplitudes, distribution, f0_hz)
    back, back_distribution = to_harmonic(f_hz, a, f0_hz)
    assert_close(back, amplitudes)
    assert_close(back_distribution, distribution)


def test_a_glide_through_nyquist_fades_without_a_click():
    f_hz = jnp.linspace(7000, 9000, 21)[:, None]
    audio = np.asarray(
        core.sinusoidal_synthesis(f_hz, jnp.ones((21, 1)), hop_length=64, sample_rate=RATE)
    )
    assert np.abs(audio[9 * 64 :]).max() == 0
    # Above Nyquist there would be an alias: the last hop before it is a fade to zero.
    fade = 0.5 + 0.5 * np.cos(np.pi * np.arange(64) / 64)
    assert (np.abs(audio[8 * 64 : 9 * 64]) <= fade + 1e-6).all()
    assert np.abs(audio[7 * 64 : 8 * 64]).max() > 0.9


def test_negative_frequencies_turn_backwards():
    f_hz, ones = jnp.full((5, 1), 700.0), jnp.ones((5, 1))
    assert_close(synthesize(-f_hz, ones), -np.asarray(synthesize(f_hz, ones)))


def test_the_phase_does_not_drift():
    # A minute in float32: the last samples against the sine of the exact phase.
    n = 60 * RATE
    f_hz = np.full((n // 320 + 1, 1), 7001.3, np.float32)
    audio = core.sinusoidal_synthesis(
        jnp.asarray(f_hz), jnp.ones_like(f_hz), hop_length=320, sample_rate=RATE
    )
    phase = 2 * np.pi * (np.float64(f_hz[0, 0]) / RATE * np.arange(n - 99, n + 1) % 1)
    np.testing.assert_allclose(audio[-100:], np.sin(phase), atol=3e-6)


@pytest.mark.parametrize("mode", ["value", "gradient"])
def test_memory_is_that_of_the_audio_and_not_of_all_sinusoids(mode):
    shape = jax.ShapeDtypeStruct((2, 251, 64), np.float32)

    def audio(f_hz, amplitudes):
        return core.sinusoidal_synthesis(f_hz, amplitudes, hop_length=64, sample_rate=RATE)

    def gradient(f_hz, amplitudes, cotangent):
        return jax.vjp(audio, f_hz, amplitudes)[1](cotangent)

    cotangent = jax.ShapeDtypeStruct((2, 16000), np.float32)
    if mode == "value":
        compiled = jax.jit(audio).lower(shape, shape).compile()
    else:
        compiled = jax.jit(gradient).lower(shape, shape, cotangent).compile()
    memory = compiled.memory_analysis()
    if memory is None:
        pytest.skip("this backend does not say how much memory it needs")
    audio_bytes = 4 * 2 * 16000
    # 64 for every sinusoid at every sample, in one array.
    assert memory.temp_size_in_bytes < 12 * audio_bytes


# Streaming


@pytest.mark.parametrize("method", ["nearest", "linear", "hann"])
def test_blocks_equal_the_whole(method, rng):
    """Their gradients too, to the frames that the output of a block is made of."""
    f_hz, amplitudes = (jnp.asarray(x) for x in controls(rng, 2, 12, 3))
    # At the seams, after frames 1 and 6, sinusoids are about to reach Nyquist or just did.
    near = jnp.array([7900.0, 7800, 8100, 7800, 8100, 7900])
    f_hz = f_hz.at[:, jnp.array([0, 1, 2, 5, 6, 7]), 1].set(near)
    options = {"hop_length": 8, "sample_rate": RATE, "amplitude_upsampling": method}

    def stream(f_hz, amplitudes, look_ahead=True):
        state = core.sinusoidal_synthesis_init(n_sinusoids=3, batch_shape=(2,), dtype=f_hz.dtype)
        blocks = []
        for first, last, n_samples in [(0, 1, 8), (1, 6, 40), (6, 11, 45)]:
            rows = slice(first, last + 1)
            after = f_hz[:, last + 1] if look_ahead and last < 11 else None
            state, block = core.sinusoidal_synthesis_step(
                state,
                f_hz[:, rows],
                amplitudes[:, rows],
                **options,
                n_samples=n_samples,
                next_frequencies_hz=after,
            )
            blocks.append(block)
        return jnp.concatenate(blocks, -1)

    @quick_jit
    def everything(f_hz, amplitudes):
        def last_block(play):
            """The part of the amplitudes for this block."""
            return jax.grad(lambda a: jnp.sum(jnp.sin(play(f_hz, a)[:, 48:])))(amplitudes)

        play = partial(synthesize, n_samples=93, amplitude_upsampling=method)
        unknown = stream(f_hz, amplitudes, look_ahead=False)
        both = [f(f_hz, amplitudes) for f in (stream, play)]
        return both, [last_block(f) for f in (stream, play)], unknown

    (blocks, whole), slopes, unknown = everything(f_hz, amplitudes)
    # The frequencies jump by kilohertz from frame to frame; see the phase's own tests.
    np.testing.assert_allclose(blocks, whole, atol=1e-4)
    np.testing.assert_allclose(*slopes, atol=1e-3)
    if method != "nearest":
        assert np.abs(unknown - whole).max() > 1e-2


def test_cubic_amplitudes_do_not_stream():
    state, ones = core.sinusoidal_synthesis_init(n_sinusoids=1), jnp.ones((3, 1))
    with pytest.raises(ValueError, match=r"`amplitude_upsampling` must be one of .* got 'cubic'"):
        core.sinusoidal_synthesis_step(
            state, ones, ones, hop_length=8, sample_rate=RATE, amplitude_upsampling="cubic"
        )


# Gradients


@pytest.mark.parametrize("method", ["hann", pytest.param("linear", marks=pytest.mark.slow)])
def test_synthesis_gradients(method, rng):
    f_hz, amplitudes = controls(rng, 3, 2)

    # In kilohertz, so that differences in both arguments are far above rounding.
    def f(f_khz, amplitudes, radians):
        options = {"amplitude_upsampling": method, "n_samples": 20, "initial_phase": radians}
        return synthesize(1000 * f_khz, amplitudes, **options)

    check_grads(f, f_hz / 1000, amplitudes, rng.uniform(-4, 4, 2))


def test_exchange_gradients(rng):
    f_hz, amplitudes = rng.uniform(100, 900, 5), rng.uniform(0.1, 1, 5)
    f = partial(to_harmonic, harmonic_width=0.4, normalize=True)
    check_grads(f, f_hz, amplitudes, 200.0)
    check_grads(to_sinusoidal, 0.5, rng.uniform(0.1, 1, 4), 200.0)


def test_gradients_are_finite_at_singular_points():
    bad_hz = np.tile(np.array([0.0, 8000.0, -8000.0, 1e5, 100.0]), (2, 5, 1))
    amplitudes = np.stack([np.zeros((5, 5)), np.ones((5, 5))])
    f0_hz = np.tile(np.array([0.0, 1e-9, 100.0, 8000.0, 1e5]), (2, 1))
    assert_finite_grads(synthesize, bad_hz, amplitudes)
    assert_finite_grads(to_harmonic, bad_hz, amplitudes, f0_hz)
    assert_finite_grads(to_sinusoidal, amplitudes[..., 0], amplitudes, f0_hz)


def test_without_a_pitch_there_are_no_harmonics():
    total, distribution = to_harmonic(jnp.array([0.0, 100.0]), jnp.ones(2), jnp.array(0.0))
    assert float(total) == 0
    assert not np.asarray(distribution).any()


# Broadcasting


def test_the_batch_axes_broadcast(rng):
    f_hz, amplitudes = controls(rng, 3, 4, 2)
    f_hz, amplitudes = jnp.asarray(f_hz), jnp.asarray(amplitudes)
    together = synthesize(f_hz[0], amplitudes)
    apart = synthesize(jnp.broadcast_to(f_hz[0], f_hz.shape), amplitudes)
    assert_close(together, apart)


# Boundaries


def test_wrong_arguments_are_refused():
    ones = jnp.ones((3, 2))
    # The annotations' checker, on in tests only, sees these first.
    with pytest.raises((ValueError, TypeCheckError), match="sinusoids"):
        synthesize(ones, ones[:, :1])
    with pytest.raises((ValueError, TypeCheckError), match="frames"):
        synthesize(ones, ones[:2])
    with pytest.raises(ValueError, match="`n_samples` must be from 16 to 23"):
        synthesize(ones, ones, n_samples=24)
    with pytest.raises(ValueError, match="`harmonic_width` must be positive"):
        to_harmonic(ones, ones, ones[:, 0], harmonic_width=0.0)
    with pytest.raises(ValueError, match="`n_harmonics` must be at least 1, got 0"):
        to_harmonic(ones, ones, ones[:, 0], n_harmonics=0)
