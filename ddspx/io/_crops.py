"""The audio of labelled recordings, and batches of crops with equally frequent classes."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ddspx._checks import number, positive_int
from ddspx._progress import Progress, no_progress
from ddspx._typing import Float, Int
from ddspx.io._audio import AudioError, read_audio
from ddspx.io._labels import Recording
from ddspx.io._position import position_of

_MEMORY_BYTES = 4 << 30


class LabelledBatch(NamedTuple):
    """Crops of recordings, and the class number of each crop."""

    audio: Float[np.ndarray, "batch samples"]
    label: Int[np.ndarray, " batch"]


class LabelledAudio(Sequence[np.ndarray]):
    """The audio of recordings: kept in memory if it fits, else decoded at each access.

    Args:
      recordings: the recordings to read.
      sample_rate: samples per second of the audio, which is mono float32.
      report: called with the error of each recording that cannot be read, which is left out.
      transform: function applied to each recording, for example to normalize its level.
      progress: called with the number of recordings read so far, and of all.
      memory_bytes: largest size of the audio that is kept in memory; 4 GiB by default.

    Attributes:
      recordings: the recordings that could be read.
      n_samples: length of each, in samples.
      in_memory: whether the audio fits into memory and is kept there.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from ddspx import io
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder, "a.wav")
      ...     io.write_audio(path, np.linspace(-1, 1, 800), sample_rate=8000)
      ...     recordings = [io.Recording(path, "a.wav", "ramp", "train", "a.wav")]
      ...     audio = io.LabelledAudio(recordings, sample_rate=4000, report=print)
      >>> len(audio), audio[0].shape, audio.in_memory
      (1, (400,), True)
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        sample_rate: int,
        report: Callable[[AudioError], object],
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
        progress: Progress = no_progress,
        memory_bytes: int = _MEMORY_BYTES,
    ) -> None:
        self._sample_rate, self._transform = sample_rate, transform
        self._loaded: list[np.ndarray] | None = []
        usable, lengths, n_bytes = [], [], 0
        for done, recording in enumerate(recordings):
            progress("reading", float(done), float(len(recordings)))
            try:
                audio = self._read(recording)
            except AudioError as error:
                report(error)
                continue
            usable.append(recording)
            lengths.append(len(audio))
            n_bytes += audio.nbytes
            if n_bytes > memory_bytes:
                self._loaded = None
            if self._loaded is not None:
                self._loaded.append(audio)
        self.recordings = tuple(usable)
        self.n_samples = tuple(lengths)

    @property
    def in_memory(self) -> bool:
        """Whether the audio is kept in memory."""
        return self._loaded is not None

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> np.ndarray:
        if self._loaded is not None:
            return self._loaded[index]
        return self._read(self.recordings[index])

    def chosen(self, indices: Sequence[int]) -> "LabelledAudio":
        """A subset of the recordings, without reading any file again."""
        part = copy.copy(self)
        part.recordings = tuple(self.recordings[i] for i in indices)
        part.n_samples = tuple(self.n_samples[i] for i in indices)
        if self._loaded is not None:
            part._loaded = [self._loaded[i] for i in indices]
        return part

    def _read(self, recording: Recording) -> np.ndarray:
        audio = read_audio(recording.path, sample_rate=self._sample_rate)
        return audio if self._transform is None else np.asarray(self._transform(audio), np.float32)


class BalancedBatches:
    """Endless batches of random crops with equally frequent classes; its position can be saved.

    Examples come in rounds; each round holds one example of every class, in a random order. A
    recording is divided into parts of about one crop each, and the examples of a class visit all
    parts of its recordings, in a random order, before any part comes again. The start of a crop is
    drawn at random within its part. A crop that extends beyond one end of its recording continues
    at the other end. A recording shorter than a crop is placed at random in the crop, with silence
    around it. Batch i depends only on the audio, the arguments and i.

    Args:
      audio: the recordings.
      labels: class number of each recording, from 0; every class up to the largest number must
        have recordings.
      batch_size: crops in a batch.
      crop_length: length of a crop, in samples.
      shift: how far a crop may extend beyond the ends of its recording, as a fraction of the crop.
      speed: how much the playback speed may vary; pitch varies with it. With 0.2 the factor is
        between 1 / 1.2 and 1.2, its logarithm uniformly distributed.
      seed: seed of everything that is drawn, from 0.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is out of range.

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
    ) -> None:
        for name, value in (("shift", shift), ("speed", speed)):
            number(name, value, least=0, most=1)
        self._audio = audio
        self._length = positive_int("crop_length", crop_length)
        self._slack, self._seed = round(shift * crop_length), seed
        self._octaves = np.log2(1 + speed)
        lengths = audio.n_samples if isinstance(audio, LabelledAudio) else list(map(len, audio))
        # For each class its parts: index of the recording, start and length from 0 to 1.
        self._parts: list[list[tuple[int, float, float]]] = [[] for _ in range(max(labels) + 1)]
        for i, (label, length) in enumerate(zip(labels, lengths, strict=True)):
            n_parts = max(1, round(length / crop_length))
            self._parts[label] += [(i, p / n_parts, 1 / n_parts) for p in range(n_parts)]
        self._facts = {
            "batch_size": positive_int("batch_size", batch_size),
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
        size = self._facts["batch_size"]
        drawn = [self._example(self._taken * size + i) for i in range(size)]
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

    def _example(self, index: int) -> tuple[np.ndarray, int]:
        """The crop of an index, and its class number."""
        turn, place = divmod(index, len(self._parts))
        label = int(self._order(-1, turn)[place])
        epoch, place = divmod(turn, len(self._parts[label]))
        recording, begin, width = self._parts[label][self._order(label, epoch)[place]]
        rng = np.random.default_rng((self._seed, 0, index))
        where = begin + width * rng.random()
        factor = 2.0 ** (self._octaves * rng.uniform(-1, 1))
        return self._crop(self._audio[recording], where, factor), label

    def _drawn_order(self, label: int, epoch: int) -> np.ndarray:
        """The order of a class's parts in an epoch; with label -1, of the classes in a round."""
        size = len(self._parts) if label < 0 else len(self._parts[label])
        return np.random.default_rng((self._seed, 1, label + 1, epoch)).permutation(size)

    def _crop(self, audio: np.ndarray, where: float, factor: float) -> np.ndarray:
        """The crop at a position from 0 (first) to 1 (last), played `factor` times as fast."""
        length = math.ceil(factor * self._length)
        if len(audio) < length:
            before = int(where * (length - len(audio) + 1))
            crop = np.pad(audio, (before, length - len(audio) - before))
        else:
            first, last = -self._slack, len(audio) - length + self._slack
            start = first + int(where * (last - first + 1))
            crop = np.take(audio, np.arange(start, start + length), mode="wrap")
        if not self._octaves:
            return crop
        import soxr

        # Medium quality: the best takes twice as long, and the difference does not matter in a
        # crop whose pitch is changed on purpose.
        return soxr.resample(crop, factor, 1.0, quality="MQ")[: self._length]
