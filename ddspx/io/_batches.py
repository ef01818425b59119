"""Batches of random examples from prepared datasets, for training."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddspx._checks import checked_seed, one_of, positive_int
from ddspx._typing import Float, Int
from ddspx.io._datasets import Records, Segment
from ddspx.io._draws import rows_of, uniforms
from ddspx.io._manifest import SPLITS, DatasetError, Manifest, read_manifest
from ddspx.io._position import position_of

_ENDLESS = 2**40  # batches
# Batches that are read ahead, and threads that read them: reading waits for the disk, and copying
# does not hold Python's lock.
_READ_AHEAD, _THREADS = 4, 4


class Batch(NamedTuple):
    """Examples with their features: ``frames = 1 + samples // hop_length``."""

    audio: Float[np.ndarray, "batch samples"]
    f0_hz: Float[np.ndarray, "batch frames"]
    f0_confidence: Float[np.ndarray, "batch frames"]
    loudness_db: Float[np.ndarray, "batch frames"]


class MixedBatch(NamedTuple):
    """Examples of several datasets, and another stretch of the dataset of each.

    Attributes:
      examples: the examples.
      reference: the other stretches.
      source: the number of each example's dataset.
    """

    examples: Batch
    reference: Float[np.ndarray, "batch samples"]
    source: Int[np.ndarray, " batch"]


class BatchIterator:
    """An endless iterator of training batches whose position can be saved and restored.

    :func:`training_batches` and :func:`mixed_batches` return it. Threads read and crop the next
    batches ahead of time.
    """

    def __init__(
        self,
        batch: Callable[[int], Any],
        recordings: Callable[[int], Iterable[str]],
        facts: dict[str, Any],
    ) -> None:
        grain = _grain()
        options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_READ_AHEAD)
        batches = grain.MapDataset.range(_ENDLESS).map(batch).to_iter_dataset(options)
        self._batches, self._recordings, self._facts = iter(batches), recordings, facts

    def __iter__(self) -> "BatchIterator":
        return self

    def __next__(self) -> Any:
        return next(self._batches)

    def get_state(self) -> dict[str, Any]:
        """The position of the iterator, as a dict that can be stored as JSON.

        It is the same in all processes.
        """
        return {**self._facts, "position": self._batches.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from a saved position, with the batches that followed it then.

        Raises:
          ValueError: `state` was saved with another dataset, split, batch size or seed.
        """
        self._batches.set_state(position_of(state, self._facts))

    def recordings(self, step: int) -> tuple[str, ...]:
        """The names of the recordings in the batch of a step, of all processes together.

        Args:
          step: number of the step, from 1, which takes the first batch.
        """
        return tuple(dict.fromkeys(self._recordings(positive_int("step", step) - 1)))


def training_batches(
    dataset: str | Path,
    *,
    batch_size: int,
    seed: int,
    split: str = "train",
    process_index: int = 0,
    process_count: int = 1,
) -> BatchIterator:
    """Endless random batches of crops, drawn from each recording in proportion to its duration.

    Each epoch divides the duration of the split into as many equal parts as it holds examples. It
    visits the parts in a new random order and draws one crop at random from each, aligned to the
    hop. So every epoch visits all of the sound, no two epochs are the same, and batch ``i`` depends
    only on the dataset, `batch_size`, `seed` and ``i``. Of several processes, each reads an equal
    part of the examples of that batch, in the order of the processes.

    Args:
      dataset: folder written by :func:`ddspx.training.prepare`.
      batch_size: examples in a batch, of all processes together.
      seed: from 0 to 2**32 - 1.
      split: which split to draw from.
      process_index: number of this process, from 0.
      process_count: number of processes.

    Returns:
      An iterator with ``get_state`` and ``set_state`` for exact resumption.

    Raises:
      DatasetError: the dataset is missing, damaged or empty in that split.
      ValueError: an argument is not allowed, or `process_count` does not divide `batch_size`.
      ModuleNotFoundError: grain is not installed.

    Example::

      batches = io.training_batches("violin", batch_size=16, seed=0)
      batch = next(batches)
      state = json.dumps(batches.get_state())
      ...
      batches.set_state(json.loads(state))  # the next batch is the second again
    """
    rows = rows_of(batch_size, process_index, process_count)
    checked_seed(seed)
    stretches = _Stretches(dataset, split)
    n_parts = stretches.info.n_examples

    # Not grain's shuffle, which for a small index walks through 2**16 numbers: 1 ms an example.
    @lru_cache(maxsize=4)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, 0, epoch)).permutation(n_parts)

    def places(batch: int, rows: range) -> list[_Place]:
        examples = range(batch * batch_size + rows.start, batch * batch_size + rows.stop)
        parts = [order(example // n_parts)[example % n_parts] for example in examples]
        return stretches.places((np.array(parts) + uniforms(seed, 1, examples)[:, 0]) / n_parts)

    facts = {
        "split": split,
        "batch_size": batch_size,
        "seed": seed,
        "n_examples": n_parts,
        "duration_s": stretches.info.duration_s,
    }
    return BatchIterator(
        lambda batch: stretches.examples(places(batch, rows)),
        lambda batch: map(stretches.recording, places(batch, range(batch_size))),
        facts,
    )


def mixed_batches(
    datasets: Sequence[str | Path],
    *,
    batch_size: int,
    seed: int,
    weights: Sequence[float] | None = None,
    split: str = "train",
    process_index: int = 0,
    process_count: int = 1,
) -> BatchIterator:
    """Endless random batches from several datasets, each example with a reference beside it.

    A batch holds examples of the datasets in proportion to their weights, as far as its size
    allows. Within a dataset an example begins anywhere with equal probability. Its reference is a
    crop of the same dataset and length that shares no sample with it. Batch ``i`` depends only on
    the datasets and their order, `weights`, `batch_size`, `seed` and ``i``. Of several processes,
    each reads an equal part of it.

    Args:
      datasets: folders written by :func:`ddspx.training.prepare`, with the same rates and example
        length.
      batch_size: examples in a batch, of all processes together.
      seed: from 0 to 2**32 - 1.
      weights: how often each dataset is drawn from, relative to the others; by default all alike.
      split: which split to draw from.
      process_index: number of this process, from 0.
      process_count: number of processes.

    Returns:
      An iterator of `MixedBatch` with ``get_state`` and ``set_state`` for exact resumption.

    Raises:
      DatasetError: a dataset is missing, damaged, or too short in that split for an example beside
        its reference.
      ValueError: there is no dataset, their rates differ, or an argument is not allowed.
      ModuleNotFoundError: grain is not installed.
    """
    rows = rows_of(batch_size, process_index, process_count)
    checked_seed(seed)
    if not datasets:
        raise ValueError("`datasets` must hold at least one dataset, got none.")
    stretches = [_Stretches(dataset, split) for dataset in datasets]
    for each in stretches:
        _check_alike(each, stretches[0])
        each.check_room_for_reference()
    shares = _shares(weights, len(datasets))

    def places(batch: int, rows: range) -> list[_Pair]:
        examples = range(batch * batch_size + rows.start, batch * batch_size + rows.stop)
        order = np.random.default_rng((seed, 0, batch)).permutation(batch_size)
        pairs = []
        numbers_of = uniforms(seed, 1, examples)
        for slot, numbers in zip(order[rows.start : rows.stop], numbers_of, strict=True):
            at = (slot + numbers[0]) / batch_size
            source = min(int(np.searchsorted(shares, at, side="right")), len(stretches) - 1)
            (place,) = stretches[source].places(numbers[1:2])
            pairs.append(_Pair(source, place, stretches[source].place_apart(place, numbers[2])))
        return pairs

    def names(batch: int) -> Iterator[str]:
        for source, *both in places(batch, range(batch_size)):
            for place in both:
                yield f"{datasets[source]}: {stretches[source].recording(place)}"

    facts = {
        "split": split,
        "batch_size": batch_size,
        "seed": seed,
        "n_examples": [each.info.n_examples for each in stretches],
        "duration_s": [each.info.duration_s for each in stretches],
        "shares": shares.tolist(),
    }
    return BatchIterator(lambda batch: _mixed(stretches, places(batch, rows)), names, facts)


class _Place(NamedTuple):
    """Where an example begins: its record, and a frame in that."""

    record: int
    start: int


class _Pair(NamedTuple):
    """An example and its reference, of a dataset."""

    source: int
    example: _Place
    reference: _Place


def _mixed(stretches: Sequence["_Stretches"], pairs: Sequence[_Pair]) -> MixedBatch:
    for source, *both in pairs:
        stretches[source].will_need(both)
    segments = [stretches[pair.source].crop(pair.example) for pair in pairs]
    references = [stretches[pair.source].crop(pair.reference).audio for pair in pairs]
    return MixedBatch(
        stacked(segments),
        np.stack(references, dtype=np.float32),
        np.array([pair.source for pair in pairs], np.int32),
    )


class _Stretches:
    """The examples of a split, anywhere in its sound."""

    def __init__(self, dataset: str | Path, split: str) -> None:
        self.name, self._split = dataset, split
        self.manifest, self._records = opened(dataset, split)
        self.info = self.manifest.splits[split]
        self._starts, self._weights_s = map(np.array, (self.info.starts, self.info.weights_s))
        self._ends, self._first = np.cumsum(self._weights_s), np.cumsum([0, *self.info.starts])

    def places(self, shares: np.ndarray) -> list[_Place]:
        """The places at shares, from 0 to 1, of the duration of the split."""
        at = shares * self._ends[-1]
        records = np.minimum(np.searchsorted(self._ends, at, side="right"), len(self._ends) - 1)
        starts = self._starts[records]
        into = 1.0 - (self._ends[records] - at) / self._weights_s[records]
        begins = np.clip((into * starts).astype(np.int64), 0, starts - 1)
        return list(map(_Place, records.tolist(), begins.tolist()))

    def place_apart(self, place: _Place, share: float) -> _Place:
        """The place at a share of all those whose example shares no sample with that at `place`.

        The starts of all records, one after the other, are those of each stretch of sound one
        after the other. So places that are an example apart in this order are apart in the sound.
        """
        at, reach = self._first[place.record] + place.start, self.manifest.example_hops
        before, after = max(0, at - reach + 1), max(0, self._first[-1] - at - reach)
        drawn = min(int(share * (before + after)), int(before + after) - 1)
        start = drawn if drawn < before else at + reach + drawn - before
        record = int(np.searchsorted(self._first, start, side="right")) - 1
        return _Place(record, int(start - self._first[record]))

    def check_room_for_reference(self) -> None:
        """Raises a DatasetError if some example has no other one apart from it."""
        if self._first[-1] < 2 * self.manifest.example_hops:
            needed = 3 * self.manifest.example_length / self.manifest.sample_rate
            raise DatasetError(
                f"{self.name} has {self.info.duration_s:.0f} s in its {self._split} split, too "
                f"little for an example beside its reference; prepare it from at least "
                f"{needed:.0f} s for that split."
            )

    def examples(self, places: Sequence[_Place]) -> Batch:
        """The examples at places, all of which the disk is asked for before the first is read."""
        self.will_need(places)
        return stacked([self.crop(place) for place in places])

    def crop(self, place: _Place) -> Segment:
        """The example at a place."""
        return self._records.crop(place.record, place.start, self.manifest.example_hops)

    def will_need(self, places: Sequence[_Place]) -> None:
        """Begins to read the examples at places."""
        for place in places:
            self._records.will_need(place.record, place.start, self.manifest.example_hops)

    def recording(self, place: _Place) -> str:
        """The name of the recording at a place."""
        return self.manifest.sources[self.info.sources[place.record]].name


def _check_alike(one: _Stretches, first: _Stretches) -> None:
    """Raises a ValueError unless two datasets can stand in one batch."""
    for name in ("sample_rate", "hop_length", "example_length", "feature_version"):
        value, expected = getattr(one.manifest, name), getattr(first.manifest, name)
        if value != expected:
            raise ValueError(
                f"`datasets` must have the same `{name}`, but {first.name} has {expected!r} and "
                f"{one.name} {value!r}; prepare them alike."
            )


def _shares(weights: Sequence[float] | None, n_datasets: int) -> np.ndarray:
    """The cumulative shares of the datasets in a batch."""
    values = np.ones(n_datasets) if weights is None else np.asarray(weights, np.float64)
    if values.shape != (n_datasets,) or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(
            f"`weights` must be {n_datasets} numbers above 0, one for each dataset, got {weights}."
        )
    return np.cumsum(values) / np.sum(values)


def stacked(examples: list[Segment]) -> Batch:
    """A batch of examples."""
    return Batch(*(np.stack(arrays, dtype=np.float32) for arrays in zip(*examples, strict=True)))


def opened(dataset: str | Path, split: str) -> tuple[Manifest, Records]:
    """The manifest of a dataset, and the records of a split."""
    one_of("split", split, SPLITS)
    manifest = read_manifest(dataset)
    return manifest, Records(dataset, manifest, split)


def _grain() -> Any:
    try:
        import grain
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'training needs grain, which is not installed; run: pip install "ddspx[train]"'
        ) from error
    return grain
