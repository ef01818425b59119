"""The audio of labelled recordings, decoded once into shards and read from there."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np

from ddspx._checks import size
from ddspx._progress import Progress, no_progress
from ddspx.io._audio import AudioError, stream_audio
from ddspx.io._json import COUNT, TEXT, json_field, read_json
from ddspx.io._labels import Recording, file_sha256
from ddspx.io._manifest import DatasetError, Shard, digest_of
from ddspx.io._pool import mapped
from ddspx.io._replacing import replacing_file
from ddspx.io._shards import FLOAT, ShardReader, ShardWriter, crc32_of

_FORMAT, _VERSION, _LIST = "ddspx-sounds", 2, ".sounds.json"
# Samples that share a checksum, and that are in memory at a time: a whole number of the former.
_CHUNK, _BLOCK = 2**16, 2**20
# What a process decodes at a time: enough that few files and few messages are needed, and little
# enough that all processes have work, and that little is lost if one is killed.
_GROUP_BYTES, _GROUP_FILES = 16 * 2**20, 1000

# A decoded recording of more bytes waits on the disk until its gain is known.
_SPOOLED_BYTES = 16 * 2**20

Gain = Callable[[Iterable[np.ndarray]], float]


class LabelledAudio(Sequence[np.ndarray]):
    """The audio of recordings, decoded once and then read by memory maps.

    Each recording is decoded by one of several processes and written into a folder, in the format
    of the shards of a dataset. Later calls with the same folder, rate and gain find there what was
    decoded before, by the SHA-256 of the recordings, so that a call that was interrupted goes on.
    Memory does not grow with the length of a recording, and nothing is kept in it but what the
    operating system keeps of the files.

    Args:
      recordings: the recordings to read.
      folder: where the decoded audio is kept; it is made if it does not exist.
      sample_rate: samples per second of the audio, which is mono float32.
      report: called with the error of each recording that cannot be read, which is left out.
      gain: function that gives the factor that a recording is multiplied with, for example to
        normalize its level, from the blocks of its samples. It must be one that can be imported,
        unless `workers` is 1.
      progress: called with the number of recordings read so far, and of all.
      workers: number of processes, as far as there is work for them. With more than one, a script
        needs the guard ``if __name__ == "__main__":``.
      decode: whether recordings are decoded that are not in `folder`. Without, `folder` is only
        read; it must hold what another process decoded.

    Attributes:
      recordings: the recordings that could be read.
      n_samples: length of each, in samples.

    Raises:
      DatasetError: what was decoded was changed since; raised when it is read for the first time.
        Or a recording is neither in `folder` nor to be decoded.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from ddspx import io
      >>> folder = tempfile.TemporaryDirectory()
      >>> path = Path(folder.name, "a.wav")
      >>> io.write_audio(path, np.linspace(-1, 1, 800), sample_rate=8000)
      >>> recordings = [io.Recording(path, "a.wav", "ramp", "train", "a.wav")]
      >>> sounds = io.LabelledAudio(recordings, folder.name, sample_rate=4000, report=print)
      >>> len(sounds), sounds[0].shape, sounds[0].dtype
      (1, (400,), dtype('float32'))
      >>> del sounds
      >>> folder.cleanup()
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        folder: str | Path,
        *,
        sample_rate: int,
        report: Callable[[AudioError], object],
        gain: Gain | None = None,
        progress: Progress = no_progress,
        workers: int = 1,
        decode: bool = True,
    ) -> None:
        folder, kind = Path(folder), _Kind(size("sample_rate", sample_rate), gain)
        size("workers", workers)
        files = [(_key(recording), recording.path) for recording in recordings]
        if decode:
            found = _decoded_in(folder, kind, files, report, progress, workers)
        else:
            found = _stored(folder, kind)
            _report_errors(found, files, folder, report)
        usable = [at for at, (key, _) in enumerate(files) if key in found.sounds]
        self.recordings = tuple(recordings[at] for at in usable)
        self._sounds = [found.sounds[files[at][0]] for at in usable]
        self.n_samples = tuple(sound.n_samples for sound in self._sounds)

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._sounds[index].audio()

    def take(self, index: int, positions: np.ndarray) -> np.ndarray:
        """Samples of a recording; no others are read but those that share a checksum with them.

        Args:
          index: number of the recording.
          positions: numbers of the samples; what is beyond an end goes on from the other end.
        """
        return self._sounds[index].take(positions)

    def chosen(self, indices: Sequence[int]) -> "LabelledAudio":
        """A subset of the recordings, without reading any file again."""
        part = copy.copy(self)
        part.recordings = tuple(self.recordings[i] for i in indices)
        part.n_samples = tuple(self.n_samples[i] for i in indices)
        part._sounds = [self._sounds[i] for i in indices]
        return part


class _Sound:
    """The decoded audio of a recording, on the disk."""

    def __init__(self, shards: ShardReader, record: int, fields: Mapping[str, Any]) -> None:
        self.n_samples = json_field(fields, "n_samples", COUNT)
        self._crc32 = json_field(fields, "crc32", TEXT)
        self._shards, self._record = shards, record
        self._is_right = np.zeros(_n_chunks(self.n_samples), bool)
        if len(self._crc32) != 8 * len(self._is_right):
            raise ValueError("it has not one checksum for each chunk")

    def audio(self) -> np.ndarray:
        return self._checked(range(len(self._is_right)))

    def take(self, positions: np.ndarray) -> np.ndarray:
        positions = positions % self.n_samples
        return self._checked(np.flatnonzero(np.bincount(positions // _CHUNK)).tolist())[positions]

    def _checked(self, chunks: Iterable[int]) -> np.ndarray:
        """The samples, of which some chunks are compared with their checksums."""
        audio = self._shards[self._record]
        for chunk in chunks:
            if not self._is_right[chunk]:
                value = crc32_of([audio], [_CHUNK], chunk, len(self._is_right))
                if f"{value:08x}" != self._crc32[8 * chunk : 8 * chunk + 8]:
                    raise self._shards.damaged(self._record)
                self._is_right[chunk] = True
        return audio


class _Kind(NamedTuple):
    """What was done to audio."""

    sample_rate: int
    gain: Gain | None

    def to_json(self) -> dict[str, Any]:
        name = self.gain and f"{self.gain.__module__}.{self.gain.__qualname__}"
        facts = {"format": _FORMAT, "version": _VERSION}
        return {**facts, "sample_rate": self.sample_rate, "gain": name}

    @property
    def prefix(self) -> str:
        """How the names of its files begin, so that kinds do not touch each other's."""
        return f"{self.sample_rate}-{digest_of(self.to_json())[:8]}-"


class _Decoded(NamedTuple):
    n_files: int
    errors: list[str]


class _Stored(NamedTuple):
    """What a folder holds: sounds by their keys, and errors by the paths that cannot be read."""

    sounds: dict[str, _Sound]
    errors: dict[str, str]


def _decoded_in(
    folder: Path,
    kind: _Kind,
    files: Sequence[tuple[str, Path]],
    report: Callable[[AudioError], object],
    progress: Progress,
    workers: int,
) -> _Stored:
    """Decodes what is not in a folder yet, and what could not be read before."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = _stored(folder, kind, delete=True)
    missing = [(key, path) for key, path in files if key not in stored.sounds]
    groups = list(_groups(missing))
    done, total = len(files) - len(missing), float(len(files))
    progress("reading", float(done), total)
    workers = max(1, min(workers, len(groups)))
    for group in mapped(partial(_decoded, folder, kind), groups, workers=workers):
        done += group.n_files
        for error in group.errors:
            report(AudioError(error))
        progress("reading", float(done), total)
    return _stored(folder, kind) if groups else stored


def _report_errors(
    stored: _Stored,
    files: Sequence[tuple[str, Path]],
    folder: Path,
    report: Callable[[AudioError], object],
) -> None:
    """Reports what another process could not read."""
    for key, path in files:
        if key in stored.sounds:
            continue
        if str(path) not in stored.errors:
            raise DatasetError(
                f"{folder} does not hold the sound of {path}; all processes must see the same "
                "recordings, and the same folder, in which the first of them decodes all."
            )
        report(AudioError(stored.errors[str(path)]))


def _key(recording: Recording) -> str:
    """The digest of a recording's file; something else that names it if it cannot be read."""
    return recording.sha256 or file_sha256(recording.path) or str(recording.path)


def _groups(missing: Sequence[tuple[str, Path]]) -> Iterator[list[tuple[str, Path]]]:
    """Divides files into groups that are decoded by one process each."""
    group, n_bytes = [], 0
    for key, path in missing:
        group.append((key, path))
        n_bytes += path.stat().st_size if path.is_file() else 0
        if n_bytes >= _GROUP_BYTES or len(group) >= _GROUP_FILES:
            yield group
            group, n_bytes = [], 0
    if group:
        yield group


def _decoded(folder: Path, kind: _Kind, group: Sequence[tuple[str, Path]]) -> _Decoded:
    """Decodes files into shards of their own, which count when the list of them is written."""
    name = hashlib.sha256(repr([key for key, _ in group]).encode("ascii", "backslashreplace"))
    name = kind.prefix + name.hexdigest()[:16]
    sounds, errors = [], {}
    with ShardWriter(folder, name) as writer:
        for key, path in group:
            with SpooledTemporaryFile(_SPOOLED_BYTES, dir=str(folder)) as spool:
                try:
                    for block in stream_audio(
                        path, sample_rate=kind.sample_rate, block_length=_BLOCK
                    ):
                        spool.write(np.ascontiguousarray(block, FLOAT).data)
                except AudioError as error:
                    errors[str(path)] = str(error)
                    continue
                sounds.append({"key": key, **_added(writer, spool, kind)})
    shards = [asdict(shard) for shard in writer.close()]
    fields = {**kind.to_json(), "shards": shards, "sounds": sounds, "errors": errors}
    fields["sha256"] = digest_of(fields)
    with replacing_file(folder / f"{name}{_LIST}") as temporary:
        temporary.write_text(json.dumps(fields) + "\n", encoding="utf-8")
    return _Decoded(len(group), list(errors.values()))


def _added(writer: ShardWriter, spool: IO[bytes], kind: _Kind) -> dict[str, Any]:
    """Appends a recording to a shard; returns its length, and the checksums of its chunks."""
    # In double precision: in single precision a gain would be rounded before it is used.
    gain = None if kind.gain is None else np.float64(kind.gain(_blocks(spool)))
    lengths, checksums = [], []

    def louder() -> Iterator[np.ndarray]:
        for block in _blocks(spool):
            block = block if gain is None else (block * gain).astype(FLOAT)
            n = _n_chunks(len(block))
            lengths.append(len(block))
            checksums.extend(crc32_of([block], [_CHUNK], chunk, n) for chunk in range(n))
            yield block

    writer.add(louder())
    return {"n_samples": sum(lengths), "crc32": "".join(f"{value:08x}" for value in checksums)}


def _blocks(spool: IO[bytes]) -> Iterator[np.ndarray]:
    spool.seek(0)
    while data := spool.read(FLOAT.itemsize * _BLOCK):
        yield np.frombuffer(data, FLOAT)


def _n_chunks(n_samples: int) -> int:
    return -(-n_samples // _CHUNK)


def _stored(folder: Path, kind: _Kind, *, delete: bool = False) -> _Stored:
    """What a folder holds of a kind.

    A list that is damaged does not count. It may be deleted; what it lists is decoded again then.
    """
    sounds, errors = {}, {}
    for path in sorted(folder.glob(f"{kind.prefix}*{_LIST}")):
        try:
            listed = _listed(path, kind)
        except (ValueError, TypeError, KeyError, AttributeError):
            if delete:
                for shard in folder.glob(f"{path.name.removesuffix(_LIST)}-*.f32"):
                    shard.unlink()
                path.unlink()
            continue
        sounds |= listed.sounds
        errors |= listed.errors
    return _Stored(sounds, errors)


def _listed(path: Path, kind: _Kind) -> _Stored:
    """What a list names, or a ValueError or the like."""
    fields = read_json(path)
    if fields.pop("sha256") != digest_of(fields):
        raise ValueError("its digest is not that of its contents")
    expected = kind.to_json()
    if {name: fields[name] for name in expected} != expected:
        raise ValueError("it is of another kind")
    lengths = [json_field(sound, "n_samples", COUNT) for sound in fields["sounds"]]
    shards = [Shard(**shard) for shard in fields["shards"]]
    mend = f"delete {path.parent} and train again"
    reader = ShardReader(path.parent, shards, lengths, mend=mend)
    sounds = {
        sound["key"]: _Sound(reader, record, sound) for record, sound in enumerate(fields["sounds"])
    }
    return _Stored(sounds, dict(fields["errors"]))
