"""Scores of a classifier, with confidence intervals."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddspx._checks import positive_int

# Upper end of a two-sided 95 % interval: 2.5 % lie above it, and 2.5 % below the lower end.
_QUANTILE = 0.975
_RESAMPLES = 2000


class Interval(NamedTuple):
    """A measured value and the 95 % interval of the true value; NaN if it is not defined."""

    value: float
    low: float
    high: float


class ClassScores(NamedTuple):
    """How well one class is distinguished from the other classes.

    Attributes:
      n_examples: number of examples of the class.
      sensitivity: share of the class's examples that are predicted as the class (recall).
      specificity: share of the other classes' examples that are not predicted as the class.
      precision: share of the examples predicted as the class that belong to it.
      f1: harmonic mean of sensitivity and precision.
    """

    n_examples: int
    sensitivity: Interval
    specificity: Interval
    precision: Interval
    f1: Interval


class ClassificationScores(NamedTuple):
    """How well a classifier does on a set of examples.

    Attributes:
      n_examples: number of examples.
      accuracy: share of the examples whose class is predicted correctly.
      macro_f1: mean F1 over the classes. Like every macro mean here, it leaves out classes without
        examples.
      macc: mean of macro sensitivity and macro specificity; with two classes, the mean of
        sensitivity and specificity.
      sensitivity: that of the positive class, or the macro mean if no class is named positive.
      specificity: likewise.
      precision: likewise.
      classes: the scores of each class.
      confusion: counts of examples by true class (rows) and predicted class (columns).
    """

    n_examples: int
    accuracy: Interval
    macro_f1: Interval
    macc: Interval
    sensitivity: Interval
    specificity: Interval
    precision: Interval
    classes: tuple[ClassScores, ...]
    confusion: NDArray[np.integer]


class GroupScores(NamedTuple):
    """The scores of the examples of one group."""

    group: str
    scores: ClassificationScores


def confusion_matrix(
    targets: NDArray[np.integer], predictions: NDArray[np.integer], *, n_classes: int
) -> NDArray[np.integer]:
    """Counts of examples by true and predicted class.

    Args:
      targets: the true class of each example, from 0.
      predictions: the predicted class of each example.
      n_classes: number of classes.

    Returns:
      Counts of shape (true class, predicted class).

    Raises:
      ValueError: the lengths differ, or a class is not from 0 to below `n_classes`.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> metrics.confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), n_classes=2).tolist()
      [[1, 1], [0, 1]]
    """
    positive_int("n_classes", n_classes)
    targets, predictions = _labels(targets=targets, predictions=predictions, n_classes=n_classes)
    cells = np.bincount(n_classes * targets + predictions, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes)


def wilson_interval(n_right: int, n_examples: int) -> Interval:
    r"""The 95 % interval of a share of counted examples.

    .. math:: \frac{k + z^2 / 2 \pm z \sqrt{k (n - k) / n + z^2 / 4}}{n + z^2},
        \qquad z = 1.96

    Args:
      n_right: number k of examples that count.
      n_examples: number n of independent examples in all.

    Returns:
      The share k / n and its interval, whose width is never 0, not even if k is 0 or n; NaN if
      there are no examples.

    Example:
      >>> from ddspx import metrics
      >>> [round(x, 3) for x in metrics.wilson_interval(9, 10)]
      [0.9, 0.596, 0.982]

    References:
      Wilson, `Probable inference <https://doi.org/10.1080/01621459.1927.10502953>`_, 1927.
    """
    share = n_right / n_examples if n_examples else math.nan
    return _wilson(share, float(n_examples), _normal_z())


def classification_scores(
    targets: NDArray[np.integer],
    predictions: NDArray[np.integer],
    *,
    n_classes: int,
    groups: Sequence[str] | None = None,
    positive: int | None = None,
    seed: int = 0,
) -> ClassificationScores:
    """All scores of a set of examples, with 95 % intervals.

    All intervals are Wilson's. A share of counted examples has its :func:`wilson_interval`. The
    other scores (F1, macro means, MACC) are not such shares. For them, the rows of the confusion
    matrix are resampled, and the interval is that of a share whose number of examples would give
    the same variance as the resampled scores: an effective number of examples.

    This assumes independent examples. Examples that share a group (a speaker, a patient, a
    recording) are not independent. With `groups`, whole groups are therefore resampled too, with
    replacement. Their variance gives a second effective number of examples, used with the quantile
    of Student's t for that many groups, and the result spans both intervals. If all or none of the
    examples are right, resampled groups do not vary, and only that quantile widens the interval.
    No interval can account for groups that are unlike every group in the data.

    Args:
      targets: the true class of each example, from 0.
      predictions: the predicted class of each example.
      n_classes: number of classes.
      groups: the group of each example; by default every example is its own group. If there is
        only one group, the differences between groups cannot be estimated, and the ends of every
        interval are NaN.
      positive: the class whose sensitivity, specificity and precision are reported as the overall
        ones; None for the mean over the classes that have examples.
      seed: seed of the resampling.

    Returns:
      The scores. Undefined scores are NaN: the sensitivity of a class without examples, and the
      specificity if no other class has examples. The precision of a class that has examples but is
      never predicted is 0.

    Raises:
      ValueError: the lengths differ, there is no example, or a class is out of range.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> targets, predictions = np.array([1, 1, 1, 0]), np.array([1, 1, 0, 0])
      >>> scores = metrics.classification_scores(targets, predictions, n_classes=2, positive=1)
      >>> round(scores.sensitivity.value, 2), round(scores.macc.value, 2)
      (0.67, 0.83)

    References:
      Korn and Graubard, Confidence intervals for proportions with small expected number of
      positive counts, Survey Methodology 24, 1998, for the effective number of examples.
      SpectNet's repository adds 1e-7 to the denominators; its MACC is the one here.
    """
    positive_int("n_classes", n_classes)
    targets, predictions = _labels(targets=targets, predictions=predictions, n_classes=n_classes)
    if not targets.size:
        raise ValueError("`targets` must hold at least one example, got none.")
    if positive is not None and not 0 <= positive < n_classes:
        raise ValueError(f"`positive` must be from 0 to {n_classes - 1}, got {positive}.")
    confusion = confusion_matrix(targets, predictions, n_classes=n_classes)
    rng, values = np.random.default_rng(seed), _measure(confusion[None], positive)
    resampled = _measure(_resampled(rng, confusion), positive)
    counted, effective_sizes = _counted(confusion, positive), _effective_sizes(confusion)
    n_groups, by_group = 0, resampled
    if groups is not None:
        matrices = _group_matrices(targets, predictions, groups, n_classes)
        # If every example is its own group, resampling groups is the same as resampling examples.
        if not 1 < len(matrices) == targets.size:
            n_groups, by_group = len(matrices), _measure(_resampled_groups(rng, matrices), positive)

    def interval(name: str, index: int | None = None) -> Interval:
        value = float(_at(values, name, index)[0])
        if n_groups == 1 or np.isnan(value):
            return Interval(value, np.nan, np.nan)
        found = counted.get((name, index))
        if found is None:
            # The draws of a score without errors do not vary; its effective size is derived.
            derived = effective_sizes[name] if index is None else float(confusion[index].sum())
            effective = _effective_size(value, _at(resampled, name, index)) or derived
            found = _wilson(value, effective, _normal_z())
        return _widened(found, _at(by_group, name, index), n_groups) if n_groups else found

    names = ("sensitivity", "specificity", "precision", "f1")
    classes = tuple(
        ClassScores(int(count), *(interval(f"class_{name}", index) for name in names))
        for index, count in enumerate(confusion.sum(1))
    )
    overall = ("accuracy", "macro_f1", "macc", "sensitivity", "specificity", "precision")
    return ClassificationScores(
        targets.size, *(interval(name) for name in overall), classes=classes, confusion=confusion
    )


def group_scores(
    targets: NDArray[np.integer],
    predictions: NDArray[np.integer],
    groups: Sequence[str],
    *,
    n_classes: int,
    positive: int | None = None,
    seed: int = 0,
) -> tuple[GroupScores, ...]:
    """The scores of each group by itself, as if its examples were independent.

    Args:
      targets: the true class of each example, from 0.
      predictions: the predicted class of each example.
      groups: the group of each example.
      n_classes: number of classes.
      positive: as in :func:`classification_scores`.
      seed: likewise.

    Returns:
      The groups in the order of their names, each with its scores.

    Raises:
      ValueError: as :func:`classification_scores`.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> targets, predictions = np.array([0, 1, 1]), np.array([0, 1, 0])
      >>> found = metrics.group_scores(targets, predictions, ["ann", "bob", "bob"], n_classes=2)
      >>> [(group, scores.accuracy.value) for group, scores in found]
      [('ann', 1.0), ('bob', 0.5)]
    """
    targets, predictions = _labels(targets=targets, predictions=predictions, n_classes=n_classes)
    names = _group_names(groups, targets.size)
    found = []
    for name in np.unique(names):
        members = names == name
        scores = classification_scores(
            targets[members],
            predictions[members],
            n_classes=n_classes,
            positive=positive,
            seed=seed,
        )
        found.append(GroupScores(str(name), scores))
    return tuple(found)


class _Measures(NamedTuple):
    """Scores of any number of confusion matrices at once."""

    accuracy: np.ndarray
    macro_f1: np.ndarray
    macc: np.ndarray
    sensitivity: np.ndarray
    specificity: np.ndarray
    precision: np.ndarray
    class_sensitivity: np.ndarray
    class_specificity: np.ndarray
    class_precision: np.ndarray
    class_f1: np.ndarray


def _measure(confusion: np.ndarray, positive: int | None) -> _Measures:
    """The scores of confusion matrices (..., true class, predicted class)."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, predicted = confusion.sum(-1), confusion.sum(-2)
    total = true.sum(-1, keepdims=True)
    sensitivity = _ratio(right, true)
    specificity = _ratio(total - true - predicted + right, total - true)
    precision = np.where((predicted == 0) & (true > 0), 0.0, _ratio(right, predicted))
    f1 = _ratio(2 * right, true + predicted)

    def macro(values: np.ndarray) -> np.ndarray:
        counts = (true > 0) & ~np.isnan(values)
        return _ratio(np.where(counts, values, 0.0).sum(-1), counts.sum(-1))

    macros = [macro(values) for values in (sensitivity, specificity, precision)]
    overall = macros
    if positive is not None:
        overall = [values[..., positive] for values in (sensitivity, specificity, precision)]
    return _Measures(
        _ratio(right.sum(-1), total[..., 0]),
        macro(f1),
        (macros[0] + macros[1]) / 2,
        overall[0],
        overall[1],
        overall[2],
        *(sensitivity, specificity, precision, f1),
    )


def _counted(confusion: np.ndarray, positive: int | None) -> dict[tuple[str, int | None], Interval]:
    """Wilson's intervals of the scores that are shares of examples, by name and class."""
    right, true, predicted = np.diagonal(confusion), confusion.sum(1), confusion.sum(0)
    total = int(confusion.sum())
    found: dict[tuple[str, int | None], Interval] = {
        ("accuracy", None): wilson_interval(int(right.sum()), total)
    }
    counts = zip(right.tolist(), true.tolist(), predicted.tolist(), strict=True)
    for i, (k, n, m) in enumerate(counts):
        shares = {"sensitivity": (k, n), "specificity": (total - n - m + k, total - n)}
        # The precision of a class that is never predicted is 0 by definition, not a share.
        if m:
            shares["precision"] = (k, m)
        for name, (n_right, n_examples) in shares.items():
            found[f"class_{name}", i] = wilson_interval(n_right, n_examples)
            if i == positive:
                found[name, None] = found[f"class_{name}", i]
    return found


def _resampled(rng: np.random.Generator, confusion: np.ndarray) -> np.ndarray:
    """Confusion matrices whose rows are resampled from the row shares of the counted matrix."""
    true = confusion.sum(1)
    shares = confusion / np.maximum(true, 1)[:, None]
    # A row without examples needs valid shares too, although nothing is drawn from them.
    shares[true == 0, 0] = 1
    return rng.multinomial(true, shares, size=(_RESAMPLES, len(confusion)))


def _resampled_groups(rng: np.random.Generator, matrices: np.ndarray) -> np.ndarray:
    """Confusion matrices of groups that are drawn with replacement."""
    n_groups = len(matrices)
    times = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=_RESAMPLES)
    return np.tensordot(times, matrices, axes=1)


def _widened(found: Interval, draws: np.ndarray, n_groups: int) -> Interval:
    """The interval widened by the variation between groups, whose resampled scores are `draws`."""
    value, student_z = found.value, _student_z(n_groups - 1)
    if effective := _effective_size(value, draws):
        between = _wilson(value, effective * (1 - 1 / n_groups), student_z)
        return Interval(value, min(found.low, between.low), max(found.high, between.high))
    if value in (0.0, 1.0):
        # If all or no examples are right, resampled groups do not vary. A single error would give
        # an effective number close to the number of examples, so that number is used here too,
        # with Student's quantile.
        open_end = found.high if value == 0 else 1 - found.low
        return _wilson(value, _normal_z() ** 2 * (1 / open_end - 1), student_z)
    return found


def _effective_size(value: float, draws: np.ndarray) -> float:
    """The effective number of examples: a share of so many has the variance of the draws.

    It is 0 if the draws do not vary.
    """
    draws = draws[~np.isnan(draws)]
    variance = float(np.var(draws)) if draws.size else 0.0
    return value * (1 - value) / variance if variance > 1e-12 else 0.0


def _effective_sizes(confusion: np.ndarray) -> dict[str, float]:
    """Effective numbers of examples of mean scores whose draws do not vary, by name.

    That is so if all or no examples are right. The mean of the classes' shares, if all have the
    same rate, has the variance of a share of n examples, where n is the number of classes times the
    harmonic mean of their numbers of examples. An error that lowers the sensitivity of one class
    lowers the specificity of only one of the other classes, so specificity has as many times more
    effective examples as there are other classes.
    """
    true = confusion.sum(1)
    n_classes = int((true > 0).sum())
    size = n_classes**2 / float((1 / true[true > 0]).sum())
    n_others = max(n_classes - 1, 1)
    sizes = dict.fromkeys(("sensitivity", "precision", "macro_f1"), size)
    return sizes | {"specificity": n_others * size, "macc": 2 * n_others / (n_others + 1) * size}


def _normal_z() -> float:
    """The 0.975 quantile of the standard normal distribution."""
    from scipy.special import ndtri

    return float(ndtri(_QUANTILE))


def _student_z(freedom: int) -> float:
    """The 0.975 quantile of Student's t with this number of degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, _QUANTILE))


def _wilson(value: float, n: float, z: float) -> Interval:
    """Wilson's interval for an effective number of examples; SciPy's needs whole numbers."""
    if n == 0:
        return Interval(value, math.nan, math.nan)
    middle = (value + z**2 / n / 2) / (1 + z**2 / n)
    half = z * math.sqrt(value * (1 - value) / n + (z / n / 2) ** 2) / (1 + z**2 / n)
    # At the values 0 and 1 one end equals the value, up to rounding: clip it there.
    return Interval(value, max(0.0, min(value, middle - half)), min(1.0, max(value, middle + half)))


def _group_matrices(targets, predictions, groups, n_classes: int) -> np.ndarray:
    _, index = np.unique(_group_names(groups, targets.size), return_inverse=True)
    matrices = np.zeros((index.max() + 1, n_classes, n_classes), np.int64)
    np.add.at(matrices, (index, targets, predictions), 1)
    return matrices


def _at(measures: _Measures, name: str, index: int | None) -> np.ndarray:
    values = getattr(measures, name)
    return values if index is None else values[..., index]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The quotient, or NaN where `whole` is 0."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _labels(*, targets, predictions, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Checks targets and predictions and returns them as int64 arrays."""
    out = []
    for name, labels in (("targets", targets), ("predictions", predictions)):
        labels = np.asarray(labels)
        if labels.ndim != 1 or (labels.size and not np.issubdtype(labels.dtype, np.integer)):
            raise ValueError(
                f"`{name}` must be one integer for each example, got {labels.dtype} of shape "
                f"{labels.shape}; take the argmax of logits first."
            )
        if labels.size and not 0 <= labels.min() <= labels.max() < n_classes:
            raise ValueError(
                f"`{name}` must be from 0 to {n_classes - 1}, got {labels.min()} to {labels.max()}."
            )
        out.append(labels.astype(np.int64))
    if len(out[0]) != len(out[1]):
        raise ValueError(
            "`targets` and `predictions` must have the same length, got "
            f"{len(out[0])} and {len(out[1])}."
        )
    return out[0], out[1]


def _group_names(groups: Sequence[str], n_examples: int) -> np.ndarray:
    names = np.asarray([str(group) for group in groups])
    if len(names) != n_examples:
        raise ValueError(
            f"`groups` must name the group of each of the {n_examples} examples, got {len(names)}."
        )
    return names
