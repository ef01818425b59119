"""The classification tasks: five collections of recordings, and the recordings held out of each.

A division into three splits is used in two ways. To choose how to train (`choosing`), models are
tested on "valid", and "test" is not read. For the results, "valid" is used for training too.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ddspx.io import Recording
from ddspx.training import ClassifierTrainConfig


class Task(NamedTuple):
    """A collection: its front-end sizes, its augmentation, and its divisions into splits.

    Attributes:
      sample_rate: samples per second.
      hop_ms: milliseconds between frames, half of a window.
      segment_frames: frames of a segment.
      fmin: lower end of the bands, in Hz.
      training: the augmentation of the crops.
      divisions: by name, recordings with the column `split` filled in.
      groups: the groups for which the results are listed separately.
    """

    sample_rate: int
    hop_ms: int
    segment_frames: int
    fmin: float
    training: ClassifierTrainConfig
    divisions: dict[str, list[Recording]]


Row = dict[str, str]
_USE = {
    False: {"train": "train", "valid": "train", "test": "test"},
    True: {"train": "train", "valid": "test", "test": ""},
}


def rows(data: Path, folder: str) -> list[Row]:
    with open(data / folder / "metadata.csv", newline="", encoding="utf-8") as file:
        return [{**row, "path": str(data / folder / row["file"])} for row in csv.DictReader(file)]


def recordings(
    table: list[Row],
    label: str,
    split: Callable[[Row], str],
    *,
    choosing: bool,
    group: Callable[[Row], str] = lambda row: row["file"],
) -> list[Recording]:
    """The recordings for training or testing."""
    of = [(row, _USE[choosing][split(row)]) for row in table]
    return [
        Recording(Path(row["path"]), row["file"], row[label], use, group(row))
        for row, use in of
        if use
    ]


def in_turn(table: list[Row], column: str, *, choosing: bool) -> dict[str, list[Recording]]:
    """Holds out one speaker, or fold, after the other; the one that follows is "valid"."""
    values = sorted({row[column] for row in table})

    def split(test: str, valid: str) -> Callable[[Row], str]:
        return lambda row: {test: "test", valid: "valid"}.get(row[column], "train")

    return {
        f"without {test}": recordings(table, "label", split(test, valid), choosing=choosing)
        for test, valid in zip(values, values[1:] + values[:1], strict=True)
    }


def fsdd(data: Path, *, choosing: bool = False) -> Task:
    """Spoken digits of six speakers: the official split, and each speaker held out."""
    table = rows(data, "fsdd")

    def official(row: Row) -> str:
        index = int(row["index"])
        return "test" if index < 5 else "valid" if index < 8 else "train"

    of = {"official": recordings(table, "label", official, choosing=choosing)}
    of |= in_turn(table, "speaker", choosing=choosing)
    return Task(8000, 20, 40, 60.0, ClassifierTrainConfig(steps=800, speed=0.2), of)


def heart(data: Path, *, choosing: bool = False) -> Task:
    """Heart sounds of five classes; patients are not known.

    The given split is by blocks of the numbering, because neighbouring recordings sound alike.
    Published scores are for random splits, which put neighbours into both training and test.
    """
    table = rows(data, "heart_yaseen5")
    drawn = np.random.default_rng(0).permutation(len(table))
    share = {row["file"]: i / len(table) for row, i in zip(table, drawn, strict=True)}

    def at_random(row: Row) -> str:
        return (
            "test" if share[row["file"]] < 0.2 else "valid" if share[row["file"]] < 0.3 else "train"
        )

    of = {
        "given": recordings(table, "label", lambda row: row["split"], choosing=choosing),
        "at random": recordings(table, "label", at_random, choosing=choosing),
    }
    return Task(4000, 25, 40, 20.0, ClassifierTrainConfig(steps=500, speed=0.1), of)


def physionet(data: Path, *, choosing: bool = False) -> Task:
    """Heart sounds, normal or not, from six databases, which are the groups of the results."""
    table = rows(data, "physionet2016_sub")
    split, database = (lambda row: row["split"]), (lambda row: row["database"])
    of = {"given": recordings(table, "label", split, group=database, choosing=choosing)}
    return Task(2000, 25, 40, 20.0, ClassifierTrainConfig(steps=500, speed=0.1), of)


def esc10(data: Path, *, choosing: bool = False) -> Task:
    """Sounds around us, ten classes: each of four folds held out."""
    of = in_turn(rows(data, "esc10"), "fold", choosing=choosing)
    training = ClassifierTrainConfig(steps=500, speed=0.2, mixup=0.2)
    return Task(16000, 40, 40, 60.0, training, of)


def instruments(data: Path, *, choosing: bool = False) -> Task:
    """Single notes of eight instruments; one library's alto saxophone is only in the test."""
    table = rows(data, "solo_notes")

    def is_other_alto(row: Row) -> bool:
        return (row["instrument"], row["library"]) == ("alto_sax", "mtg_solo_sax")

    of = recordings(
        table,
        "instrument",
        lambda row: "test" if is_other_alto(row) else row["split"],
        group=lambda row: "other library" if is_other_alto(row) else "same libraries",
        choosing=choosing,
    )
    training = ClassifierTrainConfig(steps=500, speed=0.03)
    return Task(16000, 20, 40, 60.0, training, {"given": of})


TASKS = {
    "fsdd": fsdd,
    "heart": heart,
    "physionet": physionet,
    "esc10": esc10,
    "instruments": instruments,
}
