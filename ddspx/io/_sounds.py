"""The audio of labelled recordings, decoded once into shards and read from there."""

import copy
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddspx._checks import size
from ddspx._progress import Progress, no_progress
from ddspx.io._audio import AudioError, read_audio
from ddspx.io._json import COUNT, COUNT_OR_0, json_field, read_json
from ddspx.io._labels import Recording, file_sha256
from ddspx.io._manifest import Shard, digest_of
from ddspx.io._pool import available_cores, mapped
from ddspx.io._replacing import replacing_file
from ddspx.io._shards import FLOAT, ShardReader, ShardWriter

_FORMAT, _VERSION, _LIST = "ddspx-sounds", 1, ".sounds.json"
# What a process decodes at a time: enough that few files and few messages are needed, and little
# enough that all processes have work, and that little is lost if one is killed.
_GROUP_BYTES, _GROUP_FILES = 16 * 2**20, 1000

Transform = Callable[[np.ndarray], np.ndarray]


class LabelledAudio(Sequence[np.ndarray]):
    """The audio of recordings, decoded once and then read by memory maps.

    Each recording is decoded by one of several processes and written into a folder, in the format
    of the shards of a dataset. Later calls with the same folder find there what was decoded before,
    by the SHA-256 of the recordings, so that a call that was interrupted goes on. Nothing is kept
    in memory but what the operating system keeps of the files.

    Args:
      recordings: the recordings to read.
      folder: where the decoded audio is kept; it is made if it does not exist.
      sample_rate: samples per second of the audio, which is mono float32.
      report: called with the error of each recording that cannot be read, which is left out.
      transform: function applied to each recording, for example to normalize its level. It must
        be one that can be imported, unless `workers` is 1.
      progress: called with the number of recordings read so far, and of all.
      workers: number of processes; by default one for each core, as far as there is work for them.

    Attributes:
      recordings: the recordings that could be read.
      n_samples: length of each, in samples.

    Raises:
      DatasetError: what was decoded was changed since; raised when it is read for the first time.

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
        transform: Transform | None = None,
        progress: Progress = no_progress,
        workers: int | None = None,
    ) -> None:
        folder, kind = Path(folder), _Kind(size("sample_rate", sample_rate), transform)
        folder.mkdir(parents=True, exist_ok=True)
        keys = [_key(recording) for recording in recordings]
        stored = _stored(folder, kind)
        missing = [
            (key, recording.path)
            for key, recording in zip(keys, recordings, strict=True)
            if key not in stored
        ]
        groups = list(_groups(missing))
        workers = workers or max(1, min(available_cores(), len(groups)))
        done, total = len(recordings) - len(missing), float(len(recordings))
        progress("reading", float(done), total)
        for group in mapped(partial(_decoded, folder, kind), groups, workers=workers):
            done += group.n_files
            for error in group.errors:
                report(AudioError(error))
            progress("reading", float(done), total)
        found = _stored(folder, kind) if groups else stored
        usable = [at for at, key in enumerate(keys) if key in found]
        self.recordings = tuple(recordings[at] for at in usable)
        self._sounds = [found[keys[at]] for at in usable]
        self.n_samples = tuple(sound.n_samples for sound in self._sounds)

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._sounds[index].audio()

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
        self._crc32, self._is_right = json_field(fields, "crc32", COUNT_OR_0), False
        self._shards, self._record = shards, record

    def audio(self) -> np.ndarray:
        audio = self._shards[self._record]
        if not self._is_right and zlib.crc32(audio.data) != self._crc32:
            raise self._shards.damaged(self._record)
        self._is_right = True
        return audio


class _Kind(NamedTuple):
    """What was done to the audio in a folder."""

    sample_rate: int
    transform: Transform | None

    def to_json(self) -> dict[str, Any]:
        name = self.transform and f"{self.transform.__module__}.{self.transform.__qualname__}"
        return {"sample_rate": self.sample_rate, "transform": name}


class _Decoded(NamedTuple):
    n_files: int
    errors: list[str]


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
    name = name.hexdigest()[:16]
    sounds, errors = [], []
    with ShardWriter(folder, name) as writer:
        for key, path in group:
            try:
                audio = read_audio(path, sample_rate=kind.sample_rate)
            except AudioError as error:
                errors.append(str(error))
                continue
            audio = audio if kind.transform is None else kind.transform(audio)
            audio = np.ascontiguousarray(audio, FLOAT)
            writer.add([audio])
            crc32 = zlib.crc32(audio.data)
            sounds.append({"key": key, "n_samples": len(audio), "crc32": crc32})
    shards = [asdict(shard) for shard in writer.close()]
    fields = {"format": _FORMAT, "version": _VERSION, **kind.to_json()}
    fields |= {"shards": shards, "sounds": sounds}
    fields["sha256"] = digest_of(fields)
    with replacing_file(folder / f"{name}{_LIST}") as temporary:
        temporary.write_text(json.dumps(fields) + "\n", encoding="utf-8")
    return _Decoded(len(group), errors)


def _stored(folder: Path, kind: _Kind) -> dict[str, _Sound]:
    """The sounds in a folder by their keys; a list that is damaged, or of another kind, is deleted.

    What it lists is decoded again then.
    """
    found = {}
    for path in sorted(folder.glob(f"*{_LIST}")):
        try:
            found |= _listed(path, kind)
        except (ValueError, TypeError, KeyError, AttributeError):
            for shard in folder.glob(f"{path.name.removesuffix(_LIST)}-*.f32"):
                shard.unlink()
            path.unlink()
    return found


def _listed(path: Path, kind: _Kind) -> dict[str, _Sound]:
    """The sounds of a list, or a ValueError or the like."""
    fields = read_json(path)
    if fields.pop("sha256") != digest_of(fields):
        raise ValueError("its digest is not that of its contents")
    expected = {"format": _FORMAT, "version": _VERSION, **kind.to_json()}
    if {name: fields[name] for name in expected} != expected:
        raise ValueError("it is of another kind")
    lengths = [json_field(sound, "n_samples", COUNT) for sound in fields["sounds"]]
    shards = [Shard(**shard) for shard in fields["shards"]]
    mend = f"delete {path.parent} and train again"
    reader = ShardReader(path.parent, shards, lengths, mend=mend)
    return {
        sound["key"]: _Sound(reader, record, sound) for record, sound in enumerate(fields["sounds"])
    }
