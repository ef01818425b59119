"""`ddspx pitch`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

import ddspx
from ddspx import features, io, metrics
from ddspx._checks import hop_length_of
from ddspx._text import printable
from ddspx.cli._batch import make_each, output_files, writable_place
from ddspx.cli._progress import progress
from ddspx.features import FMIN, PitchMethod

# Imported where it is used, so that wrong options are answered without it.
if TYPE_CHECKING:
    import numpy as np

# What the trackers were measured at, and the only rate that two of them hear.
_SAMPLE_RATE = 16_000
_BLOCK_LENGTH = 1 << 16

_Tracker = Callable[[Iterator["np.ndarray"]], "tuple[np.ndarray, np.ndarray]"]


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
      hop_ms: milliseconds from one frame to the next, to the nearest 1/16, at most 1000.
      fmin: the lowest pitch to look for, in Hz; the instrument's lowest note is best.
      fmax: the highest pitch to look for, in Hz; 2093 if not given.
      plot: draw NAME.png too, the pitch on the spectrogram (needs the extra plot).
    """
    if not recordings:
        raise ValueError("name at least one RECORDING; see ddspx pitch --help.")
    if plot:
        ddspx.plot.require_plotting()
    hop_length = hop_length_of(hop_ms, _SAMPLE_RATE)
    grid = {"sample_rate": _SAMPLE_RATE, "hop_length": hop_length}
    tracker = partial(features.blockwise_pitch, **grid, method=method, fmin=fmin, fmax=fmax)
    outputs = output_files(recordings, output, (".csv", ".png") if plot else (".csv",))
    writable_place(output)
    write = partial(_write, tracker=tracker, hop_length=hop_length)
    make_each("ddspx pitch", recordings, outputs, write)


def _write(
    recording: Path, files: Sequence[Path], which: str, *, tracker: _Tracker, hop_length: int
) -> str:
    """Makes the files of one recording, all or none, and says what became of it."""
    with ExitStack() as stack:
        bar = stack.enter_context(progress())
        blocks, total_s = _blocks(recording), io.declared_duration_s(recording)
        n_samples = 0

        def counted() -> "Iterator[np.ndarray]":
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
        table, *pictures = (stack.enter_context(io.replacing_file(file)) for file in files)
        table.write_text(_csv(f0_hz, confidence, hop_length))
        for picture in pictures:
            sound = ddspx.plot.Sound(
                printable(recording.name),
                _blocks(recording),
                f0_hz,
                confidence,
                n_samples=n_samples,
            )
            figure = ddspx.plot.plot_pitch(sound, sample_rate=_SAMPLE_RATE, hop_length=hop_length)
            figure.savefig(picture, format="png")
    voiced = float((confidence >= metrics.VOICED).mean())
    return f"{files[0]}: {n_samples / _SAMPLE_RATE:.2f} s, {voiced:.0%} voiced"


def _blocks(recording: Path) -> "Iterator[np.ndarray]":
    return io.stream_audio(recording, sample_rate=_SAMPLE_RATE, block_length=_BLOCK_LENGTH)


def _csv(f0_hz: "np.ndarray", confidence: "np.ndarray", hop_length: int) -> str:
    """A line for each frame; the time is exact, and the pitch within 0.03 cents."""
    digits = next(n for n in range(3, 8) if hop_length * 10**n % _SAMPLE_RATE == 0)
    # Cut off, not rounded, so that what is under the threshold stays there.
    thousandths = confidence.astype(float) * 1000 // 1 / 1000
    rows = zip(f0_hz.tolist(), thousandths.tolist(), strict=True)
    lines = (
        f"{i * hop_length / _SAMPLE_RATE:.{digits}f},{hz:.3f},{sure:.3f}\n"
        for i, (hz, sure) in enumerate(rows)
    )
    return "".join(["time,f0_hz,confidence\n", *lines])
