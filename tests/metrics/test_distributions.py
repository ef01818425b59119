"""Distances of sets are exact on Gaussians, whose distances have closed forms."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from ddspx import metrics


def points_with(mean, covariance, n=50, seed=0):
    """Points whose sample mean and covariance are exactly these."""
    drawn = np.random.default_rng(seed).normal(size=(n, len(mean)))
    drawn -= drawn.mean(axis=0)
    white = drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn.T).reshape(len(mean), -1))).T
    return mean + white @ np.linalg.cholesky(covariance).T


def a_covariance(d, seed):
    root = np.random.default_rng(seed).normal(size=(d, d))
    return root @ root.T + 0.1 * np.eye(d)


def mmd_of_gaussians(first, second, bandwidth):
    """The expectations of the kernel under normal distributions (mean, covariance)."""

    def expected(one, other):
        covariance = bandwidth**2 * np.eye(len(one[0])) + one[1] + other[1]
        difference = one[0] - other[0]
        scale = np.sqrt(bandwidth ** (2 * len(difference)) / np.linalg.det(covariance))
        return scale * np.exp(-difference @ np.linalg.solve(covariance, difference) / 2)

    return expected(first, first) + expected(second, second) - 2 * expected(first, second)


# Values


@pytest.mark.parametrize("d", [1, 2, 7])
def test_frechet_distance_of_gaussians_is_the_closed_form(d):
    mean, first, second = np.arange(d) + 0.5, a_covariance(d, 1), a_covariance(d, 2)
    expected = mean @ mean + np.trace(first + second - 2 * sqrtm(first @ second).real)
    sets = points_with(np.zeros(d), first), points_with(mean, second, n=80, seed=5)
    assert metrics.frechet_distance(*sets) == pytest.approx(expected, rel=1e-9)
    assert metrics.frechet_distance(*sets[::-1]) == pytest.approx(expected, rel=1e-9)
    # A distance of distributions does not depend on the origin, or on where the axes point.
    turn, _ = np.linalg.qr(a_covariance(d, 3))
    turned = (points @ turn + 1000 for points in sets)
    assert metrics.frechet_distance(*turned) == pytest.approx(expected, rel=1e-7)


def test_frechet_distance_of_what_commutes_is_that_of_the_deviations():
    deviations = np.array([[1.0, 2.0, 3.0], [2.0, 0.5, 3.0]])
    sets = (points_with(np.zeros(3), np.diag(row**2)) for row in deviations)
    assert metrics.frechet_distance(*sets) == pytest.approx(1 + 2.25, rel=1e-9)


def test_kernel_distance_is_its_definition(rng):
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(14, 3)) + 0.3
    h = 1.7

    def kernel(a, b):
        return np.exp(-np.sum((a - b) ** 2) / (2 * h**2))

    within = [
        np.mean([kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j])
        for z in (x, y)
    ]
    expected = sum(within) - 2 * np.mean([kernel(a, b) for a in x for b in y])
    assert metrics.kernel_distance(x, y, bandwidth=h) == pytest.approx(expected, rel=1e-9)
    distances = [np.linalg.norm(a - b) for i, a in enumerate(x) for b in x[:i]]
    own = metrics.kernel_distance(x, y, bandwidth=float(np.median(distances)))
    assert metrics.kernel_distance(x, y) == pytest.approx(own, rel=1e-9)
    assert metrics.kernel_distance(50 * x + 9, 50 * y + 9) == pytest.approx(own, rel=1e-6)


def test_kernel_distance_of_gaussians_is_the_closed_form_without_bias(rng):
    first = np.zeros(2), np.eye(2)
    for mean, spread in ((np.zeros(2), 1.0), (np.array([1.0, 0.0]), 1.5)):
        found = [
            metrics.kernel_distance(
                rng.normal(size=(6, 2)), mean + spread * rng.normal(size=(5, 2)), bandwidth=1.2
            )
            for _ in range(1500)
        ]
        expected = mmd_of_gaussians(first, (mean, spread**2 * np.eye(2)), 1.2)
        assert abs(np.mean(found) - expected) < 4 * np.std(found) / np.sqrt(len(found))


def test_blocks_of_rows_do_not_change_the_kernel_distance(rng, monkeypatch):
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(30, 2))
    whole = metrics.kernel_distance(x, y)
    monkeypatch.setattr("ddspx.metrics._distributions._KERNEL_ROWS", 7)
    assert metrics.kernel_distance(x, y) == pytest.approx(whole, rel=1e-12)


# Properties


def test_the_bias_of_equal_distributions_is_as_documented(rng):
    n, d = 300, 10
    found = [metrics.frechet_distance(*rng.normal(size=(2, n, d))) for _ in range(40)]
    assert np.mean(found) == pytest.approx((d / 2 + 2) * d / n, rel=0.1)


def test_few_points_make_the_frechet_distance_too_large_and_the_interval_knows(rng):
    """Recordings of 8 points each, which are alike; the true distance is known."""
    truth, held = 1.0 + 4 * 0.5**2, 0

    def drawn(mean, deviation):
        own, common = rng.normal(size=(20, 8, 4)), rng.normal(size=(20, 1, 4))
        return mean + deviation * (0.8 * own + 0.6 * common)

    values = []
    for seed in range(20):
        sets = drawn(0.0, 1.0), drawn(np.array([1.0, 0, 0, 0]), 1.5)
        found = metrics.distance_interval(metrics.frechet_distance, *map(list, sets), seed=seed)
        assert found.value == metrics.frechet_distance(*(points.reshape(-1, 4) for points in sets))
        held += found.low <= truth <= found.high
        values.append(found.value)
    assert np.mean(values) > 1.1 * truth and held >= 17


def test_an_interval_is_repeatable_and_needs_two_recordings(rng):
    sets = [list(points) for points in rng.normal(size=(2, 5, 10, 2))]
    first, second, other = (
        metrics.distance_interval(metrics.kernel_distance, *sets, seed=seed) for seed in (0, 0, 1)
    )
    assert first == second != other
    value, low, high = metrics.distance_interval(metrics.kernel_distance, sets[0], sets[1][:1])
    assert value == metrics.kernel_distance(np.concatenate(sets[0]), sets[1][0])
    assert np.isnan([low, high]).all()


def test_a_set_has_no_distance_from_itself(rng):
    points = rng.normal(size=(30, 4))
    assert metrics.frechet_distance(points, points) < 1e-12


# Boundary errors


def test_sets_that_have_no_distance_are_refused(rng):
    points = rng.normal(size=(9, 3))
    for distance in (metrics.frechet_distance, metrics.kernel_distance):
        with pytest.raises(ValueError, match=r"`predicted` must hold at least 2 points"):
            distance(points, points[:1])
        with pytest.raises(ValueError, match=r"`target` must hold at least 2 points.*\(9,\)"):
            distance.__wrapped__(points[:, 0], points)
        with pytest.raises(ValueError, match="as many features, got 3 and 2"):
            distance.__wrapped__(points, points[:, :2])
        with pytest.raises(ValueError, match="`predicted` must be finite"):
            distance(points, np.where(points > 0, np.nan, points))
    with pytest.raises(ValueError, match="`bandwidth` must be given"):
        metrics.kernel_distance(np.ones((4, 2)), points[:, :2])
    with pytest.raises(ValueError, match="`bandwidth` must be finite and above 0"):
        metrics.kernel_distance(points, points, bandwidth=0.0)
    with pytest.raises(ValueError, match="`target` must hold the points of at least one"):
        metrics.distance_interval(metrics.kernel_distance, [], [points])


def test_a_singular_covariance_gives_a_warning_and_a_finite_distance(rng):
    points = rng.normal(size=(9, 3))
    with pytest.warns(UserWarning, match="3 points of 3 features is far too large"):
        metrics.frechet_distance(points, points[:3])
    with pytest.warns(UserWarning, match="2 points of 3 features"):
        distance = metrics.frechet_distance(np.ones((2, 3)), points_with(np.zeros(3), np.eye(3)))
    assert distance == pytest.approx(6)


def test_sets_without_an_interval_are_refused(rng):
    points = rng.normal(size=(9, 3))
    for other in (points[:, :2], points[:, 0]):
        with pytest.raises(ValueError, match="with as many features in each"):
            metrics.distance_interval(metrics.kernel_distance, [points, other], [points])
    with pytest.raises(ValueError, match="same number of recordings, got 1 and 2"):
        metrics.distance_interval(metrics.kernel_distance, [points], [points, points], paired=True)
    # Half of a set is a single point, which has no distance.
    sets = [points[:1], points[1:2]], [points[2:3], points[3:4]]
    value, low, high = metrics.distance_interval(metrics.kernel_distance, *sets)
    assert np.isfinite(value) and np.isnan([low, high]).all()


def test_pairs_are_drawn_together(rng):
    """What both sets have in common is then not in the interval."""
    target = [mean + rng.normal(size=(20, 2)) for mean in 10 * rng.normal(size=(12, 1, 2))]
    predicted = [points + 0.5 for points in target]
    apart, together = (
        metrics.distance_interval(metrics.frechet_distance, target, predicted, paired=paired)
        for paired in (False, True)
    )
    assert together.high - together.low < (apart.high - apart.low) / 20
    assert together.low <= 0.5 <= together.high + 1e-9
