"""A prepared dataset on disk: shards of audio with features, and one manifest.

A dataset is a folder. ``manifest.json`` says how it was made, and which records each split has;
``<split>-00000.f32`` and so on hold the records. A record is a stretch of continuous audio with
the features of its frames: its samples, then f0_hz, f0_confidence and loudness_db, all as
little-endian float32.

Records are built for random crops. In a stretch of ``T`` hops an example of ``E`` hops can start at
``T - E + 1`` positions. The stretch is divided so that each record owns a range of those positions
and holds all audio that examples starting there need. So neighbouring records overlap by one
example, and every possible crop can be read from a single record. A crop reads its own bytes, and
the first time those of the chunks around it, whose checksums are compared.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from ddspx._checks import non_negative_int, one_of, positive_int, size
from ddspx._typing import Float
from ddspx.io._files import sha256_of_file
from ddspx.io._manifest import (
    SPLITS,
    DatasetError,
    Manifest,
    Source,
    Split,
    chunk_hops,
    n_chunks,
    read_manifest,
    write_manifest,
)
from ddspx.io._shards import FLOAT, ShardReader, ShardWriter, crc32_of, damaged

# Duration of the start positions that a record owns: long enough that the overlap of one example
# needs little disk space, and short enough that a record is written from little memory.
_RECORD_SECONDS = 60.0


class Segment(NamedTuple):
    """Audio and its features, on the frame rule: frame i describes sample ``i * hop_length``."""

    audio: Float[np.ndarray, " samples"]
    f0_hz: Float[np.ndarray, " frames"]
    f0_confidence: Float[np.ndarray, " frames"]
    loudness_db: Float[np.ndarray, " frames"]

    def crop(self, start: int, n_hops: int, *, hop_length: int) -> "Segment":
        """The `n_hops` hops that start at frame `start`, with ``n_hops + 1`` frames."""
        first, last = start * hop_length, (start + n_hops) * hop_length
        frames = slice(start, start + n_hops + 1)
        return Segment(self.audio[first:last], *(feature[frames] for feature in self[1:]))


class DatasetWriter:
    """Writes the records and then the manifest of a dataset into an existing folder.

    A shard appears under its name when it is complete, and the manifest after all shards.

    Args:
      folder: an empty folder, for example from :func:`replacing_folder`.
      sample_rate: samples per second.
      hop_length: samples between frames.
      example_length: samples in one example.

    Raises:
      ValueError: `example_length` is not a multiple of `hop_length`.

    Example:
      >>> import numpy as np, tempfile
      >>> from ddspx import io
      >>> ramp = np.arange(41.0)
      >>> segment = io.Segment(np.arange(400.0), ramp, ramp, ramp)
      >>> rates = {"sample_rate": 100, "hop_length": 10, "example_length": 150}
      >>> ramp_source = io.Source("ramp.wav", sha256="0", duration_s=4.0, kept_s=4.0)
      >>> facts = {"feature_version": "1", "licence": "CC0", "attribution": "none"}
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with io.DatasetWriter(folder, **rates) as writer:
      ...         writer.add("test", segment, source=0)
      ...         manifest = writer.finish(**facts, sources=[ramp_source], statistics={})
      ...     (batch,) = io.evaluation_batches(folder, split="test", batch_size=8)
      >>> manifest.splits["test"].n_examples
      2
      >>> batch.audio[:, 0].tolist(), batch.f0_hz.shape
      ([0.0, 150.0], (2, 16))
    """

    def __init__(
        self, folder: str | Path, *, sample_rate: int, hop_length: int, example_length: int
    ) -> None:
        size("sample_rate", sample_rate)
        positive_int("hop_length", hop_length)
        positive_int("example_length", example_length)
        if example_length % hop_length:
            raise ValueError(
                f"`example_length` must be a multiple of `hop_length`, got {example_length} "
                f"and {hop_length}; use "
                f"{max(1, round(example_length / hop_length)) * hop_length}."
            )
        self._folder = Path(folder)
        self._sample_rate, self._hop_length = sample_rate, hop_length
        self._example_length = example_length
        chunk = chunk_hops(sample_rate, hop_length)
        self._splits = {
            name: _SplitWriter(self._folder, name, (chunk * hop_length, chunk, chunk, chunk))
            for name in SPLITS
        }
        self._open = ExitStack()
        for split in self._splits.values():
            self._open.enter_context(split.shards)

    def __enter__(self) -> "DatasetWriter":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.__exit__(exc_type, exc, traceback)

    def add(self, split: str, segment: Segment, *, source: int) -> None:
        """Appends a stretch of continuous sound, at least one example long, to a split.

        The arrays may be memory maps: they are read and written one record after the other.

        Args:
          split: train, valid or test.
          segment: audio with its features.
          source: the number of its recording among the `sources` that `finish` gets.

        Raises:
          ValueError: audio and features do not line up, the stretch is too short, or `split` or
            `source` is not allowed.
        """
        one_of("split", split, SPLITS)
        non_negative_int("source", source)
        n_hops = len(segment.f0_hz) - 1
        sizes = (len(segment.audio), *map(len, segment[1:]))
        if sizes != (n_hops * self._hop_length, *3 * (n_hops + 1,)):
            raise ValueError(
                f"`segment` has {sizes[0]} samples and features of {sizes[1]}, {sizes[2]} and "
                f"{sizes[3]} frames; {n_hops + 1} frames go with {n_hops * self._hop_length} "
                "samples."
            )
        example = self._example_length // self._hop_length
        n_starts = n_hops - example + 1
        if n_starts < 1:
            raise ValueError(
                f"`segment` has {len(segment.audio)} samples, fewer than the "
                f"{self._example_length} of one example."
            )
        seconds = len(segment.audio) / self._sample_rate
        # A record owns a whole number of examples, so that consecutive examples without overlap
        # never extend over two records.
        examples_per_record = round(_RECORD_SECONDS * self._sample_rate / self._example_length)
        step = max(1, examples_per_record) * example
        for first in range(0, n_starts, step):
            starts = min(step, n_starts - first)
            self._splits[split].add(
                segment.crop(first, starts - 1 + example, hop_length=self._hop_length),
                starts=starts,
                weight_s=seconds * starts / n_starts,
                source=source,
            )
        self._splits[split].count(n_examples=n_hops // example, duration_s=seconds)

    def finish(
        self,
        *,
        feature_version: str,
        licence: str,
        attribution: str,
        sources: Sequence[Source],
        statistics: Mapping[str, Any],
    ) -> Manifest:
        """Completes the shards and writes the manifest.

        Raises:
          ValueError: a stretch was added with a source that `sources` does not have, or a number
            is not finite.
        """
        splits = {name: split.close() for name, split in self._splits.items()}
        used = max((max(split.sources, default=-1) for split in splits.values()), default=-1)
        if used >= len(sources):
            raise ValueError(
                f"`sources` must name all recordings, but has {len(sources)} and a stretch was "
                f"added with `source` {used}."
            )
        manifest = Manifest(
            sample_rate=self._sample_rate,
            hop_length=self._hop_length,
            example_length=self._example_length,
            feature_version=feature_version,
            licence=licence,
            attribution=attribution,
            sources=tuple(sources),
            splits=splits,
            statistics=statistics,
        )
        write_manifest(self._folder, manifest)
        return manifest


class _SplitWriter:
    """Writes the records of one split; `widths` are the numbers in a chunk of each track."""

    def __init__(self, folder: Path, name: str, widths: tuple[int, ...]) -> None:
        self.shards, self._widths = ShardWriter(folder, name), widths
        self._starts, self._weights_s, self._sources, self._crc32 = [], [], [], []
        self._n_examples, self._duration_s = 0, 0.0

    def add(self, record: Segment, *, starts: int, weight_s: float, source: int) -> None:
        tracks = [np.ascontiguousarray(track, FLOAT) for track in record]
        n = n_chunks(len(record.f0_hz) - 1, self._widths[1])
        checksums = (crc32_of(tracks, self._widths, chunk, n) for chunk in range(n))
        self.shards.add(tracks)
        self._starts.append(starts)
        self._weights_s.append(weight_s)
        self._sources.append(source)
        self._crc32.append("".join(f"{value:08x}" for value in checksums))

    def count(self, *, n_examples: int, duration_s: float) -> None:
        self._n_examples += n_examples
        self._duration_s += duration_s

    def close(self) -> Split:
        return Split(
            shards=self.shards.close(),
            starts=tuple(self._starts),
            weights_s=tuple(self._weights_s),
            sources=tuple(self._sources),
            crc32=tuple(self._crc32),
            n_examples=self._n_examples,
            duration_s=self._duration_s,
        )


class Records:
    """Random access to the records of one split, by memory maps of its shards.

    Nothing is kept in memory but what the operating system keeps of the files.

    Args:
      folder: the dataset.
      manifest: its manifest, from :func:`read_manifest`.
      split: train, valid or test.

    Raises:
      DatasetError: the split is empty, or a shard is missing or has another size than its records.
        What is read of a shard later raises it too, if its checksum is not that of the manifest.

    Example:
      >>> import numpy as np, tempfile
      >>> from ddspx import io
      >>> segment = io.Segment(np.arange(400.0), *3 * [np.arange(41.0)])
      >>> facts = {"feature_version": "1", "licence": "CC0", "attribution": "none"}
      >>> sources = [io.Source("ramp.wav", sha256="0", duration_s=4.0, kept_s=4.0)]
      >>> folder = tempfile.TemporaryDirectory()
      >>> with io.DatasetWriter(
      ...     folder.name, sample_rate=100, hop_length=10, example_length=150
      ... ) as writer:
      ...     writer.add("test", segment, source=0)
      ...     manifest = writer.finish(**facts, sources=sources, statistics={})
      >>> records = io.Records(folder.name, manifest, "test")
      >>> len(records), records[0].audio.shape, records.crop(0, 20, 1).f0_hz.tolist()
      (1, (400,), [20.0, 21.0])
      >>> del records
      >>> folder.cleanup()
    """

    def __init__(self, folder: str | Path, manifest: Manifest, split: str) -> None:
        info = manifest.splits[split]
        if not info.shards:
            raise DatasetError(
                f"{folder} has no examples in its {split} split; "
                "prepare it again from more or longer recordings."
            )
        self._hop_length, self._chunk = manifest.hop_length, manifest.chunk_hops
        self._hops = [starts - 1 + manifest.example_hops for starts in info.starts]
        lengths = [hops * self._hop_length + 3 * (hops + 1) for hops in self._hops]
        self._shards = ShardReader(Path(folder), info.shards, lengths)
        self._crc32 = info.crc32
        # For each record, which of its chunks were found to be as they were written.
        self._found_right = [bytearray(len(checksums) // 8) for checksums in info.crc32]

    def __len__(self) -> int:
        return len(self._hops)

    def __getitem__(self, index: int) -> Segment:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return self.crop(index, 0, self._hops[index])

    def crop(self, index: int, start: int, n_hops: int) -> Segment:
        """The `n_hops` hops of a record that start at frame `start`, with ``n_hops + 1`` frames.

        The arrays are views of the file: what is not used is not read.

        Raises:
          DatasetError: the shard is damaged there.
          IndexError: the record has no such hops.
        """
        if not 0 <= start <= start + n_hops <= self._hops[index]:
            hops = self._hops[index]
            raise IndexError(
                f"hops {start} to {start + n_hops} of record {index}, which has {hops}"
            )
        numbers, edges = self._shards[index], self._edges(index)
        record = Segment(*(numbers[begin:end] for begin, end in pairwise(edges)))
        right = self._found_right[index]
        for chunk in self._unchecked(index, start, n_hops):
            checksum = crc32_of(record, self._widths, chunk, len(right))
            if f"{checksum:08x}" != self._crc32[index][8 * chunk : 8 * chunk + 8]:
                raise self._shards.damaged(index)
            right[chunk] = True
        return record.crop(start, n_hops, hop_length=self._hop_length)

    def will_need(self, index: int, start: int, n_hops: int) -> None:
        """Begins to read a crop in the background."""
        first, last = start, start + n_hops
        for chunk in self._unchecked(index, start, n_hops):
            is_last = chunk == len(self._found_right[index]) - 1
            first = min(first, chunk * self._chunk)
            last = max(last, self._hops[index] if is_last else (chunk + 1) * self._chunk)
        _, *features = self._edges(index)[:-1]
        spans = [(edge + first, edge + last + 1) for edge in features]
        audio = first * self._hop_length, last * self._hop_length
        self._shards.will_need(index, [audio, *spans])

    def _edges(self, index: int) -> tuple[int, ...]:
        """Where the tracks of a record begin, and where the last one ends."""
        samples, frames = self._hops[index] * self._hop_length, self._hops[index] + 1
        return 0, samples, samples + frames, samples + 2 * frames, samples + 3 * frames

    @property
    def _widths(self) -> tuple[int, ...]:
        """The numbers of each track in one chunk."""
        return self._chunk * self._hop_length, *3 * (self._chunk,)

    def _unchecked(self, index: int, start: int, n_hops: int) -> list[int]:
        """The chunks of a crop that were not compared with their checksums yet."""
        right = self._found_right[index]
        first, last = (min(at // self._chunk, len(right) - 1) for at in (start, start + n_hops))
        return [chunk for chunk in range(first, last + 1) if not right[chunk]]


def verify_dataset(folder: str | Path) -> Manifest:
    """Reads all of a dataset, and compares the digest of every shard with that in the manifest.

    Batches compare checksums of what they read as they go, so this is needed only where damage
    must be found before a training, such as after a copy to another machine.

    Args:
      folder: the dataset.

    Returns:
      The manifest.

    Raises:
      DatasetError: the manifest or a shard is missing or damaged.
    """
    manifest = read_manifest(folder)
    for name, split in manifest.splits.items():
        if split.shards:
            Records(folder, manifest, name)
        for shard in split.shards:
            path = Path(folder) / shard.name
            if sha256_of_file(path) != shard.sha256:
                raise damaged(path, "its digest is not that in the manifest")
    return manifest
