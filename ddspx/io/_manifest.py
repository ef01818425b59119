"""The manifest of a prepared dataset: how it was made, its records, and what they must be.

The manifest is the root of trust of a dataset. It holds the SHA-256 of every shard and CRC-32
checksums of every few seconds of sound, and a digest of itself. So data that is damaged, or belongs
to another dataset, is found before it is used.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
from ddspx.io._replacing import is_folder, replacing_file

FORMAT = "ddspx-dataset"
FORMAT_VERSION = 2
SPLITS = ("train", "valid", "test")

_MANIFEST = "manifest.json"
# A stretch of a record that has a checksum of its own. It is read as a whole when an example in it
# is read for the first time, so it is not much longer than an example is.
_CHUNK_SECONDS = 4.0


class DatasetError(ValueError):
    """A dataset that cannot be used; the message names the path and the fix."""


@dataclass(frozen=True)
class Source:
    """A recording from which a dataset was made, with its duration and how much of it was used."""

    name: str
    sha256: str
    duration_s: float
    kept_s: float


@dataclass(frozen=True)
class Shard:
    """A file of records, one after the other.

    Args:
      name: name of the file.
      n_records: number of its records.
      sha256: SHA-256 of its bytes.
    """

    name: str
    n_records: int
    sha256: str


@dataclass(frozen=True)
class Split:
    """The records of one split.

    Args:
      shards: the files, in order.
      starts: for each record, the number of frames at which an example can start.
      weights_s: for each record, its weight when examples are drawn, in seconds of sound.
      sources: for each record, the number of its recording among the sources.
      crc32: for each record, the CRC-32 of its chunks, as eight hexadecimal digits each.
      n_examples: number of examples without overlap that the split holds.
      duration_s: duration of the sound in seconds, without the overlaps of records.
    """

    shards: tuple[Shard, ...] = ()
    starts: tuple[int, ...] = ()
    weights_s: tuple[float, ...] = ()
    sources: tuple[int, ...] = ()
    crc32: tuple[str, ...] = ()
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

    @property
    def chunk_hops(self) -> int:
        """Number of hops of a record that share a checksum."""
        return chunk_hops(self.sample_rate, self.hop_length)


def chunk_hops(sample_rate: int, hop_length: int) -> int:
    """Number of hops of a record that share a checksum."""
    return math.ceil(_CHUNK_SECONDS * sample_rate / hop_length)


def is_dataset(folder: str | Path) -> bool:
    """Whether a folder holds a dataset, even if it is damaged or of another version."""
    path = Path(folder) / _MANIFEST
    return path.is_file() and FORMAT in path.read_text(encoding="utf-8", errors="replace")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes a manifest, and its digest in it.

    Raises:
      ValueError: a number in it is not finite.
    """
    fields = {"format": FORMAT, "version": FORMAT_VERSION, **asdict(manifest)}
    fields["sha256"] = digest_of(fields)
    text = json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False)
    # A file name that is not UTF-8 holds lone surrogates, which are written as JSON escapes.
    with (
        replacing_file(folder / _MANIFEST) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.write(text + "\n")


def digest_of(fields: Mapping[str, Any]) -> str:
    """The SHA-256 of a manifest's fields but its digest, whatever their order and the spaces."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def read_manifest(folder: str | Path) -> Manifest:
    """Reads and checks the manifest of a prepared dataset.

    Raises:
      DatasetError: the folder or its manifest does not exist, or the manifest is damaged or has a
        version that this release does not read.
    """
    folder = Path(folder)
    if not is_folder(folder):
        raise DatasetError(f"{folder} is not a folder; make a dataset with `ddspx prepare`.")
    path = folder / _MANIFEST
    if not path.is_file():
        raise DatasetError(
            f"{folder} is not a prepared dataset (it has no {_MANIFEST}); "
            "make one with `ddspx prepare`."
        )
    try:
        fields = read_json(path)
        found = fields["format"], fields["version"]
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
    if fields.pop("sha256") != digest_of(fields):
        raise ValueError("its digest is not that of its contents")
    del fields["format"], fields["version"]
    _check("the manifest", fields, _MANIFEST_FIELDS)
    if fields["example_length"] % fields["hop_length"]:
        raise ValueError("`example_length` is not a multiple of `hop_length`")
    for source in fields["sources"]:
        _check("a source", source, _SOURCE_FIELDS)
    sources = tuple(Source(**source) for source in fields.pop("sources"))
    splits = fields.pop("splits")
    manifest = Manifest(
        **fields, sources=sources, splits={name: _split(name, splits[name]) for name in SPLITS}
    )
    for name, split in manifest.splits.items():
        _check_records(name, split, manifest)
    return manifest


def _split(name: str, split: Any) -> Split:
    """The split, or a ValueError if its fields are not of their kinds."""
    _check(f"the {name} split", split, _SPLIT_FIELDS)
    for shard in split["shards"]:
        _check(f"a shard of {name}", shard, _SHARD_FIELDS)
    split = split | {"shards": [Shard(**shard) for shard in split["shards"]]}
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in split.items()}
    return Split(**values)


def _check_records(name: str, split: Split, manifest: Manifest) -> None:
    """Raises a ValueError if `DatasetWriter` could not have written the records of a split."""
    n_records = sum(shard.n_records for shard in split.shards)
    for field in ("starts", "weights_s", "sources", "crc32"):
        if len(getattr(split, field)) != n_records:
            raise ValueError(f"`{field}` of {name} does not have {n_records} values")
    if bool(n_records) != bool(split.n_examples):
        raise ValueError(f"{name} has {n_records} records of {split.n_examples} examples")
    if any(source >= len(manifest.sources) for source in split.sources):
        raise ValueError(f"`sources` of {name} names one that is not among the sources")
    for starts, checksums in zip(split.starts, split.crc32, strict=True):
        hops = starts - 1 + manifest.example_hops
        if len(checksums) != 8 * n_chunks(hops, manifest.chunk_hops):
            raise ValueError(f"a record of {name} of {hops} hops has the checksums {checksums}")


def n_chunks(n_hops: int, chunk: int) -> int:
    """Number of chunks of a record, of which the last takes what is left."""
    return max(1, n_hops // chunk)


def _check(owner: str, fields: Any, kinds: Mapping[str, Kind]) -> None:
    """Raises a ValueError unless every field in `kinds` has a value of its kind."""
    for name, kind in kinds.items():
        json_field(fields, name, kind, owner=owner)


def _is_file_name(value: Any) -> bool:
    # A plain name, not a path, so that a manifest cannot refer to files outside of its folder.
    return isinstance(value, str) and value not in ("", ".", "..") and not set(value) & set("/\\\0")


def _is_hexadecimal(value: Any) -> bool:
    return isinstance(value, str) and not set(value) - set("0123456789abcdef")


_HEXADECIMAL = Kind("hexadecimal digits", _is_hexadecimal)
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
_SHARD_FIELDS: dict[str, Kind] = {
    "name": Kind("a plain file name", _is_file_name),
    "n_records": COUNT,
    "sha256": _HEXADECIMAL,
}
_SPLIT_FIELDS: dict[str, Kind] = {
    "shards": LIST,
    "starts": list_of(COUNT),
    "weights_s": list_of(Kind("a duration", lambda value: DURATION.allows(value) and value > 0)),
    "sources": list_of(COUNT_OR_0),
    "crc32": list_of(_HEXADECIMAL),
    "n_examples": COUNT_OR_0,
    "duration_s": DURATION,
}
