import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from helpers import (
    ORDERS,
    assert_close,
    assert_finite_grads,
    check_grads,
    compiled,
    quick_jit,
)

from ddspx import core

# Without jit a call runs a hundred small programs, so tests that need only values compile it whole.
mismatch = partial(core.two_way_mismatch_loss, sample_rate=16000, n_harmonics=4, n_gaussians=6)
PAIRS = {"kde": core.kde_consistency_loss, "wasserstein": core.wasserstein_loss}


def sets(rng, *batch, sizes=(3, 4)):
    """Two sets of sinusoids, as frequencies and amplitudes each."""
    out = []
    for size in sizes:
        out += [rng.uniform(100, 2000, (*batch, size)), rng.uniform(0.1, 1, (*batch, size))]
    return out


def midi_of(f_hz):
    return 69 + 12 * np.log2(np.asarray(f_hz) / 440)


def improbability(midi, amplitudes, centres, weights, scale):
    total = 0
    for m, a in zip(midi, amplitudes, strict=True):
        density = scipy.stats.norm.pdf(m, centres, scale) @ weights / weights.sum()
        total -= a / amplitudes.sum() * np.log(density)
    return total


# Values


def test_two_way_mismatch_is_its_definition(rng):
    f0_hz, f_hz, a = np.array([210.0, 2900.0]), rng.uniform(100, 3000, 3), rng.uniform(0.1, 1, 3)
    losses = []
    for f0 in f0_hz:
        sinusoids = improbability(f_hz / f0, a, np.arange(1, 7), np.ones(6), 0.5)
        harmonics = np.array([k * f0 for k in range(1, 5) if k * f0 < 8000])
        b = f0 / harmonics
        found = improbability(midi_of(harmonics), b, midi_of(f_hz), a, 3.0)
        losses.append(2.0 * sinusoids + 0.3 * found)
    share = np.exp(-np.array(losses) / 5) / np.exp(-np.array(losses) / 5).sum()
    actual = compiled(mismatch)(
        *map(jnp.asarray, (f0_hz, f_hz, a)),
        sinusoids_weight=2.0,
        harmonics_weight=0.3,
        harmonics_scale=3.0,
        temperature=5.0,
    )
    assert_close(actual, share @ losses, scale=100)


def test_kde_consistency_is_its_definition(rng):
    f_hz, a, g_hz, b = sets(rng)
    expected = (
        0.5 * improbability(midi_of(f_hz), a, midi_of(g_hz), b, 2.0)
        + 2.0 * improbability(midi_of(g_hz), b, midi_of(f_hz), a, 3.0)
        + 5.0 * abs(a.mean() - b.mean())
    )
    actual = compiled(core.kde_consistency_loss)(
        *map(jnp.asarray, (f_hz, a, g_hz, b)),
        target_weight=0.5,
        predicted_weight=2.0,
        mean_amplitude_weight=5.0,
        target_scale=3.0,
        predicted_scale=2.0,
    )
    assert_close(actual, expected, scale=100)


@pytest.mark.parametrize("midi", [True, False])
def test_wasserstein_is_scipys(midi, rng):
    f_hz, a, g_hz, b = sets(rng, 5)
    places = (midi_of(f_hz), midi_of(g_hz)) if midi else (f_hz, g_hz)
    expected = [scipy.stats.wasserstein_distance(*row) for row in zip(*places, a, b, strict=True)]
    actual = compiled(core.wasserstein_loss)(*map(jnp.asarray, (f_hz, a, g_hz, b)), midi=midi)
    assert_close(actual, np.mean(expected), scale=1000)


# Physics


def test_the_mismatch_is_least_at_the_pitch():
    # Harmonics 1 to 6 of 220 Hz; only two ways together tell the octaves apart.
    f_hz, a = 220.0 * jnp.arange(1, 7), 1 / jnp.arange(1.0, 7)
    candidates = jnp.asarray([110.0, 146.7, 213.0, 220.0, 227.0, 330.0, 440.0, 660.0])
    losses = quick_jit(
        jax.vmap(
            lambda f0: core.two_way_mismatch_loss(
                f0[None], f_hz, a, sample_rate=16000, sinusoids_scale=0.1, harmonics_scale=2.0
            )
        )
    )(candidates)
    assert int(jnp.argmin(losses)) == 3


def test_the_mismatch_is_that_of_the_best_candidate():
    f_hz, a = 220.0 * jnp.arange(1, 5), jnp.ones(4)
    run = quick_jit(mismatch)
    alone = run(jnp.asarray([220.0]), f_hz, a)
    among = run(jnp.asarray([300.0, 220.0, 171.0]), f_hz, a)
    assert_close(among, alone, scale=10)


@pytest.mark.parametrize("name", PAIRS)
def test_equal_sets_in_any_order_cost_least(name, rng):
    f_hz, a, *_ = map(jnp.asarray, sets(rng))
    at = quick_jit(partial(PAIRS[name], f_hz, a))
    least = at(f_hz[::-1], a[::-1])
    assert_close(least, at(f_hz, a), scale=30)
    if name == "wasserstein":
        assert_close(least, 0, scale=100)
    for factor in (0.9, 1.05, 2.0):
        assert float(at(factor * f_hz, a)) > float(least)


def test_moving_a_set_by_semitones_costs_as_many():
    f_hz, a = jnp.asarray([200.0, 431.0]), jnp.asarray([1.0, 0.4])
    run = quick_jit(core.wasserstein_loss)
    for semitones in (0.01, 3.0, 40.0):
        assert_close(run(f_hz, a, f_hz * 2 ** (semitones / 12), 2 * a), semitones, scale=100)


# Gradients


@ORDERS
def test_gradients(rng, order):
    f_hz, a, g_hz, b = sets(rng)

    # In hundreds of Hz, so that differences in all arguments are far above rounding.
    def f(c, x, a):
        return mismatch(100 * c, 100 * x, a, harmonics_scale=3.0)

    check_grads(f, np.array([2.1, 6.0]), f_hz / 100, a, order=order)
    check_grads(
        lambda x, a, y, b: core.kde_consistency_loss(
            100 * x, a, 100 * y, b, target_scale=3.0, predicted_scale=3.0
        ),
        *(f_hz / 100, a, g_hz / 100, b),
        order=order,
    )
    check_grads(
        lambda x, a, y, b: core.wasserstein_loss(100 * x, a, 100 * y, b),
        *(f_hz / 100, a, g_hz / 100, b),
        order=order,
    )


def test_gradients_are_finite_at_singular_points():
    f_hz = np.tile(np.array([0.0, 440.0, 440.0, 8000.0, 1e5]), (2, 1))
    a = np.stack([np.zeros(5), np.ones(5)])
    f0_hz = np.tile(np.array([0.0, 1e-9, 440.0, 1e5]), (2, 1))
    assert_finite_grads(mismatch, f0_hz, f_hz, a)
    for f in (*PAIRS.values(), partial(core.wasserstein_loss, midi=False)):
        assert_finite_grads(f, f_hz, a, f_hz, a)
        assert_finite_grads(f, f_hz, a, f_hz, a[::-1])


def test_silence_has_no_wasserstein_loss():
    f_hz = jnp.asarray([100.0, 200.0])
    loss = quick_jit(core.wasserstein_loss)(f_hz, jnp.zeros(2), 2 * f_hz, jnp.ones(2))
    assert float(loss) == 0


# Frames


def per_frame(f):
    return lambda *x: jax.vmap(f)(*(v.reshape(-1, v.shape[-1]) for v in x)).reshape(x[0].shape[:-1])


def test_the_loss_of_frames_is_the_mean_of_theirs(rng):
    f_hz, a, g_hz, b = sets(rng, 3)
    for f in PAIRS.values():
        together = quick_jit(f)(*map(jnp.asarray, (f_hz, a, g_hz, b)))
        apart = quick_jit(per_frame(f))(*map(jnp.asarray, (f_hz, a, g_hz, b)))
        assert_close(together, np.mean(apart), scale=1000)


# Boundaries


@pytest.mark.parametrize("name", ["sample_rate", "n_harmonics", "n_gaussians"])
def test_wrong_sizes_are_named(name):
    sizes = {"sample_rate": 16000, name: 0}
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        core.two_way_mismatch_loss(jnp.ones(1), jnp.ones(2), jnp.ones(2), **sizes)


@pytest.mark.parametrize("f", [core.kde_consistency_loss, core.wasserstein_loss])
def test_sets_of_other_batches_or_amplitudes_are_refused(f):
    one, two = jnp.ones(3), jnp.ones((2, 3))
    for arrays in [(one, two, one, one), (two, two, one, one), (one, one, one, one[:2])]:
        with pytest.raises(ValueError, match="must have the same shape"):
            inspect.unwrap(f)(*arrays)


def test_candidates_of_another_batch_are_refused():
    loss = inspect.unwrap(core.two_way_mismatch_loss)
    for f0_hz, amplitudes in [(jnp.ones((2, 3)), jnp.ones(4)), (jnp.ones(3), jnp.ones((2, 4)))]:
        with pytest.raises(ValueError, match="must have the same shape"):
            loss(f0_hz, jnp.ones(4), amplitudes, sample_rate=8000)
