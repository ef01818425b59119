"""Labelled recordings: the class and the split (train, valid or test) of each file."""

import csv
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import numpy as np

from ddspx._checks import checked_seed
from ddspx.io._files import files_below, is_utf8, objection_to_reading
from ddspx.io._manifest import SPLITS, DatasetError

_TEST_SHARE, _VALID_SHARE = 0.2, 0.15


class Recording(NamedTuple):
    """One file of a labelled set.

    Attributes:
      path: path of the file.
      name: name of the file in its folder or table.
      label: class of the recording.
      split: train, valid or test; empty if it is not known.
      group: recordings of one group, for example of a speaker or a patient, are always in the same
        split; by default every file is its own group.
      sha256: digest of the file's bytes; empty if they cannot be read.
    """

    path: Path
    name: str
    label: str
    split: str
    group: str
    sha256: str = ""

    @property
    def named_group(self) -> str:
        """The group, or an empty string if the recording is its own group."""
        return "" if self.group == self.name else self.group


class _Row(NamedTuple):
    path: Path
    name: str
    label: str
    split: str
    fold: str
    group: str


def labelled_recordings(
    data: str | Path, *, seed: int = 0, fold: str | None = None, draw: bool = True
) -> tuple[Recording, ...]:
    """The recordings of a folder or a table, each with its class and its split.

    A folder has one sub-folder for each class, and every file in it that is not hidden is a
    recording of that class. A table is a CSV file in UTF-8 with the columns ``file`` and
    ``label``, and optionally ``split`` (train, valid or test), ``fold`` and ``group``; other
    columns are ignored. A relative path is relative to the table's folder and must not leave it.
    Absolute paths are allowed.

    With `fold`, the recordings of that fold are the test split. Without it, the column ``split``
    names the test split; without that column, a fifth of the recordings is drawn. The other
    recordings are the train split, of which 15 % become the valid split unless the table names
    one. Splits are drawn by whole groups, with the same share of every class as far as the groups
    allow. They depend only on the names and contents of the files and on `seed`. Files with the
    same bytes are kept in one split. No sound is decoded.

    Args:
      data: the folder, or the CSV file.
      seed: seed of the drawn splits, from 0.
      fold: name of the fold that is the test split.
      draw: whether to draw the splits that the table does not name; if not, they are left empty.

    Returns:
      The recordings, in the order of the table or, for a folder, of their names.

    Raises:
      DatasetError: the folder or table does not exist or is damaged; a class is empty; the splits
        divide a group, or there are too few groups to draw a test split; `fold` is required but
        not given, or unknown.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from ddspx import io
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for name in ("cat/a.wav", "cat/b.wav", "dog/c.wav", "dog/d.wav"):
      ...         path = Path(folder, name)
      ...         path.parent.mkdir(exist_ok=True)
      ...         _ = path.write_text(name)
      ...     recordings = io.labelled_recordings(folder)
      >>> [(recording.name, recording.label) for recording in recordings][::3]
      [('cat/a.wav', 'cat'), ('dog/d.wav', 'dog')]
    """
    data = Path(data)
    checked_seed(seed)
    if not os.path.lexists(data):
        raise DatasetError(f"{data} does not exist; name a folder of classes or a CSV file.")
    rows = _folder(data) if data.is_dir() else _table(data)
    digests = [file_sha256(row.path) for row in rows]
    joined = _joined_copies(rows, digests)
    splits = _splits(data, rows, joined, seed, fold, draw)
    _check_groups(data, rows, joined, splits)
    return tuple(
        Recording(row.path, row.name, row.label, split, row.group, digest)
        for row, split, digest in zip(rows, splits, digests, strict=True)
    )


def training_labels(
    recordings: Sequence[Recording], *, usable: Sequence[Recording] | None = None
) -> tuple[str, ...]:
    """The classes of recordings, sorted, after checks that a classifier can be trained on them.

    Args:
      recordings: all recordings of the data set.
      usable: the recordings that could be read; by default all.

    Returns:
      The names of the classes.

    Raises:
      DatasetError: there is only one class; a class has no usable recording in the train split; or
        two classes hold the same recording.

    Example:
      >>> from pathlib import Path
      >>> from ddspx import io
      >>> cat, dog = (io.Recording(Path(c), c, c, "train", c) for c in ("cat", "dog"))
      >>> io.training_labels([dog, cat])
      ('cat', 'dog')
    """
    labels = sorted({recording.label for recording in recordings})
    if len(labels) < 2:
        raise DatasetError(
            f"There is only one class, {', '.join(map(repr, labels))}, and a classifier needs at "
            "least two; add recordings of another class."
        )
    listed = {recording.label for recording in recordings if recording.split == "train"}
    trained = {
        recording.label
        for recording in (recordings if usable is None else usable)
        if recording.split == "train"
    }
    for label in labels:
        if label not in listed:
            raise DatasetError(
                f"The class {label!r} has no recording in the train split; move some of it "
                "there, or leave the class out."
            )
        if label not in trained:
            raise DatasetError(
                f"No recording of the class {label!r} in the train split can be read; mend or "
                "add some, or leave the class out."
            )
    _check_copies(usable or ())
    return tuple(labels)


def _check_copies(recordings: Sequence[Recording]) -> None:
    first: dict[str, Recording] = {}
    for recording in recordings:
        other = first.setdefault(recording.sha256 or recording.name, recording)
        if other.label != recording.label:
            raise DatasetError(
                f"The same recording is {other.label!r} ({other.name}) and {recording.label!r} "
                f"({recording.name}); leave the wrong one out."
            )


def recordings_digest(recordings: Sequence[Recording]) -> str:
    """Digest of a list of recordings; a training run can be resumed on lists with the same one."""
    digest = hashlib.sha256()
    for recording in recordings:
        digest.update(repr(recording[1:]).encode())
    return digest.hexdigest()


def _folder(data: Path) -> list[_Row]:
    rows = []
    classes = sorted(
        path for path in data.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if not classes:
        raise DatasetError(
            f"{data} has no sub-folders; make one for each class, or name a CSV file."
        )
    for folder in classes:
        files = files_below(folder)
        if not files:
            raise DatasetError(
                f"The class {folder.name!r} is empty: {folder} holds no recording; add some, or "
                "remove the folder."
            )
        for path in files:
            name = path.relative_to(data).as_posix()
            rows.append(_Row(path, name, normalize("NFC", folder.name), "", "", name))
    return rows


def _table(data: Path) -> list[_Row]:
    if objection := objection_to_reading(data):
        raise DatasetError(f"{data} {objection}.")
    columns, lines = _lines(data)
    if missing := [name for name in ("file", "label") if name not in columns]:
        raise DatasetError(
            f"{data} lacks the column {missing[0]!r}; its first line must name the columns, "
            "separated by commas, file and label among them."
        )
    for name, count in Counter(filter(None, columns)).items():
        if count > 1:
            raise DatasetError(
                f"{data} has the column {name!r} {count} times; leave one of them, or name the "
                "others differently."
            )
    if not lines:
        raise DatasetError(f"{data} lists no recording; add a line for each.")
    rows = [_row(data, number, line) for number, line in lines]
    names = Counter(os.path.abspath(row.path) for row in rows)
    if twice := [row.name for row in rows if names[os.path.abspath(row.path)] > 1]:
        raise DatasetError(f"{data} lists {twice[0]!r} more than once; leave one line of it.")
    for name in ("split", "fold"):
        if name in columns and (empty := [row.name for row in rows if not getattr(row, name)]):
            raise DatasetError(
                f"{data} has no {name} for {empty[0]!r}; fill it in, or remove the column."
            )
    return rows


def _lines(data: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns of a table, and its lines with their numbers."""
    lines: list[tuple[int, dict[str, str]]] = []
    # The name of a file need not be UTF-8; `_row` checks which lines may be undecodable.
    with data.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            # Spreadsheet programs write empty rows as lines that hold only commas.
            written = (cells for cells in reader if any(map(str.strip, cells)))
            columns = [name.strip() for name in next(written, [])]
            for cells in written:
                if any("\0" in cell for cell in cells):
                    raise csv.Error("there is a zero byte")
                if len(cells) > len(columns):
                    raise DatasetError(
                        f"{data} has {len(cells)} cells in line {reader.line_num}, and its first "
                        f"line names {len(columns)} columns; put text that contains a comma in "
                        "double quotes."
                    )
                lines.append((reader.line_num, dict(zip(columns, cells, strict=False))))
        except csv.Error as error:
            raise DatasetError(
                f"{data} cannot be read as a table (line {reader.line_num}: {error}); save it as "
                "CSV in UTF-8."
            ) from error
    return columns, lines


def _row(data: Path, number: int, line: Mapping[str, str]) -> _Row:
    """Checks a line of a table by itself and returns its recording."""
    name, label, split, fold, group = (
        line.get(column, "").strip() for column in ("file", "label", "split", "fold", "group")
    )
    path = data.parent / name
    if not is_utf8(label + split + fold + group) or not (is_utf8(name) or path.exists()):
        raise DatasetError(
            f"{data} cannot be read as a table (line {number} is not UTF-8); save it as CSV in "
            "UTF-8."
        )
    if not name or not label:
        raise DatasetError(f"{data} lacks the file or the label in line {number}; fill it in.")
    if split and split not in SPLITS:
        raise DatasetError(
            f"{data} has the split {split!r} in line {number}; use {', '.join(SPLITS)}."
        )
    if not Path(name).is_absolute():
        if os.path.normpath(name).split(os.sep)[0] == os.pardir:
            raise DatasetError(
                f"{data} leads out of its folder in line {number} ({name}); use a path inside "
                "it, or an absolute one."
            )
    # Unicode can write an accented letter in two ways; both must give the same class.
    return _Row(path, name, normalize("NFC", label), split, normalize("NFC", fold), group or name)


def file_sha256(path: Path) -> str:
    """The digest of a file, or an empty string if it cannot be read.

    An error is not raised here, because reading the audio later explains it better. Empty files get
    no digest either: broken downloads leave many of them, and they are not copies of one recording.
    """
    if objection_to_reading(path):
        return ""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return digest if file.tell() else ""
    except OSError:
        return ""


def _joined_copies(rows: Sequence[_Row], digests: Sequence[str]) -> list[str]:
    """The group of each row; groups that share a file have one name."""
    parents = {row.group: row.group for row in rows}

    def root(group: str) -> str:
        while parents[group] != group:
            group = parents[group]
        return group

    first: dict[str, str] = {}
    for row, digest in zip(rows, digests, strict=True):
        first_group = first.setdefault(digest or row.name, row.group)
        parents[root(row.group)] = root(first_group)
    return [root(row.group) for row in rows]


def _splits(
    data: Path,
    rows: Sequence[_Row],
    groups: Sequence[str],
    seed: int,
    fold: str | None,
    draw: bool,
) -> list[str]:
    """The split of each row, from the table or drawn."""
    folds = sorted({row.fold for row in rows} - {""})
    labels = [row.label for row in rows]
    if fold is not None:
        fold = normalize("NFC", fold)
        if fold not in folds:
            known = f"its folds are {', '.join(folds)}" if folds else "it has no column fold"
            raise DatasetError(f"{data} has no fold {fold!r}; {known}.")
        _check_groups(data, rows, groups, [row.fold for row in rows])
        splits = ["test" if row.fold == fold else "train" for row in rows]
    elif any(row.split for row in rows) or not draw:
        splits = [row.split for row in rows]
    elif folds:
        raise DatasetError(
            f"{data} has folds; name the one that is the test split with --fold: "
            f"{', '.join(folds)}."
        )
    else:
        splits = _hold_out(["train"] * len(rows), labels, groups, "test", _TEST_SHARE, seed)
        if "test" not in splits:
            raise DatasetError(
                f"{data} has too few groups of each class to hold out a fifth of them as the test "
                "split; add recordings, or name the splits in a column split."
            )
    if draw and "valid" not in splits:
        splits = _hold_out(splits, labels, groups, "valid", _VALID_SHARE, seed + 1)
    return splits


def _hold_out(
    splits: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str],
    name: str,
    share: float,
    seed: int,
) -> list[str]:
    """Moves groups from the train split to another until it has about `share` of every class.

    Groups are considered in a random order. A group is moved if that brings the classes closer to
    their shares, unless a class would lose its last recordings in the train split.
    """
    classes = sorted(set(labels))
    members: defaultdict[str, list[int]] = defaultdict(list)
    for i, (group, split) in enumerate(zip(groups, splits, strict=True)):
        if split == "train":
            members[group].append(i)
    counts = {
        group: np.array([sum(labels[i] == c for i in rows) for c in classes])
        for group, rows in members.items()
    }
    left = sum(counts.values(), np.zeros(len(classes), int))
    target = np.maximum(share * left, 1)
    moved, moved_groups = np.zeros(len(classes), int), set()
    names = sorted(counts)
    for i in np.random.default_rng(seed).permutation(len(names)):
        count = counts[names[i]]
        before, after = (np.abs(target - n) / target for n in (moved, moved + count))
        if after.sum() < before.sum() and ((left - count > 0) | (count == 0)).all():
            moved_groups.add(names[i])
            moved, left = moved + count, left - count
    return [
        name if split == "train" and group in moved_groups else split
        for split, group in zip(splits, groups, strict=True)
    ]


def _check_groups(
    data: Path, rows: Sequence[_Row], groups: Sequence[str], splits: Sequence[str]
) -> None:
    """Raises a DatasetError if the splits (or folds) divide a group."""
    first: dict[str, tuple[_Row, str]] = {}
    for row, group, split in zip(rows, groups, splits, strict=True):
        first_row, first_split = first.setdefault(group, (row, split))
        if first_split == split:
            continue
        files = f"{first_row.name} is in {first_split}, {row.name} in {split}"
        is_group = row.group == first_row.group
        fault = f"divides the group {row.group!r} between" if is_group else "has the same file in"
        raise DatasetError(
            f"{data} {fault} two splits ({files}), so the model would be tested on recordings "
            "that it was trained on; put the whole group into one split."
        )
