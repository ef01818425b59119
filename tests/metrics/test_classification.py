import numpy as np
import pytest

from ddspx import metrics


def labels_of(confusion):
    """Targets and predictions with the given confusion matrix."""
    confusion = np.asarray(confusion)
    cells = np.repeat(np.arange(confusion.size), confusion.ravel())
    return cells // len(confusion), cells % len(confusion)


def scores_of(confusion, **options):
    return metrics.classification_scores(*labels_of(confusion), n_classes=len(confusion), **options)


# values

# The counts of 138 abnormal and 146 normal recordings, and the percentages published with them.
SPECTNET = [
    # TP, TN, F1, MACC, sensitivity, specificity, precision, accuracy of recordings
    (126, 107, 83.17, 82.30, 91.30, 73.29, 76.36, 82.04),
    (127, 111, 84.67, 84.03, 92.03, 76.03, 78.39, 83.80),
    (129, 98, 81.91, 80.30, 93.48, 67.12, 72.88, 79.93),
    (120, 129, 87.27, 87.66, 86.96, 88.36, 87.59, 87.68),
    (121, 128, 87.37, 87.68, 87.68, 87.67, 87.05, 87.68),
    (121, 131, 88.32, 88.70, 87.68, 89.73, 88.97, 88.73),
]


@pytest.mark.parametrize("row", SPECTNET)
def test_spectnets_table_follows_from_its_counts(row):
    tp, tn, *published = row
    scores = scores_of([[tn, 146 - tn], [138 - tp, tp]], positive=1)
    found = (
        scores.classes[1].f1,
        scores.macc,
        scores.sensitivity,
        scores.specificity,
        scores.precision,
        scores.accuracy,
    )
    # Two of the published F1 are rounded up that should be rounded down.
    np.testing.assert_allclose([100 * x.value for x in found], published, atol=0.0055)
    assert scores.macc.value == pytest.approx(
        (scores.sensitivity.value + scores.specificity.value) / 2
    )
    # "The half-width of one MACC is some 3.7 points."
    assert 0.03 < (scores.macc.high - scores.macc.low) / 2 < 0.05


def by_definition(targets, predictions, n_classes):
    """One class after another, example after example."""
    rows = []
    for c in range(n_classes):
        pairs = [(t == c, p == c) for t, p in zip(targets, predictions, strict=True)]
        tp, fn, fp, tn = (
            sum(pair == wanted for pair in pairs)
            for wanted in ((True, True), (True, False), (False, True), (False, False))
        )
        sensitivity, precision = tp / (tp + fn), tp / (tp + fp)
        f1 = 2 * sensitivity * precision / (sensitivity + precision)
        rows.append((sensitivity, tn / (tn + fp), precision, f1))
    return np.array(rows)


def test_scores_of_many_classes_are_their_definitions(rng):
    targets = rng.integers(0, 4, 200)
    predictions = np.where(rng.random(200) < 0.6, targets, rng.integers(0, 4, 200))
    scores = metrics.classification_scores(targets, predictions, n_classes=4)
    expected = by_definition(targets, predictions, 4)
    names = ("sensitivity", "specificity", "precision", "f1")
    found = [[getattr(c, name).value for name in names] for c in scores.classes]
    np.testing.assert_allclose(found, expected)
    macro = expected.mean(0)
    overall = (scores.sensitivity, scores.specificity, scores.precision, scores.macro_f1)
    np.testing.assert_allclose([x.value for x in overall], macro)
    assert scores.macc.value == pytest.approx((macro[0] + macro[1]) / 2)
    assert scores.accuracy.value == pytest.approx(np.mean(targets == predictions))
    assert [c.n_examples for c in scores.classes] == np.bincount(targets).tolist()
    for i, j in np.ndindex(4, 4):
        assert scores.confusion[i, j] == sum((targets == i) & (predictions == j))


def test_undefined_scores_are_nan_and_not_in_the_means():
    # No example of the last class; the second is never called.
    scores = scores_of([[3, 0, 1], [2, 0, 0], [0, 0, 0]])
    first, second, third = scores.classes
    assert np.isnan(third.sensitivity).all()
    assert third.specificity.value == pytest.approx(5 / 6)
    assert third.precision.value == 0
    assert second.sensitivity.value == second.precision.value == second.f1.value == 0
    assert scores.sensitivity.value == pytest.approx((0.75 + 0) / 2)
    assert scores.precision.value == pytest.approx((3 / 5 + 0) / 2)
    assert scores.macro_f1.value == pytest.approx((2 * 3 / (4 + 5) + 0) / 2)
    assert first.sensitivity.value == 0.75
    # If all examples have the same class, its specificity is undefined.
    alone = scores_of([[4, 1], [0, 0]])
    assert np.isnan(alone.specificity.value) and np.isnan(alone.macc.value)
    assert alone.accuracy.value == alone.sensitivity.value == 0.8


# intervals


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_the_published_ones(k, n, low, high):
    interval = metrics.wilson_interval(k, n)
    np.testing.assert_allclose(interval, (k / n, low, high), atol=5e-5)
    mirrored = metrics.wilson_interval(n - k, n)
    np.testing.assert_allclose(mirrored, (1 - k / n, 1 - high, 1 - low), atol=5e-5)
    assert interval.low <= interval.value <= interval.high


def every_interval(scores):
    overall = [x for x in scores if isinstance(x, metrics.Interval)]
    return overall + [x for c in scores.classes for x in c if isinstance(x, metrics.Interval)]


def test_counted_shares_have_wilsons_interval():
    scores = scores_of([[40, 10], [5, 25]], positive=1)
    assert scores.accuracy == metrics.wilson_interval(65, 80)
    assert scores.sensitivity == scores.classes[1].sensitivity == metrics.wilson_interval(25, 30)
    assert scores.specificity == scores.classes[1].specificity == metrics.wilson_interval(40, 50)
    assert scores.precision == scores.classes[1].precision == metrics.wilson_interval(25, 35)


def test_the_interval_of_a_perfect_score_has_a_width():
    scores = scores_of([[20, 0], [0, 10]])
    for interval in every_interval(scores):
        assert interval.value == interval.high == 1
        assert 0.6 < interval.low < 0.99


RATES = {
    "uneven": ([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.02, 0.08, 0.9]], [30, 40, 20]),
    "many": (0.9 * np.eye(10) + 0.1 / 9 * (1 - np.eye(10)), [30] * 10),
    "two": ([[0.9, 0.1], [0.12, 0.88]], [146, 138]),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "many")) for name in RATES]
)
def test_intervals_of_independent_examples_have_95_percent_coverage(name, rng):
    """Classes of known rates; of 200 experiments 95 %, within five standard errors."""
    rates, counts = (np.array(x) for x in RATES[name])
    truth = scores_of(np.round(10_000 * rates * counts[:, None]).astype(int))
    hits = []
    for seed in range(200):
        scores = scores_of(rng.multinomial(counts, rates), seed=seed)
        pairs = [(scores.macro_f1, truth.macro_f1), (scores.macc, truth.macc)]
        pairs += [(scores.sensitivity, truth.sensitivity), (scores.precision, truth.precision)]
        pairs.append((scores.classes[0].f1, truth.classes[0].f1))
        hits.append([found.low <= true.value <= found.high for found, true in pairs])
    rate = np.mean(hits, 0)
    assert (np.abs(rate - 0.95) < 5 * np.sqrt(0.95 * 0.05 / 200)).all(), rate


@pytest.mark.slow
def test_intervals_of_few_groups_have_95_percent_coverage(rng):
    hits = []
    for seed in range(200):
        # Six speakers, each with its own rate of correct predictions.
        rates = np.repeat(rng.beta(18, 2, 6), 40)
        targets = np.tile(np.arange(4), 60)
        predictions = np.where(rng.random(240) < rates, targets, (targets + 1) % 4)
        scores = metrics.classification_scores(
            targets,
            predictions,
            n_classes=4,
            groups=[str(i // 40) for i in range(240)],
            seed=seed,
        )
        found = (scores.accuracy, scores.macro_f1, scores.sensitivity)
        hits.append([x.low <= 0.9 <= x.high for x in found])
    rate = np.mean(hits, 0)
    assert (np.abs(rate - 0.95) < 5 * np.sqrt(0.95 * 0.05 / 200)).all(), rate


def test_examples_that_share_a_group_widen_the_interval():
    # Ten speakers of twenty examples, of which five are always right and five never.
    targets = np.tile([0, 1], 100)
    right = np.repeat([True, False], 100)
    predictions = np.where(right, targets, 1 - targets)
    speakers = [f"speaker {i // 20}" for i in range(200)]
    alone = metrics.classification_scores(targets, predictions, n_classes=2)
    shared = metrics.classification_scores(targets, predictions, n_classes=2, groups=speakers)
    # Ten coins, where 200 have a fifth of it: Wilson's interval of half of nine, and Student's t.
    half = 2.262 * np.sqrt(0.25 / 9 + (2.262 / 18) ** 2) / (1 + 2.262**2 / 9)
    assert (shared.accuracy.high - shared.accuracy.low) / 2 == pytest.approx(half, abs=0.01)
    assert (alone.accuracy.high - alone.accuracy.low) / 2 == pytest.approx(0.069, abs=0.005)
    for wide, narrow in zip(every_interval(shared), every_interval(alone), strict=True):
        assert wide.value == narrow.value
        assert wide.low <= narrow.low <= narrow.high <= wide.high


def test_wilson_intervals_equal_those_of_scipy():
    from scipy.stats import binomtest

    for k, n in ((0, 1), (1, 1), (3, 7), (7, 7), (250, 1000)):
        expected = binomtest(k, n).proportion_ci(method="wilson")
        np.testing.assert_allclose(metrics.wilson_interval(k, n)[1:], expected, atol=1e-12)


def test_groups_widen_by_students_quantile():
    """Of groups that are all right nothing else does."""
    from scipy.stats import norm, t

    for n_groups in (2, 3, 7, 50):
        targets = np.zeros(2 * n_groups, int)
        groups = np.repeat(np.arange(n_groups), 2).astype(str).tolist()
        scores = metrics.classification_scores(targets, targets, n_classes=2, groups=groups)
        ratio = (t.ppf(0.975, n_groups - 1) / norm.ppf(0.975)) ** 2
        # k = n: the lower end is n / (n + z^2).
        low = 1 / (1 + norm.ppf(0.975) ** 2 * ratio / targets.size)
        assert scores.accuracy.low == pytest.approx(low, abs=1e-9)


def test_groups_never_narrow_an_interval():
    # All alike: half of each is right.
    targets, predictions = np.tile([0, 0, 1, 1], 6), np.tile([0, 1, 1, 0], 6)
    groups = [str(i // 8) for i in range(24)]
    shared = metrics.classification_scores(targets, predictions, n_classes=2, groups=groups)
    alone = metrics.classification_scores(targets, predictions, n_classes=2)
    assert every_interval(shared) == every_interval(alone)


def test_groups_of_one_example_change_nothing():
    targets, predictions = labels_of([[7, 1], [0, 4]])
    groups = [str(i) for i in range(12)]
    shared = metrics.classification_scores(targets, predictions, n_classes=2, groups=groups)
    alone = metrics.classification_scores(targets, predictions, n_classes=2)
    assert every_interval(shared) == every_interval(alone)


@pytest.mark.parametrize("n_groups", [2, 3, 6])
def test_a_perfect_score_of_groups_has_the_width_of_one_with_an_error(n_groups):
    targets = np.tile([0, 1], 300)
    groups = [str(i * n_groups // 600) for i in range(600)]
    perfect, almost = (
        metrics.classification_scores(targets, predictions, n_classes=2, groups=groups).accuracy
        for predictions in (targets, np.where(np.arange(600), targets, 1))
    )
    assert (perfect.value, perfect.high) == (1, 1)
    assert perfect.low == pytest.approx(almost.low, abs=0.01)
    assert perfect.low > almost.low
    # Were nothing right, it would be as sure of that.
    never = metrics.classification_scores(targets, 1 - targets, n_classes=2, groups=groups)
    assert never.accuracy.high == pytest.approx(1 - perfect.low)


def test_one_group_gives_no_interval():
    targets, predictions = labels_of([[3, 1], [0, 4]])
    scores = metrics.classification_scores(targets, predictions, n_classes=2, groups=["a"] * 8)
    assert scores.accuracy.value == 7 / 8
    assert np.isnan([[x.low, x.high] for x in every_interval(scores)]).all()


def test_the_seed_determines_the_resampling():
    first, again, other = (scores_of([[9, 3], [2, 6]], seed=seed) for seed in (0, 0, 1))
    assert first.macro_f1 == again.macro_f1 != other.macro_f1
    assert first.macro_f1.value == other.macro_f1.value
    assert first.macro_f1.low == pytest.approx(other.macro_f1.low, abs=0.02)


def test_each_group_has_scores_of_its_own(rng):
    targets, predictions = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    groups = [f"g{i}" for i in rng.integers(0, 4, 60)]
    found = metrics.group_scores(targets, predictions, groups, n_classes=3)
    assert [name for name, _ in found] == ["g0", "g1", "g2", "g3"]
    for name, scores in found:
        members = np.array(groups) == name
        expected = metrics.classification_scores(
            targets[members], predictions[members], n_classes=3
        )
        np.testing.assert_array_equal(every_interval(scores), every_interval(expected))
    assert sum(scores.n_examples for _, scores in found) == 60


# boundaries


@pytest.mark.parametrize(
    ("targets", "predictions", "options", "message"),
    [
        ([0, 1], [0], {}, "`targets` and `predictions` must have the same length, got 2 and 1"),
        ([0, 2], [0, 1], {}, "`targets` must be from 0 to 1, got 0 to 2"),
        ([0, 1], [0, -1], {}, "`predictions` must be from 0 to 1, got -1 to 0"),
        ([], [], {}, "`targets` must hold at least one example"),
        ([0, 1], [0, 1], {"groups": ["a"]}, "`groups` must name the group of each of the 2"),
        ([0, 1], [0, 1], {"positive": 2}, "`positive` must be from 0 to 1, got 2"),
        ([[0, 1]], [[0, 1]], {}, "`targets` must be one integer for each example"),
    ],
)
def test_wrong_labels_are_refused(targets, predictions, options, message):
    targets, predictions = np.array(targets, int), np.array(predictions, int)
    with pytest.raises(ValueError, match=message):
        metrics.classification_scores(targets, predictions, n_classes=2, **options)
