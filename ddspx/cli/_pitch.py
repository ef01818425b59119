"""`ddspx pitch`."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from ddspx.cli._complaints import SkippedInputError, complain
from ddspx.cli._progress import progress
from ddspx.features import FMIN, PitchMethod, stream_features, track_pitch
from ddspx.io import AudioError, declared_duration_s, replacing_file, stream_audio
from ddspx.metrics import VOICED
from ddspx.plot import Sound, plot_pitch, require_matplotlib

# What the trackers were measured at, and the only rate that two of them hear.
_SAMPLE_RATE = 16_000
_BLOCK_LENGTH = 1 << 16

_Tracker = Callable[[Iterator[np.ndarray]], tuple[np.ndarray, np.ndarray]]


def pitch(
    recordings: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="RECORDING", help_behavior_hint="(required)")
    ],
    *,
    output: Annotated[Path, arg(aliases=["-o"], metavar="DIR")] = Path("."),
    method: PitchMethod = "ddspx",
    hop_ms: Annotated[float, arg(metavar="MS")] = 10.0,
    fmin: Annotated[float, arg(metavar="HZ")] = FMIN,
    fmax: Annotated[float | None, arg(metavar="HZ", help_behavior_hint="")] = None,
    plot: Annotated[bool, arg(help_behavior_hint="")] = False,
) -> None:
    """Writes the pitch of recordings as CSV, and draws it.

    NAME.wav becomes NAME.csv with a line for each frame: time in seconds, f0_hz, and confidence
    from 0 to 1. From a confidence of 0.5 on the frame is voiced; through others f0_hz moves from
    the last pitch to the next. A recording that cannot be used is reported and left out, and
    then the exit status is 1.

    Args:
      recordings: audio files of one voice or instrument; they are heard at 16 kHz.
      output: the folder to write to, by default the current one; files of those names are
        replaced, but never a recording.
      method: the tracker: ddspx's network, yin, pyin, or CREPE, which needs its weights.
      hop_ms: milliseconds from one frame to the next, a multiple of 1/16.
      fmin: the lowest pitch to look for, in Hz; the instrument's lowest note is best.
      fmax: the highest pitch to look for, in Hz; 2093 if not given.
      plot: draw NAME.png too, the pitch on the spectrogram (needs the extra plot).
    """
    if not recordings:
        raise ValueError("name at least one RECORDING; see ddspx pitch --help.")
    if plot:
        require_matplotlib()
    hop_length = _hop_length(hop_ms)
    tracker = partial(_track, method=method, hop_length=hop_length, fmin=fmin, fmax=fmax)
    outputs = _outputs(recordings, output, (".csv", ".png") if plot else (".csv",))
    _require_writable(output)
    n_skipped = 0
    for i, (recording, files) in enumerate(zip(recordings, outputs, strict=True), start=1):
        try:
            said = _write(recording, files, tracker, hop_length, f"{i} of {len(recordings)}")
        except AudioError as error:
            complain("ddspx pitch", error)
            n_skipped += 1
        else:
            print(said, flush=True)
    if n_skipped:
        raise SkippedInputError(f"left out {n_skipped} of {len(recordings)} recordings.")


def _hop_length(hop_ms: float) -> int:
    """Samples from one frame to the next."""
    samples = hop_ms * _SAMPLE_RATE / 1000
    if not (math.isfinite(samples) and samples > 0 and samples == round(samples)):
        raise ValueError(
            f"`hop_ms` must be a whole number of samples at {_SAMPLE_RATE} Hz, that is a multiple "
            f"of {1000 / _SAMPLE_RATE} ms, got {hop_ms}."
        )
    return round(samples)


def _outputs(
    recordings: Sequence[Path], folder: Path, suffixes: Sequence[str]
) -> list[tuple[Path, ...]]:
    """The files to make of each recording, none of which is another's or a recording."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`output` must be a folder, got {folder}, which is a file.")
    outputs = [
        tuple(folder / f"{recording.stem}{suffix}" for suffix in suffixes)
        for recording in recordings
    ]
    heard, maker = {recording.resolve() for recording in recordings}, {}
    for recording, files in zip(recordings, outputs, strict=True):
        for file in files:
            if file.resolve() in heard:
                raise ValueError(
                    f"{file} is one of the recordings, and would be replaced by the pitch of "
                    f"{recording}; choose another folder with -o."
                )
        if (other := maker.setdefault(files[0].resolve(), recording)) is not recording:
            raise ValueError(
                f"{other} and {recording} would both become {files[0]}; track them one at a "
                "time, into different folders."
            )
    return outputs


def _require_writable(folder: Path) -> None:
    """Finds out before the work that files cannot be made there, and makes none."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        TemporaryFile(dir=place).close()
    except OSError as error:
        raise ValueError(
            f"`output` must be a folder that can be written to, got {folder} "
            f"({place}: {error.strerror}); choose another with -o."
        ) from error


def _write(
    recording: Path, files: Sequence[Path], tracker: _Tracker, hop_length: int, which: str
) -> str:
    """Makes the files of one recording, all or none, and says what became of it."""
    with ExitStack() as stack:
        bar = stack.enter_context(progress())
        blocks, total_s = _blocks(recording), declared_duration_s(recording)
        n_samples = 0

        def counted() -> Iterator[np.ndarray]:
            nonlocal n_samples
            for block in blocks:
                n_samples += block.size
                bar(f"listening to {which}", n_samples / _SAMPLE_RATE, total_s)
                yield block
            # Where the tracker takes the whole, its work begins here.
            bar(f"tracking {which}", 0.0, None)

        f0_hz, confidence = tracker(counted())
        bar(f"writing {which}", 0.0, None)
        # Only now, so that a recording that cannot be read makes no folder.
        table, *pictures = (stack.enter_context(replacing_file(file)) for file in files)
        table.write_text(_csv(f0_hz, confidence, hop_length))
        for picture in pictures:
            sound = Sound(
                recording.name, _blocks(recording), f0_hz, confidence, n_samples=n_samples
            )
            figure = plot_pitch(sound, sample_rate=_SAMPLE_RATE, hop_length=hop_length)
            figure.savefig(picture, format="png")
    voiced = float((confidence >= VOICED).mean())
    return f"{files[0]}: {n_samples / _SAMPLE_RATE:.2f} s, {voiced:.0%} voiced"


def _blocks(recording: Path) -> Iterator[np.ndarray]:
    return stream_audio(recording, sample_rate=_SAMPLE_RATE, block_length=_BLOCK_LENGTH)


def _track(
    blocks: Iterator[np.ndarray],
    *,
    method: PitchMethod,
    hop_length: int,
    fmin: float,
    fmax: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pitch and confidence, in bounded memory where the tracker works from a part of the sound."""
    grid = {"sample_rate": _SAMPLE_RATE, "hop_length": hop_length}
    if method == "ddspx" or method == "yin":
        heard = stream_features(blocks, **grid, method=method, fmin=fmin, fmax=fmax)
        return heard.f0_hz, heard.f0_confidence
    audio = np.concatenate(list(blocks))
    return track_pitch(audio, **grid, method=method, fmin=fmin, fmax=fmax)


def _csv(f0_hz: np.ndarray, confidence: np.ndarray, hop_length: int) -> str:
    """A line for each frame; the time is exact, and the pitch within 0.03 cents."""
    digits = next(n for n in range(3, 8) if hop_length * 10**n % _SAMPLE_RATE == 0)
    # Cut off, not rounded, so that what is under the threshold stays there.
    thousandths = np.floor(confidence.astype(np.float64) * 1000) / 1000
    rows = zip(f0_hz.tolist(), thousandths.tolist(), strict=True)
    lines = (
        f"{i * hop_length / _SAMPLE_RATE:.{digits}f},{hz:.3f},{sure:.3f}\n"
        for i, (hz, sure) in enumerate(rows)
    )
    return "".join(["time,f0_hz,confidence\n", *lines])
