"""Batches of the examples of a split in order: all of them, or some that are spread over it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ddspx._checks import positive_int, size
from ddspx.io._batches import Batch, opened, stacked


class EvaluationBatches:
    """Examples of a split without overlap, in the order of the data, as often as it is iterated.

    :func:`evaluation_batches` returns it. ``len`` is the number of batches.
    """

    def __init__(
        self, dataset: str | Path, *, split: str, batch_size: int, most: int | None = None
    ) -> None:
        size("batch_size", batch_size)
        manifest, self._records = opened(dataset, split)
        self._batch_size, self._hops = batch_size, manifest.example_hops
        starts = np.array(manifest.splits[split].starts)
        # The number of the first example of each record, and of the one after the last record.
        self._first = np.cumsum([0, *-(-starts // self._hops)])
        total = int(self._first[-1])
        n_chosen = total if most is None else min(positive_int("most", most), total)
        # Each is in the middle of one of so many equal parts.
        self._chosen = (2 * np.arange(n_chosen) + 1) * total // (2 * n_chosen)

    def __len__(self) -> int:
        return -(-len(self._chosen) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for begin in range(0, len(self._chosen), self._batch_size):
            numbers = self._chosen[begin : begin + self._batch_size]
            records = np.searchsorted(self._first, numbers, side="right") - 1
            starts = (numbers - self._first[records]) * self._hops
            yield stacked(
                [
                    self._records.crop(record, start, self._hops)
                    for record, start in zip(records.tolist(), starts.tolist(), strict=True)
                ]
            )


def evaluation_batches(
    dataset: str | Path, *, split: str, batch_size: int, most: int | None = None
) -> EvaluationBatches:
    """Examples of a split without overlap, in the order of the data.

    Args:
      dataset: folder written by :func:`ddspx.training.prepare`.
      split: train, valid or test.
      batch_size: examples in a batch; the last batch may hold fewer.
      most: how many examples there are at most, spread evenly over the split; None for all.

    Returns:
      The batches, which can be iterated again and again. The dataset is opened once. The end of a
      recording that is too short for a whole example is left out.

    Raises:
      DatasetError: the dataset is missing, damaged or empty in that split.
      ValueError: `batch_size`, `split` or `most` is not allowed.

    Example::

      valid = io.evaluation_batches("violin", split="valid", batch_size=16, most=500)
      for batch in valid:
          ...
    """
    return EvaluationBatches(dataset, split=split, batch_size=batch_size, most=most)
