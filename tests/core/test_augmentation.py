import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    DTYPES,
    assert_close,
    assert_finite_grads,
    assert_trees_close,
    compiled,
    noise,
    quick_jit,
)

from ddspx import core

spec_augment, time_shift, mixup = map(compiled, (core.spec_augment, core.time_shift, core.mixup))

N = 4000
SIZES = {"n_time_masks": 1, "time_width": 4, "n_frequency_masks": 1, "frequency_width": 2}


def masks(key, frames=9, bands=5, **options):
    """Which frames and which bands of N examples are hidden."""
    x = jnp.ones((N, frames, bands))
    hidden = np.asarray(spec_augment(key, x, **{**SIZES, **options})) == 0
    return hidden.all(axis=2), hidden.all(axis=1)


def runs(hidden):
    """Start and width of the one run of each row; the start of a width of zero is -1."""
    widths = hidden.sum(axis=1)
    starts = np.where(widths > 0, hidden.argmax(axis=1), -1)
    for row, start, width in zip(hidden, starts, widths, strict=True):
        assert row[start : start + width].all() if width else not row.any()
    return starts, widths


def assert_uniform(values, outcomes):
    """Within five standard errors."""
    values, p = np.asarray(values), 1 / len(outcomes)
    counts = np.array([(values == v).sum() for v in outcomes])
    assert counts.sum() == len(values)
    assert np.abs(counts - p * len(values)).max() < 5 * np.sqrt(len(values) * p * (1 - p))


# Masks


def test_widths_are_uniform_with_zero_and_the_greatest(key):
    times, frequencies = masks(key)
    assert_uniform(runs(times)[1], range(5))
    assert_uniform(runs(frequencies)[1], range(3))


def test_positions_are_uniform_for_each_width(key):
    starts, widths = runs(masks(key, n_frequency_masks=0)[0])
    for width in range(1, 5):
        assert_uniform(starts[widths == width], range(9 - width + 1))


def test_every_frame_and_band_can_be_hidden(key):
    times, frequencies = masks(key)
    assert times.any(axis=0).all()
    assert frequencies.any(axis=0).all()
    assert masks(key, time_width=20)[0].all(axis=1).any()


def test_time_and_frequency_are_independent(key):
    widths = [runs(hidden)[1] for hidden in masks(key, frames=9, bands=9, frequency_width=4)]
    assert abs(np.corrcoef(*widths)[0, 1]) < 5 / np.sqrt(N)


def test_each_example_has_its_own_masks(key):
    times, _ = masks(key)
    assert abs(np.corrcoef(runs(times)[1][:-1], runs(times)[1][1:])[0, 1]) < 5 / np.sqrt(N)


def test_several_masks_hide_more(key):
    one, three = (masks(key, n_time_masks=n)[0].mean() for n in (1, 3))
    # Each frame is hidden by each mask on its own.
    assert abs(one - np.mean([0, 1, 2, 3, 4]) / 9) < 0.01
    times, _ = masks(key, n_time_masks=3)
    np.testing.assert_allclose(times.mean(), three)
    assert one * 1.8 < three < 3 * one


@pytest.mark.parametrize("options", [{"time_width": 0}, {"n_time_masks": 0}])
def test_no_masks_hide_nothing(key, options):
    assert not masks(key, **options, n_frequency_masks=0)[0].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_hidden_values_are_replaced_and_others_unchanged(key, dtype):
    x = jnp.asarray(noise(3, 20, 8), dtype)
    options = {"time_width": 9, "frequency_width": 3}
    zeros = spec_augment(key, x, **options)
    hidden = np.asarray(zeros == 0)
    assert zeros.dtype == dtype and 0 < hidden.mean() < 1
    np.testing.assert_array_equal(np.asarray(zeros)[~hidden], np.asarray(x)[~hidden])
    low = spec_augment(key, x, **options, mask_value=-80.0)
    np.testing.assert_array_equal(low, np.where(hidden, -80, x))
    mean = spec_augment(key, x, **options, mask_value="mean")
    expected = np.where(hidden, np.asarray(x).mean((-2, -1), keepdims=True), x)
    np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-6)


def test_one_example_without_batch_axes_is_masked(key):
    x = jnp.ones((20, 8))
    assert spec_augment(key, x).shape == (20, 8)
    keys = jax.random.split(key, 3)
    together = quick_jit(jax.vmap(spec_augment))(keys, jnp.stack([x] * 3))
    for k, masked in zip(keys, together, strict=True):
        np.testing.assert_array_equal(spec_augment(k, x), masked)


def test_compiled_and_eager_results_are_equal(key):
    x, labels = jnp.asarray(noise(3, 8, 4)), jnp.eye(3, 2)
    for f, program, arguments, options in (
        (core.spec_augment, spec_augment, (x,), SIZES),
        (core.time_shift, time_shift, (x,), {"max_shift": 2}),
        (core.mixup, mixup, (x, labels), {}),
    ):
        expected = f(key, *arguments, **options)
        assert_trees_close(program(key, *arguments, **options), expected)


def test_gradients_pass_where_nothing_is_hidden(key):
    x = jnp.asarray(noise(2, 9, 5))
    masked = spec_augment(key, x, **SIZES)
    gradient = jax.grad(lambda x: jnp.sum(spec_augment(key, x, **SIZES)))(x)
    np.testing.assert_array_equal(gradient, masked != 0)


# Shifts


@pytest.mark.parametrize("fill", ["zeros", "wrap"])
def test_each_example_has_its_own_shift(key, fill):
    x = np.arange(1.0, 8.0)
    moved = np.asarray(time_shift(key, jnp.tile(x, (N, 1)), max_shift=3, fill=fill))
    # Where the sample in the middle is now.
    shifts = (moved == 4).argmax(axis=1) - 3
    assert_uniform(shifts, range(-3, 4))
    assert abs(np.corrcoef(shifts[:-1], shifts[1:])[0, 1]) < 5 / np.sqrt(N)
    for shift in range(-3, 4):
        expected = np.roll(x, shift)
        if fill == "zeros":
            expected[: max(shift, 0)] = 0
            expected[7 + min(shift, 0) :] = 0
        np.testing.assert_array_equal(moved[shifts == shift][0], expected)


def test_shifts_of_one_example_and_of_zero_samples(key):
    for dtype in DTYPES:
        x = jnp.asarray(noise(9), dtype)
        np.testing.assert_array_equal(time_shift(key, x, max_shift=0), x)
        assert time_shift(key, x, max_shift=9).dtype == dtype
    assert time_shift(key, jnp.ones((2, 3, 9)), max_shift=9).shape == (2, 3, 9)


# Mixtures


def test_mixup_mixes_two_examples_and_their_labels(key):
    x, labels = jnp.asarray(noise(8, 6, 2)), jnp.eye(8)
    mixed, weights = mixup(key, x, labels, alpha=1.0)
    assert_close(mixed, np.einsum("ij,jkl->ikl", weights, x), scale=4)
    weights = np.asarray(weights)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    assert ((weights > 0).sum(axis=1) <= 2).all()
    # The partners are a permutation.
    np.testing.assert_allclose((weights - np.diag(np.diag(weights)) > 0).sum(axis=0).max(), 1)


def test_each_example_has_a_weight_of_its_own_from_the_distribution(key):
    for alpha in (0.2, 1.0, 4.0):
        n = 1000
        _, own = mixup(key, jnp.zeros((n, 1)), jnp.eye(n), alpha=alpha)
        own = np.diag(np.asarray(own))
        # Moments of Beta(alpha, alpha), within five standard errors.
        assert abs(own.mean() - 0.5) < 5 * own.std() / np.sqrt(n)
        variance = 1 / (4 * (2 * alpha + 1))
        assert abs(own.var() - variance) < 5 * np.var((own - 0.5) ** 2) ** 0.5 / np.sqrt(n)
        assert len(np.unique(own)) > 0.7 * n


def test_the_same_key_gives_the_same_mixture_in_every_dtype(key):
    x, labels = noise(5, 3), np.eye(5)
    mixtures = [mixup(key, jnp.asarray(x, d), jnp.asarray(labels, d)) for d in DTYPES]
    for dtype, (mixed, mixed_labels) in zip(DTYPES, mixtures, strict=True):
        assert mixed.dtype == mixed_labels.dtype == dtype
        np.testing.assert_allclose(mixed, mixtures[-1][0], atol=1e-5)


def test_mixup_gradients_are_finite(key):
    assert_finite_grads(lambda x, y: mixup(key, x, y), np.zeros((3, 4)), np.zeros((3, 2)))


# Boundary errors


def test_wrong_arguments_of_augmentation_are_refused(key):
    with pytest.raises(ValueError, match="`time_width` must be at least 0, got -1"):
        core.spec_augment(key, jnp.ones((4, 3)), time_width=-1)
    with pytest.raises(ValueError, match="`alpha` must be above 0, got 0"):
        core.mixup(key, jnp.ones((2, 3)), jnp.ones((2, 2)), alpha=0.0)
    with pytest.raises(ValueError, match="`max_shift` must be at most the number of samples, 3"):
        core.time_shift(key, jnp.ones((2, 3)), max_shift=4)
    with pytest.raises((ValueError, TypeError), match="fill"):
        core.time_shift(key, jnp.ones((2, 3)), max_shift=1, fill="edge")
