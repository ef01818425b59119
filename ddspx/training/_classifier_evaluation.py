"""Evaluation of a classifier on labelled recordings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np

from ddspx._checks import checked_seed, one_of
from ddspx._progress import Progress, no_progress
from ddspx._typing import Float
from ddspx.io import AudioError, DatasetError, Recording, read_audio
from ddspx.io._json import OBJECT, TEXT, json_field, list_of
from ddspx.metrics import ClassificationScores, GroupScores, classification_scores, group_scores
from ddspx.models.spectnet import SpectNet, vote_majority, vote_mean_probability
from ddspx.models.spectnet.inference import segment_logits
from ddspx.training._config import EvaluationPart

_PARTS = ("unheard", "train", "valid", "test", "all")


class ClassifierEvaluation(NamedTuple):
    """The predictions of a classifier compared with the labels of recordings.

    Attributes:
      recordings: the recordings that could be read.
      probabilities: the probability of every label, as a mean over the segments of a recording.
      scores: by the way of deciding: ``segments`` (each segment for itself), ``majority`` and
        ``mean_probability`` (votes of the segments of a recording).
      groups: the scores of each group, by the same keys; empty if no group has two recordings.
    """

    recordings: tuple[Recording, ...]
    probabilities: Float[np.ndarray, "recordings classes"]
    scores: Mapping[str, ClassificationScores]
    groups: Mapping[str, tuple[GroupScores, ...]]


def recordings_to_test(
    recordings: Sequence[Recording],
    provenance: Mapping[str, Any],
    *,
    part: EvaluationPart = "unheard",
) -> list[Recording]:
    """Selects the recordings to evaluate a classifier on.

    Args:
      recordings: as `io.labelled_recordings` gives them.
      provenance: the model's; it lists the recordings of its training by a hash of their contents.
      part: ``unheard``: recordings that were used neither to train the model nor to choose its
        weights, and no other recording of their group either; ``train``, ``valid`` or ``test``:
        the recordings of that split in the table; ``all``.

    Returns:
      The selected recordings, in their order.

    Raises:
      DatasetError: no recording is selected, or `part` is ``test`` and a recording of that split
        or another one of its group was used in training.
      ValueError: `part` is unknown, or the provenance is damaged.
    """
    one_of("part", part, _PARTS)
    digests, groups = _training_recordings(provenance)

    def is_in_training(recording: Recording) -> bool:
        return recording.sha256 in digests or recording.group in groups

    if part == "unheard":
        chosen = [recording for recording in recordings if not is_in_training(recording)]
    else:
        chosen = [recording for recording in recordings if part in ("all", recording.split)]
    if part == "test":
        for recording in chosen:
            if is_in_training(recording):
                used = "it" if recording.sha256 in digests else f"its group {recording.group!r}"
                raise DatasetError(
                    f"{recording.name} is in the test split, but the model was trained on {used}; "
                    "evaluate it on the part 'unheard'."
                )
    if not chosen:
        kind = "unheard recording" if part == "unheard" else f"recording in the part {part!r}"
        raise DatasetError(
            f"There is no {kind} to evaluate the model on; name other data, or another part."
        )
    return chosen


def _training_recordings(provenance: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Returns the hashes and the groups of the recordings that a model was trained with."""
    owner = "the model's provenance"
    try:
        data = json_field(provenance, "data", OBJECT, owner=owner, default={})
        by_split = json_field(data, "sha256", OBJECT, owner=owner, default={})
        texts = list_of(TEXT)
        digests = {
            digest
            for split in ("train", "valid")
            for digest in json_field(by_split, split, texts, owner=owner, default=())
        }
        # The empty text stands for a recording without a hash, which only its group identifies.
        return digests - {""}, set(json_field(data, "groups", texts, owner=owner, default=()))
    except ValueError as error:
        raise ValueError(f"{error} Copy the whole model folder again.") from error


def evaluate_classifier(
    model: SpectNet,
    recordings: Sequence[Recording],
    *,
    positive: str | None = None,
    report: Callable[[AudioError], object] | None = None,
    progress: Progress = no_progress,
    batch_size: int = 32,
    seed: int = 0,
) -> ClassifierEvaluation:
    """Classifies recordings and compares the predictions with their labels.

    Args:
      model: the classifier.
      recordings: recordings whose labels are among the model's.
      positive: the label whose sensitivity, specificity and precision are the overall ones; by
        default these are means over the classes.
      report: called with the error of every recording that cannot be read, which is then left
        out; by default the error is raised.
      progress: called with the number of recordings that have been read, and of all.
      batch_size: segments that are computed at once.
      seed: seed of the bootstrap of the intervals, from 0 to 2**32 - 1.

    Returns:
      The predictions and the scores.

    Raises:
      AudioError: a recording cannot be read and there is no `report`, or no recording can be read.
      DatasetError: a label is not one of the model's.
      ValueError: `positive` is not one of its labels.
    """
    checked_seed(seed)
    labels = model.config.labels
    if positive is not None:
        positive = normalize("NFC", positive)
        one_of("positive", positive, labels)
    for recording in recordings:
        if recording.label not in labels:
            raise DatasetError(
                f"{recording.name} has the label {recording.label!r}, which is not one of the "
                f"model's labels {', '.join(labels)}."
            )
    read: list[Recording] = []

    def sounds() -> Iterator[np.ndarray]:
        for done, recording in enumerate(recordings):
            progress("listening", float(done), float(len(recordings)))
            try:
                audio = read_audio(recording.path, sample_rate=model.config.frontend.sample_rate)
            except AudioError as error:
                if report is None:
                    raise
                report(error)
                continue
            read.append(recording)
            yield audio

    logits = list(segment_logits(model, sounds(), batch_size=batch_size))
    if not read:
        raise AudioError("None of the recordings can be read; name others.")
    return _scored(model, read, logits, positive, seed)


def _scored(
    model: SpectNet,
    recordings: Sequence[Recording],
    logits: Sequence[np.ndarray],
    positive: str | None,
    seed: int,
) -> ClassifierEvaluation:
    """Computes the scores from the logits of the segments of each recording."""
    labels = model.config.labels
    means = [vote_mean_probability(segments) for segments in logits]
    counts = [len(segments) for segments in logits]
    targets = np.array([labels.index(recording.label) for recording in recordings])
    names = np.array([recording.group for recording in recordings])
    segment_predictions = np.concatenate([segments.argmax(-1) for segments in logits])
    majorities = np.array([vote_majority(segments).index for segments in logits])
    # By the way of deciding: the true classes, the predicted ones, and the groups.
    decisions = {
        "segments": (np.repeat(targets, counts), segment_predictions, np.repeat(names, counts)),
        "majority": (targets, majorities, names),
        "mean_probability": (targets, np.array([vote.index for vote in means]), names),
    }
    sizes = {
        "n_classes": len(labels),
        "positive": None if positive is None else labels.index(positive),
        "seed": seed,
    }
    is_grouped = len(set(names)) < len(names)
    return ClassifierEvaluation(
        tuple(recordings),
        np.stack([vote.shares for vote in means]),
        {
            way: classification_scores(true, predicted, groups=groups.tolist(), **sizes)
            for way, (true, predicted, groups) in decisions.items()
        },
        {
            way: group_scores(true, predicted, groups.tolist(), **sizes) if is_grouped else ()
            for way, (true, predicted, groups) in decisions.items()
        },
    )
