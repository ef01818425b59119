"""A prepared dataset on disk: ArrayRecord shards of audio with features, and one manifest.

A dataset is a folder. ``manifest.json`` says how it was made, and which records each split has;
``<split>-00000.array_record`` and so on hold the records. A record is a stretch of continuous audio
with the features of its frames, as safetensors bytes (arrays only, nothing is unpickled).

Records are built for random crops. In a stretch of ``T`` hops an example of ``E`` hops can start at
``T - E + 1`` positions. The stretch is divided so that each record owns a range of those positions
and holds all audio that examples starting there need. So neighbouring records overlap by one
example, and every possible crop can be read from a single record of bounded size.
"""

import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from ddspx._checks import positive_int, size
from ddspx._typing import Float
from ddspx.io._files import native_name
from ddspx.io._json import (
    COUNT,
    COUNT_OR_0,
    DURATION,
    LIST,
    OBJECT,
    TEXT,
    Kind,
    json_field,
    list_of,
    read_json,
)

FORMAT = "ddspx-dataset"
FORMAT_VERSION = 1
SPLITS = ("train", "valid", "test")

_MANIFEST = "manifest.json"
_SHARD_BYTES = 256 * 2**20
# Duration of the start positions that a record owns: long enough that the overlap of one example
# needs little disk space, short enough that reading a record for one crop takes little time.
_RECORD_SECONDS = 16.0
# Examples are drawn in random order: every record is its own group, and noise-like float data
# does not compress.
_WRITER_OPTIONS = "group_size:1,uncompressed"
_READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"
# Reading a record takes milliseconds, and examples return every epoch. Up to this many bytes of
# records, two hours of audio at 16 kHz, are therefore kept in memory.
_CACHE_BYTES = 512 * 2**20


class DatasetError(ValueError):
    """A dataset that cannot be used; the message names the path and the fix."""


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


@dataclass(frozen=True)
class Source:
    """A recording from which a dataset was made, with its duration and how much of it was used."""

    name: str
    sha256: str
    duration_s: float
    kept_s: float


@dataclass(frozen=True)
class Split:
    """The records of one split.

    Args:
      shards: file names, in order.
      shard_records: number of records in each shard.
      starts: for each record, the number of frames at which an example can start.
      weights_s: for each record, its weight when examples are drawn, in seconds of sound.
      n_examples: number of examples without overlap that the split holds.
      duration_s: duration of the sound in seconds, without the overlaps of records.
    """

    shards: tuple[str, ...] = ()
    shard_records: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    weights_s: tuple[float, ...] = ()
    n_examples: int = 0
    duration_s: float = 0.0


@dataclass(frozen=True)
class Manifest:
    """The contents of a dataset's manifest.

    Args:
      sample_rate: samples per second of the audio.
      hop_length: samples between frames.
      example_length: samples in one example, a multiple of `hop_length`.
      feature_version: version of the feature extraction.
      licence: licence of the recordings, as given when the dataset was prepared.
      attribution: whom to credit for the recordings.
      sources: the recordings.
      splits: the records of train, valid and test.
      statistics: statistics of the train split, which training and transfer use.
    """

    sample_rate: int
    hop_length: int
    example_length: int
    feature_version: str
    licence: str
    attribution: str
    sources: tuple[Source, ...]
    splits: Mapping[str, Split]
    statistics: Mapping[str, Any]

    @property
    def example_hops(self) -> int:
        """Number of hops in one example, which is one less than its number of frames."""
        return self.example_length // self.hop_length


class DatasetWriter:
    """Writes the records and then the manifest of a dataset into an existing folder.

    Args:
      folder: an empty folder, for example from :func:`replacing_folder`.
      sample_rate: samples per second.
      hop_length: samples between frames.
      example_length: samples in one example.

    Raises:
      ValueError: `example_length` is not a multiple of `hop_length`.
      ModuleNotFoundError: array_record is not installed.

    Example:
      >>> import numpy as np, tempfile
      >>> from ddspx import io
      >>> ramp = np.arange(41.0)
      >>> segment = io.Segment(np.arange(400.0), ramp, ramp, ramp)
      >>> rates = {"sample_rate": 100, "hop_length": 10, "example_length": 150}
      >>> facts = {"feature_version": "1", "licence": "CC0", "attribution": "none"}
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with io.DatasetWriter(folder, **rates) as writer:
      ...         writer.add("test", segment)
      ...         manifest = writer.finish(**facts, sources=(), statistics={})
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
        self._splits = {name: _SplitWriter(self._folder, name) for name in SPLITS}

    def __enter__(self) -> "DatasetWriter":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for split in self._splits.values():
            split.close()

    def add(self, split: str, segment: Segment) -> None:
        """Appends a stretch of continuous sound, at least one example long, to a split.

        Raises:
          ValueError: audio and features do not line up, or the stretch is too short.
        """
        n_hops = len(segment.f0_hz) - 1
        if len(segment.audio) != n_hops * self._hop_length:
            raise ValueError(
                f"`segment` has {len(segment.audio)} samples and {n_hops + 1} frames; "
                f"{n_hops + 1} frames go with {n_hops * self._hop_length} samples."
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
            )
        self._splits[split].count(n_examples=n_hops // example, duration_s=seconds)

    def finish(
        self,
        *,
        feature_version: str,
        licence: str,
        attribution: str,
        sources: tuple[Source, ...],
        statistics: Mapping[str, Any],
    ) -> Manifest:
        """Closes the shards and writes the manifest."""
        manifest = Manifest(
            sample_rate=self._sample_rate,
            hop_length=self._hop_length,
            example_length=self._example_length,
            feature_version=feature_version,
            licence=licence,
            attribution=attribution,
            sources=sources,
            splits={name: split.close() for name, split in self._splits.items()},
            statistics=statistics,
        )
        fields = {"format": FORMAT, "version": FORMAT_VERSION, **asdict(manifest)}
        text = json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False)
        # A file name that is not UTF-8 holds lone surrogates, which are written as JSON escapes.
        with (self._folder / _MANIFEST).open(
            "w", encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(text + "\n")
        return manifest


class _SplitWriter:
    """Writes the shards of one split, and begins a new shard when the last one is full."""

    def __init__(self, folder: Path, name: str) -> None:
        self._array_record = array_record_module()
        self._folder, self._name = folder, name
        self._writer, self._shard_bytes = None, 0
        self._shards, self._shard_records = [], []
        self._starts, self._weights_s = [], []
        self._n_examples, self._duration_s = 0, 0.0

    def add(self, record: Segment, *, starts: int, weight_s: float) -> None:
        from safetensors.numpy import save

        if self._writer is None or self._shard_bytes > _SHARD_BYTES:
            self._close_shard()
            self._shards.append(f"{self._name}-{len(self._shards):05d}.array_record")
            self._shard_records.append(0)
            self._writer = self._array_record.ArrayRecordWriter(
                native_name(self._folder / self._shards[-1]), _WRITER_OPTIONS
            )
        data = save(
            {
                name: np.ascontiguousarray(array, np.float32)
                for name, array in record._asdict().items()
            }
        )
        self._writer.write(data)
        self._shard_bytes += len(data)
        self._shard_records[-1] += 1
        self._starts.append(starts)
        self._weights_s.append(weight_s)

    def count(self, *, n_examples: int, duration_s: float) -> None:
        self._n_examples += n_examples
        self._duration_s += duration_s

    def close(self) -> Split:
        self._close_shard()
        return Split(
            shards=tuple(self._shards),
            shard_records=tuple(self._shard_records),
            starts=tuple(self._starts),
            weights_s=tuple(self._weights_s),
            n_examples=self._n_examples,
            duration_s=self._duration_s,
        )

    def _close_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._shard_bytes = None, 0


def array_record_module() -> Any:
    """The array_record extension, or an error that says how to install it."""
    try:
        return import_module("array_record.python.array_record_module")
    except ModuleNotFoundError as error:
        needs = "preparing and reading datasets of instruments needs array_record, which"
        system = sys.platform, platform.machine()
        if system[0] == "win32" or system == ("darwin", "x86_64"):
            raise ModuleNotFoundError(
                f"{needs} does not exist for {platform.system()} on this processor; prepare and "
                "train on Linux (on Windows in WSL), on a Mac with an Apple processor or in Colab, "
                "and use the trained model here: playing instruments, and everything about "
                "classifiers, works without it"
            ) from error
        raise ModuleNotFoundError(
            f'{needs} is not installed; run: pip install "ddspx[train]"'
        ) from error


def is_dataset(folder: str | Path) -> bool:
    """Whether a folder holds a dataset, even if it is damaged or of another version."""
    path = Path(folder) / _MANIFEST
    return path.is_file() and FORMAT in path.read_text(encoding="utf-8", errors="replace")


def read_manifest(folder: str | Path) -> Manifest:
    """Reads and checks the manifest of a prepared dataset.

    Raises:
      DatasetError: the folder or its manifest does not exist, or the manifest is damaged or has a
        version that this release does not read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; make a dataset with `ddspx prepare`.")
    path = folder / _MANIFEST
    if not path.is_file():
        raise DatasetError(
            f"{folder} is not a prepared dataset (it has no {_MANIFEST}); "
            "make one with `ddspx prepare`."
        )
    try:
        fields = read_json(path)
        found = fields.pop("format"), fields.pop("version")
        if found == (FORMAT, FORMAT_VERSION):
            return _manifest(fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(
            f"{path} is damaged ({type(error).__name__}: {error}); prepare the dataset again."
        ) from error
    raise DatasetError(
        f"{path} has format {found[0]!r} version {found[1]!r} where {FORMAT!r} version "
        f"{FORMAT_VERSION} is read; prepare the dataset again."
    )


def _manifest(fields: dict[str, Any]) -> Manifest:
    _check("the manifest", fields, _MANIFEST_FIELDS)
    if fields["example_length"] % fields["hop_length"]:
        raise ValueError("`example_length` is not a multiple of `hop_length`")
    for source in fields["sources"]:
        _check("a source", source, _SOURCE_FIELDS)
    sources = tuple(Source(**source) for source in fields.pop("sources"))
    splits = fields.pop("splits")
    return Manifest(
        **fields, sources=sources, splits={name: _split(name, splits[name]) for name in SPLITS}
    )


def _split(name: str, split: Any) -> Split:
    """The split, or a ValueError if `DatasetWriter` could not have written it."""
    _check(f"the {name} split", split, _SPLIT_FIELDS)
    n_records = sum(split["shard_records"])
    if len(split["shards"]) != len(split["shard_records"]):
        raise ValueError(f"`shards` and `shard_records` of {name} differ in length")
    if not n_records == len(split["starts"]) == len(split["weights_s"]):
        raise ValueError(f"`starts` and `weights_s` of {name} do not have {n_records} values each")
    if bool(n_records) != bool(split["n_examples"]):
        raise ValueError(f"{name} has {n_records} records of {split['n_examples']} examples")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in split.items()}
    return Split(**values)


def _check(owner: str, fields: Any, kinds: Mapping[str, Kind]) -> None:
    """Raises a ValueError unless every field in `kinds` has a value of its kind."""
    for name, kind in kinds.items():
        json_field(fields, name, kind, owner=owner)


def _is_file_name(value: Any) -> bool:
    # A plain name, not a path, so that a manifest cannot refer to files outside of its folder.
    return isinstance(value, str) and value not in ("", ".", "..") and not set(value) & set("/\\\0")


_MANIFEST_FIELDS: dict[str, Kind] = {
    **dict.fromkeys(("sample_rate", "hop_length", "example_length"), COUNT),
    **dict.fromkeys(("feature_version", "licence", "attribution"), TEXT),
    "sources": LIST,
    **dict.fromkeys(("splits", "statistics"), OBJECT),
}
_SOURCE_FIELDS: dict[str, Kind] = {
    **dict.fromkeys(("name", "sha256"), TEXT),
    **dict.fromkeys(("duration_s", "kept_s"), DURATION),
}
_SPLIT_FIELDS: dict[str, Kind] = {
    "shards": list_of(Kind("a plain file name", _is_file_name)),
    **dict.fromkeys(("shard_records", "starts"), list_of(COUNT)),
    "weights_s": list_of(Kind("a duration", lambda value: DURATION.allows(value) and value > 0)),
    "n_examples": COUNT_OR_0,
    "duration_s": DURATION,
}


class Records:
    """Random access to the records of one split.

    Args:
      folder: the dataset.
      manifest: its manifest, from :func:`read_manifest`.
      split: train, valid or test.

    Raises:
      DatasetError: the split is empty, or a shard is missing or damaged.
    """

    def __init__(self, folder: str | Path, manifest: Manifest, split: str) -> None:
        module = array_record_module()
        info = manifest.splits[split]
        self._paths = [Path(folder) / name for name in info.shards]
        if not self._paths:
            raise DatasetError(
                f"{folder} has no examples in its {split} split; "
                "prepare it again from more or longer recordings."
            )
        self._readers = []
        for path, n_records in zip(self._paths, info.shard_records, strict=True):
            if not path.is_file():
                raise DatasetError(f"{path} is missing; prepare the dataset again.")
            reader = module.ArrayRecordReader(native_name(path), options=_READER_OPTIONS)
            if not reader.ok() or reader.num_records() != n_records:
                raise _damaged(path)
            self._readers.append(reader)
        self._first = np.concatenate([[0], np.cumsum(info.shard_records)])
        self._cache: dict[int, Segment] = {}
        self._cache_bytes = 0

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, index: int) -> Segment:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        if index in self._cache:
            return self._cache[index]
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        record = self._read(shard, int(index - self._first[shard]))
        if self._cache_bytes < _CACHE_BYTES:
            self._cache[index] = record
            self._cache_bytes += sum(array.nbytes for array in record)
        return record

    def _read(self, shard: int, position: int) -> Segment:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            (data,) = self._readers[shard].read([position])
            return Segment(**load(data))
        except (RuntimeError, ValueError, TypeError, SafetensorError) as error:
            raise _damaged(self._paths[shard]) from error


def _damaged(path: Path) -> DatasetError:
    return DatasetError(f"{path} is damaged; prepare the dataset again.")
