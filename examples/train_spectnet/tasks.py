"""What is to be told apart: five collections of recordings, and who is held out of each."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ddspx.io import Recording
from ddspx.training import ClassifierTrainConfig


class Task(NamedTuple):
    """A collection: how it is heard and trained on, and its divisions into splits.

    Attributes:
      sample_rate: samples per second.
      hop_ms: milliseconds between frames, half of a window.
      segment_frames: frames that are classified at once.
      fmin: lower end of the bands, in Hz.
      training: what happens to the crops.
      divisions: by name, recordings with the column `split` filled in.
      groups: what the results are told apart by.
    """

    sample_rate: int
    hop_ms: int
    segment_frames: int
    fmin: float
    training: ClassifierTrainConfig
    divisions: dict[str, list[Recording]]


Row = dict[str, str]


def rows(data: Path, folder: str) -> list[Row]:
    with open(data / folder / "metadata.csv", newline="", encoding="utf-8") as file:
        return [{**row, "path": str(data / folder / row["file"])} for row in csv.DictReader(file)]


def recordings(
    table: list[Row],
    label: str,
    split: Callable[[Row], str],
    group: Callable[[Row], str] = lambda row: row["file"],
) -> list[Recording]:
    """Those rows whose split is not empty."""
    return [
        Recording(Path(row["path"]), row["file"], row[label], split(row), group(row))
        for row in table
        if split(row)
    ]


def fsdd(data: Path) -> Task:
    """Spoken digits of six speakers: the official split, and each speaker held out."""
    table = rows(data, "fsdd")
    speakers = sorted({row["speaker"] for row in table})

    def official(row: Row) -> str:
        index = int(row["index"])
        return "test" if index < 5 else "valid" if index < 8 else "train"

    def without(speaker: str, valid: str) -> Callable[[Row], str]:
        return lambda row: {speaker: "test", valid: "valid"}.get(row["speaker"], "train")

    # The speaker after the one who is held out says when to stop.
    following = dict(zip(speakers, speakers[1:] + speakers[:1], strict=True))
    divisions = {"official": official} | {
        f"without {speaker}": without(speaker, following[speaker]) for speaker in speakers
    }
    of = {name: recordings(table, "label", split) for name, split in divisions.items()}
    training = ClassifierTrainConfig(steps=800, speed=0.2)
    return Task(8000, 20, 40, 60.0, training, of)


def heart(data: Path) -> Task:
    """Heart sounds of five classes; patients are not known.

    The given split is by blocks of the numbering, where neighbours sound alike. Published figures
    are of splits at random, which divide them.
    """
    table = rows(data, "heart_yaseen5")
    drawn = np.random.default_rng(0).permutation(len(table))
    share = {row["file"]: i / len(table) for row, i in zip(table, drawn, strict=True)}

    def at_random(row: Row) -> str:
        return (
            "test" if share[row["file"]] < 0.2 else "valid" if share[row["file"]] < 0.3 else "train"
        )

    of = {
        "given": recordings(table, "label", lambda row: row["split"]),
        "at random": recordings(table, "label", at_random),
    }
    return Task(4000, 25, 40, 20.0, ClassifierTrainConfig(steps=500, speed=0.1), of)


def physionet(data: Path) -> Task:
    """Heart sounds, normal or not, from six databases, which are the groups of the results."""
    table = rows(data, "physionet2016_sub")
    split, database = (lambda row: row["split"]), (lambda row: row["database"])
    of = {"given": recordings(table, "label", split, database)}
    return Task(2000, 25, 40, 20.0, ClassifierTrainConfig(steps=500, speed=0.1), of)


def esc10(data: Path) -> Task:
    """Sounds around us, ten classes: each of four folds held out, the next says when to stop."""
    table = rows(data, "esc10")
    folds = ("1", "2", "3", "4")

    def without(fold: str, valid: str) -> Callable[[Row], str]:
        return lambda row: {fold: "test", valid: "valid"}.get(row["fold"], "train")

    of = {
        f"fold {fold}": recordings(table, "label", without(fold, folds[int(fold) % 4]))
        for fold in folds
    }
    training = ClassifierTrainConfig(steps=500, speed=0.2, mixup=0.2)
    return Task(16000, 40, 40, 60.0, training, of)


def instruments(data: Path) -> Task:
    """Single notes of eight instruments; the alto saxophone of one library is heard in the test."""
    table = rows(data, "solo_notes")

    def is_other_alto(row: Row) -> bool:
        return (row["instrument"], row["library"]) == ("alto_sax", "mtg_solo_sax")

    of = {
        "given": recordings(
            table,
            "instrument",
            lambda row: "test" if is_other_alto(row) else row["split"],
            lambda row: "other library" if is_other_alto(row) else "same libraries",
        )
    }
    return Task(16000, 20, 40, 60.0, ClassifierTrainConfig(steps=500, speed=0.03), of)


TASKS = {
    "fsdd": fsdd,
    "heart": heart,
    "physionet": physionet,
    "esc10": esc10,
    "instruments": instruments,
}
