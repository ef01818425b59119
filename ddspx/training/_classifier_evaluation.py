"""How well a classifier does on recordings that it never heard."""

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
    """A classifier against the labels of recordings.

    Attributes:
      recordings: those that could be read.
      probabilities: of every label, as means over the segments of a recording.
      scores: by what decides: ``segments`` (each for itself), ``majority`` and
        ``mean_probability`` (votes of the segments of a recording).
      groups: the same for each group; empty where every group is one recording.
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
    """The recordings that a classifier is to be measured on.

    Args:
      recordings: as `io.labelled_recordings` gives them.
      provenance: of the model; it knows by their contents which recordings it was trained on.
      part: ``unheard``, those that neither trained the model nor chose its weights, nor others of
        their group did; ``train``, ``valid`` or ``test``, those of that split in the table;
        ``all``.

    Returns:
      Some of the recordings, in their order.

    Raises:
      DatasetError: there is none, or one of the test split, or of its group, was heard in training.
      ValueError: `part` is unknown, or the provenance is damaged.
    """
    one_of("part", part, _PARTS)
    heard, groups = _heard(provenance)

    def is_heard(recording: Recording) -> bool:
        return recording.sha256 in heard or recording.group in groups

    if part == "unheard":
        chosen = [recording for recording in recordings if not is_heard(recording)]
    else:
        chosen = [recording for recording in recordings if part in ("all", recording.split)]
    if part == "test":
        for recording in chosen:
            if is_heard(recording):
                it = "it" if recording.sha256 in heard else f"its group {recording.group!r}"
                raise DatasetError(
                    f"{recording.name} is in the test split, and the model has heard {it} in "
                    "training; test it on the recordings that are unheard."
                )
    if not chosen:
        what = "unheard recording" if part == "unheard" else f"recording in the part {part!r}"
        raise DatasetError(
            f"There is no {what} to measure the model on; name other data, or another part."
        )
    return chosen


def _heard(provenance: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """The digests and the groups of what a model has heard in training."""
    owner = "the model's provenance"
    try:
        known = json_field(provenance, "data", OBJECT, owner=owner, default={})
        digests = json_field(known, "sha256", OBJECT, owner=owner, default={})
        texts = list_of(TEXT)
        heard = {
            digest
            for split in ("train", "valid")
            for digest in json_field(digests, split, texts, owner=owner, default=())
        }
        # A recording without a digest is known by its group alone.
        return heard - {""}, set(json_field(known, "groups", texts, owner=owner, default=()))
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
    """Classifies recordings and compares with their labels.

    Args:
      model: the classifier.
      recordings: labelled with labels that the model knows.
      positive: the label that overall sensitivity, specificity and precision are those of; None
        for the mean over classes.
      report: told of every recording that cannot be read, which is left out; by default that
        is raised.
      progress: told how many recordings have been read, and of how many.
      batch_size: segments that are computed at once.
      seed: of the intervals, from 0 to 2**32 - 1.

    Returns:
      What it said, and the scores.

    Raises:
      AudioError: a recording cannot be read, and there is no `report`; or none can.
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
                f"{recording.name} has the label {recording.label!r}, which the model does not "
                f"know; it knows {', '.join(labels)}."
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
    """The scores of what the segments of recordings said."""
    labels = model.config.labels
    means = [vote_mean_probability(each) for each in logits]
    counts = [len(each) for each in logits]
    targets = np.array([labels.index(recording.label) for recording in recordings])
    names = np.array([recording.group for recording in recordings])
    # By what decides: the true classes, what they are called, and the groups.
    of_segments = np.concatenate([each.argmax(-1) for each in logits])
    decided = {
        "segments": (np.repeat(targets, counts), of_segments, np.repeat(names, counts)),
        "majority": (targets, np.array([vote_majority(each).index for each in logits]), names),
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
            by: classification_scores(true, called, groups=groups.tolist(), **sizes)
            for by, (true, called, groups) in decided.items()
        },
        {
            by: group_scores(true, called, groups.tolist(), **sizes) if is_grouped else ()
            for by, (true, called, groups) in decided.items()
        },
    )
