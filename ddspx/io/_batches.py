"""Batches of examples from a prepared dataset: random for training, in order for evaluation."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddspx._checks import checked_seed, one_of, positive_int
from ddspx._typing import Float
from ddspx.io._datasets import (
    SPLITS,
    DatasetError,
    Manifest,
    Records,
    Segment,
    read_manifest,
)
from ddspx.io._position import position_of

_ENDLESS = 2**48  # examples


class Batch(NamedTuple):
    """Examples with their features: ``frames = 1 + samples // hop_length``."""

    audio: Float[np.ndarray, "batch samples"]
    f0_hz: Float[np.ndarray, "batch frames"]
    f0_confidence: Float[np.ndarray, "batch frames"]
    loudness_db: Float[np.ndarray, "batch frames"]


class BatchIterator:
    """An endless iterator of training batches whose position can be saved and restored.

    :func:`training_batches` returns it. Threads read and crop the next batches ahead of time.
    """

    def __init__(self, batches: Any, facts: dict[str, Any]) -> None:
        self._batches = iter(batches)
        self._facts = facts

    def __iter__(self) -> "BatchIterator":
        return self

    def __next__(self) -> Batch:
        return next(self._batches)

    def get_state(self) -> dict[str, Any]:
        """The position of the iterator, as a dict that can be stored as JSON."""
        return {**self._facts, "position": self._batches.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from a saved position, with the batches that followed it then.

        Raises:
          ValueError: `state` was saved with another dataset, split, batch size or seed.
        """
        self._batches.set_state(position_of(state, self._facts))


def training_batches(
    dataset: str | Path, *, batch_size: int, seed: int, split: str = "train"
) -> BatchIterator:
    """Endless random batches of crops, drawn from each recording in proportion to its duration.

    Each epoch divides the duration of the split into as many equal parts as it holds examples. It
    visits the parts in a new random order and draws one crop at random from each, aligned to the
    hop. So every epoch visits all of the sound, no two epochs are the same, and batch ``i`` depends
    only on the dataset, `batch_size`, `seed` and ``i``.

    Args:
      dataset: folder written by :func:`ddspx.training.prepare`.
      batch_size: examples in a batch.
      seed: from 0 to 2**32 - 1.
      split: which split to draw from.

    Returns:
      An iterator with ``get_state`` and ``set_state`` for exact resumption.

    Raises:
      DatasetError: the dataset is missing, damaged or empty in that split.
      ValueError: `batch_size`, `seed` or `split` is not allowed.
      ModuleNotFoundError: grain or array_record is not installed.

    Example::

      batches = io.training_batches("violin", batch_size=16, seed=0)
      batch = next(batches)
      state = json.dumps(batches.get_state())
      ...
      batches.set_state(json.loads(state))  # the next batch is the second again
    """
    positive_int("batch_size", batch_size)
    checked_seed(seed)
    manifest, records = _opened(dataset, split)
    info = manifest.splits[split]
    ends = np.cumsum(info.weights_s)
    n_parts = info.n_examples

    # Not grain's shuffle, which for a small index walks through 2**16 numbers: 1 ms an example.
    @lru_cache(maxsize=4)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, 0, epoch)).permutation(n_parts)

    def draw(index: int) -> Segment:
        epoch, turn = divmod(index, n_parts)
        jitter = np.random.default_rng((seed, 1, index)).random()
        place = (order(epoch)[turn] + jitter) / n_parts * ends[-1]
        record = min(int(np.searchsorted(ends, place, side="right")), len(ends) - 1)
        into = 1.0 - (ends[record] - place) / info.weights_s[record]
        start = min(max(int(into * info.starts[record]), 0), info.starts[record] - 1)
        return records[record].crop(start, manifest.example_hops, hop_length=manifest.hop_length)

    grain = _grain()
    batches = (
        grain.MapDataset.range(_ENDLESS)
        .map(draw)
        .batch(batch_size, batch_fn=_stacked)
        .to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
    )
    facts = {
        "split": split,
        "batch_size": batch_size,
        "seed": seed,
        "n_examples": n_parts,
        "duration_s": info.duration_s,
    }
    return BatchIterator(batches, facts)


def evaluation_batches(dataset: str | Path, *, split: str, batch_size: int) -> Iterator[Batch]:
    """Every example of a split once, without overlap, in the order of the data.

    Args:
      dataset: folder written by :func:`ddspx.training.prepare`.
      split: train, valid or test.
      batch_size: examples in a batch; the last batch may hold fewer.

    Returns:
      An iterator of batches. The end of a recording that is too short for a whole example is left
      out.

    Raises:
      DatasetError: the dataset is missing, damaged or empty in that split.
      ValueError: `batch_size` or `split` is not allowed.
      ModuleNotFoundError: array_record is not installed.
    """
    positive_int("batch_size", batch_size)
    manifest, records = _opened(dataset, split)

    def examples() -> Iterator[Segment]:
        for record, starts in enumerate(manifest.splits[split].starts):
            segment = records[record]
            for start in range(0, starts, manifest.example_hops):
                yield segment.crop(start, manifest.example_hops, hop_length=manifest.hop_length)

    def batches() -> Iterator[Batch]:
        gathered = []
        for example in examples():
            gathered.append(example)
            if len(gathered) == batch_size:
                yield _stacked(gathered)
                gathered = []
        if gathered:
            yield _stacked(gathered)

    return batches()


def _stacked(examples: list[Segment]) -> Batch:
    return Batch(*(np.stack(arrays) for arrays in zip(*examples, strict=True)))


def _opened(dataset: str | Path, split: str) -> tuple[Manifest, Records]:
    one_of("split", split, SPLITS)
    manifest = read_manifest(dataset)
    records = Records(dataset, manifest, split)
    if len(records) != len(manifest.splits[split].starts):
        raise DatasetError(
            f"{dataset} lists {len(manifest.splits[split].starts)} records in its {split} "
            f"split and holds {len(records)}; prepare the dataset again."
        )
    return manifest, records


def _grain() -> Any:
    try:
        import grain
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'training needs grain, which is not installed; run: pip install "ddspx[train]"'
        ) from error
    return grain
