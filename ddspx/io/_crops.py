"""Batches of crops of labelled recordings, with equally frequent classes."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ddspx._checks import checked_seed, number, positive_int
from ddspx._typing import Float, Int
from ddspx.io._draws import rows_of
from ddspx.io._position import position_of
from ddspx.io._sounds import LabelledAudio


class LabelledBatch(NamedTuple):
    """Crops of recordings, and the class number of each crop."""

    audio: Float[np.ndarray, "batch samples"]
    label: Int[np.ndarray, " batch"]


class BalancedBatches:
    """Endless batches of random crops with equally frequent classes; its position can be saved.

    Examples come in rounds; each round holds one example of every class, in a random order. A
    recording is divided into parts of about one crop each, and the examples of a class visit all
    parts of its recordings, in a random order, before any part comes again. The start of a crop is
    drawn at random within its part. A crop that extends beyond one end of its recording continues
    at the other end. A recording shorter than a crop is placed at random in the crop, with silence
    around it. Batch i depends only on the audio, the arguments and i. Of several processes,
    each reads an equal part of it.

    Args:
      audio: the recordings.
      labels: class number of each recording, from 0; every class up to the largest number must
        have recordings.
      batch_size: crops in a batch, of all processes together.
      crop_length: length of a crop, in samples.
      shift: how far a crop may extend beyond the ends of its recording, as a fraction of the crop.
      speed: how much the playback speed may vary; pitch varies with it. With 0.2 the factor is
        between 1 / 1.2 and 1.2, its logarithm uniformly distributed.
      seed: seed of everything that is drawn, from 0 to 2**32 - 1.
      process_index: number of this process, from 0.
      process_count: number of processes.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is out of range, or `process_count` does not divide `batch_size`.

    Example:
      >>> import numpy as np
      >>> from ddspx import io
      >>> sounds = [np.ones(8, np.float32), np.ones(30, np.float32), np.ones(9, np.float32)]
      >>> batches = io.BalancedBatches(sounds, [0, 0, 1], batch_size=6, crop_length=8)
      >>> batch = next(batches)
      >>> batch.audio.shape, np.bincount(batch.label).tolist()
      ((6, 8), [3, 3])
    """

    def __init__(
        self,
        audio: Sequence[np.ndarray],
        labels: Sequence[int],
        *,
        batch_size: int,
        crop_length: int,
        shift: float = 0.0,
        speed: float = 0.0,
        seed: int = 0,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        for name, value in (("shift", shift), ("speed", speed)):
            number(name, value, least=0, most=1)
        self._rows = rows_of(batch_size, process_index, process_count)
        self._audio = audio
        self._length = positive_int("crop_length", crop_length)
        self._slack, self._seed = round(shift * crop_length), checked_seed(seed)
        self._octaves = np.log2(1 + speed)
        lengths = audio.n_samples if isinstance(audio, LabelledAudio) else list(map(len, audio))
        self._n_samples = lengths
        # For each class its parts: index of the recording, start and length from 0 to 1.
        self._parts: list[list[tuple[int, float, float]]] = [[] for _ in range(max(labels) + 1)]
        for i, (label, length) in enumerate(zip(labels, lengths, strict=True)):
            n_parts = max(1, round(length / crop_length))
            self._parts[label] += [(i, p / n_parts, 1 / n_parts) for p in range(n_parts)]
        self._facts = {
            "batch_size": batch_size,
            "crop_length": crop_length,
            "shift": shift,
            "speed": speed,
            "seed": seed,
            "n_samples": int(sum(lengths)),
        }
        self._taken = 0
        self._order = lru_cache(maxsize=4 * len(self._parts))(self._drawn_order)

    def __iter__(self) -> Iterator[LabelledBatch]:
        return self

    def __next__(self) -> LabelledBatch:
        first = self._taken * self._facts["batch_size"]
        drawn = [self._example(first + row) for row in self._rows]
        self._taken += 1
        audio, labels = zip(*drawn, strict=True)
        return LabelledBatch(np.stack(audio), np.array(labels, np.int32))

    def get_state(self) -> dict[str, Any]:
        """The position of the batches, as a dict that can be stored as JSON."""
        return {**self._facts, "position": self._taken}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from a saved position, with the batches that followed it then.

        Raises:
          ValueError: `state` was saved with other sounds, sizes or another seed.
        """
        self._taken = position_of(state, self._facts)

    def recordings(self, step: int) -> tuple[str, ...]:
        """The names of the recordings in the batch of a step, of all processes together.

        Args:
          step: number of the step, from 1, which takes the first batch.
        """
        size = self._facts["batch_size"]
        first = (positive_int("step", step) - 1) * size
        numbers = dict.fromkeys(self._part(first + row)[1][0] for row in range(size))
        if isinstance(self._audio, LabelledAudio):
            return tuple(self._audio.recordings[number].name for number in numbers)
        return tuple(f"recording {number}" for number in numbers)

    def _part(self, index: int) -> tuple[int, tuple[int, float, float]]:
        """The class number of an index, and the part that its crop is taken from."""
        turn, place = divmod(index, len(self._parts))
        label = int(self._order(-1, turn)[place])
        epoch, place = divmod(turn, len(self._parts[label]))
        return label, self._parts[label][self._order(label, epoch)[place]]

    def _example(self, index: int) -> tuple[np.ndarray, int]:
        """The crop of an index, and its class number."""
        label, (recording, begin, width) = self._part(index)
        rng = np.random.default_rng((self._seed, 0, index))
        where = begin + width * rng.random()
        factor = 2.0 ** (self._octaves * rng.uniform(-1, 1))
        return self._crop(recording, where, factor), label

    def _drawn_order(self, label: int, epoch: int) -> np.ndarray:
        """The order of a class's parts in an epoch; with label -1, of the classes in a round."""
        size = len(self._parts) if label < 0 else len(self._parts[label])
        return np.random.default_rng((self._seed, 1, label + 1, epoch)).permutation(size)

    def _crop(self, recording: int, where: float, factor: float) -> np.ndarray:
        """The crop at a position from 0 (first) to 1 (last), played `factor` times as fast."""
        length = math.ceil(factor * self._length)
        size = self._n_samples[recording]
        if size < length:
            before = int(where * (length - size + 1))
            crop = np.pad(self._audio[recording], (before, length - size - before))
        else:
            first, last = -self._slack, size - length + self._slack
            start = first + int(where * (last - first + 1))
            crop = self._taken_from(recording, np.arange(start, start + length))
        if not self._octaves:
            return crop
        import soxr

        # Medium quality: the best takes twice as long, and the difference does not matter in a
        # crop whose pitch is changed on purpose.
        return soxr.resample(crop, factor, 1.0, quality="MQ")[: self._length]

    def _taken_from(self, recording: int, positions: np.ndarray) -> np.ndarray:
        if isinstance(self._audio, LabelledAudio):
            return self._audio.take(recording, positions)
        return np.take(self._audio[recording], positions, mode="wrap")
