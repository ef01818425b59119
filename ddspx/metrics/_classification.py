"""How often a classifier is right, and how sure that is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddspx._checks import positive_int

# What is outside of an interval of 95 % lies half below and half above it.
_QUANTILE = 0.975
_RESAMPLES = 2000


class Interval(NamedTuple):
    """What was measured, and the 95 % interval of the true value; NaN where it is not defined."""

    value: float
    low: float
    high: float


class ClassScores(NamedTuple):
    """How well one class is told from the others.

    Attributes:
      n_examples: how many there are of it.
      sensitivity: share of its examples that are called so (recall).
      specificity: share of the others that are not.
      precision: share of what is called so that is.
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
      n_examples: how many.
      accuracy: share that is right.
      macro_f1: mean F1 of the classes that have examples, as all macro means.
      macc: mean of macro sensitivity and macro specificity; of two classes, the mean of
        sensitivity and specificity.
      sensitivity: of the positive class, or the macro mean where none is named.
      specificity: likewise.
      precision: likewise.
      classes: of each class.
      confusion: examples by true class (rows) and by what they are called (columns).
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
    """How many examples of each class are called what.

    Args:
      targets: the true class of each example, from 0.
      predictions: what each is called.
      n_classes: how many classes there are.

    Returns:
      Counts, (true class, called).

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
    r"""The 95 % interval of a share that was counted.

    .. math:: \frac{k + z^2 / 2 \pm z \sqrt{k (n - k) / n + z^2 / 4}}{n + z^2},
        \qquad z = 1.96

    Args:
      n_right: k, of
      n_examples: n independent examples.

    Returns:
      The share k / n and its interval, which is never empty, not even at 0 and 1; NaN where
      there is no example.

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

    All intervals are Wilson's. For a share of counted examples that is :func:`wilson_interval`.
    The others (F1, macro means, MACC) are given the number of examples with which a share would
    spread as much as they do when the rows of the matrix are drawn again.

    Both take examples for independent. Where several share a group (a speaker, a patient, a
    recording), they are not. Groups are then drawn again too, with replacement; the interval
    gets the number of examples that such spread is worth, the quantile of Student's t for that
    many groups, and the outer ends of both. Where all or nothing is right that quantile is all
    there is to widen it. What cannot be known is how groups differ that are not there.

    Args:
      targets: the true class of each example, from 0.
      predictions: what each is called.
      n_classes: how many classes there are.
      groups: the group of each example; by default each is one of its own. With one group in
        all there is no interval: how groups differ cannot be seen, and its ends are NaN.
      positive: the class, of two or more, that overall sensitivity, specificity and precision
        are those of; None for the mean over the classes that have examples.
      seed: of what is drawn.

    Returns:
      The scores. What is not defined is NaN: sensitivity without examples, specificity without
      others. Precision of a class that has examples and is never called is 0.

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
      positive counts, Survey Methodology 24, 1998, for the number of examples that a spread is
      worth. SpectNet's repository adds 1e-7 to the denominators; its MACC is the one here.
    """
    positive_int("n_classes", n_classes)
    targets, predictions = _labels(targets=targets, predictions=predictions, n_classes=n_classes)
    if not targets.size:
        raise ValueError("`targets` must hold at least one example, got none.")
    if positive is not None and not 0 <= positive < n_classes:
        raise ValueError(f"`positive` must be from 0 to {n_classes - 1}, got {positive}.")
    confusion = confusion_matrix(targets, predictions, n_classes=n_classes)
    normal_z, student_z = _normal_z(), math.nan
    rng, values = np.random.default_rng(seed), _measure(confusion[None], positive)
    redrawn = _measure(_redrawn(rng, confusion), positive)
    counted, worth_of_all = _counted(confusion, positive), _worth_of_all(confusion)
    n_groups, regrouped = 0, redrawn
    if groups is not None:
        matrices = _group_matrices(targets, predictions, groups, n_classes)
        # Groups of one example each are none.
        if not 1 < len(matrices) == targets.size:
            n_groups, regrouped = len(matrices), _measure(_regrouped(rng, matrices), positive)
            student_z = _student_z(n_groups - 1)

    def interval(name: str, index: int | None = None) -> Interval:
        value = float(_at(values, name, index)[0])
        if n_groups == 1 or np.isnan(value):
            return Interval(value, np.nan, np.nan)
        found = counted.get((name, index))
        if found is None:
            certain = worth_of_all[name] if index is None else float(confusion[index].sum())
            found = _wilson(value, _worth(value, _at(redrawn, name, index)) or certain, normal_z)
        worth = _worth(value, _at(regrouped, name, index)) if n_groups else 0.0
        if worth:
            between = _wilson(value, worth * (1 - 1 / n_groups), student_z)
            found = Interval(value, min(found.low, between.low), max(found.high, between.high))
        elif n_groups and value in (0.0, 1.0):
            # Nothing spreads where all is right. Of one error, were there one, the spread between
            # groups would be worth about all the examples, at Student's quantile.
            open_end = found.high if value == 0 else 1 - found.low
            found = _wilson(value, normal_z**2 * (1 / open_end - 1), student_z)
        return found

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
    """The scores of each group by itself, its examples taken for independent.

    Args:
      targets: the true class of each example, from 0.
      predictions: what each is called.
      groups: the group of each example.
      n_classes: how many classes there are.
      positive: as in :func:`classification_scores`.
      seed: likewise.

    Returns:
      The groups by name, each with its scores.

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
    """The scores of matrices (..., true class, called)."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, called = confusion.sum(-1), confusion.sum(-2)
    total = true.sum(-1, keepdims=True)
    sensitivity = _ratio(right, true)
    specificity = _ratio(total - true - called + right, total - true)
    precision = np.where((called == 0) & (true > 0), 0.0, _ratio(right, called))
    f1 = _ratio(2 * right, true + called)

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
    """Wilson's intervals of what is a share of examples, by name and class."""
    right, true, called = np.diagonal(confusion), confusion.sum(1), confusion.sum(0)
    total = int(confusion.sum())
    found: dict[tuple[str, int | None], Interval] = {
        ("accuracy", None): wilson_interval(int(right.sum()), total)
    }
    for i, (k, n, m) in enumerate(zip(right.tolist(), true.tolist(), called.tolist(), strict=True)):
        shares = {"sensitivity": (k, n), "specificity": (total - n - m + k, total - n)}
        # Never called is as wrong as can be, and no share of anything.
        if m:
            shares["precision"] = (k, m)
        for name, (n_right, n_examples) in shares.items():
            found[f"class_{name}", i] = wilson_interval(n_right, n_examples)
            if i == positive:
                found[name, None] = found[f"class_{name}", i]
    return found


def _redrawn(rng: np.random.Generator, confusion: np.ndarray) -> np.ndarray:
    """Matrices whose rows are drawn again from the shares of the counted ones."""
    true = confusion.sum(1)
    shares = confusion / np.maximum(true, 1)[:, None]
    # What is drawn of an empty row is nothing.
    shares[true == 0, 0] = 1
    return rng.multinomial(true, shares, size=(_RESAMPLES, len(confusion)))


def _regrouped(rng: np.random.Generator, matrices: np.ndarray) -> np.ndarray:
    """Sums of the matrices of groups that are drawn with replacement."""
    n_groups = len(matrices)
    times = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=_RESAMPLES)
    return np.tensordot(times, matrices, axes=1)


def _worth(value: float, draws: np.ndarray) -> float:
    """The examples of which a share spreads as the draws do; 0 where they do not spread."""
    draws = draws[~np.isnan(draws)]
    variance = float(np.var(draws)) if draws.size else 0.0
    return value * (1 - value) / variance if variance > 1e-12 else 0.0


def _worth_of_all(confusion: np.ndarray) -> dict[str, float]:
    """The same of mean scores where all or nothing is right and nothing spreads, by name.

    A mean of shares with one rate is worth the harmonic mean of the examples of its classes,
    times their number. Each error of sensitivity is shared by the other classes as one of
    specificity, which has so many times fewer.
    """
    true = confusion.sum(1)
    n_classes = int((true > 0).sum())
    worth = n_classes**2 / float((1 / true[true > 0]).sum())
    others = max(n_classes - 1, 1)
    shares = dict.fromkeys(("sensitivity", "precision", "macro_f1"), worth)
    return shares | {"specificity": others * worth, "macc": 2 * others / (others + 1) * worth}


def _normal_z() -> float:
    """How many standard deviations hold 95 % of a normal distribution."""
    from scipy.special import ndtri

    return float(ndtri(_QUANTILE))


def _student_z(freedom: int) -> float:
    """The same of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, _QUANTILE))


def _wilson(value: float, n: float, z: float) -> Interval:
    """Wilson's interval of an effective number of examples; SciPy's is of whole numbers."""
    if n == 0:
        return Interval(value, math.nan, math.nan)
    middle = (value + z**2 / n / 2) / (1 + z**2 / n)
    half = z * math.sqrt(value * (1 - value) / n + (z / n / 2) ** 2) / (1 + z**2 / n)
    # At 0 and 1 an end is the value itself, but for rounding.
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
    """A share; NaN of nothing."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _labels(*, targets, predictions, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays, after everything that can be wrong with them."""
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
