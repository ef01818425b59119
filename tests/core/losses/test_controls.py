import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    assert_close,
    assert_finite_grads,
    check_grads,
    noise,
)

from ddspx import core


def harmonic(loudness, seed=0):
    rng = np.random.default_rng(seed)
    shape = np.shape(loudness)
    return (
        jnp.asarray(loudness * rng.uniform(0.5, 1, shape)),
        jnp.asarray(rng.uniform(0, 1, (*shape, 3))),
        jnp.asarray(rng.uniform(100, 900, shape)),
    )


# Values


@pytest.mark.parametrize(("norm", "power"), [("l1", 1), ("l2", 2)])
def test_the_loss_is_a_weighted_mean(norm, power):
    target, predicted, weights = noise(2, 3, 4), noise(2, 3, 4, seed=1), np.abs(noise(3, 1, seed=2))
    distance = np.abs(target - predicted) ** power
    full = core.control_loss(jnp.asarray(target), jnp.asarray(predicted), norm=norm)
    assert_close(full, distance.mean(), scale=4)
    weighted = core.control_loss(
        jnp.asarray(target), jnp.asarray(predicted), norm=norm, weights=jnp.asarray(weights[None])
    )
    expected = (weights * distance).sum() / (weights * np.ones((2, 3, 4))).sum()
    assert_close(weighted, expected, scale=4)


def test_harmonics_are_compared_only_in_sounding_frames():
    loudness = np.array([1.0, 0.0, 1.0, 5e-5])
    target, predicted = harmonic(loudness), harmonic(np.ones(4), seed=1)
    (a, d, f), (b, e, g) = ([np.asarray(x) for x in xs] for xs in (target, predicted))
    audible = [0, 2]
    semitones = 12 * np.log2(f / g)
    expected = (
        2.0 * np.abs(a - b).mean()
        + 3.0 * np.abs(d - e)[audible].mean()
        + 0.5 * np.abs(semitones)[audible].mean()
    )
    actual = core.harmonic_consistency_loss(
        target, predicted, amplitude_weight=2.0, distribution_weight=3.0, f0_weight=0.5
    )
    assert_close(actual, expected, scale=30)


def test_silent_frames_do_not_dilute_the_loss():
    # DDSP divides by all frames.
    target, predicted = harmonic(np.ones(4)), harmonic(np.ones(4), seed=1)
    padded = [
        tuple(jnp.concatenate([x, jnp.zeros_like(x)]) for x in xs) for xs in (target, predicted)
    ]
    weights = {"amplitude_weight": 0.0}
    alone = core.harmonic_consistency_loss(target, predicted, **weights)
    assert_close(core.harmonic_consistency_loss(*padded, **weights), alone, scale=10)


# Gradients


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_gradients(norm):
    def f(target, predicted, weights):
        return core.control_loss(target, predicted, norm=norm, weights=weights)

    check_grads(f, noise(5), noise(5, seed=1), np.abs(noise(5, seed=2)))
    same = noise(4)
    for weights in (np.ones(4), np.zeros(4)):
        assert_finite_grads(f, same, same, weights)


@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("f0_hz", [0.0, 100.0])
def test_gradients_are_finite_in_silence(level, f0_hz):
    controls = np.full(2, level), np.zeros((2, 3)), np.full(2, f0_hz)
    assert_finite_grads(
        lambda *x: core.harmonic_consistency_loss(x[:3], x[3:]), *controls, *controls
    )


# Boundaries


def test_unknown_norms_are_refused():
    with pytest.raises(ValueError, match="`norm` must be one of 'l1', 'l2', got 'cosine'"):
        core.control_loss.__wrapped__(jnp.ones(2), jnp.ones(2), norm="cosine")


def test_arguments_are_not_broadcast():
    a, b = jnp.ones((5, 1)), jnp.ones(5)
    for target, predicted in [(a, b), (b, a), (b[None], b), (jnp.ones((2, 5)), jnp.ones((1, 5)))]:
        with pytest.raises(ValueError, match="`target` and `predicted` must have the same shape"):
            core.control_loss.__wrapped__(target, predicted)
    for weights in (b, jnp.ones((5, 2)), jnp.ones((1, 5, 1))):
        with pytest.raises(ValueError, match=r"`weights` must have the axes .*mask\[..., None\]"):
            core.control_loss.__wrapped__(a, a, weights=weights)
    target, other = harmonic(np.ones(4)), harmonic(np.ones((2, 4)))
    f = core.harmonic_consistency_loss.__wrapped__
    with pytest.raises(ValueError, match="must have the same shape"):
        f(target, other)
    with pytest.raises(ValueError, match=r"`amplitudes` and `f0_hz` and .* the same shape"):
        f((target[0][:, None], *target[1:]), target)


def test_a_loss_of_empty_arrays_is_refused():
    """The spectral losses too: a mean of no numbers is NaN."""
    nothing, audio = jnp.zeros((0, 4)), jnp.zeros((0, 64))
    sets = core.kde_consistency_loss, core.wasserstein_loss
    losses = [
        lambda: core.control_loss(nothing, nothing, weights=nothing),
        lambda: core.harmonic_consistency_loss(*[(nothing, nothing[..., None], nothing)] * 2),
        lambda: core.two_way_mismatch_loss(nothing, nothing, nothing, sample_rate=8000),
        lambda: core.multi_scale_spectral_loss(audio, audio, n_ffts=16),
        *(lambda loss=loss: loss(nothing, nothing, nothing, nothing) for loss in sets),
    ]
    for loss in losses:
        with pytest.raises(ValueError, match="at least one"):
            loss()
