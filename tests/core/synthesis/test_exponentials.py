import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DTYPES, assert_close, assert_finite_grads, check_grads, compiled
from jaxtyping import TypeCheckError

from ddspx import core

exponential_basis, exponential_bank, poles_to_hz = map(
    compiled, (core.exponential_basis, core.exponential_bank, core.poles_to_hz)
)

RATE = 8000
# Within, on and outside the unit circle, and the real axis.
POLES = np.array([0.3 + 0.4j, -0.9j, np.exp(0.7j), 1.2 - 0.3j, -1.0, 0.0, 1e6])


def basis_of(real, imaginary):
    return core.exponential_basis(jax.lax.complex(real, imaginary), n_samples=7)


def bank_of(real, imaginary, gain_real, gain_imaginary):
    poles, gains = jax.lax.complex(real, imaginary), jax.lax.complex(gain_real, gain_imaginary)
    return core.exponential_bank(poles, gains, n_samples=7)


def hz_of(real, imaginary):
    return core.poles_to_hz(jax.lax.complex(real, imaginary), sample_rate=RATE)


def powers_by_loop(poles, n_samples):
    mirrored = [z if abs(z) <= 1 else 1 / np.conj(z) for z in poles]
    return np.array([[z**n if n else 1.0 for z in mirrored] for n in range(n_samples)])


# Values


@pytest.mark.parametrize("n_samples", [1, 2, 7, 64, 100])
def test_basis_and_bank_are_their_definitions(n_samples, rng):
    gains = rng.standard_normal(7) + 1j * rng.standard_normal(7)
    for dtype in DTYPES:
        complex_dtype = np.result_type(dtype, 1j)
        poles = jnp.asarray(POLES, complex_dtype)
        expected = powers_by_loop(np.asarray(poles, complex), n_samples)
        basis = exponential_basis(poles, n_samples=n_samples)
        assert basis.dtype == complex_dtype
        assert_close(basis.real, expected.real, scale=4)
        assert_close(basis.imag, expected.imag, scale=4)
        audio = exponential_bank(poles, jnp.asarray(gains, complex_dtype), n_samples=n_samples)
        assert audio.dtype == dtype
        assert_close(audio, (expected @ gains).real, scale=30)


def test_float32_powers_have_the_expected_rounding_error():
    pole = np.complex64(np.exp(2.1j))
    basis = exponential_basis(jnp.asarray([pole]), n_samples=16000)[:, 0]
    n = np.arange(16000)
    exact = np.complex128(pole) / max(1, abs(np.complex128(pole)) ** 2)
    error = np.abs(np.asarray(basis, complex) - exact**n)
    assert (error <= 4 * (n + 1) * np.finfo(np.float32).eps).all()


def test_the_frequency_is_that_of_the_angle():
    f_hz = np.array([0.0, 440.0, 3999.0, 4000.0])
    for sign in (1, -1):
        poles = jnp.asarray(0.7 * np.exp(sign * 2j * np.pi * f_hz / RATE))
        assert_close(poles_to_hz(poles, sample_rate=RATE), f_hz, scale=RATE)


# Physics


def test_a_pole_on_the_circle_is_an_oscillator():
    f_hz, amplitude, phase = 440.0, 0.7, 0.3
    poles = jnp.asarray([np.exp(2j * np.pi * f_hz / RATE)])
    gains = jnp.asarray([amplitude * np.exp(1j * phase)])
    audio = exponential_bank(poles, gains, n_samples=200)
    turns = f_hz * np.arange(200) / RATE
    np.testing.assert_allclose(audio, amplitude * np.cos(2 * np.pi * turns + phase), atol=1e-4)


def captured(poles, frequency, n_samples=64):
    """Energy of a complex sinusoid within the span of one decaying one."""
    basis = exponential_basis(poles, n_samples=n_samples)[:, 0]
    tone = jnp.exp(1j * frequency * jnp.arange(n_samples)) / jnp.sqrt(1.0 * n_samples)
    return jnp.abs(jnp.vdot(basis, tone)) ** 2 / jnp.sum(jnp.abs(basis) ** 2)


def test_gradient_ascent_reaches_the_frequency_from_everywhere():
    # From a grid over the disc, by steps as long as the distance from the circle allows; where
    # the angle alone is moved, most starts end on a side lobe.
    target = 1.234
    radius, angle = np.meshgrid([0.05, 0.4, 0.8], np.arange(-3, 3.1, 0.5))
    starts = jnp.asarray((radius * np.exp(1j * angle)).reshape(-1, 1))

    def ascend(pole):
        def step(z, _):
            slope = jax.grad(captured)(z, target).conj()
            room = 1 - jnp.minimum(jnp.abs(z), 1 / jnp.abs(z)) ** 2
            return z + 0.1 * (room + 1e-3) * slope / jnp.abs(slope), None

        return jax.lax.scan(step, pole, None, 300)[0]

    ends = jax.jit(jax.vmap(ascend))(starts)
    np.testing.assert_allclose(np.angle(ends), target, atol=2e-3)

    def slide(angle):
        def step(a, _):
            slope = jax.grad(lambda a: captured(jnp.exp(1j * a)[None], target))(a)
            return a + 1e-3 * jnp.sign(slope), None

        return jax.lax.scan(step, angle, None, 1000)[0]

    ends = jax.jit(jax.vmap(slide))(jnp.arange(-3, 3.1, 0.5))
    assert np.mean(np.abs(ends - target) < 2e-3) < 0.2


# Gradients


def test_gradients(rng):
    z, c = rng.uniform(-0.6, 0.6, (2, 3)), rng.standard_normal((2, 3))
    check_grads(bank_of, *z, *c)
    check_grads(bank_of, *(2 + z), *c, order=1)
    check_grads(lambda *z: jnp.square(basis_of(*z)).real, *z, order=1)
    check_grads(hz_of, *z, order=1)


def test_gradients_are_finite_at_singular_points():
    parts = POLES.real, POLES.imag
    assert_finite_grads(lambda *z: basis_of(*z).real, *parts)
    assert_finite_grads(hz_of, *parts)
    for gain in (0.0, 1.0):
        assert_finite_grads(bank_of, *parts, np.full(7, gain), np.zeros(7))


# Broadcasting


def test_the_batch_axes_broadcast(rng):
    poles = jnp.asarray(rng.uniform(-1, 1, (3, 2)) + 0j)
    gains = jnp.asarray(rng.standard_normal(2) + 0j)
    together = exponential_bank(poles, gains, n_samples=9)
    assert_close(together[1], exponential_bank(poles[1], gains, n_samples=9))


# Boundaries


def test_wrong_arguments_are_refused():
    poles = jnp.ones(3, complex)
    with pytest.raises(ValueError, match="`n_samples` must be at least 1, got 0"):
        core.exponential_basis(poles, n_samples=0)
    # The annotations' checker, on in tests only, sees these first.
    with pytest.raises((TypeError, TypeCheckError), match="poles"):
        core.exponential_basis(jnp.ones(3), n_samples=4)
    with pytest.raises((ValueError, TypeCheckError), match="sinusoids"):
        core.exponential_bank(poles, poles[:2], n_samples=4)
