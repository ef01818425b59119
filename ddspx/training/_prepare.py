"""Makes a dataset from recordings: decode, compute features, cut out silence, split, write."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ddspx._checks import size
from ddspx._text import printable
from ddspx.features import (
    Features,
    StreamingMethod,
    conditioning_features,
    feature_version,
    pitch_range,
)
from ddspx.instruments._statistics import instrument_statistics, is_voiced
from ddspx.io import (
    AudioError,
    DatasetError,
    DatasetWriter,
    Manifest,
    Segment,
    Source,
    files_below,
    is_dataset,
    read_audio,
    replacing_folder,
    stream_audio,
)
from ddspx.metrics import VOICED
from ddspx.models.autoencoder import InstrumentStatistics

# Half an hour, longer than any useful example: it keeps a mistyped number from filling the memory.
_LONGEST_EXAMPLE_S = 1800
# With at least this many recordings, whole recordings make up the valid and test splits. With
# fewer, the end of each recording does, so that every recording is also trained on.
_WHOLE_RECORDINGS = 10

# A frame is silent if its loudness is this far below the loudest frame's; the second number is
# for frames with a pitch, which soft notes have and background noise has not.
_SILENCE_DB, _VOICED_SILENCE_DB = 40.0, 60.0
# Only longer silence is cut out, because shorter pauses belong to the music. The margin on either
# side of the sound keeps the attack and the decay of notes.
_SILENCE_S = 1.0
_MARGIN_S = 0.2

# With a smaller share of voiced frames the recordings are unlikely to be of a pitched instrument.
_VOICED_SHARE = 0.3


class UsableRecording(NamedTuple):
    """A recording that can be decoded and is long enough; its split is None if not yet decided."""

    path: Path
    name: str
    sha256: str
    n_samples: int
    split: str | None


def prepare(
    recordings: Sequence[str | Path],
    output: str | Path,
    *,
    valid: Sequence[str | Path] = (),
    test: Sequence[str | Path] = (),
    valid_share: float = 0.12,
    test_share: float = 0.08,
    sample_rate: int = 16_000,
    hop_length: int = 64,
    example_s: float = 4.0,
    fmin: float | None = None,
    fmax: float | None = None,
    method: StreamingMethod = "ddspx",
    licence: str = "not stated",
    attribution: str = "not stated",
    overwrite: bool = False,
    report: Callable[[str], object] = print,
) -> Manifest:
    """Makes a training dataset from recordings of one instrument.

    Each recording is mixed to mono and resampled. Its features are computed once, of the whole
    recording, so that they are aligned with the audio to the sample, and so that the features at
    the ends of a crop include the sound around it. Silence is cut out, except for 0.2 s next to
    the sound. Silence is more than a second of frames that are 40 dB below the loudest frame (60
    dB if they have a pitch).

    Of ten or more recordings, 8 % are the test split and 12 % the valid split, if the shares are
    not given. They are chosen by the SHA-256 of their contents, which does not depend on names or
    order. Of fewer recordings, the last 8 % of the sound of each is the test split, and the 12 %
    before them the valid split; neither is shorter than an example, unless its share is 0.
    A recording that is too short to be divided belongs to the train split. If there are three or
    more and all are too short, whole recordings are held out. A copy of another recording is left
    out. If `valid` or `test` name recordings, only these are in those splits, and all others are
    in the train split.

    The dataset is written to a temporary folder next to `output`, and renamed when it is complete.

    Args:
      recordings: audio files and folders. Folders are searched with their sub-folders, including
        links, but not hidden ones. A file in a folder that cannot be used is skipped and reported;
        a file that is named here and cannot be used is an error.
      output: the dataset folder to make.
      valid: audio files and folders of the valid split, which selects the weights in training.
      test: audio files and folders of the test split, which evaluates the trained model.
      valid_share: the share of the valid split, if `valid` and `test` name nothing; 0 for none.
      test_share: the share of the test split, likewise.
      sample_rate: samples per second of the dataset.
      hop_length: samples between frames (64 at 16 kHz: 250 frames per second).
      example_s: seconds of one training example, rounded to whole hops.
      fmin: the lowest pitch that counts, in Hz. If it is the lowest note of the instrument, frames
        that the tracker places an octave too low are unvoiced rather than wrong. By default that of
        `features.pitch_range`, as for `fmax`.
      fmax: the highest pitch that counts, in Hz.
      method: the pitch tracker, see `features.track_pitch`. A model that is trained on the dataset
        uses the same tracker in a transfer.
      licence: the licence of the recordings; it is stored with the models trained on them.
      attribution: the authors to credit; it is stored likewise.
      overwrite: whether to replace an existing dataset.
      report: called with one line of text for each recording and each warning.

    Returns:
      The manifest, as written.

    Raises:
      AudioError: a named file cannot be used, or no usable recording or no pitch was found.
      FileExistsError: `output` exists and `overwrite` is false.
      DatasetError: `overwrite` is true and `output` is something other than a dataset.
      ValueError: a size, a rate or a share is not allowed.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from ddspx import io, training
      >>> folder, grid = tempfile.TemporaryDirectory(), {"sample_rate": 16000, "hop_length": 160}
      >>> tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(80000) / 16000)
      >>> recording, dataset = Path(folder.name, "tone.wav"), Path(folder.name, "dataset")
      >>> io.write_audio(recording, tone, sample_rate=16000)
      >>> lines = []
      >>> manifest = training.prepare(
      ...     [recording], dataset, **grid, example_s=0.5, report=lines.append
      ... )
      >>> {name: split.n_examples > 0 for name, split in sorted(manifest.splits.items())}
      {'test': True, 'train': True, 'valid': True}
      >>> round(manifest.statistics["pitch_midi_mean"], 1)
      69.0
      >>> folder.cleanup()
    """
    shares = _shares(valid_share, test_share)
    example = _example_hops(example_s, sample_rate, hop_length)
    fmin, fmax = pitch_range(method, sample_rate=sample_rate, fmin=fmin, fmax=fmax)
    _refuse_other_folder(output, overwrite)
    with (
        replacing_folder(output, overwrite=overwrite) as folder,
        DatasetWriter(
            folder,
            sample_rate=sample_rate,
            hop_length=hop_length,
            example_length=example * hop_length,
        ) as writer,
    ):
        usable = usable_recordings(
            _by_split(recordings, valid, test), sample_rate, example * hop_length, report
        )
        held_out = _held_out(usable, shares, 4 * example * hop_length)
        sources, trained_on = [], []
        for number, recording in enumerate(usable, start=1):
            whole = _measured(recording, sample_rate, hop_length, method, fmin, fmax)
            segments = _segments(
                whole, shares, example, sample_rate, hop_length, held_out.get(recording.sha256)
            )
            kept_s, tracks = _write(writer, segments, sample_rate, source=number - 1)
            trained_on += tracks
            seconds = len(whole.audio) / sample_rate
            sources.append(Source(recording.name, recording.sha256, seconds, kept_s))
            kept = f"kept {kept_s:.1f} s of {seconds:.1f} s"
            report(printable(f"[{number}/{len(usable)}] {recording.name}: {kept}"))
        statistics = _statistics(trained_on, sample_rate, hop_length, method, report)
        manifest = writer.finish(
            feature_version=feature_version(method),
            licence=licence,
            attribution=attribution,
            sources=tuple(sources),
            statistics=dataclasses.replace(statistics, fmin=fmin, fmax=fmax).to_json(),
        )
    _report_empty(manifest, shares, example_s, report)
    return manifest


def _shares(valid: float, test: float) -> dict[str, float]:
    """The share of the sound in each split that is held out."""
    for name, share in (("valid_share", valid), ("test_share", test)):
        if not 0 <= share < 1:
            raise ValueError(f"`{name}` must be at least 0 and less than 1, got {share}.")
    if valid + test >= 1:
        raise ValueError(
            "`valid_share` and `test_share` must leave something for the train split, got "
            f"{valid} and {test}."
        )
    return {"valid": valid, "test": test}


def _example_hops(example_s: float, sample_rate: int, hop_length: int) -> int:
    """The length of an example in hops."""
    hops = example_s * size("sample_rate", sample_rate) / size("hop_length", hop_length)
    if not 0.5 < hops < _LONGEST_EXAMPLE_S * sample_rate / hop_length:
        raise ValueError(
            f"`example_s` must be at least one hop long, and at most {_LONGEST_EXAMPLE_S} seconds, "
            f"got {example_s}."
        )
    return round(hops)


def _refuse_other_folder(output: str | Path, overwrite: bool) -> None:
    if overwrite and Path(output).exists() and not is_dataset(output):
        raise DatasetError(
            f"{output} exists and is not a dataset, so it is not replaced; "
            "choose another output folder."
        )


def _write(
    writer: DatasetWriter,
    segments: Iterable[tuple[str, Segment]],
    sample_rate: int,
    *,
    source: int,
) -> tuple[float, list[np.ndarray]]:
    """Adds the segments of a recording to the dataset.

    Returns:
      Their duration in seconds, and the features of those in the train split.
    """
    kept_s, trained_on = 0.0, []
    for split, segment in segments:
        writer.add(split, segment, source=source)
        kept_s += len(segment.audio) / sample_rate
        if split == "train":
            # n hops have n + 1 frames. The last one is dropped, so that a segment counts one frame
            # per hop, and its duration follows from the number of frames.
            trained_on.append(np.stack(segment[1:])[:, :-1])
    return kept_s, trained_on


def _report_empty(
    manifest: Manifest,
    shares: Mapping[str, float],
    example_s: float,
    report: Callable[[str], object],
) -> None:
    for name, split in manifest.splits.items():
        if split.n_examples == 0 and shares.get(name, 1):
            report(
                f"warning: the {name} split is empty; there is too little sound for examples of "
                f"{example_s:g} s in it."
            )


def _files(recordings: Sequence[str | Path]) -> Iterator[tuple[Path, str, bool]]:
    """Yields (file, name in the manifest, whether it was named by the caller)."""
    for named in recordings:
        # An unset shell variable gives an empty name, which Path would take for the current folder.
        if not os.fspath(named):
            raise AudioError("one of the recordings has an empty name; name a file or a folder.")
        root = Path(named)
        if not root.is_dir():
            yield root, root.name, True
            continue
        for path in files_below(root):
            yield path, path.relative_to(root).as_posix(), False


def _by_split(
    recordings: Sequence[str | Path], valid: Sequence[str | Path], test: Sequence[str | Path]
) -> dict[str | None, Sequence[str | Path]]:
    """Returns the named recordings by split; under None if no split was named by the caller."""
    if valid or test:
        return {"train": recordings, "valid": valid, "test": test}
    return {None: recordings}


def usable_recordings(
    recordings: Mapping[str | None, Sequence[str | Path]],
    sample_rate: int,
    min_samples: int,
    report: Callable[[str], object],
) -> list[UsableRecording]:
    """Decodes all recordings once, before the slow part, to find the usable ones and their lengths.

    The recordings are given by split, under None if their split is not decided yet.
    """
    usable: dict[str, UsableRecording] = {}
    held_out = [file for split in ("valid", "test") for file in _files(recordings.get(split, ()))]
    held_out_paths = {os.path.realpath(path) for path, *_ in held_out}
    files = ((split, *file) for split, of in recordings.items() for file in _files(of))
    for split, path, name, named in files:
        if split == "train" and os.path.realpath(path) in held_out_paths:
            continue
        try:
            blocks = stream_audio(
                path, sample_rate=sample_rate, block_length=1 << 16, min_samples=min_samples
            )
            n_samples = sum(len(block) for block in blocks)
        except AudioError as error:
            if named:
                raise
            report(printable(f"skipped: {error}"))
            continue
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 in usable:
            if usable[sha256].split != split:
                raise AudioError(
                    f"{path} is a copy of {usable[sha256].path}, which is in another split; a "
                    "model must not be evaluated on its training data, so leave one of them out."
                )
            report(printable(f"skipped: {path} is a copy of {usable[sha256].path}"))
            continue
        usable[sha256] = UsableRecording(path, name, sha256, n_samples, split)
    found = {recording.split for recording in usable.values()}
    for split, of in recordings.items():
        if split not in found and (of or split in ("train", None)):
            raise AudioError(
                f"no usable recording in {', '.join(map(str, of)) or 'an empty list'}; "
                f"name audio files that are at least as long as an example, "
                f"{min_samples / sample_rate:.3g} s, or folders with some in them."
            )
    return list(usable.values())


def _held_out(
    usable: list[UsableRecording], shares: Mapping[str, float], divisible: int
) -> dict[str, str]:
    """Returns the split of each recording by SHA-256; empty if recordings are divided in time."""
    if any(recording.split for recording in usable):
        return {recording.sha256: recording.split for recording in usable if recording.split}
    too_short = len(usable) >= 3 and all(r.n_samples < divisible for r in usable)
    if len(usable) < _WHOLE_RECORDINGS and not too_short:
        return {}
    ranked = sorted(recording.sha256 for recording in usable)
    names = []
    for name in ("test", "valid"):
        if share := shares[name]:
            names += [name] * max(1, round(share * len(ranked)))
    names += ["train"] * (len(ranked) - len(names))
    return dict(zip(ranked, names, strict=True))


def _measured(
    recording: UsableRecording,
    sample_rate: int,
    hop_length: int,
    method: StreamingMethod,
    fmin: float,
    fmax: float,
) -> Segment:
    """Reads a recording, cut to whole hops, and computes its features."""
    audio = read_audio(recording.path, sample_rate=sample_rate)
    features = conditioning_features(
        audio,
        sample_rate=sample_rate,
        hop_length=hop_length,
        method=method,
        fmin=fmin,
        fmax=fmax,
    )
    n_hops = len(audio) // hop_length
    return Segment(audio[: n_hops * hop_length], *(np.asarray(f) for f in features))


def _segments(
    whole: Segment,
    shares: Mapping[str, float],
    example: int,
    sample_rate: int,
    hop_length: int,
    split: str | None,
) -> Iterator[tuple[str, Segment]]:
    """Yields the segments of a recording that are not silent, each with its split.

    A segment is at least one example long. All segments are in `split`; if that is None, the
    sound is divided among the splits in the order of time.
    """
    voiced = whole.f0_confidence >= VOICED
    below_db = np.where(voiced, _VOICED_SILENCE_DB, _SILENCE_DB)
    stretches = _sounding(
        whole.loudness_db > whole.loudness_db.max() - below_db,
        example=example,
        gap=round(_SILENCE_S * sample_rate / hop_length),
        margin=round(_MARGIN_S * sample_rate / hop_length),
    )
    if split:
        parts = [(split, *stretch) for stretch in stretches]
    else:
        parts = _divided(stretches, shares, example)
    for name, first, last in parts:
        yield name, whole.crop(first, last - first, hop_length=hop_length)


def _divided(
    stretches: list[tuple[int, int]], shares: Mapping[str, float], example: int
) -> list[tuple[str, int, int]]:
    """Divides stretches of sound into train, then valid, then test; too little is train alone.

    Hops are counted as if the stretches were joined, so that the shares are shares of sound.
    """
    edges = list(accumulate((last - first for first, last in stretches), initial=0))

    def cut(end: int, share: float) -> int:
        if not share:
            return end
        # If the edge of a stretch is nearer than the length of an example, the cut is moved there,
        # so that no part is shorter than an example.
        place = end - max(round(share * edges[-1]), example)
        nearest = min(edges, key=lambda edge: abs(edge - place))
        return nearest if abs(nearest - place) < example else place

    test_from = cut(edges[-1], shares["test"])
    valid_from = cut(test_from, shares["valid"])
    bounds = {
        "train": (0, valid_from),
        "valid": (valid_from, test_from),
        "test": (test_from, edges[-1]),
    }
    if valid_from < 2 * example:
        bounds = {"train": (0, edges[-1])}
    parts = []
    for edge, (first, last) in zip(edges, stretches, strict=False):
        for name, (start, stop) in bounds.items():
            begin, end = max(first, first + start - edge), min(last, first + stop - edge)
            if begin < end:
                parts.append((name, begin, end))
    return parts


def _sounding(loud: np.ndarray, *, example: int, gap: int, margin: int) -> list[tuple[int, int]]:
    """Finds stretches (first hop, last hop) around the loud frames, each at least `example` long.

    Pauses of up to `gap` hops are kept. A stretch that is shorter than an example is widened into
    the recorded silence around it, rather than padded with zeros.
    """
    n_hops = len(loud) - 1
    frames = np.flatnonzero(loud)
    if n_hops < example or not len(frames):
        return []
    breaks = np.flatnonzero(np.diff(frames) > gap)
    firsts = frames[np.concatenate([[0], breaks + 1])] - margin
    lasts = frames[np.concatenate([breaks, [len(frames) - 1]])] + margin
    missing = np.maximum(example - (lasts - firsts), 0)
    firsts = np.clip(firsts - missing // 2, 0, n_hops - example)
    lasts = np.minimum(np.maximum(lasts + (missing + 1) // 2, firsts + example), n_hops)
    merged: list[tuple[int, int]] = []
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _statistics(
    features: list[np.ndarray],
    sample_rate: int,
    hop_length: int,
    method: StreamingMethod,
    report: Callable[[str], object],
) -> InstrumentStatistics:
    """Computes the statistics of tracks whose rows are f0_hz, f0_confidence and loudness_db."""
    tracks = Features(*np.concatenate([np.zeros((3, 0), np.float32), *features], axis=1))
    statistics = instrument_statistics(
        tracks, sample_rate=sample_rate, hop_length=hop_length, method=method
    )
    voiced = is_voiced(tracks)
    if voiced.mean() < _VOICED_SHARE:
        report(
            f"warning: only {voiced.mean():.0%} of the sound is pitched; training an instrument "
            "needs monophonic, pitched sound."
        )
    return statistics
