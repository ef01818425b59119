"""Makes a dataset from recordings: decode, compute features, cut out silence, split, write."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ddspx._checks import size
from ddspx._progress import Progress, no_progress
from ddspx._text import printable
from ddspx.features import Features, StreamingMethod, feature_version, pitch_range
from ddspx.instruments._statistics import streamed_statistics
from ddspx.io import DatasetWriter, Manifest, Source
from ddspx.models.autoencoder import InstrumentStatistics
from ddspx.training._recordings import Listed, Outcome, Usable, check_found, usable_recordings
from ddspx.training._runners import PoolRunner, Runner
from ddspx.training._splits import checked_shares, divided, held_out
from ddspx.training._spool import FRAMES, Spool, SpoolConfig

# Half an hour, longer than any useful example: it keeps a mistyped number from filling the memory.
_LONGEST_EXAMPLE_S = 1800
# With a smaller share of voiced frames the recordings are unlikely to be of a pitched instrument.
_VOICED_SHARE = 0.3
_SKIPPED = "skipped.txt"


class _Part(NamedTuple):
    """A stretch of a recording that belongs to one split.

    Attributes:
      split: train, valid or test.
      source: the number of the recording among those that are used.
      first: its first hop.
      last: the hop after its last one.
    """

    split: str
    source: int
    first: int
    last: int


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
    workers: int | None = None,
    runner: str | None = None,
    pipeline_options: Sequence[str] = (),
    report: Callable[[str], object] = print,
    progress: Progress = no_progress,
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

    A recording is read once for its SHA-256, and decoded once, or twice if it has several channels
    (three times if they cancel each other), block by block: three hours take 74 MB of memory more
    than a short one. What is computed of it is a function of its bytes and of the settings alone,
    and is kept in ``<output>.work`` with its SHA-256 until the dataset is complete. So the same
    call continues a preparation that was killed, and neither that nor the number of workers changes
    a byte of the dataset. Without `workers` this process computes, and it may use several threads,
    where a worker has one; on some machines that changes the last digit of some confidences. The
    shards are written by one process, which starts over after a kill.

    The dataset is written to a temporary folder next to `output`, and renamed when it is complete.
    Its file ``skipped.txt`` lists the files that are left out, each with the reason.

    Args:
      recordings: audio files and folders. Folders are searched with their sub-folders, including
        links, but not hidden ones. A file in a folder that cannot be used is skipped and reported;
        a file that is named here and cannot be used is an error, before the work if its header
        shows it.
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
      workers: number of processes; by default this one computes. With them, or with a `runner`, a
        script needs the guard ``if __name__ == "__main__":``, because each process imports it.
      runner: a runner of Apache Beam that computes in place of these processes, such as
        "DirectRunner" or "FlinkRunner". Recordings and `output` may then be URLs of any file system
        that Beam has.
      pipeline_options: the options of Beam and its runner, as on a command line.
      report: called with one line of text for each recording and each warning.
      progress: called with what is being done, how much of it is done, and how much there is.

    Returns:
      The manifest, as written.

    Raises:
      AudioError: a named file cannot be used, or no usable recording or no pitch was found.
      FileExistsError: `output` exists and `overwrite` is false.
      DatasetError: `overwrite` is true and `output` is something other than a dataset.
      OwnedError: another process is preparing this dataset.
      OSError: a recording cannot be read for a reason that is not its own, such as an error of the
        disk, or the output cannot be written.
      ChildProcessError: a worker was killed.
      ValueError: a size, a rate, a share, the runner or its options are not allowed; or JAX has no
        CPU, on which a dataset is computed.
      ModuleNotFoundError: `runner` is given and Apache Beam is not installed.

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
    shares = checked_shares(valid_share, test_share)
    if workers is not None:
        size("workers", workers)
    example = _example_hops(example_s, sample_rate, hop_length)
    fmin, fmax = pitch_range(method, sample_rate=sample_rate, fmin=fmin, fmax=fmax)
    config = SpoolConfig(sample_rate, hop_length, example, fmin, fmax, method)
    by_split = _by_split(recordings, valid, test)
    place = _runner(output, overwrite, workers, runner, pipeline_options, progress)
    with place.dataset() as folder:
        listed = place.listed(by_split, config)
        with closing(place.outcomes(listed, config)) as outcomes:
            usable, skipped = _chosen(listed, outcomes, config, report)
        check_found(by_split, usable, config.example_length / sample_rate)
        spools = [_spool(place.spools, recording, config) for recording in usable]
        parts = _parts(usable, shares, config)
        statistics = _statistics(parts, spools, config, report)
        with DatasetWriter(
            folder,
            sample_rate=sample_rate,
            hop_length=hop_length,
            example_length=config.example_length,
        ) as writer:
            _write(writer, parts, spools, progress)
            manifest = writer.finish(
                feature_version=feature_version(method),
                licence=licence,
                attribution=attribution,
                sources=tuple(_source(recording, config) for recording in usable),
                statistics=statistics.to_json(),
            )
        _write_skipped(folder, skipped)
    place.sweep()
    _report_empty(manifest, shares, example_s, report)
    return manifest


def _example_hops(example_s: float, sample_rate: int, hop_length: int) -> int:
    """The length of an example in hops."""
    hops = example_s * size("sample_rate", sample_rate) / size("hop_length", hop_length)
    if not 0.5 < hops < _LONGEST_EXAMPLE_S * sample_rate / hop_length:
        raise ValueError(
            f"`example_s` must be at least one hop long, and at most {_LONGEST_EXAMPLE_S} seconds, "
            f"got {example_s}."
        )
    return round(hops)


def _by_split(
    recordings: Sequence[str | Path], valid: Sequence[str | Path], test: Sequence[str | Path]
) -> dict[str | None, Sequence[str | Path]]:
    """Returns the named recordings by split; under None if no split was named by the caller."""
    if valid or test:
        return {"train": recordings, "valid": valid, "test": test}
    return {None: recordings}


def _runner(
    output: str | Path,
    overwrite: bool,
    workers: int | None,
    runner: str | None,
    options: Sequence[str],
    progress: Progress,
) -> Runner:
    if runner is None:
        if options:
            raise ValueError(
                f"`pipeline_options` are those of a `runner` of Apache Beam, got "
                f"{' '.join(options)!r} without one; name the runner, or write ./-NAME for a file "
                "whose name begins with a dash."
            )
        return PoolRunner(output, overwrite=overwrite, workers=workers, progress=progress)
    # Imported here, as only a few need it.
    from ddspx.training._beam import BeamRunner

    return BeamRunner(
        output, overwrite=overwrite, runner=runner, options=options, progress=progress
    )


def _chosen(
    listed: Sequence[Listed],
    outcomes: Iterator[Outcome],
    config: SpoolConfig,
    report: Callable[[str], object],
) -> tuple[list[Usable], list[str]]:
    """Returns the recordings to use, and a sentence about each file that is left out."""
    skipped: list[str] = []

    def leave_out(sentence: str) -> None:
        skipped.append(printable(sentence))
        report(f"skipped: {skipped[-1]}")

    def use(number: int, recording: Usable) -> None:
        source = _source(recording, config)
        kept = f"kept {source.kept_s:.1f} s of {source.duration_s:.1f} s"
        report(printable(f"[{number}/{len(listed)}] {source.name}: {kept}"))

    return usable_recordings(listed, outcomes, leave_out, use), skipped


def _source(recording: Usable, config: SpoolConfig) -> Source:
    file, outcome = recording
    hop_s = config.hop_length / config.sample_rate
    kept = sum(last - first for first, last in outcome.stretches)
    n_hops = outcome.n_samples // config.hop_length
    return Source(file.name, outcome.sha256, n_hops * hop_s, kept * hop_s)


def _spool(folder: Path, recording: Usable, config: SpoolConfig) -> Spool:
    path = folder / f"{config.name(recording.outcome.sha256)}.f32"
    return Spool(path, n_samples=recording.outcome.n_samples, hop_length=config.hop_length)


def _parts(
    usable: Sequence[Usable], shares: Mapping[str, float], config: SpoolConfig
) -> list[_Part]:
    """Divides the stretches that are not silent among the splits."""
    split_of = held_out(usable, shares, 4 * config.example_length)
    parts = []
    for source, (_, outcome) in enumerate(usable):
        if split := split_of.get(outcome.sha256):
            of_source = [(split, *stretch) for stretch in outcome.stretches]
        else:
            of_source = divided(outcome.stretches, shares, config.example_hops)
        parts += [_Part(split, source, first, last) for split, first, last in of_source]
    return parts


def _write(
    writer: DatasetWriter, parts: Sequence[_Part], spools: Sequence[Spool], progress: Progress
) -> None:
    """Writes the parts, one after the other."""
    for done, part in enumerate(parts):
        progress("writing the dataset", float(done), float(len(parts)))
        stretch = spools[part.source].stretch(part.first, part.last)
        writer.add(part.split, stretch, source=part.source)


def _statistics(
    parts: Sequence[_Part],
    spools: Sequence[Spool],
    config: SpoolConfig,
    report: Callable[[str], object],
) -> InstrumentStatistics:
    """Computes the statistics of the train split, one frame for each hop."""

    def tracks() -> Iterator[Features]:
        for split, source, first, last in parts:
            for start in range(first, last if split == "train" else first, FRAMES):
                yield spools[source].features(start, min(FRAMES, last - start))

    statistics, voiced_share = streamed_statistics(
        tracks,
        sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        method=config.method,
    )
    if voiced_share < _VOICED_SHARE:
        report(
            f"warning: only {voiced_share:.0%} of the sound is pitched; training an instrument "
            "needs monophonic, pitched sound."
        )
    return dataclasses.replace(statistics, fmin=config.fmin, fmax=config.fmax)


def _write_skipped(folder: Path, skipped: Sequence[str]) -> None:
    """Lists the files that are left out, if there are any, beside the manifest."""
    if skipped:
        text = "".join(f"{sentence}\n" for sentence in skipped)
        (folder / _SKIPPED).write_text(text, encoding="utf-8")


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
