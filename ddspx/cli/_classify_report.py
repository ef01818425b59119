"""Prints a classifier's scores as tables, and writes them to files."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

from ddspx._text import printable
from ddspx.io import replacing_file
from ddspx.metrics import ClassificationScores, ClassScores, Interval
from ddspx.plot import plot_confusion
from ddspx.training import ClassifierEvaluation

_WAYS_OF_DECIDING = {
    "segments": "segments",
    "majority": "recordings,\nmajority vote",
    "mean_probability": "recordings,\nmean probability",
}
_OVERALL = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "macc": "MACC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
}
_OF_CLASS = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
}
# Larger tables would not fit the screen; their numbers are in scores.json.
_MOST_GROUPS, _MOST_LABELS = 40, 12


def print_scores(evaluation: ClassifierEvaluation, labels: Sequence[str], title: str) -> None:
    """Prints tables of all scores, in percent."""
    console = Console()
    scores = evaluation.scores
    sizes = [str(scores[name].n_examples) for name in _WAYS_OF_DECIDING]
    # With a single group there are no intervals: its recordings do not tell how others vary.
    is_one_group = len({recording.group for recording in evaluation.recordings}) == 1
    unit = "percent; all are of one group" if is_one_group else r"percent \[95 % interval]"
    overall = _table(title, ["", *_WAYS_OF_DECIDING.values()], unit)
    overall.add_row("number", *sizes)
    for name, heading in _OVERALL.items():
        intervals = (getattr(scores[by], name) for by in _WAYS_OF_DECIDING)
        overall.add_row(heading, *(_cell(interval, digits=1) for interval in intervals))
    console.print(overall)
    by_mean = scores["mean_probability"]
    headings = ["", "number", *_OF_CLASS.values()]
    classes = _table("each class, by mean probability", headings, names=labels)
    for label, of_class in zip(labels, by_mean.classes, strict=True):
        cells = (_cell(getattr(of_class, name)) for name in _OF_CLASS)
        classes.add_row(_escape(label), str(of_class.n_examples), *cells)
    console.print(classes)
    if len(labels) <= _MOST_LABELS:
        console.print(_confusion(by_mean.confusion, labels))
    if not (all_groups := evaluation.groups["mean_probability"]):
        return
    names = ("accuracy", "macro_f1", "macc")
    shown = all_groups[:_MOST_GROUPS]
    n_more = len(all_groups) - len(shown)
    rest = f"{n_more} more are in scores.json (-o)" if n_more else None
    groups = _table(
        "each group, by mean probability",
        ["", "number", *(_OVERALL[name] for name in names)],
        rest,
        names=[group for group, _ in shown],
    )
    for group, of_group in shown:
        cells = (_cell(getattr(of_group, name)) for name in names)
        groups.add_row(_escape(group), str(of_group.n_examples), *cells)
    console.print(groups)


def write_scores(evaluation: ClassifierEvaluation, labels: Sequence[str], folder: Path) -> None:
    """Writes the scores as JSON, the predictions as CSV, and a plot of the confusion matrix."""
    plain = {
        "labels": list(labels),
        "all": {name: _plain(scores) for name, scores in evaluation.scores.items()},
        "groups": {
            name: {group: _plain(scores) for group, scores in groups}
            for name, groups in evaluation.groups.items()
        },
    }
    confusion = evaluation.scores["mean_probability"].confusion
    figure = plot_confusion(confusion, list(map(printable, labels)))
    names = ("scores.json", "predictions.csv", "confusion.png")
    # All three files appear when all are complete, or none.
    with ExitStack() as stack:
        scores, table, picture = (
            stack.enter_context(replacing_file(folder / name)) for name in names
        )
        scores.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        with table.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            # With surrogateescape a file name that is not UTF-8 is written byte for byte.
            writer = csv.writer(file)
            writer.writerow(["file", "label", "group", "predicted", *labels])
            for recording, shares in zip(
                evaluation.recordings, evaluation.probabilities, strict=True
            ):
                predicted = labels[int(np.argmax(shares))]
                facts = [recording.name, recording.label, recording.group, predicted]
                writer.writerow([*facts, *(f"{share:.4f}" for share in shares)])
        figure.savefig(picture, format="png")


def _escape(text: str) -> str:
    """Escapes text from a file, so that it is neither a terminal's command nor rich's markup."""
    return escape_markup(printable(text))


def _confusion(confusion: np.ndarray, labels: Sequence[str]) -> Table:
    """Makes the table of the confusion matrix: true labels in rows, predictions in columns."""
    numbered = [f"{i} {label}" for i, label in enumerate(labels, start=1)]
    headings = ["true, predicted", *(str(i) for i in range(1, len(labels) + 1))]
    table = _table("confusion, by mean probability", headings, names=numbered)
    for name, counts in zip(numbered, confusion, strict=True):
        table.add_row(_escape(name), *(str(int(count)) if count else "." for count in counts))
    return table


def _table(
    title: str, headings: Sequence[str], caption: str | None = None, *, names: Sequence[str] = ()
) -> Table:
    # A long name may wrap to a second line; short names and numbers must not.
    table = Table(title=_escape(title), caption=caption, box=box.SIMPLE)
    width = min(16, max(map(len, names), default=0))
    for i, heading in enumerate(headings):
        table.add_column(
            heading,
            justify="right" if i else "left",
            min_width=None if i else width,
            no_wrap=i > 0,
            overflow="fold",
        )
    return table


def _cell(interval: Interval, *, digits: int = 0) -> str:
    """Formats a share in percent, with its interval if there is one."""
    value, low, high = (100 * share for share in interval)
    if math.isnan(value):
        return "-"
    text = f"{value:.{digits}f}"
    return text if math.isnan(low) else _escape(f"{text} [{low:.0f}, {high:.0f}]")


def _plain(scores: ClassificationScores | ClassScores) -> dict[str, Any]:
    """Converts scores for JSON; a score that is not defined becomes null."""
    return {name: _value(value) for name, value in scores._asdict().items()}


def _value(value: Any) -> Any:
    if isinstance(value, Interval):
        named: Mapping[str, float] = value._asdict()
        return {name: None if math.isnan(share) else share for name, share in named.items()}
    if isinstance(value, tuple):
        return [_plain(scores) for scores in value]
    return value.tolist() if isinstance(value, np.ndarray) else value
